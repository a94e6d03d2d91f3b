//! One change of the bundle on its way to every open stream.

use std::time::Instant;

use super::child::Server;
use super::figures::{Samples, row, title};
use super::holder::{listen, open};
use super::{bare, ours};

/// How many streams share a connection.
const EACH: usize = 2;
const ROUNDS: usize = 9;

pub(crate) async fn measure(streams: usize) {
    title(
        "A bundle change on its way to every open stream, no splay",
        &[
            "ratio",
            "of server CPU",
            "streams",
            "ours: last one after ms",
            "CPU µs each",
            "bare: last one after ms",
            "CPU µs each",
        ],
    );
    let (mut ours, mut bare) = (Server::start(ours::PART).await, Server::start(bare::PART).await);
    let connections = streams.div_ceil(EACH);
    let mut heard = (
        listen(open(&ours.socket, connections, EACH).await),
        listen(open(&bare.socket, connections, EACH).await),
    );
    let (mut one, mut other) = (Samples::default(), Samples::default());
    let mut used = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        for (server, heard, taken, used) in [
            (&mut ours, &mut heard.0, &mut one, &mut used.0),
            (&mut bare, &mut heard.1, &mut other, &mut used.1),
        ] {
            let before = server.child.processor_micros();
            let started = Instant::now();
            server.child.tell("change").await;
            for _ in 0..connections * EACH {
                heard.recv().await.expect("a message");
            }
            taken.add(started);
            used.push_micros(server.child.processor_micros() - before);
        }
    }
    let count = f64::from(u32::try_from(connections * EACH).expect("few"));
    row(&[
        format!("{:.2}", one.p50() / other.p50()),
        format!("{:.2}", used.0.p50() / used.1.p50()),
        format!("{count}"),
        format!("{:.1}", one.p50() / 1e3),
        format!("{:.1}", used.0.p50() / count),
        format!("{:.1}", other.p50() / 1e3),
        format!("{:.1}", used.1.p50() / count),
    ]);
}
