//! What another bundle would change.

use std::collections::BTreeSet;

use marque_jose::{KeyId, PublicKey, sha256};
use marque_spiffe::Bundle;
use serde::Serialize;

use super::authority;
use crate::cli::output::{put, visible};

/// In what two bundles differ; nothing, where they do not.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// The sequence that is held, and the other one.
    sequence: Option<(u64, u64)>,
    /// The same of the refresh hint, in seconds.
    refresh_hint_s: Option<(u64, u64)>,
    /// What the other has and is not held.
    added: Vec<String>,
    /// What is held and the other has not.
    removed: Vec<String>,
}

/// What `offered` has otherwise than `held`.
pub(super) fn between(held: &Bundle, offered: &Bundle) -> Difference {
    let differ = |held: u64, offered: u64| (held != offered).then_some((held, offered));
    let (before, after) = (authorities(held), authorities(offered));
    let (hint, offered_hint) = (held.refresh_hint(), offered.refresh_hint());
    Difference {
        sequence: differ(held.sequence(), offered.sequence()),
        refresh_hint_s: differ(hint.as_secs(), offered_hint.as_secs()),
        added: after.difference(&before).cloned().collect(),
        removed: before.difference(&after).cloned().collect(),
    }
}

/// Every authority, as a text that names it and no other.
fn authorities(bundle: &Bundle) -> BTreeSet<String> {
    let x509 = bundle.x509_authorities().iter().map(|one| format!("X.509 {}", authority(one)));
    let token = |kind: &'static str| {
        move |(kid, key): (&KeyId, &PublicKey)| {
            let key = serde_json::Value::Object(key.to_jwk()).to_string();
            format!("{kind} {kid} (sha256 {})", hex::encode(sha256(key.as_bytes())))
        }
    };
    x509.chain(bundle.jwt_authorities().iter().map(token("JWT")))
        .chain(bundle.wit_authorities().iter().map(token("WIT")))
        .collect()
}

pub(super) fn render(difference: &Difference) -> String {
    let Difference { sequence, refresh_hint_s, added, removed } = difference;
    let mut text = String::new();
    for (name, change) in [("sequence", sequence), ("refresh hint", refresh_hint_s)] {
        if let Some((from, to)) = change {
            put(&mut text, format_args!("~ {name} {from} -> {to}\n"));
        }
    }
    for (sign, list) in [("-", removed), ("+", added)] {
        for one in list {
            put(&mut text, format_args!("{sign} {}\n", visible(one)));
        }
    }
    if text.is_empty() { "No difference".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use marque_testkit::ScratchTrustDomain;

    use super::*;

    #[test]
    fn what_another_bundle_would_change_is_told_and_nothing_else() {
        let (one, other) =
            (ScratchTrustDomain::new("a.example.org"), ScratchTrustDomain::new("a.example.org"));
        let same = between(&one.bundle(), &one.bundle());
        assert_eq!(same, Difference::default());
        assert_eq!(render(&same), "No difference");
        let mut document = other.bundle().to_document();
        document["spiffe_sequence"] = 9.into();
        let name = one.trust_domain().clone();
        let changed = Bundle::parse(name, document.to_string().as_bytes()).unwrap();
        let difference = between(&one.bundle(), &changed);
        assert_eq!(difference.sequence, Some((one.bundle().sequence(), 9)));
        let authorities = authorities(&one.bundle()).len();
        assert_eq!((difference.added.len(), difference.removed.len()), (authorities, authorities));
        let text = render(&difference);
        assert!(text.starts_with("~ sequence") && text.contains("\n- X.509 "), "{text}");
    }
}
