//! Challenges for the proof of possession beside a client attestation
//! (draft-ietf-oauth-attestation-based-client-auth-10, section 6): stateless, like the nonces of DPoP proofs.
//!
//! A challenge shows that a proof was not made in store; that it counts once is the replay store's to see. Deliberately
//! absent: a challenge for Workload Proof Tokens, whose draft has none.

use jiff::Timestamp;
use marque_dpop::Nonces;

use super::{ClientAuthenticator, Refusal};
use crate::{NoncePolicy, TokenService};

/// Every challenge begins with this letter: the value of `OAuth-Client-Attestation-Challenge` is an Item (section 13.9),
/// and a token there begins with a letter (RFC 9651 §3.3.4).
const FIRST: char = 'c';

/// The challenges of this issuer, and whether they are needed.
#[derive(Debug, Clone)]
pub(super) struct Challenges {
    nonces: Nonces,
    policy: NoncePolicy,
}

impl Challenges {
    pub(super) const fn new(nonces: Nonces, policy: NoncePolicy) -> Self {
        Self { nonces, policy }
    }

    fn current(&self, now: Timestamp) -> String {
        format!("{FIRST}{}", self.nonces.current(now))
    }

    /// Whether a proof with this challenge, or with none, is taken.
    pub(super) fn check(&self, challenge: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        let taken = match challenge {
            Some(challenge) => challenge
                .strip_prefix(FIRST)
                .is_some_and(|nonce| self.nonces.is_current(nonce, now)),
            None => self.policy == NoncePolicy::Optional,
        };
        if taken { Ok(()) } else { Err(Refusal::Challenge) }
    }
}

impl ClientAuthenticator {
    fn attestation_challenge(&self) -> Option<String> {
        let offered = self.rules.offers.wit_client_authentication;
        offered.then(|| self.challenges.current(self.clock.now()))
    }
}

impl TokenService {
    /// The challenge for the next proof beside a client attestation; `None` where that method is not offered. It is what
    /// the challenge endpoint answers, and every answer to a request with such a proof carries it in
    /// `OAuth-Client-Attestation-Challenge`.
    pub fn attestation_challenge(&self) -> Option<String> {
        self.authenticator.attestation_challenge()
    }
}
