//! The pin, against those who want to get round it: real processes, one uid, and a program that earns an identity which
//! the others do not.
//!
//! What none of this can show, because it cannot be kept out: a process that traces another of its own uid, or preloads a
//! library into it.

mod descriptors;
mod part;
mod pin;
mod queued;

use std::path::PathBuf;

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::programs::copy_of_this_program;

/// A daemon with a short handshake, and the program that it trusts.
async fn daemon() -> (Daemon, PathBuf) {
    let daemon = Daemon::start_with(|trust_domains| {
        let document = trust_domains.join(PRODUCTION).join("trust-domain.toml");
        let mut text = std::fs::read_to_string(&document).expect("the document");
        text.push_str("\n[limits]\nhandshake = \"1s\"\nconnections_per_uid = 1000\nrequests_per_second_per_uid = 1000000\nrequest_burst_per_uid = 1000000\n");
        std::fs::write(&document, text).expect("the document");
    })
    .await;
    let program = copy_of_this_program("door-trusted");
    let id = daemon.place(PRODUCTION).id("/service/trusted");
    daemon.operator(PRODUCTION).register(&id, "service", &program).await;
    (daemon, program)
}

/// How often a race is run: `MARQUE_DOOR_ROUNDS`, else `usual`.
#[expect(clippy::disallowed_methods, reason = "how many rounds comes from the environment")]
fn rounds(usual: usize) -> usize {
    let asked = std::env::var("MARQUE_DOOR_ROUNDS").ok();
    asked.map_or(usual, |text| text.parse().expect("MARQUE_DOOR_ROUNDS is a number"))
}
