//! What more of each field of each kind of document means. Every field of the formats has its line here; one that has none
//! cannot be ordered, and a test holds the tables against the schemas.
//!
//! Playbooks have theirs in `marque-intent`.

mod trust_domain;

pub(super) use trust_domain::TRUST_DOMAIN;

use marque_intent::Effect::{Narrower, Unclear, Wider};
use marque_intent::{DiffRule as Rule, DocumentRules};
use marque_registry::Lifetime;

const PERMIT: Rule = Rule::Entry { added: Wider, removed: Narrower };
const DEMAND: Rule = Rule::Entry { added: Narrower, removed: Wider };
const NEITHER: Rule = Rule::Entry { added: Unclear, removed: Unclear };
const MOST: Rule = Rule::AtMost { absent: Rule::WITHOUT };
const SOME: Rule = Rule::AtMost { absent: Rule::UNKNOWN };
const LEAST: Rule = Rule::AtLeast { absent: Rule::UNKNOWN };
const ON: Rule = Rule::Toggle { wide: true, absent: Some(true) };
const OFF: Rule = Rule::Toggle { wide: true, absent: Some(false) };
const SWITCH: Rule = Rule::Toggle { wide: true, absent: None };
const OTHER: Rule = Rule::Unordered;
const WORDS: Rule = Rule::Words;

fn seconds(text: &str) -> Option<u64> {
    text.parse::<Lifetime>().ok().map(|length| length.as_duration().as_secs())
}

const fn rules(
    rules: &'static [(&'static str, Rule)],
    lists: &'static [&'static str],
) -> DocumentRules {
    DocumentRules {
        rules,
        lists,
        names: &[
            &["integration", "user"],
            &["name"],
            &["user"],
            &["uid"],
            &["spiffe_id"],
            &["trust_domain"],
            &["audience"],
            &["id"],
        ],
        seconds,
    }
}

/// Of one entry, but for its identity and selectors, which are told in sentences of their own.
pub(super) const ENTRY: DocumentRules = rules(
    &[
        ("role", OTHER),
        // Whoever answers for an agent may not approve for it.
        ("owner", OTHER),
        ("hint", WORDS),
        ("x509_lifetime", MOST),
        ("jwt_lifetime", MOST),
        ("dns_names", Rule::Permits),
        ("federates_with", Rule::Permits),
        ("repository", OTHER),
        ("audiences", Rule::Ceiling),
        ("may_delegate", ON),
        ("may_act_for_others", ON),
        ("expires_at", OTHER),
        ("shared", Rule::Toggle { wide: true, absent: Some(false) }),
        ("reason", WORDS),
    ],
    &[],
);

/// Of one template.
pub(super) const TEMPLATE: DocumentRules = rules(
    &[
        ("id", OTHER),
        ("spiffe_id", OTHER),
        ("max_identities", MOST),
        ("window", WORDS),
        // What a value has to look like; without a pattern any will do.
        ("values.*", Rule::Fixed),
        // Fewer selectors are more processes.
        ("selectors", Rule::Demands),
        ("role", OTHER),
        ("owner", OTHER),
        ("hint", WORDS),
        ("x509_lifetime", MOST),
        ("jwt_lifetime", MOST),
        ("dns_names", Rule::Permits),
        ("federates_with", Rule::Permits),
        ("repository", OTHER),
        ("audiences", Rule::Ceiling),
        ("may_delegate", ON),
        ("may_act_for_others", ON),
        ("expires_at", OTHER),
    ],
    &[],
);

/// Of an exception.
pub(super) const EXCEPTION: DocumentRules = rules(
    &[
        ("apiVersion", OTHER),
        ("kind", OTHER),
        ("id", OTHER),
        ("playbook", OTHER),
        ("version", OTHER),
        ("agent", OTHER),
        ("owner", WORDS),
        ("reason", WORDS),
        ("review_by", WORDS),
        ("from", OTHER),
        ("expires_at", OTHER),
        ("runs", MOST),
        ("parameters.*", Rule::Fixed),
        ("relaxes.approvals", LEAST),
    ],
    &[],
);

/// Of a calendar.
pub(super) const CALENDAR: DocumentRules = rules(
    &[
        ("apiVersion", OTHER),
        ("kind", OTHER),
        ("name", OTHER),
        ("owner", WORDS),
        ("reason", WORDS),
        ("review_by", WORDS),
        ("emergency", OFF),
        ("fixed", Rule::Demands),
        ("recurring", Rule::Demands),
    ],
    &[],
);

/// Of a roster.
pub(super) const ROSTER: DocumentRules = rules(
    &[
        ("apiVersion", OTHER),
        ("kind", OTHER),
        ("group", OTHER),
        ("time_zone", OTHER),
        ("shifts", Rule::Permits),
        // One has the duty for the other.
        ("delegations", OTHER),
    ],
    &[],
);

/// Of a human role, by which nothing is granted.
pub(super) const ROLE: DocumentRules =
    rules(&[("name", WORDS), ("permissions", WORDS), ("playbooks", WORDS)], &[]);

/// Of relations: what they are worth is the policies' to say.
pub(super) const RELATIONS: DocumentRules = rules(
    &[
        ("thing.*", NEITHER),
        ("thing.*.id", OTHER),
        ("thing.*.in", OTHER),
        ("thing.*.relations.*", Rule::Permits),
    ],
    &["thing"],
);
