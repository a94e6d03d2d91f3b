use std::path::PathBuf;

use marque_spiffe::{SpiffeId, TrustDomain};

use crate::entry::EntryId;
use crate::finding::FindingCode;
use crate::lifetime::Lifetime;

/// Why a registration entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The SPIFFE ID has no path, which is the trust domain's own id (X5-2).
    #[error("SPIFFE ID `{0}` has no path: that is the trust domain itself")]
    NoPath(SpiffeId),
    /// The SPIFFE ID is one of those that the trust domain's own endpoints have.
    #[error("SPIFFE ID `{0}` is reserved: no workload is below `/marque` and `/spire`")]
    Reserved(SpiffeId),
    /// An entry without selectors would match every process.
    #[error("an entry needs at least one selector")]
    NoSelectors,
    /// More selectors than an entry may have.
    #[error("an entry has at most {limit} selectors, not {found}")]
    TooManySelectors {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// More DNS names than an entry may have.
    #[error("an entry has at most {limit} DNS names, not {found}")]
    TooManyDnsNames {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The SPIFFE ID belongs to another trust domain.
    #[error("SPIFFE ID `{spiffe_id}` is not of trust domain `{trust_domain}`")]
    ForeignTrustDomain {
        /// The entry's SPIFFE ID.
        spiffe_id: SpiffeId,
        /// The registry's trust domain.
        trust_domain: TrustDomain,
    },
    /// The entry asks for a longer lifetime than the trust domain allows.
    #[error("{what} of {asked} is longer than the trust domain's {ceiling}")]
    LifetimeTooLong {
        /// `x509_lifetime` or `jwt_lifetime`.
        what: &'static str,
        /// What the entry asks for.
        asked: Lifetime,
        /// What the trust domain allows.
        ceiling: Lifetime,
    },
    /// The entry never ends, and the trust domain takes none that does not.
    #[error(
        "it has no `expires_at`, and nothing is registered for ever here (`without_expiry` in [identities])"
    )]
    NoExpiry,
    /// The entry asks for the bundle of a trust domain that the document does not name.
    #[error(
        "`federates_with` names `{0}`, which is in no [[federation]] of the trust domain and was not added by `marque federation add`"
    )]
    NotFederated(TrustDomain),
    /// An entry asks for more bundles than it may.
    #[error("an entry federates with at most {limit} trust domains, not {found}")]
    TooManyFederations {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// An entry names more audiences than it may.
    #[error("an entry names at most {limit} audiences, not {found}")]
    TooManyAudiences {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A template could give this SPIFFE ID to somebody else.
    #[error(
        "SPIFFE ID `{spiffe_id}` is one that template `{template}` may give: choose another, or narrow the template"
    )]
    Covered {
        /// The SPIFFE ID.
        spiffe_id: SpiffeId,
        /// The template.
        template: EntryId,
    },
    /// Two templates could give one SPIFFE ID.
    #[error("templates `{first}` and `{second}` overlap: both may give the same SPIFFE ID")]
    Overlapping {
        /// The one that is there.
        first: EntryId,
        /// The other.
        second: EntryId,
    },
    /// The entry was made by a template, and ends with it.
    #[error(
        "entry `{id}` was made by template `{template}`: it would be made anew at the next call; narrow the template, or use `marque kill agent`"
    )]
    FromTemplate {
        /// The entry.
        id: EntryId,
        /// The template.
        template: EntryId,
    },
    /// Another entry has this id.
    #[error("entry `{0}` exists already")]
    DuplicateId(EntryId),
    /// Another entry has this SPIFFE ID: two agents would share one identity.
    #[error("SPIFFE ID `{spiffe_id}` belongs to entry `{holder}` already")]
    DuplicateSpiffeId {
        /// The SPIFFE ID.
        spiffe_id: SpiffeId,
        /// The entry that has it.
        holder: EntryId,
    },
    /// The entry is written in the trust domain's folder, and ends there.
    #[error("entry `{id}` comes from `{}` line {line}: remove it there", .path.display())]
    FromFile {
        /// The entry.
        id: EntryId,
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
}

impl RegistryError {
    /// The code that `marque check` has for it.
    #[must_use]
    pub const fn code(&self) -> FindingCode {
        match self {
            Self::NoPath(_) | Self::Reserved(_) | Self::ForeignTrustDomain { .. } => {
                FindingCode::EntryOutsideTrustDomain
            }
            Self::LifetimeTooLong { .. } => FindingCode::EntryOverCeiling,
            Self::NoExpiry => FindingCode::EntryNoExpiry,
            Self::NotFederated(_) => FindingCode::EntryNotFederated,
            Self::DuplicateId(_) => FindingCode::EntryDuplicateId,
            Self::DuplicateSpiffeId { .. } | Self::Covered { .. } | Self::Overlapping { .. } => {
                FindingCode::EntryDuplicateSpiffeId
            }
            _ => FindingCode::EntryInvalid,
        }
    }
}
