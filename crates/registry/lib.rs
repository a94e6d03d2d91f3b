//! Trust-domain documents, registration entries and the index from selectors to identities.
//!
//! [`TrustDomainFolder::load`] reads what a platform team reviews (`trust-domain.toml` and
//! `entries/*.toml`), naming every mistake by file and line. [`Registry`] holds the entries of one
//! trust domain and answers, from an immutable [`Snapshot`], which of them a set of selectors earns.
//!
//! Deliberately absent: how selectors are found (`marque-attest`), minting (`marque-authority`), the
//! `playbooks/` and `policy/` beside the entries (`marque-intent`, `marque-policy`), and the
//! storage engine behind [`EntryStore`].

mod document;
mod entry;
mod error;
mod fields;
mod finding;
mod folder;
mod index;
mod lifetime;
mod registry;
mod store;

pub use document::{
    HostSettings, LifetimeSettings, OperatorPrincipal, OperatorRule, ResourceServer, Tenant,
    TenantError, TrustDomainDocument,
};
pub use entry::{
    Entry, EntryId, EntryIdError, EntryRole, EntryRoleError, EntrySource, MAX_DNS_NAMES,
    MAX_SELECTORS, NewEntry, Owner, OwnerError,
};
pub use error::RegistryError;
pub use finding::Finding;
pub use folder::TrustDomainFolder;
pub use lifetime::{Lifetime, LifetimeError};
pub use registry::{Registry, Snapshot};
pub use store::{EntryStore, EntryStoreError};
