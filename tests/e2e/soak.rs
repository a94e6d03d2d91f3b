//! A soak: every X.509 and JWT authority of two trust domains rotates by the clock, again and again, under clients that this
//! project did not write and that shake hands and verify tokens without a pause. One failure ends it, and is named.
//!
//! A rotation counts when every client has worked by the authority that follows: shaken hands by certificates that it signed,
//! or verified tokens of it. `MARQUE_SOAK_ROTATIONS` says how many of them are lived through, all authorities together; four when it
//! is absent, one of each. The clients are crates.io `spiffe` with `spiffe-rustls`, and `tests/python/rotation_client.py`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join};
use serde::Deserialize;
use serde_json::Value;
use spiffe::{JwtSource, JwtSvid};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::authorities::keys;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::folder;
use crate::support::http::Call;
use crate::support::peers::Peers;
use crate::support::place::Place;
use crate::support::programs::this_program;
use crate::support::python::{interpreter, own_interpreter};
use crate::support::tokens::header;
use crate::support::wait::{LIMIT, until, within};

const AUDIENCE: &str = "https://resource.example.org";
const ID: &str = "/service/e2e";
const TRUST_DOMAINS: [&str; 2] = [PRODUCTION, NON_PRODUCTION];
/// Whose keys the clients work by.
const PURPOSES: [&str; 2] = ["x509-authority", "jwt-svid"];
/// Between two rounds of a client in Rust.
const PAUSE: Duration = Duration::from_millis(40);
/// Between two looks at what is published and at what the clients saw.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two lines about a long soak.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// A key lasts 18 seconds and what it signs 3: every 9 seconds another one signs, of each purpose in each trust domain.
fn live_fast(trust_domains: &Path) {
    for trust_domain in TRUST_DOMAINS {
        folder::live_fast(&trust_domains.join(trust_domain), "18s", "3s");
    }
    let rs256 = "\n[authorities]\njwt_svid = \"RS256\"\n";
    folder::append(&trust_domains.join(PRODUCTION), "trust-domain.toml", rs256);
}

/// How many rotations are lived through.
#[expect(clippy::disallowed_methods, reason = "how long to go on comes from the environment")]
fn wanted() -> usize {
    let wanted = std::env::var("MARQUE_SOAK_ROTATIONS").ok();
    wanted.map_or(4, |text| text.parse().expect("MARQUE_SOAK_ROTATIONS is a number"))
}

/// What one client saw of one trust domain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    handshakes: u64,
    tokens: u64,
    /// How many certificates of each authority were shown and believed, by its key identifier.
    x509: BTreeMap<String, u64>,
    /// How many tokens of each authority were verified, by `kid`.
    jwt: BTreeMap<String, u64>,
    /// The most X.509 authorities that were in the bundle side by side; 0 where the client does not look.
    most_roots: usize,
    /// What failed; a client ends with the first.
    failures: Vec<String>,
    /// The algorithms of the tokens.
    algorithms: Vec<String>,
    /// How many handshakes were begun anew, because the library was between two SVIDs.
    #[serde(default)]
    begun_anew: usize,
}

impl Seen {
    fn of(&self, purpose: &str) -> &BTreeMap<String, u64> {
        if purpose == "jwt-svid" { &self.jwt } else { &self.x509 }
    }
}

