//! What tests need of the machine: programs that this project did not write, and several local users. Each is named by `MARQUE_TEST_<NAME>`; without it a test that needs one is
//! skipped, or fails where `MARQUE_REQUIRE_<NAME>=1` says that it must be there.

use std::path::PathBuf;

/// The value of `MARQUE_TEST_<NAME>`, or `None` where the test is to be skipped.
#[expect(clippy::disallowed_methods, reason = "where a program is comes from the environment")]
pub(crate) fn tool(name: &str, what: &str) -> Option<PathBuf> {
    let variable = format!("MARQUE_TEST_{name}");
    if let Some(value) = std::env::var_os(&variable).filter(|value| !value.is_empty()) {
        return Some(value.into());
    }
    let name = name.trim_end_matches("_MODULES");
    assert!(!required(name), "MARQUE_REQUIRE_{name}=1, but {variable} is not set");
    eprintln!("skipped: set {variable} to {what}");
    None
}

/// Whether this test may be several users: root may run processes as anybody. Where it may not, a test that needs them is
/// skipped, or fails where `MARQUE_REQUIRE_USERS=1` says that it must be.
pub(crate) fn several_users() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || !required("USERS"), "MARQUE_REQUIRE_USERS=1, but this is not root");
    if !root {
        eprintln!("skipped: only root can run a process as another user");
    }
    root
}

/// Whether `MARQUE_REQUIRE_<NAME>=1`.
#[expect(clippy::disallowed_methods, reason = "what must be there comes from the environment")]
pub(crate) fn required(name: &str) -> bool {
    std::env::var_os(format!("MARQUE_REQUIRE_{name}")).is_some_and(|value| value == "1")
}
