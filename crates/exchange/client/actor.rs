//! An agent's SVID as the actor token of an exchange (RFC 8693 §2.1).

use marque_spiffe::UnverifiedWitSvid;

use super::{AuthenticatedClient, ClientAuthenticator, ClientMethod, Refusal};
use crate::{OAuthError, OAuthErrorCode, Thumbprint};

impl ClientAuthenticator {
    /// Verifies a JWT-SVID for this issuer or a WIT-SVID, and names the latter's key: nobody proved here that it is held,
    /// so it is good for being bound to and for nothing else.
    ///
    /// # Errors
    /// `invalid_request`, whatever is wrong with it; `access_denied` for an SVID of the other environment.
    pub(crate) fn verify_actor(
        &self,
        token: &str,
    ) -> Result<(AuthenticatedClient, Option<Thumbprint>), OAuthError> {
        let unacceptable = |refusal: Refusal| {
            refusal.into_error(
                OAuthErrorCode::InvalidRequest,
                "the actor token is not an acceptable SVID",
            )
        };
        let Ok(svid) = UnverifiedWitSvid::parse(token) else {
            let svid = self.verify_jwt_svid_among(token).map_err(unacceptable)?;
            return Ok((svid, None));
        };
        let now = self.clock.now();
        let bundle = self.bundle(svid.trust_domain()).map_err(unacceptable)?;
        let svid = svid.verify(&bundle, now).map_err(Refusal::invalid).map_err(unacceptable)?;
        self.check_remaining_life_of_wit_svid(svid.expires_at(), now).map_err(unacceptable)?;
        let key = Thumbprint::new(svid.holder_key().thumbprint());
        let actor = AuthenticatedClient {
            id: svid.subject().clone(),
            svid_issued_at: svid.issued_at().or_else(|| svid.not_before()),
            svid_expires_at: svid.expires_at(),
            method: ClientMethod::WitSvid(key),
        };
        Ok((actor, Some(key)))
    }
}
