//! What an idle stream costs in the server's resident memory, each stream on a connection of its own.

use super::child::Server;
use super::figures::{row, title};
use super::holder::open;
use super::{bare, ours};

/// Opened before anything is measured, so that what a server needs once is not shared out.
const WARM_UP: usize = 100;

pub(crate) async fn measure(streams: usize) {
    let allocator = if cfg!(feature = "jemalloc") { "jemalloc" } else { "glibc malloc" };
    title(
        &format!("Resident memory of an idle stream on its own connection, {allocator}"),
        &["ours KiB", "bare KiB", "difference", "streams", "ours, after all closed, MiB", "bare"],
    );
    let mut figures = Vec::new();
    for part in [ours::PART, bare::PART] {
        let server = Server::start(part).await;
        let warm = open(&server.socket, WARM_UP, 1).await;
        let before = server.child.resident_kib();
        let held = open(&server.socket, streams, 1).await;
        let after = server.child.resident_kib();
        let each = (after - before) / f64::from(u32::try_from(streams).expect("few"));
        drop((warm, held));
        // Long enough for every connection to be noticed and for the allocator to give back what it gives back.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        figures.push((each, server.child.resident_kib() / 1024.0));
    }
    let ((ours, ours_closed), (bare, bare_closed)) = (figures[0], figures[1]);
    row(&[
        format!("{ours:.1}"),
        format!("{bare:.1}"),
        format!("{:.1}", ours - bare),
        streams.to_string(),
        format!("{ours_closed:.0}"),
        format!("{bare_closed:.0}"),
    ]);
}
