//! The proof of the key that a token is bound to, and what may be used once: proofs, and single-use tokens.
//!
//! A bound token needs its proof, whatever the server demands beside; without it, it is refused as a plain bearer token
//! would be that somebody stole.

use http::HeaderValue;
use jiff::Timestamp;
use marque_dpop::{HttpUri, MAX_PROOF_AGE, Proof, ProofError, ProofRequest, UnverifiedProof};
use marque_jose::{CompactToken, Confirmation, Thumbprint};

use crate::claims::Claims;
use crate::credentials::{Presentation, Proof as Shown, Scheme};
use crate::refusal::{Outage, ProofFault, Refusal, TokenFault};
use crate::replays::{Replays, Use, UseKey, Used};
use crate::settings::Binding;
use crate::verifier::Verifier;

/// A use that has to be the first of its kind, and what it is called if it is not.
pub(crate) struct Once {
    one: Use,
    again: Refusal,
}

impl Once {
    pub(crate) async fn spend(self, replays: &dyn Replays, now: Timestamp) -> Result<(), Refusal> {
        match replays.remember(self.one, now).await {
            Ok(Used::First) => Ok(()),
            Ok(Used::Again) => Err(self.again),
            Err(_unavailable) => Err(Outage::Memory.into()),
        }
    }
}

impl Verifier {
    /// Checks how the token is bound against how it came. A DPoP proof is left to be spent.
    pub(crate) fn check_binding(
        &self,
        claims: &Claims,
        (scheme, token): (Scheme, &CompactToken),
        shown: &Presentation,
        now: Timestamp,
    ) -> Result<Option<Once>, Refusal> {
        let binding = self.settings.binding;
        match (claims.cnf, scheme) {
            (None, Scheme::Bearer) if binding == Binding::Optional => Ok(None),
            (None, Scheme::Bearer | Scheme::Dpop) => Err(TokenFault::NotBound.into()),
            (Some(Confirmation::Jkt(_)), _) if binding == Binding::Certificate => {
                Err(TokenFault::NotBound.into())
            }
            (Some(Confirmation::X5t(_)), _) if binding == Binding::Dpop => {
                Err(TokenFault::NotBound.into())
            }
            (Some(Confirmation::Jkt(_)), Scheme::Bearer)
            | (Some(Confirmation::X5t(_)), Scheme::Dpop) => Err(TokenFault::Downgrade.into()),
            (Some(Confirmation::Jkt(key)), Scheme::Dpop) => {
                self.proven(&key, token, shown, now).map(Some)
            }
            (Some(Confirmation::X5t(bound)), Scheme::Bearer) => match shown.certificate {
                None => Err(TokenFault::Downgrade.into()),
                Some(certificate) if *certificate.thumbprint() == bound => Ok(None),
                Some(_other) => Err(TokenFault::Certificate.into()),
            },
        }
    }

    /// RFC 9449 §4.3 and §7.1: one proof, for this request and this token, by the key that the token is bound to.
    fn proven(
        &self,
        key: &Thumbprint,
        token: &CompactToken,
        shown: &Presentation,
        now: Timestamp,
    ) -> Result<Once, Refusal> {
        let Shown::One(value) = &shown.proof else { return Err(ProofFault::Malformed.into()) };
        let uri = format!("{}{}", self.settings.origin, shown.path);
        let uri: HttpUri = uri.parse().map_err(|_malformed| ProofFault::Request)?;
        let request = ProofRequest {
            method: shown.method.as_str(),
            uri: &uri,
            access_token: Some(token.expose_token()),
            now,
        };
        let proof = UnverifiedProof::parse(value)
            .and_then(|proof| proof.verify(&request))
            .map_err(|error| fault(&error))?;
        if proof.key() != key {
            return Err(ProofFault::Key.into());
        }
        self.check_nonce(&proof, now)?;
        // By key and name, so that nobody can use up the name of another's proof.
        let name = UseKey::of("dpop", [proof.key().as_bytes(), proof.jti().as_bytes()]);
        let until = proof.accepted_until();
        let made_at = until.saturating_sub(MAX_PROOF_AGE).unwrap_or(Timestamp::MIN);
        Ok(Once { one: Use { key: name, made_at, until }, again: ProofFault::Used.into() })
    }

    fn check_nonce(&self, proof: &Proof, now: Timestamp) -> Result<(), ProofFault> {
        let Some(nonces) = &self.settings.nonces else { return Ok(()) };
        match proof.nonce() {
            Some(nonce) if nonces.is_current(nonce, now) => Ok(()),
            Some(_) | None => Err(ProofFault::Nonce),
        }
    }

    /// The nonce to hand out now, where nonces are demanded.
    pub(crate) fn nonce(&self, now: Timestamp) -> Option<HeaderValue> {
        let nonces = self.settings.nonces.as_ref()?;
        HeaderValue::from_str(&nonces.current(now)).ok()
    }

    /// The nonce that goes with the answer to a request that passed.
    pub(crate) fn next_nonce(&self, shown: &Presentation) -> Option<HeaderValue> {
        let wanted = self.settings.nonces.is_some() && shown.asks_for_nonce();
        wanted.then(|| self.nonce(self.settings.clock.now())).flatten()
    }

    /// The use of a token that may be used once.
    pub(crate) fn single_use(&self, claims: &Claims) -> Option<Once> {
        if !self.settings.single_use {
            return None;
        }
        let leeway = self.settings.limits.leeway;
        let until = claims.exp.timestamp().saturating_add(leeway).unwrap_or(Timestamp::MAX);
        let name = UseKey::of("token", [claims.iss.0.as_bytes(), claims.jti.0.as_bytes()]);
        let one = Use { key: name, made_at: claims.iat.timestamp(), until };
        Some(Once { one, again: TokenFault::Used.into() })
    }
}

/// What the proof is refused for.
const fn fault(error: &ProofError) -> ProofFault {
    match error {
        ProofError::Jws(_)
        | ProofError::Type
        | ProofError::Signature(_)
        | ProofError::Claims(_)
        | ProofError::Length
        | ProofError::MalformedUri(_) => ProofFault::Malformed,
        ProofError::Method | ProofError::Uri => ProofFault::Request,
        ProofError::TooOld | ProofError::Future => ProofFault::Time,
        ProofError::AccessToken => ProofFault::Token,
    }
}
