//! `docs/spiffe-conformance.md` and `docs/oauth-conformance.md` are what the tests' names say: each clause of the SPIFFE
//! standards and each rule of the token service, with the tests that are named after it.
//!
//! `docs/frameworks.md` is the table that events are tagged by.
//!
//! `MARQUE_WRITE_DOCS=1 cargo test --test conformance` writes the tables anew.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests; the lint settings cover test functions alone"
)]

mod frameworks;
mod oauth;
mod page;
mod spiffe;
mod tree;

use std::collections::BTreeSet;

use self::oauth::Rules;
use self::tree::{Tree, root, sources};

#[test]
fn the_table_of_clauses_is_what_the_tests_say() {
    page::check("docs/spiffe-conformance.md", &spiffe::page(&Tree::read())).unwrap();
}

#[test]
fn every_clause_has_a_test_that_is_named_after_it() {
    let tree = Tree::read();
    let tests = spiffe::by_clause(&tree);
    let bare: Vec<_> = spiffe::ids().filter(|id| !tests.contains_key(*id)).collect();
    assert!(bare.is_empty(), "clauses without a test: {bare:?}");
}

#[test]
fn no_test_is_named_after_a_clause_that_does_not_exist() {
    let tree = Tree::read();
    let known: BTreeSet<_> = spiffe::ids().map(ToOwned::to_owned).collect();
    let unknown: Vec<_> =
        spiffe::by_clause(&tree).into_iter().filter(|(id, _)| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "tests of unknown clauses: {unknown:?}");
}

#[test]
fn the_table_of_the_token_services_rules_is_what_the_tests_say() {
    page::check("docs/oauth-conformance.md", &Rules::read().page(&Tree::read())).unwrap();
}

#[test]
fn every_rule_of_the_token_service_has_a_test_or_says_why_not() {
    let findings = Rules::read().findings(&Tree::read());
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn every_draft_is_pinned_and_in_the_table() {
    let findings = Rules::read().drafts(&sources(&[root().join("crates")]));
    assert!(findings.is_empty(), "{findings:#?}");
}
