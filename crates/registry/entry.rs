//! One registration entry: which selectors earn which SPIFFE ID, and who answers for it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::Timestamp;
use marque_spiffe::{DnsName, Hint, Repository, SelectorSet, SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize};

use crate::document::MAX_FEDERATIONS;
use crate::error::RegistryError;
use crate::lifetime::Lifetime;

mod id;
mod policy;
mod sharing;

pub use id::{EntryId, EntryIdError};
pub use policy::{AllowedAudience, AllowedAudienceError, DelegateRights, MAX_AUDIENCES};
pub use sharing::{SharingReason, SharingReasonError};

/// How many selectors an entry may have.
pub const MAX_SELECTORS: usize = 64;

/// How many DNS names an entry may have.
pub const MAX_DNS_NAMES: usize = 32;

/// The first segment of the paths that the trust domain keeps for its own endpoints.
pub const RESERVED_SEGMENT: &str = "marque";

/// The first segment of the paths of SPIRE's own servers and agents: whoever has one is believed to be that.
pub const SPIRE_SEGMENT: &str = "spire";

/// Who answers for an entry: a person, a group or a team, as the organisation names it.
/// 1 to 256 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

/// Why a text is not an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an owner is 1 to 256 characters without control characters or blanks around it")]
pub struct OwnerError;

/// What the holder of an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryRole {
    /// An AI agent: may ask for intents and never approves.
    Agent,
    /// A service, for example a resource server: may introspect tokens.
    Service,
}

/// Why a text is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is `agent` or `service`")]
pub struct EntryRoleError;

/// Where an entry was written. The order is that of answers: files first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntrySource {
    /// In the trust domain's folder; reviewed there and read at start.
    File {
        /// The file below `entries/`.
        path: PathBuf,
        /// The line on which the entry begins.
        line: usize,
    },
    /// Over the admin API; kept in the store.
    Admin,
    /// By a template of the folder, for a caller that was seen; kept in the store until its end.
    Template {
        /// The template.
        template: EntryId,
    },
}

/// An entry as somebody asks for it, before it has an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEntry {
    /// The identity; with a path.
    pub spiffe_id: SpiffeId,
    /// What a process must have, all of it; at least one.
    pub selectors: SelectorSet,
    /// What the holder is.
    pub role: EntryRole,
    /// Who answers for it.
    pub owner: Owner,
    /// Tells a workload with several identities which this one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Lifetime of its X.509-SVIDs, if shorter than the trust domain's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_lifetime: Option<Lifetime>,
    /// Lifetime of its JWT-SVIDs, if shorter than the trust domain's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_lifetime: Option<Lifetime>,
    /// DNS names of its X.509-SVIDs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<DnsName>,
    /// The other trust domains whose bundles its callers get.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub federates_with: BTreeSet<TrustDomain>,
    /// Where the code of its holder was built from, by the word of whoever registers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// The only audiences of its JWT-SVIDs; any where there is none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub audiences: BTreeSet<AllowedAudience>,
    /// Whether its holder takes part in delegation.
    #[serde(default, skip_serializing_if = "DelegateRights::are_full")]
    pub delegation: DelegateRights,
    /// When the entry ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A registration entry that keeps every rule which needs no other entry to check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredEntry", into = "StoredEntry")]
pub struct Entry {
    id: EntryId,
    source: EntrySource,
    content: NewEntry,
    shared: Option<SharingReason>,
}

/// The form in storage; reading it back checks it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEntry {
    id: EntryId,
    source: EntrySource,
    entry: NewEntry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared: Option<SharingReason>,
}

impl NewEntry {
    /// Makes it an entry. What needs the trust domain or the other entries is checked by
    /// [`crate::Registry`].
    ///
    /// # Errors
    /// When the SPIFFE ID has no path or a reserved one, there is no selector, or a list is too long.
    pub fn into_entry(self, id: EntryId, source: EntrySource) -> Result<Entry, RegistryError> {
        if !self.spiffe_id.has_path() {
            return Err(RegistryError::NoPath(self.spiffe_id));
        }
        if is_reserved(&self.spiffe_id) {
            return Err(RegistryError::Reserved(self.spiffe_id));
        }
        match self.selectors.iter().count() {
            0 => return Err(RegistryError::NoSelectors),
            found if found > MAX_SELECTORS => {
                return Err(RegistryError::TooManySelectors { found, limit: MAX_SELECTORS });
            }
            _enough => {}
        }
        if self.dns_names.len() > MAX_DNS_NAMES {
            let (found, limit) = (self.dns_names.len(), MAX_DNS_NAMES);
            return Err(RegistryError::TooManyDnsNames { found, limit });
        }
        if self.federates_with.len() > MAX_FEDERATIONS {
            let (found, limit) = (self.federates_with.len(), MAX_FEDERATIONS);
            return Err(RegistryError::TooManyFederations { found, limit });
        }
        if self.audiences.len() > MAX_AUDIENCES {
            let (found, limit) = (self.audiences.len(), MAX_AUDIENCES);
            return Err(RegistryError::TooManyAudiences { found, limit });
        }
        Ok(Entry { id, source, content: self, shared: None })
    }
}

