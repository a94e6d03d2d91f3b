//! A client by its JWT-SVID (draft-ietf-oauth-spiffe-client-auth-02, JWT-SVID), and a JWT-SVID as a subject token.
//!
//! An SVID is a cached credential, so its re-use is no replay; its remaining lifetime is bounded instead.

use std::sync::Arc;

use jiff::Timestamp;
use marque_spiffe::{SpiffeId, UnverifiedJwtSvid};

use super::known::Known;
use super::{AuthenticatedClient, ClientAuthenticator, ClientMethod, Refusal};
use crate::{OAuthError, OAuthErrorCode};

/// What is asked of the audiences of an SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Audience {
    /// The issuer, and nobody else.
    Sole,
    /// The issuer among others.
    Among,
}

impl ClientAuthenticator {
    /// Authenticates the bearer of a JWT-SVID whose only audience is the issuer.
    ///
    /// # Errors
    /// `access_denied` with the denial `environment_boundary` for an SVID of the other environment; `invalid_client` for
    /// everything else.
    pub fn authenticate(&self, assertion: &str) -> Result<AuthenticatedClient, OAuthError> {
        self.verify_jwt_svid(assertion, Audience::Sole).map_err(|refusal| {
            refusal.into_error(
                OAuthErrorCode::InvalidClient,
                "the JWT-SVID does not authenticate a client",
            )
        })
    }

    /// Verifies a subject token: a JWT-SVID with the issuer among its audiences. Gives who it is and when it ends.
    pub(crate) fn verify_subject(&self, token: &str) -> Result<AuthenticatedClient, OAuthError> {
        // RFC 8693 §2.2.2: an unacceptable subject token is an invalid request, whatever the reason.
        self.verify_jwt_svid_among(token).map_err(|refusal| {
            refusal.into_error(
                OAuthErrorCode::InvalidRequest,
                "the subject token is not an acceptable JWT-SVID",
            )
        })
    }

    /// Verifies a JWT-SVID with the issuer among its audiences.
    pub(super) fn verify_jwt_svid_among(
        &self,
        token: &str,
    ) -> Result<AuthenticatedClient, Refusal> {
        self.verify_jwt_svid(token, Audience::Among)
    }

    /// Verifies an SVID, or finds that this very one was verified before.
    fn verify_jwt_svid(
        &self,
        token: &str,
        audience: Audience,
    ) -> Result<AuthenticatedClient, Refusal> {
        let now = self.clock.now();
        if let Some(known) = self.known.find(token, audience, now) {
            let bundle = self.bundle(known.id.trust_domain())?;
            if Arc::ptr_eq(&bundle, &known.bundle) {
                self.check_remaining_life(known.expires_at, now)?;
                return Ok(by_jwt_svid(known.id, known.issued_at, known.expires_at));
            }
        }
        let svid = UnverifiedJwtSvid::parse(token).map_err(Refusal::invalid)?;
        let bundle = self.bundle(svid.trust_domain())?;
        let issuer = self.rules.issuer.as_str();
        let svid = match audience {
            Audience::Sole => svid.verify_sole_audience(&bundle, issuer, now),
            Audience::Among => svid.verify(&bundle, issuer, now),
        }
        .map_err(Refusal::invalid)?;
        let (id, issued_at, expires_at) = (svid.id().clone(), svid.issued_at(), svid.expires_at());
        self.check_remaining_life(expires_at, now)?;
        let known = Known { id: id.clone(), issued_at, expires_at, verified_at: now, bundle };
        self.known.keep(token, audience, known);
        Ok(by_jwt_svid(id, issued_at, expires_at))
    }
}

fn by_jwt_svid(
    id: SpiffeId,
    svid_issued_at: Option<Timestamp>,
    svid_expires_at: Timestamp,
) -> AuthenticatedClient {
    AuthenticatedClient { id, svid_issued_at, svid_expires_at, method: ClientMethod::JwtSvid }
}
