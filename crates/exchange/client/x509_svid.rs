//! A client by its X.509-SVID over mutual TLS (draft-ietf-oauth-spiffe-client-auth-02, X509-SVID).
//!
//! The handshake proved that the client holds the leaf's key. The path is validated here, against the bundle of the
//! trust domain that the leaf names and never against a list of public authorities: any of those could name any SPIFFE
//! ID. How long the certificate still lives is bounded by its issuer alone; no token outlives it.

use marque_spiffe::{UnverifiedX509Svid, X509Svid};

use super::{AuthenticatedClient, ClientAuthenticator, ClientMethod, PeerCertificate, Refusal};
use crate::{OAuthError, OAuthErrorCode, Thumbprint};

impl ClientAuthenticator {
    /// Authenticates the client whose certificate names `client_id`.
    pub(super) fn by_x509_svid(
        &self,
        client_id: &str,
        certificate: &PeerCertificate,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let svid = self.verify_x509_svid(client_id, certificate).map_err(|refusal| {
            refusal.into_error(
                OAuthErrorCode::InvalidClient,
                "the certificate does not authenticate the client that client_id names",
            )
        })?;
        Ok(AuthenticatedClient {
            id: svid.id().clone(),
            svid_issued_at: Some(svid.not_before()),
            svid_expires_at: svid.not_after(),
            method: ClientMethod::X509Svid(Thumbprint::new(svid.thumbprint())),
        })
    }

    fn verify_x509_svid(
        &self,
        client_id: &str,
        certificate: &PeerCertificate,
    ) -> Result<X509Svid, Refusal> {
        let chain = certificate.chain().to_vec();
        let svid = UnverifiedX509Svid::parse_chain(chain).map_err(Refusal::invalid)?;
        // Before the keys are looked for: who claims one name and shows another is refused in the same words.
        if svid.id().as_str() != client_id {
            return Err(Refusal::OtherClientId);
        }
        let bundle = self.bundle(svid.trust_domain())?;
        svid.verify(&bundle, self.clock.now()).map_err(Refusal::invalid)
    }
}
