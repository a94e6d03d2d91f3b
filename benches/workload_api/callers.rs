//! No sockets: what one new entry costs the room that decides, when every open stream is of a caller with selectors of
//! its own and only one of them is concerned.

use std::sync::Arc;
use std::time::Instant;

use marque_spiffe::{Selector, SelectorSet};
use tokio::sync::mpsc;

use super::figures::{Samples, row, title};
use super::ours::{Scratch, entry};

const CHANGES: usize = 200;

pub(crate) async fn measure(streams: usize) {
    title(
        "A new entry for one of many callers, each with an entry and selectors of its own, no sockets",
        &["callers", "p50 µs", "p99", "worst"],
    );
    for callers in [1, 100, streams] {
        let own = |n: usize| format!("unix:path:/usr/bin/agent-{n}");
        let entries =
            (0..callers).map(|n| entry(&format!("{n}"), &["unix:uid:1000", &own(n)])).collect();
        let scratch = Arc::new(Scratch::with(entries));
        let workload = scratch.workload();
        let (said, mut heard) = mpsc::unbounded_channel();
        for n in 0..callers {
            let mut stream = workload.subscribe_x509(selectors(&own(n)));
            stream.next().await.expect("a stream").expect("an update");
            let said = said.clone();
            tokio::spawn(async move {
                while let Some(Ok(update)) = stream.next().await {
                    if said.send(update.svids.len()).is_err() {
                        return;
                    }
                }
            });
        }
        // Every stream waits by now, or will find what changed when it begins to.
        tokio::task::yield_now().await;
        let mut taken = Samples::default();
        for change in 0..CHANGES {
            let started = Instant::now();
            let selector = own(change % callers);
            scratch.registry.add(entry(&format!("new-{change}"), &[&selector])).expect("fits");
            scratch.publish();
            assert_eq!(heard.recv().await, Some(2));
            taken.add(started);
            let id = format!("new-{change}").parse().expect("an id");
            scratch.registry.remove(&id).expect("it is there");
            scratch.publish();
            assert_eq!(heard.recv().await, Some(1));
        }
        row(&[
            callers.to_string(),
            format!("{:.0}", taken.p50()),
            format!("{:.0}", taken.p99()),
            format!("{:.0}", taken.worst()),
        ]);
    }
}

/// As many selectors as an agent under a usual user has.
fn selectors(own: &str) -> SelectorSet {
    let common = [
        "unix:uid:1000",
        "unix:user:agent",
        "unix:gid:1000",
        "unix:group:agent",
        "unix:supplementary_gid:1000",
        "unix:supplementary_group:agent",
        "unix:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ];
    common.into_iter().chain([own]).map(|text| text.parse::<Selector>().expect("one")).collect()
}
