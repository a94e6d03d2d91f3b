//! FetchJWTSVID of a token that is cached: each call attests its caller and is answered from memory.

use std::path::Path;
use std::time::{Duration, Instant};

use super::child::Server;
use super::figures::{Samples, row, title};
use super::protocol::Client;
use super::{bare, ours};

const AUDIENCE: &str = "https://api.example.org";
const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_millis(500);

pub(crate) async fn measure() {
    let (ours, bare) = (Server::start(ours::PART).await, Server::start(bare::PART).await);
    title(
        "FetchJWTSVID, cached",
        &[
            "ratio p50",
            "of rates",
            "of server CPU",
            "connections",
            "ours p50 µs",
            "p99",
            "per second",
            "CPU µs",
            "bare p50 µs",
            "p99",
            "per second",
            "CPU µs",
        ],
    );
    for connections in [1, 16, 64] {
        let mut clients =
            (connect(&ours.socket, connections).await, connect(&bare.socket, connections).await);
        drop((call(&mut clients.0).await, call(&mut clients.1).await));
        let (mut one, mut other) = (Samples::default(), Samples::default());
        let mut used = (0.0, 0.0);
        for _ in 0..ROUNDS {
            let before = (ours.child.processor_micros(), bare.child.processor_micros());
            one.extend(call(&mut clients.0).await);
            other.extend(call(&mut clients.1).await);
            used.0 += ours.child.processor_micros() - before.0;
            used.1 += bare.child.processor_micros() - before.1;
        }
        let seconds = ROUND.as_secs_f64() * f64::from(u32::try_from(ROUNDS).expect("few"));
        let rates = (one.len() / seconds, other.len() / seconds);
        let used = (used.0 / one.len(), used.1 / other.len());
        row(&[
            format!("{:.2}", one.p50() / other.p50()),
            format!("{:.2}", rates.1 / rates.0),
            format!("{:.2}", used.0 / used.1),
            connections.to_string(),
            format!("{:.0}", one.p50()),
            format!("{:.0}", one.p99()),
            format!("{:.0}", rates.0),
            format!("{:.1}", used.0),
            format!("{:.0}", other.p50()),
            format!("{:.0}", other.p99()),
            format!("{:.0}", rates.1),
            format!("{:.1}", used.1),
        ]);
    }
}

async fn connect(socket: &Path, connections: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::connect(socket).await);
    }
    clients
}

/// Every connection calls, one call after the other, for one round.
async fn call(clients: &mut Vec<Client>) -> Samples {
    let end = Instant::now() + ROUND;
    let callers = clients.drain(..).map(|mut client| {
        tokio::spawn(async move {
            let mut taken = Samples::default();
            while Instant::now() < end {
                let started = Instant::now();
                let answer = client.jwt_svid(AUDIENCE).await.expect("an answer");
                taken.add(started);
                assert_eq!(answer.svids.len(), 1);
            }
            (client, taken)
        })
    });
    let mut all = Samples::default();
    for caller in callers.collect::<Vec<_>>() {
        let (client, taken) = caller.await.expect("the caller ends");
        clients.push(client);
        all.extend(taken);
    }
    all
}
