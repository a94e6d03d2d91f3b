//! Wycheproof's JSON Web Signature vectors, read from the file that `MARQUE_WYCHEPROOF_JWS` names
//! (`testvectors_v1/json_web_signature_test.json` of github.com/C2SP/wycheproof). Skipped when it is not set.

use serde_json::Value;

use crate::verify_any;
use crate::web_file::{Group, Test, Vectors};

/// Tokens that Wycheproof calls valid and that are refused here on purpose, with the reason.
fn refused_on_purpose(group: &Group, test: &Test, error: &str) -> bool {
    let key = group.public.as_ref().unwrap_or(&group.private);
    let member = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
    match error.split(|c: char| !c.is_alphanumeric()).next() {
        // Symmetric keys and P-521 are no keys here.
        Some("Key") => member("kty") == "oct" || member("crv") == "P-521",
        // RFC 7520 figure 20: the token is PS384, and its key says that it is for PS256 alone.
        Some("AlgorithmNotAllowed") => test.comment == "Figure20" && member("alg") == "PS256",
        _ => false,
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the vectors may not be part of this repository")]
fn the_web_signature_vectors_hold() {
    let Some(path) = std::env::var_os("MARQUE_WYCHEPROOF_JWS") else {
        eprintln!("skipped: MARQUE_WYCHEPROOF_JWS names no json_web_signature_test.json");
        return;
    };
    let vectors: Vectors = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut accepted, mut refused, mut on_purpose, mut wrong) = (0, 0, 0, Vec::new());
    for group in &vectors.test_groups {
        let key = group.public.as_ref().unwrap_or(&group.private);
        for test in &group.tests {
            // Cases of JSON serialisation hold an object instead of a string.
            let token = test.jws.as_str().map_or_else(|| test.jws.to_string(), str::to_owned);
            match (verify_any(key, &token), test.result.as_str()) {
                (Ok(_), "valid") => accepted += 1,
                (Err(_), "invalid") => refused += 1,
                (Err(error), "valid") if refused_on_purpose(group, test, &error) => on_purpose += 1,
                (outcome, expected) => wrong.push(format!(
                    "{} ({}: {}): expected {expected}, found {:?}",
                    test.tc_id,
                    group.comment,
                    test.comment,
                    outcome.map(|_| "valid")
                )),
            }
        }
    }
    let total = accepted + refused + on_purpose + wrong.len();
    eprintln!(
        "{total} cases: {accepted} accepted, {refused} refused, {on_purpose} valid ones refused on purpose"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(total, vectors.number_of_tests);
    assert!(accepted > 20 && refused > 200, "cases were lost");
}
