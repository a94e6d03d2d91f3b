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

/// Some parts can only be played by changing the user, which only root may. `MARQUE_REQUIRE_USERS=1` says that it must be.
#[expect(clippy::disallowed_methods, reason = "what must be there comes from the environment")]
fn is_root() -> bool {
    let root = Uid::effective().is_root();
    let required = std::env::var_os("MARQUE_REQUIRE_USERS").is_some_and(|value| value == "1");
    assert!(root || !required, "MARQUE_REQUIRE_USERS=1, but this is not root");
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}
