//! For whom a grant may be used: for nobody but its own agent, or for persons whom the playbook names (M 12).
//!
//! An agent that acts for itself is one of the playbook's own agents, and needs no rule here. Absent: who somebody is,
//! which is for those to say who verified a login, and what a person may do elsewhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::denial::{Denial, DenialCode};

/// The longest subject and the longest group of a rule, in bytes (OpenID Connect Core §2).
pub const MAX_DELEGATOR_TEXT: usize = 255;

/// A playbook's rule about delegators. Where there is none, a grant is used for nobody but its own agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegators {
    /// Whether there has to be one: the agent never acts for itself alone.
    pub required: bool,
    /// Who may be one, by the issuer that vouches for them.
    pub persons: Vec<Persons>,
}

/// Persons of one issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persons {
    /// The name that the issuer has in the trust domain's document.
    pub issuer: String,
    /// By the `sub` of their tokens.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub subjects: BTreeSet<String>,
    /// By the groups that the issuer says they are in: one is enough.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Whoever the issuer vouches for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everybody: bool,
}

/// Somebody on whose behalf an agent wants to use a grant, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegator {
    /// `<name of the issuer>:<sub>`: the root of the chain.
    pub principal: String,
    /// The groups that the issuer says they are in.
    pub groups: BTreeSet<String>,
}

impl Delegators {
    /// Whether a grant with this rule, or with none, may be used on behalf of `delegator`; `None` is the agent itself.
    ///
    /// # Errors
    /// [`DenialCode::DelegatorMissing`] or [`DenialCode::DelegatorNotAllowed`].
    pub fn check(rule: Option<&Self>, delegator: Option<&Delegator>) -> Result<(), Denial> {
        match (rule, delegator) {
            (None, None) | (Some(Self { required: false, .. }), None) => Ok(()),
            (Some(Self { required: true, .. }), None) => {
                let detail = "the playbook is used on behalf of a person, and none was named";
                Err(Denial::new(DenialCode::DelegatorMissing, detail))
            }
            (Some(rule), Some(who)) if rule.persons.iter().any(|persons| persons.include(who)) => {
                Ok(())
            }
            (_, Some(who)) => {
                let detail = format!("the playbook is not used on behalf of `{}`", who.principal);
                Err(Denial::new(DenialCode::DelegatorNotAllowed, detail))
            }
        }
    }

    /// The rule in words, a line for each issuer.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let alone = (!self.required).then(|| "the agent for itself alone".to_owned());
        alone.into_iter().chain(self.persons.iter().map(Persons::line)).collect()
    }
}

impl Persons {
    fn include(&self, who: &Delegator) -> bool {
        let of_issuer = who.principal.strip_prefix(self.issuer.as_str());
        let Some(subject) = of_issuer.and_then(|rest| rest.strip_prefix(':')) else { return false };
        self.everybody || self.subjects.contains(subject) || !self.groups.is_disjoint(&who.groups)
    }

    fn line(&self) -> String {
        let Self { issuer, subjects, groups, everybody } = self;
        let words = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut told = Vec::new();
        if *everybody {
            told.push("everybody".to_owned());
        }
        if !subjects.is_empty() {
            told.push(words(subjects));
        }
        if !groups.is_empty() {
            told.push(format!("whoever is in {}", words(groups)));
        }
        format!("{issuer}: {}", told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn rule(required: bool) -> Delegators {
        let persons = |issuer: &str| Persons {
            issuer: issuer.to_owned(),
            subjects: BTreeSet::new(),
            groups: BTreeSet::new(),
            everybody: false,
        };
        Delegators {
            required,
            persons: vec![
                Persons {
                    subjects: names(&["alice", "a:b"]),
                    groups: names(&["sre"]),
                    ..persons("corp")
                },
                Persons { everybody: true, ..persons("partner") },
            ],
        }
    }

    fn who(principal: &str, groups: &[&str]) -> Delegator {
        Delegator { principal: principal.to_owned(), groups: names(groups) }
    }

    fn code(rule: Option<&Delegators>, who: Option<&Delegator>) -> Option<DenialCode> {
        Delegators::check(rule, who).err().map(|denial| denial.code())
    }

    #[test]
    fn m_12_a_grant_is_used_for_nobody_whom_its_playbook_does_not_name() {
        let not_allowed = Some(DenialCode::DelegatorNotAllowed);
        for (delegator, outcome) in [
            (who("corp:alice", &[]), None),
            (who("corp:a:b", &[]), None),
            (who("corp:bob", &["dev", "sre"]), None),
            (who("partner:anybody", &[]), None),
            (who("corp:bob", &["dev"]), not_allowed),
            (who("corp:bob", &[]), not_allowed),
            (who("corp:Alice", &[]), not_allowed),
            // One issuer's subject and group are nothing at another's.
            (who("other:alice", &["sre"]), not_allowed),
            (who("corp", &["sre"]), not_allowed),
            (who("corporate:alice", &["sre"]), not_allowed),
            (who("corp2:alice", &[]), not_allowed),
            (who("partner", &[]), not_allowed),
        ] {
            assert_eq!(code(Some(&rule(true)), Some(&delegator)), outcome, "{delegator:?}");
            assert_eq!(code(None, Some(&delegator)), not_allowed, "{delegator:?}");
        }
    }

    #[test]
    fn m_12_an_agent_acts_for_itself_unless_the_playbook_wants_a_person() {
        assert_eq!(code(None, None), None);
        assert_eq!(code(Some(&rule(false)), None), None);
        assert_eq!(code(Some(&rule(true)), None), Some(DenialCode::DelegatorMissing));
    }

    #[test]
    fn a_rule_is_told_in_words() {
        let told = rule(false).lines();
        let expected = [
            "the agent for itself alone",
            "corp: a:b, alice; whoever is in sre",
            "partner: everybody",
        ];
        assert_eq!(told, expected);
        assert_eq!(rule(true).lines(), expected[1..]);
    }
}
