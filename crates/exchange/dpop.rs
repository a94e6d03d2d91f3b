//! DPoP at the endpoints of the token service (RFC 9449 §5 and §8): one header, one proof, a nonce of ours.
//!
//! Deliberately absent: the form of a proof (crate `dpop`), and what a token becomes bound to.

use std::fmt;

use marque_dpop::{HttpUri, NoncePurpose, Nonces, ProofRequest, UnverifiedProof};
use marque_spiffe::Environment;

use crate::{
    Endpoint, Freshness, IssuerUrl, OAuthError, OAuthErrorCode, OneHeader, Presented, ProofKind,
    ReplayKey, SingleUse, TokenService,
    binding::Proofs,
    service::{server_error, unavailable},
};

/// Whether a proof has to carry a nonce of ours: a DPoP proof its `nonce`, the proof beside a client attestation its
/// `challenge`. One that carries another is refused in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoncePolicy {
    /// A proof without one is answered with `use_dpop_nonce` or `use_attestation_challenge`.
    Required,
    /// A proof without one is taken.
    Optional,
}

impl NoncePolicy {
    /// The policy where nobody chose one: a nonce costs a client one more request at the beginning, and keeps proofs from
    /// being made in store, which is worth it where it counts.
    pub const fn of(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self::Required,
            Environment::NonProduction => Self::Optional,
        }
    }
}

/// The secret under which nonces are made, the same on all replicas of a trust domain. It never prints.
#[derive(Clone)]
pub struct NonceSecret([u8; 32]);

impl NonceSecret {
    /// A secret of 256 bits, derived for this purpose alone.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    pub(crate) fn nonces(&self, purpose: NoncePurpose, issuer: &IssuerUrl) -> Nonces {
        Nonces::for_purpose(&self.0, purpose, issuer.as_str())
    }
}

impl Drop for NonceSecret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl fmt::Debug for NonceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceSecret").finish_non_exhaustive()
    }
}

impl TokenService {
    /// The nonce for the next DPoP proof; `None` where DPoP is not offered. Every answer to a request with a proof carries
    /// it in `DPoP-Nonce`.
    pub fn dpop_nonce(&self) -> Option<String> {
        self.config.offers.dpop.then(|| self.nonces.current(self.clock.now()))
    }

    /// Which keys a client proved to hold with a `POST` to `endpoint`, beside what it proved by authenticating. Proofs are
    /// not remembered yet: they are in [`Proofs::shown`].
    ///
    /// # Errors
    /// `invalid_dpop_proof`, or `use_dpop_nonce`.
    pub(crate) fn proofs(
        &self,
        presented: &Presented,
        endpoint: Endpoint,
        mut proofs: Proofs,
    ) -> Result<Proofs, OAuthError> {
        let value = match &presented.dpop {
            OneHeader::Absent => return Ok(proofs),
            OneHeader::One(value) if self.config.offers.dpop => value,
            OneHeader::One(_) | OneHeader::Repeated if !self.config.offers.dpop => {
                return Err(invalid("DPoP is not offered here"));
            }
            OneHeader::One(_) | OneHeader::Repeated => {
                return Err(invalid("there is more than one DPoP header"));
            }
        };
        let uri: HttpUri = endpoint.url(&self.config.issuer).parse().map_err(server_error)?;
        let now = self.clock.now();
        let request = ProofRequest { method: "POST", uri: &uri, access_token: None, now };
        let proof = UnverifiedProof::parse(value)
            .and_then(|proof| proof.verify(&request))
            .map_err(|source| invalid("the DPoP proof is not acceptable").with_source(source))?;
        match proof.nonce() {
            Some(nonce) if self.nonces.is_current(nonce, now) => {}
            None if self.config.dpop_nonce == NoncePolicy::Optional => {}
            Some(_) | None => {
                return Err(OAuthError::new(
                    OAuthErrorCode::UseDpopNonce,
                    "the DPoP proof needs the nonce of the DPoP-Nonce header",
                ));
            }
        }
        // draft-ietf-oauth-attestation-based-client-auth-10: beside a WIT-SVID the proof is by the WIT-SVID's key.
        if proofs.wit.is_some_and(|wit| wit != *proof.key()) {
            return Err(invalid("the DPoP proof is not by the key of the WIT-SVID"));
        }
        let key = ReplayKey::new(ProofKind::Dpop, proof.key(), proof.jti());
        let shown = SingleUse { key, until: proof.accepted_until() };
        proofs.dpop = Some(*proof.key());
        proofs.shown.push(shown);
        Ok(proofs)
    }

    /// Remembers what was shown with a request of which nothing else is written.
    ///
    /// # Errors
    /// [`Proofs::replayed`] where it was shown before, `temporarily_unavailable` where nobody knows.
    pub(crate) async fn remember(&self, proofs: &Proofs) -> Result<(), OAuthError> {
        if proofs.shown.is_empty() {
            return Ok(());
        }
        match self.replays.remember(proofs.take_along()).await {
            Ok(Freshness::Fresh) => Ok(()),
            Ok(Freshness::Replayed) => Err(proofs.replayed()),
            Err(source) => Err(unavailable(source)),
        }
    }
}

const fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidDpopProof, description)
}

#[cfg(test)]
mod tests;
