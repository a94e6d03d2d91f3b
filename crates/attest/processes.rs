//! Tests against real processes: this test binary plays every part by starting itself again.

mod descriptors;
mod fresh;
mod lineage;
mod namespaces;
mod parent;
mod pin;
mod role;
mod script;
mod survey;
mod systemd;
mod unix;

use nix::unistd::Uid;

use crate::attestor::Attestors;
use crate::unix::{UnixAttestor, UnixAttestorConfig};

/// A user id that owns nothing on any host.
const NOBODY: u32 = 51_234;

fn unix_attestors() -> Attestors {
    Attestors::new(vec![Box::new(UnixAttestor::new(UnixAttestorConfig::default()))])
}

/// Some parts can only be played by changing the user, which only root may.
fn is_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}
