//! FetchX509SVID on a new connection: accept, pin, attest, the first message, and the end of the connection.

use std::path::Path;
use std::time::{Duration, Instant};

use super::child::Server;
use super::figures::{Samples, row, title};
use super::protocol::{Client, message};
use super::{bare, ours};

const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_millis(500);

pub(crate) async fn measure() {
    let (ours, bare) = (Server::start(ours::PART).await, Server::start(bare::PART).await);
    title(
        "FetchX509SVID on a new connection, attestation included",
        &[
            "ratio p50",
            "of rates",
            "of server CPU",
            "at once",
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
    for at_once in [1, 16] {
        drop((open(&ours.socket, at_once).await, open(&bare.socket, at_once).await));
        let (mut one, mut other) = (Samples::default(), Samples::default());
        let mut used = (0.0, 0.0);
        for _ in 0..ROUNDS {
            let before = (ours.child.processor_micros(), bare.child.processor_micros());
            one.extend(open(&ours.socket, at_once).await);
            other.extend(open(&bare.socket, at_once).await);
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
            at_once.to_string(),
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

async fn open(socket: &Path, at_once: usize) -> Samples {
    let end = Instant::now() + ROUND;
    let callers = (0..at_once).map(|_| {
        let socket = socket.to_owned();
        tokio::spawn(async move {
            let mut taken = Samples::default();
            while Instant::now() < end {
                let started = Instant::now();
                let mut client = Client::connect(&socket).await;
                let mut stream = client.x509_svids().await.expect("a stream");
                message(&mut stream).await;
                drop((stream, client));
                taken.add(started);
            }
            taken
        })
    });
    let mut all = Samples::default();
    for caller in callers.collect::<Vec<_>>() {
        all.extend(caller.await.expect("the caller ends"));
    }
    all
}
