//! What looks like a secret (M 17): names of members that hold one, and values that have the shape of one.
//!
//! It guards values that an agent or a playbook's author writes and that would reach a claim, a log or an approver's
//! screen. It errs towards refusing; whoever is refused writes a reference to the secret in place of the secret. Absent:
//! any promise that what passes is no secret.

use serde_json::{Map, Value};

/// Members whose values are secrets, compared without case, `-` and `_`.
const NAMES: &[&str] = &[
    "accesskey",
    "accesstoken",
    "apikey",
    "apisecret",
    "authorization",
    "authtoken",
    "bearertoken",
    "clientsecret",
    "connectionstring",
    "cookie",
    "credential",
    "credentials",
    "idtoken",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "privatekey",
    "pwd",
    "refreshtoken",
    "secret",
    "secretaccesskey",
    "secretkey",
    "secretvalue",
    "sessiontoken",
    "signingkey",
    "token",
];
/// Prefixes by which providers mark their keys, and how many characters follow at least.
const PREFIXES: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ya29.", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxe-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("hooks.slack.com/services/", 10),
    ("sk-", 20),
    ("sk_live_", 10),
    ("rk_live_", 10),
    ("hvs.", 16),
    ("hvb.", 16),
    ("npm_", 30),
    ("pypi-", 30),
    ("dop_v1_", 30),
    ("SG.", 30),
    ("AGE-SECRET-KEY-", 20),
];
/// A run of characters of a key that is at least so long is looked at for its randomness.
const RUN: usize = 24;
/// Bits of entropy for each character of a run of letters and digits from which it counts as random: words have fewer.
const RANDOM_BITS: f64 = 4.2;
/// The same for a run of hexadecimal digits, of which there are 16, from this length on.
const HEX_RUN: usize = 40;

/// Whether a member of this name would hold a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let folded: String = name
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | ' ' | '.'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    NAMES.contains(&folded.as_str())
}

/// Whether a text has the shape of a secret: PEM, a compact JWS or JWE, the key of a known provider, credentials in a URL,
/// or a long run of random characters.
#[must_use]
pub fn looks_like_secret(text: &str) -> bool {
    text.contains("-----BEGIN ")
        || has_provider_key(text)
        || has_url_password(text)
        || text.split(|c: char| c.is_whitespace() || "\"'`,;<>()[]{}".contains(c)).any(is_token)
}

/// The path of the first thing in a value that looks like a secret, such as `/a/0`; names count as well.
pub(crate) fn secret_in(members: &Map<String, Value>) -> Option<String> {
    members.iter().find_map(|(name, value)| within(value, name))
}

fn within(value: &Value, name: &str) -> Option<String> {
    let holds_something = !matches!(value, Value::Null | Value::Bool(_));
    if holds_something && is_secret_name(name) {
        return Some(format!("/{name}"));
    }
    let below = |inner: Option<String>| inner.map(|rest| format!("/{name}{rest}"));
    match value {
        Value::String(text) if looks_like_secret(text) => Some(format!("/{name}")),
        Value::Array(items) => below(
            items.iter().enumerate().find_map(|(index, item)| within(item, &index.to_string())),
        ),
        Value::Object(members) => below(secret_in(members)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn has_provider_key(text: &str) -> bool {
    PREFIXES.iter().any(|(prefix, least)| {
        text.match_indices(prefix).any(|(at, _)| {
            let before = text.get(..at).and_then(|head| head.chars().next_back());
            let follows = text.get(at + prefix.len()..).unwrap_or_default();
            before.is_none_or(|c| !c.is_ascii_alphanumeric())
                && follows.bytes().take_while(|byte| is_key_byte(*byte)).count() >= *least
        })
    })
}

/// `scheme://user:password@host`.
fn has_url_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// A compact JWS or JWE, or a run that is too random for a name.
fn is_token(word: &str) -> bool {
    let parts = word.split('.').collect::<Vec<_>>();
    let encoded = |part: &&str| part.bytes().all(is_key_byte);
    let is_compact = matches!(parts.len(), 3 | 5)
        && parts.first().is_some_and(|header| header.starts_with("eyJ") && header.len() > 10)
        && parts.iter().all(encoded);
    is_compact || word.split(|c: char| !c.is_ascii() || !is_run_byte(c as u8)).any(is_random)
}

const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'/' | b'=')
}

const fn is_run_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'=' | b'_' | b'-')
}

