//! `testdata/jws-vectors.json`: one case for each way in which a token is refused, by the name of its error.

use marque_jose::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::verify_claims;

#[derive(Deserialize)]
struct Vectors {
    keys: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    key: String,
    token: String,
    expect: String,
    allowed: Option<Vec<Algorithm>>,
}

#[test]
fn every_case_is_accepted_or_refused_for_the_expected_reason() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../testdata/jws-vectors.json")).unwrap();
    assert!(vectors.cases.len() >= 150, "cases were lost");
    let mut wrong = Vec::new();
    for Case { name, key, token, expect, allowed } in &vectors.cases {
        let outcome = verify_claims(&vectors.keys[key], allowed.as_deref(), token);
        let found = outcome.err().unwrap_or_else(|| "valid".to_owned());
        // The name of the variant ends where its contents begin.
        if found.split(|c: char| !c.is_alphanumeric()).next() != Some(expect) {
            wrong.push(format!("{name}: expected {expect}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
