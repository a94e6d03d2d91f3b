//! Wycheproof's JSON Web Key and JSON Web Crypto vectors, `json_web_key_test.json` and `json_web_crypto_test.json` beside
//! the file that `MARQUE_WYCHEPROOF_JWS` names. Skipped when it is not set.
//!
//! A key set is used as callers use one: the key that the header names, for the use and the algorithm that it is for.

use marque_jose::{Jwk, UnverifiedCompact};
use serde_json::Value;

use crate::web_file::{Group, Test, Vectors};

/// Whether the token verifies by the one key of the set that its header names.
fn verifies(keys: &[&Value], token: &str) -> bool {
    let Ok(token) = UnverifiedCompact::parse(token) else { return false };
    let named: Vec<_> = keys
        .iter()
        .filter(|key| key["kid"].as_str() == token.header().kid().map(marque_jose::KeyId::as_str))
        .collect();
    let [key] = named.as_slice() else { return false };
    let Ok(key) = Jwk::parse(key) else { return false };
    let for_signatures = key.key_use.as_deref().is_none_or(|used| used == "sig");
    for_signatures && token.verify(&key.key, key.algorithms()).is_ok()
}

/// What Wycheproof has otherwise, with the reason.
fn on_purpose(group: &Group, test: &Test, key: &Value) -> bool {
    // Symmetric keys are no keys here, and nothing is decrypted.
    let symmetric = key["kty"] == "oct" || !test.jwe.is_null();
    // A key from a library that made its primes badly looks like any other; who publishes such a key has to replace it.
    symmetric || group.comment == "jws_rsa_roca_key"
}

#[expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "vectors that do not load fail the test, and those that hold are counted"
)]
fn run(file: &std::path::Path) {
    let vectors: Vectors = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let (mut as_expected, mut otherwise, mut wrong) = (0, 0, Vec::new());
    for group in &vectors.test_groups {
        let key = group.public.as_ref().unwrap_or(&group.private);
        let keys: Vec<&Value> = match key["keys"].as_array() {
            Some(keys) => keys.iter().collect(),
            None => vec![key],
        };
        for test in &group.tests {
            let token = if test.jwe.is_null() { &test.jws } else { &test.jwe };
            let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            let found = verifies(&keys, &token);
            match (found, test.result == "valid") {
                (found, expected) if found == expected => as_expected += 1,
                _ if keys.iter().any(|key| on_purpose(group, test, key)) => otherwise += 1,
                (found, _) => wrong.push(format!("{} {}: {found}", test.tc_id, test.comment)),
            }
        }
    }
    eprintln!("{}: {as_expected} as expected, {otherwise} otherwise on purpose", file.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(as_expected + otherwise, vectors.number_of_tests);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the vectors may not be part of this repository")]
fn the_web_key_and_web_crypto_vectors_hold() {
    let Some(path) = std::env::var_os("MARQUE_WYCHEPROOF_JWS") else {
        eprintln!("skipped: MARQUE_WYCHEPROOF_JWS names no json_web_signature_test.json");
        return;
    };
    let path = std::path::PathBuf::from(path);
    for name in ["json_web_key_test.json", "json_web_crypto_test.json"] {
        run(&path.with_file_name(name));
    }
}
