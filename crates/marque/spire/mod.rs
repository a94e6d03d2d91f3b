//! From a SPIRE server's registrations to a trust domain's folder, with a word on everything that has no counterpart here.
//!
//! Nothing is widened on the way: an entry whose conditions are not all known here is left out, whole, and named. Absent: keys.
//! A bundle of the own trust domain is of SPIRE's authorities, and Marque makes its own.

mod convert;
mod folder;
mod parents;
mod selectors;

use std::collections::BTreeMap;

use marque_registry::{EntryRole, Lifetime, NewEntry, Owner, SharingReason, SpireEntry, Tenant};
use marque_spiffe::{Bundle, Environment, SpiffeIdPattern, TrustDomain};
use serde::Serialize;

pub use convert::convert;
pub use folder::{WriteError, write};

/// What is said of the new trust domain, because SPIRE does not know it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The trust domain; absent, that of all entries.
    pub trust_domain: Option<TrustDomain>,
    /// Its environment.
    pub environment: Environment,
    /// The environments of the trust domains that it federates with.
    pub partners: BTreeMap<TrustDomain, Environment>,
    /// Its tenant.
    pub tenant: Tenant,
    /// Who answers for every entry.
    pub owner: Owner,
    /// Whose identities are agents'; all others are services'.
    pub agents: Vec<SpiffeIdPattern>,
    /// The ceiling and default for X.509-SVIDs.
    pub x509_svid: Lifetime,
    /// The ceiling and default for JWT-SVIDs.
    pub jwt_svid: Lifetime,
}

/// What was read of SPIRE's.
#[derive(Debug, Clone, Default)]
pub struct FromSpire {
    /// Its registration entries.
    pub entries: Vec<SpireEntry>,
    /// The bundles of other trust domains, and perhaps its own.
    pub bundles: BTreeMap<TrustDomain, Bundle>,
    /// What was left out of those already.
    pub notes: Vec<Note>,
}

/// A trust domain as it can be written.
#[derive(Debug, Clone)]
pub struct Converted {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// Its entries with the comments before them, in their order.
    pub entries: Vec<ConvertedEntry>,
    /// The bundles of the trust domains that entries federate with.
    pub federation: BTreeMap<TrustDomain, Bundle>,
    /// What has no counterpart, entry by entry.
    pub notes: Vec<Note>,
}

/// One entry.
#[derive(Debug, Clone)]
pub struct ConvertedEntry {
    /// Its id.
    pub id: String,
    /// What it says.
    pub entry: NewEntry,
    /// Why it shares its identity, if it does.
    pub shared: Option<SharingReason>,
    /// What to write above it.
    pub comments: Vec<String>,
}

/// Something that is not here as it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The entry's id there; absent where it is about no single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Its SPIFFE ID there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// What kind of thing it is; stable.
    pub code: NoteCode,
    /// Whether the entry was left out for it.
    pub left_out: bool,
    /// What it is, as a sentence.
    pub message: String,
    /// What nothing stands for here, each as SPIRE writes it: selectors of nodes, nodes, trust domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// The selectors that stand for something else there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<String>,
}

/// What has no counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteCode {
    /// Something that no workload has here: its SPIFFE ID, a hint, a name.
    Unusable,
    /// An identity of another trust domain.
    OtherTrustDomain,
    /// Rights over the server.
    Admin,
    /// A server below this one.
    Downstream,
    /// SVIDs that a plug-in puts into a store.
    StoreSvid,
    /// A name for a group of nodes.
    NodeAlias,
    /// To which nodes it was bound and is not any more.
    Parent,
    /// To which nodes it was bound, and is by selectors of its own.
    Flattened,
    /// A trust domain of the other environment.
    Boundary,
    /// A wish of SPIRE's `additional_attributes`.
    Attribute,
    /// A selector that nothing here finds.
    Selector,
    /// A lifetime over the ceiling.
    Lifetime,
    /// A trust domain whose bundle was not given.
    Federation,
    /// An id that an entry cannot have here.
    Id,
    /// Several entries that were one.
    Merged,
    /// Several entries with one identity.
    Shared,
    /// A member that this version does not know.
    UnknownMember,
    /// An authority that is not trusted any more.
    Tainted,
    /// The bundle of the own trust domain.
    OwnBundle,
}

/// Why nothing was converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// No trust domain was named and the entries name none.
    #[error("the entries name no trust domain")]
    NoTrustDomain,
    /// No trust domain was named and the entries are of several.
    #[error("the entries are of several trust domains: {0} and {1}")]
    SeveralTrustDomains(String, String),
    /// Nobody said of which environment these are. SPIRE knows none, and nothing crosses from one to the other.
    #[error("entries federate with {}, and nobody said of which environment", partners(.0))]
    Partners(Vec<TrustDomain>),
}

fn partners(names: &[TrustDomain]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Note {
    fn about(entry: &SpireEntry, code: NoteCode, message: String) -> Self {
        let (id, spiffe_id) = (Some(entry.id.clone()), Some(entry.spiffe_id.clone()));
        let note = Self::general(code, message);
        Self { entry: id, spiffe_id, ..note }
    }

    fn left_out(entry: &SpireEntry, code: NoteCode, message: String) -> Self {
        Self { left_out: true, ..Self::about(entry, code, message) }
    }

    /// One about no single entry.
    #[must_use]
    pub fn general(code: NoteCode, message: String) -> Self {
        let (lost, instead) = (Vec::new(), Vec::new());
        Self { entry: None, spiffe_id: None, code, left_out: false, message, lost, instead }
    }
}

impl Wanted {
    fn role(&self, spiffe_id: &marque_spiffe::SpiffeId) -> EntryRole {
        if self.agents.iter().any(|pattern| pattern.matches(spiffe_id)) {
            EntryRole::Agent
        } else {
            EntryRole::Service
        }
    }
}

#[cfg(test)]
mod tests;