/// What all clients saw, by trust domain.
#[derive(Clone, Debug, Default)]
struct Board(Arc<Mutex<BTreeMap<&'static str, Vec<Seen>>>>);

impl Board {
    /// A place for what another client sees.
    fn client(&self, trust_domain: &'static str) -> impl Fn(&dyn Fn(&mut Seen)) + use<> {
        let board = self.clone();
        let mut clients = board.0.lock().unwrap();
        let clients_here = clients.entry(trust_domain).or_default();
        clients_here.push(Seen::default());
        let at = clients_here.len() - 1;
        drop(clients);
        move |note| note(&mut board.0.lock().unwrap().get_mut(trust_domain).unwrap()[at])
    }

    /// How many rotations of each authority every client has lived through.
    fn rotations(&self) -> BTreeMap<(&'static str, &'static str), usize> {
        let board = self.0.lock().unwrap();
        let all = board.iter().flat_map(|(&domain, clients)| {
            PURPOSES.map(|purpose| {
                let (first, others) = clients.split_first().unwrap();
                let by_all = first
                    .of(purpose)
                    .keys()
                    .filter(|key| others.iter().all(|other| other.of(purpose).contains_key(*key)));
                ((domain, purpose), by_all.count().saturating_sub(1))
            })
        });
        all.collect()
    }

    /// What was seen, in a few words.
    fn told(&self) -> String {
        let rotations = self.rotations();
        let board = self.0.lock().unwrap();
        let sum = |of: fn(&Seen) -> u64| board.values().flatten().map(of).sum::<u64>();
        let anew: usize = board.values().flatten().map(|seen| seen.begun_anew).sum();
        let total: usize = rotations.values().sum();
        format!(
            "{total} rotations {rotations:?}, {} handshakes ({anew} begun anew), {} tokens",
            sum(|seen| seen.handshakes),
            sum(|seen| seen.tokens)
        )
    }
}

/// Shakes hands and verifies tokens by libraries in Rust until the end.
async fn in_rust(
    place: &Place,
    note: impl Fn(&dyn Fn(&mut Seen)),
    stop: &CancellationToken,
) -> Result<(), String> {
    let peers = Peers::new(&place.workload_api(), &place.id(ID)).await;
    let tokens = JwtSource::builder().endpoint(place.workload_api());
    let tokens = within("the JWT source", tokens.build()).await.unwrap();
    let mut rounds = interval(PAUSE);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 1_u64.. {
        rounds.tick().await;
        if stop.is_cancelled() {
            break;
        }
        let failed = |what: &str, told: String| format!("{what} {round} in {}: {told}", place.name);
        let shaken = peers.follow().await.map_err(|told| failed("handshake", told))?;
        let token = tokens.fetch_jwt_svid([AUDIENCE]).await;
        let token = token.map_err(|error| failed("fetching token", format!("{error:?}")))?;
        let bundles = tokens.bundle_set().map_err(|error| failed("bundle", error.to_string()))?;
        JwtSvid::parse_and_validate(token.token(), bundles.as_ref(), &[AUDIENCE])
            .map_err(|error| failed("token", format!("{error:?}: {}", header(token.token()))))?;
        let kid = header(token.token())["kid"].as_str().unwrap().to_owned();
        note(&|seen| {
            (seen.handshakes, seen.tokens) = (seen.handshakes + 1, seen.tokens + 1);
            seen.begun_anew += usize::from(shaken.begun_anew > 0);
            for authority in &shaken.authorities {
                *seen.x509.entry(authority.clone()).or_default() += 1;
            }
            *seen.jwt.entry(kid.clone()).or_default() += 1;
        });
    }
    Ok(())
}

/// The same by libraries in Python, in a process that attests like any workload.
async fn in_python(
    program: &Path,
    place: &Place,
    note: impl Fn(&dyn Fn(&mut Seen)),
    stop: &CancellationToken,
) -> Result<(), String> {
    let mut child = Command::new(program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/rotation_client.py"))
        .arg(AUDIENCE)
        .env("SPIFFE_ENDPOINT_SOCKET", place.workload_api())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.expect("what Python says"),
            () = stop.cancelled(), if input.is_some() => {
                input = None;
                continue;
            }
        };
        let Some(line) = line else { break };
        let seen: Seen = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if let Some(failure) = seen.failures.first() {
            return Err(format!("in Python, in {}: {failure}", place.name));
        }
        note(&|noted| *noted = seen.clone());
    }
    let status = within("Python's end", child.wait()).await.expect("its status");
    let early = !stop.is_cancelled();
    if early || !status.success() { Err(format!("Python ended: {status}")) } else { Ok(()) }
}

/// What is published stays small, and the bundle's sequence never goes back.
async fn check_published(daemon: &Daemon, trust_domain: &'static str, sequence: &mut u64) {
    let place = daemon.place(trust_domain);
    let get = async |url: &str| -> Value {
        daemon.http(trust_domain).send(Call::get(url)).await.expect(200).json()
    };
    let bundle = get(&place.bundle_url).await;
    let next = bundle["spiffe_sequence"].as_u64().unwrap();
    assert!(next >= *sequence, "the sequence went back: {sequence} to {next}");
    *sequence = next;
    assert!(bundle["keys"].as_array().unwrap().len() <= 9, "{bundle}");
    let jwks = get(&place.jwks_url).await;
    assert!(jwks["keys"].as_array().unwrap().len() <= 3, "{jwks}");
}

