//! What would change between two states of a trust domain's folder, in plain sentences: who gains or loses which identity and
//! which playbook, and what becomes of every setting.
//!
//! It compares what was checked, field by field; a field that has no rule in `documents` cannot be ordered and is to be
//! looked at. Absent: a judgement, which a person makes, and carrying anything out.

mod documents;
mod identities;
mod order;
mod others;
mod playbooks;
mod policies;
pub(crate) mod templates;

use std::collections::BTreeMap;

use marque_intent::{Effect, PlaybookSet};
use marque_policy::PolicyInfo;
use marque_registry::{Entry, TrustDomainDocument};
use serde::{Deserialize, Serialize};

use crate::issuer::folder::{CheckedFolder, FolderFiles};
use crate::issuer::reload::restart;

/// What would change in each trust domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One for each trust domain of either state, by name.
    pub trust_domains: Vec<TrustDomainPlan>,
}

/// What would change in one trust domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustDomainPlan {
    /// Its name.
    pub trust_domain: String,
    /// Its environment, as it would be; as it was where the trust domain goes.
    pub environment: String,
    /// Whether it comes, goes, changes or stays.
    pub standing: Standing,
    /// What changes, what is wider first.
    pub changes: Vec<Change>,
    /// What of it a running daemon refuses until it is restarted, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
}

/// What becomes of a trust domain as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Something in it changes.
    Changed,
    /// Nothing in it changes.
    Same,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// What it does to who may do what.
    pub effect: Effect,
    /// What kind of thing changes.
    pub kind: Kind,
    /// Which of them: a SPIFFE ID, a playbook's id, a name, a file.
    pub subject: String,
    /// Where in its document, where it is one field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it is, as a sentence.
    pub sentence: String,
}

/// What kind of thing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Who earns which SPIFFE ID: `entries/`.
    Identity,
    /// What may be asked for: `playbooks/`.
    Playbook,
    /// Less asked of one agent: `exceptions/`.
    Exception,
    /// What decides: `policy/`.
    Policy,
    /// What is related to whom: `policy/relations/`.
    Relation,
    /// `trust-domain.toml`.
    Setting,
    /// By what others are verified: bundles, key sets, certificates.
    Trust,
    /// `crls/`.
    RevocationList,
    /// When nothing is done: `calendars/`.
    Calendar,
    /// Who is on duty: `rosters/`.
    Roster,
    /// What people with a job may do: `roles/`.
    Role,
    /// What was written down to be held: `policy/tests/`, `playbooks/tests/`.
    Case,
}

/// One state of a trust domain's folder, as far as a plan compares it: as it was read, or as it is in force.
#[derive(Debug, Clone)]
pub struct State<'a> {
    /// `trust-domain.toml`.
    pub document: &'a TrustDomainDocument,
    /// The entries of its files, in the order of answers.
    pub entries: Vec<&'a Entry>,
    /// The playbooks.
    pub playbooks: &'a PlaybookSet,
    /// The policies in Cedar.
    pub policies: Vec<&'a PolicyInfo>,
    /// Its files.
    pub files: &'a FolderFiles,
}

impl<'a> From<&'a CheckedFolder> for State<'a> {
    fn from(checked: &'a CheckedFolder) -> Self {
        let CheckedFolder { folder, playbooks, policy, files, .. } = checked;
        let (entries, policies) = (folder.entries.iter().collect(), policy.policies().collect());
        Self { document: &folder.document, entries, playbooks, policies, files }
    }
}

