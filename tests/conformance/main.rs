//! `docs/spiffe-conformance.md` is what the tests' names say: each clause of the SPIFFE standards with the tests that are
//! named after it (`wa_6_…` shows WA-6).
//!
//! `MARQUE_WRITE_DOCS=1 cargo test --test conformance` writes the table anew.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests; the lint settings cover test functions alone"
)]

mod clauses;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use self::clauses::STANDARDS;

const TABLE: &str = "docs/spiffe-conformance.md";

const HEAD: &str = "\
# SPIFFE conformance: each clause, and the tests that show it

Made from the names of the tests by `MARQUE_WRITE_DOCS=1 cargo test --test conformance`, and checked by the same test: a
test named `wa_6_…` shows clause WA-6. The clauses are the MUSTs and SHOULDs of the SPIFFE standards, in our own words.
";

#[test]
fn the_table_of_clauses_is_what_the_tests_say() {
    let page = page(&tests_by_clause());
    let file = root().join(TABLE);
    #[expect(clippy::disallowed_methods, reason = "how a person asks for the table to be written")]
    if std::env::var_os("MARQUE_WRITE_DOCS").is_some() {
        fs::write(&file, &page).expect("the table can be written");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "{TABLE} is stale: run `MARQUE_WRITE_DOCS=1 cargo test --test conformance`"
    );
}

#[test]
fn every_clause_has_a_test_that_is_named_after_it() {
    let tests = tests_by_clause();
    let bare: Vec<_> = ids().filter(|id| !tests.contains_key(*id)).collect();
    assert!(bare.is_empty(), "clauses without a test: {bare:?}");
}

#[test]
fn no_test_is_named_after_a_clause_that_does_not_exist() {
    let known: BTreeSet<_> = ids().map(ToOwned::to_owned).collect();
    let unknown: Vec<_> =
        tests_by_clause().into_iter().filter(|(id, _)| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "tests of unknown clauses: {unknown:?}");
}

fn ids() -> impl Iterator<Item = &'static str> {
    STANDARDS.iter().flat_map(|standard| standard.clauses).map(|(id, _)| *id)
}

fn page(tests: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut page = HEAD.to_owned();
    for standard in STANDARDS {
        write!(page, "\n## {}\n\n| clause | demands | shown by |\n|---|---|---|\n", standard.title)
            .expect("text");
        for (id, demands) in standard.clauses {
            let shown: Vec<_> =
                tests.get(*id).into_iter().flatten().map(|test| format!("`{test}`")).collect();
            writeln!(page, "| {id} | {demands} | {} |", shown.join(" ")).expect("text");
        }
    }
    page
}

/// The tests in the tree, by the clause that their name begins with.
fn tests_by_clause() -> BTreeMap<String, BTreeSet<String>> {
    let test = Regex::new(
        r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn ((id|x5|jw|wi|tb|fe|we|wa|br)_(\d+)_\w+)\(",
    )
    .expect("an expression");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources(&[root().join("crates"), root().join("tests")]) {
        for [name, standard, number] in test.captures_iter(&source).map(|found| found.extract().1) {
            let clause = format!("{}-{number}", standard.to_uppercase());
            found.entry(clause).or_default().insert(name.to_owned());
        }
    }
    found
}

fn sources(folders: &[PathBuf]) -> Vec<String> {
    let mut sources = Vec::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(fs::read_to_string(path).expect("a source"));
            }
        }
    }
    sources
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
