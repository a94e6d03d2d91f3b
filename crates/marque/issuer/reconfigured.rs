//! The settings of the signing authorities, when the folder was read anew.
//!
//! Requests that began by the rules of before may still sign by those, so a key signs at first what either document lets it
//! sign, and what the one of now lets it sign alone when the last of them is over.

use marque_authority::{AuthorityConfig, AuthorityError, Reconfiguration, TokenServiceCeiling};
use marque_exchange::IssuerUrl;
use marque_registry::TrustDomainDocument;

use super::lasting::authority_config;
use super::{Issuer, Lasting, signing_guard};

impl Lasting {
    /// Has the authorities ready for `next`, by whose settings they go when that is put in force.
    ///
    /// # Errors
    /// A key, its record or the settings stand in the way; everything is as it was.
    pub(super) async fn ready_authorities(
        &self,
        next: &Issuer,
    ) -> Result<Reconfiguration<'_>, AuthorityError> {
        let ceiling = self.ceiling(&next.document, next.svid_issuer.as_ref());
        let either = ceiling.or(self.authority.config().guard.token_service());
        self.authority.reconfigure(self.settings(&next.document, either), self.clock.now()).await
    }

    /// Has the keys sign what this document lets them sign and no more: nobody works by another any more.
    ///
    /// # Errors
    /// As [`Self::ready_authorities`].
    pub(super) async fn narrow_authorities(
        &self,
        document: &TrustDomainDocument,
        svid_issuer: Option<&IssuerUrl>,
    ) -> Result<(), AuthorityError> {
        let ceiling = self.ceiling(document, svid_issuer);
        if *self.authority.config().guard.token_service() == ceiling {
            return Ok(());
        }
        let settings = self.settings(document, ceiling);
        self.authority.reconfigure(settings, self.clock.now()).await?.take_effect();
        Ok(())
    }

    fn settings(
        &self,
        document: &TrustDomainDocument,
        ceiling: TokenServiceCeiling,
    ) -> AuthorityConfig {
        let in_force = self.authority.config();
        let guard = in_force.guard.with_token_service(ceiling);
        authority_config(document, in_force.upstream.clone(), guard)
    }

    fn ceiling(
        &self,
        document: &TrustDomainDocument,
        svids: Option<&IssuerUrl>,
    ) -> TokenServiceCeiling {
        let names = signing_guard::Names { issuer: &self.issuer_url, svids };
        signing_guard::token_service(document, names)
    }
}
