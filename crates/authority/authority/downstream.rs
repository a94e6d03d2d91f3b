//! Signing for servers below, by whichever key signs at the moment.

use std::time::Duration;

use jiff::Timestamp;

use super::Authority;
use crate::{
    AuthorityError,
    downstream::{Asked, DownstreamRequest, SignedDownstream},
};

impl Authority {
    /// Signs a CA certificate for a server below, for `lifetime` or for as long as the ceiling allows, which is also what is
    /// given where it asks for more; it never ends after the certificate of the own authority.
    ///
    /// # Errors
    /// [`AuthorityError::NoDownstream`] where none is signed, [`AuthorityError::NoRoom`] where the own certificate permits none
    /// below it, [`AuthorityError::Ended`], or whatever kept it from being made or from passing the check after signing.
    pub fn sign_downstream(
        &self,
        request: &DownstreamRequest,
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<SignedDownstream, AuthorityError> {
        let snapshot = self.snapshot.load();
        let config = &snapshot.config;
        let ceiling = config.max_downstream_lifetime.ok_or(AuthorityError::NoDownstream)?;
        let own = &snapshot.x509;
        let no_room = || AuthorityError::NoRoom { slot: own.slot().clone() };
        let downstream = snapshot.downstream.as_ref().ok_or_else(no_room)?;
        let asked = Asked {
            request,
            trust_domain: &config.trust_domain,
            environment: config.environment,
            validity: own.validity(lifetime.unwrap_or(ceiling), ceiling, now)?,
        };
        let (certificate, serial) = downstream.sign(&asked, own.root(), self.random.as_ref())?;
        let mut chain = vec![certificate];
        chain.extend_from_slice(own.carried());
        Ok(SignedDownstream {
            chain,
            // Whoever learns of a root here keeps it for as long as what was signed: none that is given up.
            roots: snapshot.untainted.x509_authorities().to_vec(),
            serial,
            not_after: asked.validity.not_after,
        })
    }
}
