//! The keys of the signing authorities.

use marque_authority::SignedAuthority;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::proto::admin::change_authority_request::Step;
use super::super::authorities::{AuthorityWish, CertificateRequestView, SigningKeyView};
use super::AdminClient;
use crate::grpc::time::from_duration;
use crate::pem::pem_certificates;

impl AdminClient {
    /// The keys that sign, will sign and did.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn authorities(&mut self) -> Result<Vec<SigningKeyView>, CallError> {
        let request = proto::ListAuthoritiesRequest {};
        let answer = self.inner.list_authorities(request).await?.into_inner();
        let proto::ListAuthoritiesResponse { keys } = answer;
        Ok(keys.into_iter().map(Into::into).collect())
    }

    /// Asks for the certificate of the X.509 authority's next key.
    ///
    /// # Errors
    /// As [`Self::status`], and when nobody else signs certificates, or one is prepared already.
    pub async fn request_certificate(&mut self) -> Result<CertificateRequestView, CallError> {
        let request = proto::RequestAuthorityCertificateRequest {};
        let answer = self.inner.request_authority_certificate(request).await?.into_inner();
        let proto::RequestAuthorityCertificateResponse { key, csr_pem, lifetime, path_length } =
            answer;
        let lifetime = lifetime.and_then(from_duration).unwrap_or_default();
        Ok(CertificateRequestView {
            key,
            csr_pem,
            lifetime_seconds: lifetime.as_secs(),
            path_length,
        })
    }

    /// Takes a step in the life of a key. Gives its name and all keys as they are then.
    ///
    /// # Errors
    /// As [`Self::status`], and when the key's life or its purpose refuses the step.
    pub async fn change_authority(
        &mut self,
        wish: AuthorityWish,
        reason: String,
    ) -> Result<(String, Vec<SigningKeyView>), CallError> {
        let step = match wish {
            AuthorityWish::Prepare(purpose) => Step::Prepare(purpose.to_string()),
            AuthorityWish::Activate { slot, at_once: false } => Step::Activate(slot.to_string()),
            AuthorityWish::Activate { slot, at_once: true } => Step::ActivateNow(slot.to_string()),
            AuthorityWish::Taint(slot) => Step::Taint(slot.to_string()),
            AuthorityWish::Revoke(slot) => Step::Revoke(slot.to_string()),
            AuthorityWish::Import(SignedAuthority { chain, roots }) => {
                Step::Import(pem_certificates(&[chain, roots].concat()))
            }
        };
        let request = proto::ChangeAuthorityRequest { reason, step: Some(step) };
        let answer = self.inner.change_authority(request).await?.into_inner();
        let proto::ChangeAuthorityResponse { key, keys } = answer;
        Ok((key, keys.into_iter().map(Into::into).collect()))
    }
}
