//! How long a kill takes until a client sees it, at each enforcement point of a real issuer: 1,000 kills for each.
//!
//! A time counts from before the order goes to the admin socket. The client asks on a connection of its own, again and again;
//! one round trip is part of every figure. `cargo bench --bench kill` prints a table, on SQLite and, where
//! `MARQUE_TEST_POSTGRES_URL` names a database, on PostgreSQL; words after `--` choose points (`introspection`, `exchange`,
//! `kill-state`, `status-list`, `stream`), `MARQUE_BENCH_KILLS=100` how many kills.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

#[expect(dead_code, reason = "the end-to-end tests use the rest of it")]
#[path = "../../tests/e2e/support/mod.rs"]
mod support;

#[expect(dead_code, reason = "the benchmarks under load use the rest of it")]
#[path = "../shared/issuer.rs"]
mod issuer;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use marque::grpc::admin::{AdminClient, NewKillOrder};
use marque_intent::Reason;
use marque_intent::kill::{KillMode, KillScope};
use marque_status_list::{MAX_LIST_BYTES, Status, StatusList, StatusListClaims};
use serde::de::DeserializeOwned;
use serde_json::Value;
use support::http::Call;
use support::oauth::Client;

use self::issuer::{Engine, Running, Setting};

/// Uses of one intent.
const USES: usize = 16;
/// How long a kill of an agent stands: its stream ends, and the next round begins when it may come back.
const STREAM_KILL: Duration = Duration::from_secs(1);