impl Plan {
    /// Between two states of any number of trust domains.
    #[must_use]
    pub fn between<'a>(
        before: impl IntoIterator<Item = &'a CheckedFolder>,
        after: impl IntoIterator<Item = &'a CheckedFolder>,
    ) -> Self {
        let mut pairs: BTreeMap<&str, (Option<State<'_>>, Option<State<'_>>)> = BTreeMap::new();
        for folder in before {
            let name = folder.folder.document.name().as_str();
            pairs.entry(name).or_default().0 = Some(folder.into());
        }
        for folder in after {
            let name = folder.folder.document.name().as_str();
            pairs.entry(name).or_default().1 = Some(folder.into());
        }
        let plans = pairs.into_values().filter_map(|pair| match pair {
            (Some(before), Some(after)) => Some(TrustDomainPlan::between(&before, &after)),
            (None, Some(after)) => Some(TrustDomainPlan::alone(&after, Standing::Added)),
            (Some(before), None) => Some(TrustDomainPlan::alone(&before, Standing::Removed)),
            (None, None) => None,
        });
        Self { trust_domains: plans.collect() }
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trust_domains.iter().all(|one| one.standing == Standing::Same)
    }

    /// Every change, in the order of the trust domains.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.trust_domains.iter().flat_map(|one| &one.changes)
    }
}

impl TrustDomainPlan {
    /// Between two states of one trust domain.
    #[must_use]
    pub fn between(before: &State<'_>, after: &State<'_>) -> Self {
        let pairs = identities::pairs(&before.entries, &after.entries);
        let mut changes = identities::changes(&pairs);
        changes.extend(order::changes((&before.entries, &after.entries), &pairs));
        changes.extend(templates::changes(before.files, after.files));
        changes.extend(playbooks::changes(before, after));
        changes.extend(policies::changes(before, after));
        changes.extend(others::changes(before, after));
        let restart = say_what_needs_a_restart(before, after, &mut changes);
        changes.sort();
        let standing = if changes.is_empty() { Standing::Same } else { Standing::Changed };
        Self { restart, ..Self::of(after, standing, changes) }
    }

    /// One that comes or goes whole: its identities and playbooks say what that means.
    fn alone(state: &State<'_>, standing: Standing) -> Self {
        let none = FolderFiles::default();
        let (pairs, templates) = match standing {
            Standing::Removed => {
                (identities::pairs(&state.entries, &[]), templates::changes(state.files, &none))
            }
            _ => (identities::pairs(&[], &state.entries), templates::changes(&none, state.files)),
        };
        let mut changes = identities::changes(&pairs);
        changes.extend(templates);
        changes.extend(playbooks::alone(state, standing));
        if standing == Standing::Added {
            let sentence = format!(
                "the trust domain `{}` is new: look at all of its settings and policies",
                state.document.name()
            );
            changes.push(Change {
                effect: Effect::Unclear,
                kind: Kind::Setting,
                subject: "trust-domain.toml".to_owned(),
                path: None,
                sentence,
            });
        }
        changes.sort();
        Self::of(state, standing, changes)
    }

    fn of(state: &State<'_>, standing: Standing, changes: Vec<Change>) -> Self {
        Self {
            trust_domain: state.document.name().to_string(),
            environment: state.document.environment().to_string(),
            standing,
            changes,
            restart: Vec::new(),
        }
    }
}

/// Says so in the sentences of what a running daemon does not take. Gives why, for each.
fn say_what_needs_a_restart(
    before: &State<'_>,
    after: &State<'_>,
    changes: &mut [Change],
) -> Vec<String> {
    let fixed = restart::differing(before.document, after.document);
    let told = fixed.map(|fixed| {
        let settings = changes.iter_mut().filter(|change| change.kind == Kind::Setting);
        for change in settings {
            if change.path.as_deref().is_some_and(|path| fixed.is_at(path)) {
                change.sentence.push_str(" (needs a restart)");
            }
        }
        fixed.to_string()
    });
    told.collect()
}

impl Kind {
    /// The name, as in the plan's JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Playbook => "playbook",
            Self::Exception => "exception",
            Self::Policy => "policy",
            Self::Relation => "relation",
            Self::Setting => "setting",
            Self::Trust => "trust",
            Self::RevocationList => "revocation_list",
            Self::Calendar => "calendar",
            Self::Roster => "roster",
            Self::Role => "role",
            Self::Case => "case",
        }
    }
}

#[cfg(test)]
mod tests;