impl Entry {
    /// Its id.
    pub fn id(&self) -> &EntryId {
        &self.id
    }

    /// Where it was written.
    pub fn source(&self) -> &EntrySource {
        &self.source
    }

    /// The identity.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.content.spiffe_id
    }

    /// What a process must have, all of it.
    pub fn selectors(&self) -> &SelectorSet {
        &self.content.selectors
    }

    /// What the holder is.
    pub fn role(&self) -> EntryRole {
        self.content.role
    }

    /// Who answers for it.
    pub fn owner(&self) -> &str {
        &self.content.owner.0
    }

    /// Tells a workload with several identities which this one is.
    pub fn hint(&self) -> Option<&Hint> {
        self.content.hint.as_ref()
    }

    /// Lifetime of its X.509-SVIDs, if shorter than the trust domain's.
    pub fn x509_lifetime(&self) -> Option<std::time::Duration> {
        self.content.x509_lifetime.map(Lifetime::as_duration)
    }

    /// Lifetime of its JWT-SVIDs, if shorter than the trust domain's.
    pub fn jwt_lifetime(&self) -> Option<std::time::Duration> {
        self.content.jwt_lifetime.map(Lifetime::as_duration)
    }

    /// DNS names of its X.509-SVIDs.
    pub fn dns_names(&self) -> &[DnsName] {
        &self.content.dns_names
    }

    /// The other trust domains whose bundles its callers get.
    pub fn federates_with(&self) -> &BTreeSet<TrustDomain> {
        &self.content.federates_with
    }

    /// Where the code of its holder was built from, if the entry says so.
    pub fn repository(&self) -> Option<&Repository> {
        self.content.repository.as_ref()
    }

    /// Whether its JWT-SVIDs may be for all of these audiences.
    pub fn allows_audiences<S: AsRef<str>>(&self, audiences: &[S]) -> bool {
        let allowed = &self.content.audiences;
        let named = |audience: &S| allowed.iter().any(|one| one.as_str() == audience.as_ref());
        allowed.is_empty() || audiences.iter().all(named)
    }

    /// Whether its holder takes part in delegation.
    pub fn delegation(&self) -> DelegateRights {
        self.content.delegation
    }

    /// When the entry ends by itself.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.content.expires_at
    }

    /// Whether the entry has ended by itself.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.content.expires_at.is_some_and(|end| end <= now)
    }

    /// What was asked for, for showing it again.
    pub fn content(&self) -> &NewEntry {
        &self.content
    }

    /// The order of answers: as written in files, then by id (ids made by [`EntryId::generate`]
    /// sort by the time of their making).
    pub(crate) fn rank(&self) -> (&EntrySource, &EntryId) {
        (&self.source, &self.id)
    }
}

impl TryFrom<StoredEntry> for Entry {
    type Error = RegistryError;

    fn try_from(stored: StoredEntry) -> Result<Self, RegistryError> {
        let StoredEntry { id, source, entry, shared } = stored;
        entry.into_entry(id, source).map(|entry| Self { shared, ..entry })
    }
}

impl From<Entry> for StoredEntry {
    fn from(entry: Entry) -> Self {
        let Entry { id, source, content, shared } = entry;
        Self { id, source, entry: content, shared }
    }
}

impl Owner {
    /// The owner as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let characters = text.chars().count();
        if !(1..=256).contains(&characters)
            || text.chars().any(char::is_control)
            || text.trim() != text
        {
            return Err(OwnerError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Owner {
    type Error = OwnerError;

    fn try_from(text: String) -> Result<Self, OwnerError> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EntryRole {
    /// The role as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Service => "service",
        }
    }
}

impl FromStr for EntryRole {
    type Err = EntryRoleError;

    fn from_str(text: &str) -> Result<Self, EntryRoleError> {
        match text {
            "agent" => Ok(Self::Agent),
            "service" => Ok(Self::Service),
            _other => Err(EntryRoleError),
        }
    }
}

impl fmt::Display for EntryRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the trust domain keeps what is below this for servers.
pub(crate) fn is_reserved_segment(first: &str) -> bool {
    matches!(first, RESERVED_SEGMENT | SPIRE_SEGMENT)
}

/// Whether no workload can have it.
pub(crate) fn is_reserved(spiffe_id: &SpiffeId) -> bool {
    spiffe_id.segments().next().is_some_and(is_reserved_segment)
}

#[cfg(test)]
mod tests;
