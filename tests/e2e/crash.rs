//! The crash test: SIGKILL under a running load of exchanges, again and again on the same data.
//!
//! Two promises are held to: no use is redeemed twice, and every exchange that was answered is in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::{Call, Http};
use crate::support::log;
use crate::support::oauth::{Client, exchange_fields, restart};
use crate::support::place::Place;
use crate::support::tokens::claims;
use crate::support::wait::until;

/// How often the daemon is killed here; `MARQUE_CRASH_ROUNDS` says otherwise.
const DEFAULT_ROUNDS: usize = 2;
/// How many workers ask and exchange at once.
const WORKERS: usize = 8;

/// A single-use intent that was approved, and the `jti` of the token if the exchange was answered.
#[derive(Debug)]
struct Attempt {
    intent: String,
    token_id: Option<String>,
}

/// Everything that one worker needs.
#[derive(Clone)]
struct Load {
    http: Http,
    place: Place,
    svid: String,
    answered: Arc<AtomicUsize>,
}

impl Load {
    /// Asks and exchanges until the daemon no longer answers.
    fn run(&self) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        let asks = Call::json(&self.place.intents_url, &restart()).bearer(&self.svid);
        while let Ok(answer) = self.http.send_blocking(&asks) {
            let intent = answer.expect(201).text("id");
            let exchange =
                Call::form(&self.place.token_endpoint, &exchange_fields(&self.svid, &intent));
            let answer = self.http.send_blocking(&exchange);
            let token_id = answer
                .as_ref()
                .ok()
                .map(|answer| token_id(&answer.clone().expect(200).text("access_token")));
            attempts.push(Attempt { intent, token_id });
            if answer.is_err() {
                break;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
        attempts
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_redeems_no_use_twice_and_loses_no_answered_exchange() {
    let mut daemon = Daemon::start().await;
    let mut answered = BTreeMap::new();
    for round in 1..=rounds() {
        // A different moment each time, and early ones too.
        let attempts = crash_under_load(&mut daemon, 3 + round * 7 % 40).await;
        daemon.launch().await;
        let restarter = Client::start(&daemon, RESTARTER).await;
        for attempt in attempts {
            exchange_again(&restarter, attempt, &mut answered).await;
        }
        drop(restarter);
        let folder = daemon.path(&format!("log-{round}"));
        let leaves = log::export(&daemon.operator(NON_PRODUCTION), &folder).await;
        compare(&leaves, &answered, round);
    }
    assert!(
        answered.len() >= rounds(),
        "the load was no load: {} answered exchanges",
        answered.len()
    );
}

/// Runs the load until `enough` exchanges were answered, kills the daemon in the middle of it, and gives what was tried.
async fn crash_under_load(daemon: &mut Daemon, enough: usize) -> Vec<Attempt> {
    let restarter = Client::start(daemon, RESTARTER).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let load = Load {
        http: restarter.http.clone(),
        place: restarter.place.clone(),
        svid: restarter.svid.clone(),
        answered: answered.clone(),
    };
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let load = load.clone();
            tokio::task::spawn_blocking(move || load.run())
        })
        .collect();
    until("answered exchanges", async || (answered.load(Ordering::SeqCst) >= enough).then_some(()))
        .await;
    daemon.kill().await;
    let mut attempts = Vec::new();
    for worker in workers {
        attempts.extend(worker.await.expect("the worker ends"));
    }
    attempts
}

/// An answered exchange is refused from now on; an unanswered one may have been redeemed or not, but never twice.
async fn exchange_again(
    restarter: &Client,
    attempt: Attempt,
    answered: &mut BTreeMap<String, String>,
) {
    let Attempt { intent, token_id: before } = attempt;
    let answer = restarter.exchange(&intent).await;
    let now = (answer.status == 200).then(|| token_id(&answer.text("access_token")));
    assert!(
        before.is_none() || now.is_none(),
        "{intent} was redeemed twice: {before:?}, then {now:?}"
    );
    if now.is_some() {
        restarter.exchange(&intent).await.refused("grant_consumed");
    } else {
        answer.refused("grant_consumed");
    }
    if let Some(token_id) = before.or(now) {
        answered.insert(intent, token_id);
    }
}

fn compare(leaves: &[Value], answered: &BTreeMap<String, String>, round: usize) {
    let mut issued: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for leaf in leaves.iter().filter(|leaf| leaf["type"] == "org.marque.token.issued") {
        let member = |name: &str| {
            leaf["data"][name].as_str().unwrap_or_else(|| panic!("no {name} in {leaf}"))
        };
        issued.entry(member("intent")).or_default().push(member("token_id"));
    }
    let twice: Vec<_> = issued.iter().filter(|(_intent, tokens)| tokens.len() > 1).collect();
    assert!(twice.is_empty(), "round {round}: single uses redeemed twice: {twice:?}");
    let logged: BTreeSet<(&str, &str)> =
        issued.iter().map(|(intent, tokens)| (*intent, tokens[0])).collect();
    for (intent, token_id) in answered {
        let found = logged.contains(&(intent.as_str(), token_id.as_str()));
        assert!(
            found,
            "round {round}: the answered exchange {token_id} of {intent} is not in the log"
        );
    }
}

fn token_id(token: &str) -> String {
    claims(token)["jti"].as_str().expect("a token has a jti").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "how often to crash is told by the environment")]
fn rounds() -> usize {
    std::env::var("MARQUE_CRASH_ROUNDS")
        .map_or(DEFAULT_ROUNDS, |text| text.parse().expect("a number of rounds"))
}
