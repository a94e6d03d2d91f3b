//! A page that is written when somebody asks for it, and checked otherwise.

use std::fs;

use super::tree::root;

/// Whether somebody asks for the pages to be written.
#[expect(clippy::disallowed_methods, reason = "how a person asks for the table to be written")]
fn writing() -> bool {
    std::env::var_os("MARQUE_WRITE_DOCS").is_some()
}

/// Writes the page where it is asked for, and compares it with what lies in the tree.
pub(crate) fn check(file: &str, page: &str) -> Result<(), String> {
    let path = root().join(file);
    if writing() {
        fs::write(&path, page).expect("the table can be written");
    }
    if fs::read_to_string(&path).unwrap_or_default() == page {
        Ok(())
    } else {
        Err(format!("{file} is stale: run `MARQUE_WRITE_DOCS=1 cargo test --test conformance`"))
    }
}

/// One row of a table whose last cell names tests.
pub(crate) fn row(id: &str, demands: &str, shown: &str) -> String {
    format!("| {id} | {demands} | {shown} |\n")
}

/// The names of tests as a cell shows them.
pub(crate) fn cell<'a>(tests: impl IntoIterator<Item = &'a str>) -> String {
    tests.into_iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(" ")
}