fn main() {
    if support::agent::is_a_part() {
        return runtime().block_on(support::agent::play());
    }
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo bench -- --list` and the like want no measurement.
    if chosen.iter().all(|argument| !argument.starts_with('-')) {
        runtime().block_on(measure(&chosen));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

#[expect(clippy::disallowed_methods, reason = "how many kills comes from the environment")]
fn rounds() -> usize {
    std::env::var("MARQUE_BENCH_KILLS").ok().map_or(1_000, |text| text.parse().expect("a number"))
}

async fn measure(chosen: &[String]) {
    let wanted = |point: &str| chosen.is_empty() || chosen.iter().any(|word| word == point);
    println!("\n| engine | point | p50 | p99 | worst |\n|---|---|---:|---:|---:|");
    for engine in Engine::here() {
        for point in ["introspection", "exchange", "kill-state", "status-list", "stream"] {
            if wanted(point) {
                // An issuer for each: what stands of one point is not in the way of the next.
                let setting = Setting { uses: USES, ..Setting::default() };
                let mut bench = Bench::new(Running::start(&engine, &setting).await).await;
                let mut times = bench.run(point, rounds()).await;
                times.sort_unstable();
                print(engine.name(), point, &times);
            }
        }
    }
}

fn print(engine: &str, point: &str, times: &[Duration]) {
    let at = |percent: usize| {
        let index = times.len().saturating_sub(1) * percent / 100;
        format!("{:.2} ms", times[index].as_secs_f64() * 1_000.0)
    };
    println!("| {engine} | {point} | {} | {} | {} |", at(50), at(99), at(100));
}

/// An issuer, the operator's connection to it, and what the rounds use up.
struct Bench {
    issuer: Running,
    admin: AdminClient,
    intent: Option<(String, usize)>,
}

impl Bench {
    async fn new(issuer: Running) -> Self {
        let admin = AdminClient::connect(&issuer.client().place.admin_socket).await;
        Self { admin: admin.expect("the admin socket"), issuer, intent: None }
    }

    async fn run(&mut self, point: &str, rounds: usize) -> Vec<Duration> {
        let mut times = Vec::with_capacity(rounds);
        for _round in 0..rounds {
            times.push(match point {
                "introspection" => self.introspection().await,
                "exchange" => self.exchange().await,
                "kill-state" => self.kill_state().await,
                "status-list" => self.status_list().await,
                "stream" => self.stream().await,
                other => panic!("no point `{other}`"),
            });
        }
        times
    }

    fn client(&self) -> &Client {
        self.issuer.client()
    }

    /// Gives the order on a task of its own, so that whoever watches for it does not wait for its answer.
    fn throw(
        &self,
        kind: &str,
        selector: &str,
        lasts: Option<Duration>,
    ) -> tokio::task::JoinHandle<()> {
        let order = NewKillOrder {
            scope: KillScope::parse(kind, Some(selector)).expect("a scope"),
            mode: KillMode::Stop,
            reason: Reason::new("bench").expect("a reason"),
            expires_at: lasts.map(|lasts| now().saturating_add(lasts).expect("a time")),
        };
        let mut admin = self.admin.clone();
        tokio::spawn(async move { drop(admin.kill(&order).await.expect("it is killed")) })
    }

    /// A token that nobody has used yet.
    async fn token(&mut self) -> String {
        let (intent, left) = match self.intent.take() {
            Some((intent, left)) if left > 0 => (intent, left),
            _ => (self.client().ask_restart().await, USES),
        };
        let token = self.client().exchange(&intent).await.expect(200).text("access_token");
        self.intent = Some((intent, left - 1));
        token
    }

    async fn introspection(&mut self) -> Duration {
        let token = self.token().await;
        let jti = payload::<Value>(&token)["jti"].as_str().expect("a jti").to_owned();
        assert!(self.client().is_active(&token).await, "it is live before");
        let begun = Instant::now();
        let thrown = self.throw("credential", &jti, None);
        while self.client().is_active(&token).await {}
        let seen = begun.elapsed();
        thrown.await.expect("the order");
        seen
    }

    async fn exchange(&mut self) -> Duration {
        let intent = self.client().ask_restart().await;
        let begun = Instant::now();
        let thrown = self.throw("grant", &intent, None);
        loop {
            let answer = self.client().exchange(&intent).await;
            if answer.status != 200 {
                let seen = begun.elapsed();
                thrown.await.expect("the order");
                // Should every use be spent before the kill is seen, this is no figure.
                answer.refused("kill_switch_grant");
                return seen;
            }
        }
    }

    async fn kill_state(&mut self) -> Duration {
        let url = format!("{}/oauth2/kill-state", self.client().place.issuer_url);
        let epoch = async |client: &Client| {
            let answer = client.send(Call::get(&url)).await.expect(200);
            payload::<Value>(&answer.body)["kill_epoch"].as_u64().expect("an epoch")
        };
        let before = epoch(self.client()).await;
        let begun = Instant::now();
        let thrown = self.throw("task", "nobody-has-it", None);
        while epoch(self.client()).await == before {}
        let seen = begun.elapsed();
        thrown.await.expect("the order");
        seen
    }

    async fn status_list(&mut self) -> Duration {
        let token = self.token().await;
        let claims = payload::<Value>(&token);
        let place = &claims["status"]["status_list"];
        let (uri, idx) =
            (place["uri"].as_str().expect("a uri"), place["idx"].as_u64().expect("an idx"));
        let jti = claims["jti"].as_str().expect("a jti");
        let begun = Instant::now();
        let thrown = self.throw("credential", jti, None);
        loop {
            let answer = self.client().send(Call::get(uri)).await.expect(200);
            let list = payload::<StatusListClaims>(&answer.body).status_list;
            let list = StatusList::decode(&list, MAX_LIST_BYTES).expect("a list");
            if list.status(idx) == Ok(Status::Invalid) {
                let seen = begun.elapsed();
                thrown.await.expect("the order");
                return seen;
            }
        }
    }

    async fn stream(&mut self) -> Duration {
        let agent = self.client().place.id("/agent/preview-restarter/load-0");
        let workload = &mut self.issuer.clients[0].workload;
        while workload.try_jwt_svid(&["x"]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        workload.watch().await;
        let begun = Instant::now();
        let thrown = self.throw("agent", &agent, Some(STREAM_KILL));
        let ended = self.issuer.clients[0].workload.watch_ended().await;
        let seen = begun.elapsed();
        assert!(
            ended.contains("PermissionDenied") || ended.contains("NoIdentityIssued"),
            "{ended}"
        );
        thrown.await.expect("the order");
        seen
    }
}

fn payload<T: DeserializeOwned>(token: &str) -> T {
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = marque_jose::base64url::decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("claims")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark has no injected clock")]
fn now() -> Timestamp {
    Timestamp::now()
}
