//! `POST /v1/intents` for a playbook that policy approves alone: from when a request was due until its approval, on disk,
//! was read. Its agent gives each back at once (`cancel`), which is load that is not timed: else each agent would soon have
//! more of them open than it may.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::issuer::{Engine, Running, Setting, post};
use crate::load::{Figures, Load, Then};

/// The rate of the aim.
const RATE: u32 = 200;
/// How long it is offered.
const LENGTH: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 32;
/// Agents that ask in turns, each a process of its own.
const AGENTS: usize = 16;
/// Playbooks in the later rows of an engine; in the first ones there are those that ship.
const CROWD: usize = 10_000;

pub(crate) async fn measure(engines: Vec<Engine>) {
    if engines.is_empty() {
        return;
    }
    println!("\n## Request to approved, durable");
    println!(
        "\n| engine | playbooks | offered per second | answered | p50 µs | p99 µs | issuer's CPU µs each |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for engine in engines {
        for (playbooks, told) in [(0, "shipped"), (CROWD, "10,000")] {
            let setting = Setting { agents: AGENTS, playbooks, ..Setting::default() };
            let issuer = Running::start(&engine, &setting).await;
            let mut requests = Requests { issuer: &issuer, asked: 0 };
            // Else the kernel writes the files of a whole new folder or database while the issuer waits for its own.
            nix::unistd::sync();
            let _warm = requests.load(512, None).run(&issuer, CONNECTIONS).await;
            let length = usize::try_from(LENGTH.as_secs()).expect("short");
            let count = length * usize::try_from(RATE).expect("few");
            for (count, rate) in [(count, Some(RATE)), (4 * 1024, None)] {
                let figures = requests.load(count, rate).run(&issuer, CONNECTIONS).await;
                print(&engine, told, rate, &figures);
            }
        }
    }
}

/// Requests that were not asked before, of the agents in turns.
struct Requests<'a> {
    issuer: &'a Running,
    asked: usize,
}

impl Requests<'_> {
    fn load(&mut self, count: usize, rate: Option<u32>) -> Load {
        let first = self.asked;
        let requests = (0..count).map(|_| self.next()).collect();
        let agents = self.issuer.clients.iter();
        let agents: Vec<_> = agents
            .map(|client| (client.place.intents_url.clone(), authorization(&client.svid)))
            .collect();
        let then: Then = Arc::new(move |at, answer: &[u8]| {
            let intent: Value = serde_json::from_slice(answer).expect("JSON");
            assert_eq!(intent["state"], "approved", "{intent}");
            let (url, authorization) = &agents[(first + at) % agents.len()];
            let id = intent["id"].as_str().expect("an id");
            post(&format!("{url}/{id}/cancel"), authorization, "{}")
        });
        Load { requests, rate, status: 201, then: Some(then) }
    }

    fn next(&mut self) -> Arc<[u8]> {
        let client = &self.issuer.clients[self.asked % self.issuer.clients.len()];
        let body = json!({
            "playbook": "restart-preview",
            "parameters": { "preview": format!("pr-{}", self.asked) },
        });
        self.asked += 1;
        let headers = authorization(&client.svid);
        post(&client.place.intents_url, &headers, &body.to_string()).into()
    }
}

fn authorization(svid: &str) -> String {
    format!("Content-Type: application/json\r\nAuthorization: Bearer {svid}")
}

fn print(engine: &Engine, playbooks: &str, rate: Option<u32>, figures: &Figures) {
    let Figures { per_second, p50, p99, cpu } = figures;
    let offered = rate.map_or_else(|| "all at once".to_owned(), |rate| rate.to_string());
    println!(
        "| {} | {playbooks} | {offered} | {per_second:.0} | {p50:.0} | {p99:.0} | {cpu:.0} |",
        engine.name(),
    );
}
