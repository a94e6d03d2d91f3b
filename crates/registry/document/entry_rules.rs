//! What a document demands of every entry.

use std::collections::BTreeSet;

use marque_spiffe::TrustDomain;

use super::TrustDomainDocument;
use crate::entry::{Entry, EntrySource};
use crate::error::RegistryError;

impl TrustDomainDocument {
    /// Whether an entry keeps the trust domain's rules.
    ///
    /// # Errors
    /// When it names an identity of another trust domain, asks for more than a ceiling, never ends where everything has to, or
    /// is of the folder and asks for the bundle of a trust domain that the document does not federate with.
    pub fn check(&self, entry: &Entry) -> Result<(), RegistryError> {
        let spiffe_id = entry.spiffe_id();
        if spiffe_id.trust_domain() != &self.name {
            let (spiffe_id, trust_domain) = (spiffe_id.clone(), self.name.clone());
            return Err(RegistryError::ForeignTrustDomain { spiffe_id, trust_domain });
        }
        let content = entry.content();
        if self.identities.refuses_without_expiry() && content.expires_at.is_none() {
            return Err(RegistryError::NoExpiry);
        }
        if let EntrySource::File { .. } = entry.source() {
            // What was added by command may go by command, so that no file hangs on it.
            self.check_federation(entry, &BTreeSet::new())?;
        }
        let limits = [
            ("x509_lifetime", content.x509_lifetime, self.lifetimes.x509_svid),
            ("jwt_lifetime", content.jwt_lifetime, self.lifetimes.jwt_svid),
        ];
        for (what, asked, ceiling) in limits {
            if let Some(asked) = asked.filter(|asked| *asked > ceiling) {
                return Err(RegistryError::LifetimeTooLong { what, asked, ceiling });
            }
        }
        Ok(())
    }

    /// Whether a new entry asks only for the bundles of trust domains that are federated with: here, or `also`. An entry that
    /// is there already stays when a relationship ends; it gets no bundle of it any more.
    ///
    /// # Errors
    /// [`RegistryError::NotFederated`].
    pub fn check_federation(
        &self,
        entry: &Entry,
        also: &BTreeSet<TrustDomain>,
    ) -> Result<(), RegistryError> {
        let known = |name: &TrustDomain| {
            also.contains(name) || self.federation.iter().any(|one| one.trust_domain() == name)
        };
        match entry.federates_with().iter().find(|name| !known(name)) {
            Some(unknown) => Err(RegistryError::NotFederated(unknown.clone())),
            None => Ok(()),
        }
    }
}
