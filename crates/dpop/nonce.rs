//! Nonces that nobody has to remember (RFC 9449 §8): an HMAC of the time window under a key of the server.
//!
//! Everybody gets the same nonce in one window. It only shows that a proof was made after the window began, so that proofs
//! cannot be made in store; that one is used once is a replay store's to see.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use marque_jose::base64url;
use ring::hmac;

/// How long a nonce is the current one. It is accepted for as long again.
pub const NONCE_WINDOW: Duration = Duration::from_secs(300);

/// What a nonce is handed out for. One for one purpose is never good for another, even with the same secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoncePurpose {
    /// The `nonce` of DPoP proofs.
    DpopProof,
    /// The `challenge` of proofs of possession of a client attestation
    /// (draft-ietf-oauth-attestation-based-client-auth-10, section 6).
    AttestationProof,
}

impl NoncePurpose {
    /// Keeps these HMACs apart from every other use of the secret.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::DpopProof => b"marque/dpop-nonce/v1",
            Self::AttestationProof => b"marque/attestation-challenge/v1",
        }
    }
}

/// The nonces of one server for one purpose. Those of another server differ, even with the same secret.
#[derive(Clone)]
pub struct Nonces {
    key: hmac::Key,
}

impl Nonces {
    /// The nonces of DPoP proofs for `server`, an issuer identifier or the like. All replicas of a server have one secret.
    #[must_use]
    pub fn new(secret: &[u8; 32], server: &str) -> Self {
        Self::for_purpose(secret, NoncePurpose::DpopProof, server)
    }

    /// The same for another purpose.
    #[must_use]
    pub fn for_purpose(secret: &[u8; 32], purpose: NoncePurpose, server: &str) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&secret, &[purpose.label(), &[0], server.as_bytes()].concat());
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()) }
    }

    /// The nonce to hand out now: 43 characters of base64url.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> String {
        base64url::encode(self.tag(window(now)))
    }

    /// Whether a nonce is that of this window or of the one before.
    #[must_use]
    pub fn is_current(&self, nonce: &str, now: Timestamp) -> bool {
        let Ok(nonce) = base64url::decode(nonce) else { return false };
        let window = window(now);
        [window, window.saturating_sub(1)]
            .into_iter()
            .any(|window| hmac::verify(&self.key, &window.to_be_bytes(), &nonce).is_ok())
    }

    fn tag(&self, window: i64) -> hmac::Tag {
        hmac::sign(&self.key, &window.to_be_bytes())
    }
}

/// The number of the window, counted from 1970.
fn window(now: Timestamp) -> i64 {
    let length = i64::try_from(NONCE_WINDOW.as_secs()).unwrap_or(i64::MAX);
    now.as_second().div_euclid(length)
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn oauth_7_10_a_nonce_is_good_for_its_window_and_the_next() {
        let nonces = Nonces::new(&SECRET, "https://issuer.example.org");
        let begin = 300 * 5_000_000;
        let nonce = nonces.current(at(begin));
        assert_eq!(nonce, nonces.current(at(begin + 299)));
        assert_ne!(nonce, nonces.current(at(begin + 300)));
        for (second, good) in [(-1, false), (0, true), (299, true), (599, true), (600, false)] {
            assert_eq!(nonces.is_current(&nonce, at(begin + second)), good, "{second}");
        }
    }

    #[test]
    fn oauth_7_10_the_nonce_of_another_server_secret_or_purpose_is_refused() {
        let now = at(1_500_000_000);
        let mine = Nonces::new(&SECRET, "https://issuer.example.org");
        for other in [
            Nonces::for_purpose(
                &SECRET,
                NoncePurpose::AttestationProof,
                "https://issuer.example.org",
            ),
            Nonces::new(&SECRET, "https://issuer.dev.example.org"),
            Nonces::new(&[8; 32], "https://issuer.example.org"),
        ] {
            assert!(!mine.is_current(&other.current(now), now));
        }
        assert!(
            Nonces::new(&SECRET, "https://issuer.example.org").is_current(&mine.current(now), now)
        );
    }

    #[test]
    fn a_nonce_with_any_character_changed_or_missing_is_refused() {
        let now = at(1_500_000_000);
        let nonces = Nonces::new(&SECRET, "https://issuer.example.org");
        let nonce = nonces.current(now);
        for at in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!nonces.is_current(&changed, now), "{changed}");
            let cut: String = nonce.chars().take(at).collect();
            assert!(!nonces.is_current(&cut, now), "{cut}");
        }
        assert!(!nonces.is_current(&format!("{nonce}="), now));
        assert_eq!(format!("{nonces:?}"), "Nonces { .. }");
    }
}
