//! Programs that this project did not write. Each is named by `MARQUE_TEST_<NAME>`; without it a test that needs one is
//! skipped, or fails where `MARQUE_REQUIRE_<NAME>=1` says that it must be there.

use std::path::PathBuf;

/// The value of `MARQUE_TEST_<NAME>`, or `None` where the test is to be skipped.
#[expect(clippy::disallowed_methods, reason = "where a program is comes from the environment")]
pub(crate) fn tool(name: &str, what: &str) -> Option<PathBuf> {
    let variable = format!("MARQUE_TEST_{name}");
    if let Some(value) = std::env::var_os(&variable).filter(|value| !value.is_empty()) {
        return Some(value.into());
    }
    let require = format!("MARQUE_REQUIRE_{}", name.trim_end_matches("_MODULES"));
    let required = std::env::var_os(&require).is_some_and(|value| value == "1");
    assert!(!required, "{require}=1, but {variable} is not set");
    eprintln!("skipped: set {variable} to {what}");
    None
}