/// Waits until so many rotations were seen, and each authority rotated.
async fn watch(daemon: &Daemon, board: &Board, wanted: usize) {
    let (mut sequences, mut before) = ([0; 2], 0);
    let (mut last, mut told) = (Instant::now(), Instant::now());
    loop {
        for (trust_domain, sequence) in TRUST_DOMAINS.into_iter().zip(&mut sequences) {
            check_published(daemon, trust_domain, sequence).await;
        }
        let rotations = board.rotations();
        let total = rotations.values().sum();
        if total >= wanted && rotations.values().all(|&of_one| of_one > 0) {
            return;
        }
        if total > before {
            (before, last) = (total, Instant::now());
        }
        assert!(last.elapsed() < LIMIT, "no rotation for {LIMIT:?}: {}", board.told());
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            eprintln!("{}", board.told());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every client of one trust domain until the end, or until one fails.
async fn clients(
    daemon: &Daemon,
    trust_domain: &'static str,
    board: &Board,
    stop: &CancellationToken,
) {
    let place = daemon.place(trust_domain);
    let operator = daemon.operator(trust_domain);
    operator.register(&place.id(ID), "service", &this_program()).await;
    let rust = in_rust(place, board.client(trust_domain), stop);
    let worked = match interpreter() {
        None => rust.await,
        Some(python) => {
            let program =
                own_interpreter(&python, &daemon.path(""), &format!("soak-{trust_domain}"));
            operator.register(&place.id("/service/python"), "service", &program).await;
            let python = in_python(&program, place, board.client(trust_domain), stop);
            try_join(rust, python).await.map(drop)
        }
    };
    worked.unwrap_or_else(|told| panic!("{told}; before: {}", board.told()));
}

/// How many keys of a purpose were made until the one that signs now, by its name: `a-1`, `b-1`, `a-2` and so on.
async fn keys_until_now(daemon: &Daemon, trust_domain: &'static str, purpose: &str) -> usize {
    let keys = keys(&daemon.operator(trust_domain), purpose).await;
    let (active, _) = keys.iter().find(|(_, state)| state == "active").expect("an active key");
    let place = active.strip_prefix(purpose).and_then(|rest| rest.strip_prefix('-'));
    let (slot, generation) = place.and_then(|place| place.split_once('-')).expect("a place");
    let generation: usize = generation.parse().unwrap_or_else(|_| panic!("{active}"));
    2 * generation - usize::from(slot == "a")
}

/// What the clients saw is what the daemon did.
async fn compare(daemon: &Daemon, board: &Board) {
    for ((trust_domain, purpose), seen) in board.rotations() {
        let made = keys_until_now(daemon, trust_domain, purpose).await;
        // The first one's turn was no rotation; others may have come while clients began and ended.
        let passed = (seen + 1..=seen + 3).contains(&made);
        assert!(passed, "{trust_domain} {purpose}: {seen} rotations seen, {made} keys");
    }
    for (&trust_domain, clients) in board.0.lock().unwrap().iter() {
        let Some(python) = clients.get(1) else { continue };
        let algorithm = if trust_domain == PRODUCTION { "RS256" } else { "ES256" };
        assert_eq!(python.algorithms, [algorithm], "{trust_domain}");
        assert!(python.most_roots > 1, "a root was published beside another: {python:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handshake_and_no_token_fails_while_authorities_rotate_by_the_clock() {
    let mut daemon = Daemon::start_with(live_fast).await;
    let (board, stop, wanted) = (Board::default(), CancellationToken::new(), wanted());
    let watched = async {
        // Until there is somebody to look at.
        let both = async || (board.rotations().len() == 4).then_some(());
        until("the clients", both).await;
        watch(&daemon, &board, wanted).await;
        stop.cancel();
    };
    let clients = TRUST_DOMAINS.map(|one| clients(&daemon, one, &board, &stop));
    tokio::join!(watched, join_all(clients));
    eprintln!("{}", board.told());
    let rounds: u64 = {
        let board = board.0.lock().unwrap();
        board.values().flatten().map(|seen| seen.handshakes.min(seen.tokens)).sum()
    };
    assert!(rounds > 10 * u64::try_from(wanted).unwrap(), "{rounds}: {}", board.told());
    compare(&daemon, &board).await;

    // What was in the middle of its life is taken up after a crash.
    let before = keys(&daemon.operator(PRODUCTION), "x509-authority").await;
    daemon.kill().await;
    daemon.launch().await;
    let after = keys(&daemon.operator(PRODUCTION), "x509-authority").await;
    assert!(before.iter().any(|(key, _)| after.iter().any(|(kept, _)| kept == key)), "{after:?}");
    for trust_domain in TRUST_DOMAINS {
        let verified = daemon.operator(trust_domain).json(&["audit", "verify"]).await;
        assert!(verified["size"].as_u64().unwrap() > 10, "{verified}");
    }
}