fn is_random(run: &str) -> bool {
    let hex = run.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mixed = run.bytes().any(|byte| byte.is_ascii_digit())
        && run.bytes().any(|byte| byte.is_ascii_lowercase())
        && run.bytes().any(|byte| byte.is_ascii_uppercase());
    if hex {
        return run.len() >= HEX_RUN && entropy(run) > 3.0;
    }
    run.len() >= RUN && mixed && entropy(run) > RANDOM_BITS.min(most(run.len()))
}

/// Nine tenths of the entropy that a run of this length can have.
fn most(length: usize) -> f64 {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    0.9 * f64::from(length).log2()
}

/// Shannon's entropy, in bits for each character.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let all = f64::from(counts.iter().sum::<u32>());
    let share = |count: &u32| f64::from(*count) / all;
    -counts.iter().filter(|count| **count > 0).map(share).map(|p| p * p.log2()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn shapes_of_secrets_are_known() {
        for secret in [
            concat!("-----BEGIN ", "PRIVATE KEY-----\nMIGHAgEA"),
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
            "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
            concat!("AKIA", "IOSFODNN7EXAMPLE"),
            concat!("key=ASIA", "IOSFODNN7EXAMPLE"),
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1x9Qz7Lm2Vb4Nc",
            concat!("AIza", "SyD1e2F3g4H5i6J7k8L9m0N1o2P3q4R5s6T"),
            concat!("ghp", "_0123456789abcdefghij0123456789abcdef"),
            concat!("github", "_pat_11ABCDEFG0abcdefghij_klmnopqrstuvwx"),
            concat!("xoxb", "-123456789012-abcdefghijkl"),
            concat!("https://hooks.slack", ".com/services/T000/B000/XXXXXXXX"),
            concat!("sk", "-proj0123456789abcdefghij"),
            "postgres://app:hunter2@db.example.org/x",
            "q7Rk2mZx9LpW4vTn8sYb3HdG6cJfA1eU",
            "3f786850e387550fdab836ed7e6dc881de23001b",
        ] {
            assert!(looks_like_secret(secret), "{secret}");
        }
    }

    #[test]
    fn names_that_people_write_are_no_secrets() {
        for name in [
            "",
            "checkout",
            "eu-west-1",
            "CHG-1842",
            "contract_7781",
            "task_contract_renewal_review_8842",
            "sess_2026_05_12_001",
            "review_customer_contract_for_renewal_risk",
            "ns/ingress/secret/checkout-tls",
            "https://k8s.eu-west-1.prod.example.org/api?x=1",
            "spiffe://prod.example.org/agent/cert-rotator/one",
            "mailto:someone@example.org",
            "the certificate of the checkout ends in six days",
            "0190b2f4-7c1a-7e3b-9c55-0f6de1e2a3b4",
            "int_0123456789abcdefghjkmnpqrs",
            "CustomerRelationshipManagementSystem2",
            "1.2.3-rc.4+build.5",
            "skill-based-routing-of-support-tickets",
        ] {
            assert!(!looks_like_secret(name), "{name}");
        }
    }

    #[test]
    fn members_that_hold_secrets_are_known_by_name() {
        for name in
            ["password", "PassWord", "api_key", "API-Key", "client_secret", "token", "secret"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["service", "secret_name", "tokens_left", "key_id", "passenger"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn the_place_of_a_secret_is_told_and_never_its_value() {
        let members = |value: Value| value.as_object().cloned().unwrap();
        let deep = members(json!({"a": [{"b": "x"}, {"password": "hunter2"}]}));
        assert_eq!(secret_in(&deep).as_deref(), Some("/a/1/password"));
        let listed = members(json!({"a": ["x", concat!("-----BEGIN RSA ", "PRIVATE KEY-----")]}));
        assert_eq!(secret_in(&listed).as_deref(), Some("/a/1"));
        assert_eq!(secret_in(&members(json!({"token": true, "a": 7}))), None);
    }

    proptest! {
        #[test]
        fn a_random_key_is_always_known(bytes in prop::collection::vec(any::<u8>(), 48..64)) {
            let key = marque_jose::base64url::encode(&bytes);
            prop_assume!(entropy(&key) > 4.6);
            prop_assert!(looks_like_secret(&format!("x={key}")), "{}", key);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _answer = (looks_like_secret(&text), is_secret_name(&text));
        }
    }
}
