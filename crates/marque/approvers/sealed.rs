//! What a browser carries for us between two requests: sealed, so that it neither reads nor changes it, and dated.
//!
//! AES-256-GCM (RFC 5116) under a key that every replica has. Absent: what is sealed.

use std::time::Duration;

use jiff::Timestamp;
use marque_jose::base64url;
use marque_spiffe::{Random, RandomError};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The longest sealed text that is opened.
const MAX_SEALED: usize = 4096;

/// The secret behind logins and sessions of one trust domain, the same on every replica.
pub(crate) struct LoginSecret {
    seal: LessSafeKey,
    tags: hmac::Key,
    trust_domain: String,
}

impl std::fmt::Debug for LoginSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginSecret").finish_non_exhaustive()
    }
}

/// Nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The value cannot be written.
    #[error("the value cannot be sealed")]
    Value,
}

#[derive(Serialize, Deserialize)]
struct Dated<T> {
    at: Timestamp,
    value: T,
}

impl LoginSecret {
    /// From 32 bytes of a key that is derived for nothing else.
    pub(crate) fn new(secret: &Zeroizing<[u8; 32]>, trust_domain: &str) -> anyhow::Result<Self> {
        // Two keys from one: what is sealed by the first says nothing about the second.
        let derive = |label: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice());
            hmac::sign(&key, label)
        };
        let seal = UnboundKey::new(&AES_256_GCM, derive(b"marque/login/seal/v1").as_ref())
            .map_err(|_unspecified| anyhow::anyhow!("make the key that seals logins"))?;
        let tags = hmac::Key::new(hmac::HMAC_SHA256, derive(b"marque/login/tag/v1").as_ref());
        let trust_domain = trust_domain.to_owned();
        Ok(Self { seal: LessSafeKey::new(seal), tags, trust_domain })
    }

    /// Seals a value for one use, as it is at `now`.
    pub(crate) fn seal<T: Serialize>(
        &self,
        purpose: &str,
        value: T,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce)?;
        let mut text =
            serde_json::to_vec(&Dated { at: now, value }).map_err(|_unwritten| SealError::Value)?;
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.seal
            .seal_in_place_append_tag(sealing, self.about(purpose), &mut text)
            .map_err(|_unspecified| SealError::Value)?;
        Ok(base64url::encode([&nonce[..], &text].concat()))
    }

    /// Opens what was sealed for this use no longer than `max_age` before `now`.
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        purpose: &str,
        sealed: &str,
        max_age: Duration,
        now: Timestamp,
    ) -> Option<T> {
        if sealed.len() > MAX_SEALED {
            return None;
        }
        let bytes = base64url::decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let opened = self.seal.open_in_place(nonce, self.about(purpose), &mut text).ok()?;
        let Dated { at, value } = serde_json::from_slice(opened).ok()?;
        let until = at.saturating_add(max_age).ok()?;
        (now < until).then_some(value)
    }

    /// A text that only we can tell from the one that it is about.
    pub(crate) fn tag(&self, about: &str) -> String {
        base64url::encode(hmac::sign(&self.tags, about.as_bytes()))
    }

    /// Whether this is the tag of that text, in a time that says nothing.
    pub(crate) fn is_tag(&self, tag: &str, about: &str) -> bool {
        let Ok(tag) = base64url::decode(tag) else { return false };
        hmac::verify(&self.tags, about.as_bytes(), &tag).is_ok()
    }

    fn about(&self, purpose: &str) -> Aad<Vec<u8>> {
        Aad::from(format!("marque/login/v1|{}|{purpose}", self.trust_domain).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use marque_testkit::{START, SeededRandom};

    use super::*;

    fn secret(byte: u8, trust_domain: &str) -> LoginSecret {
        LoginSecret::new(&Zeroizing::new([byte; 32]), trust_domain).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_own_for_its_use_and_in_its_time() {
        let (own, random) = (secret(1, "prod.example.org"), SeededRandom::new(1));
        let sealed = own.seal("login", "alice", START, &random).unwrap();
        assert!(!sealed.contains("alice"));
        let age = Duration::from_secs(60);
        let open = |secret: &LoginSecret, purpose: &str, now| {
            secret.open::<String>(purpose, &sealed, age, now)
        };
        assert_eq!(open(&own, "login", START).as_deref(), Some("alice"));
        assert!(open(&own, "login", START + Duration::from_secs(59)).is_some());
        assert_eq!(open(&own, "login", START + age), None);
        assert_eq!(open(&own, "other", START), None);
        assert_eq!(open(&secret(2, "prod.example.org"), "login", START), None);
        assert_eq!(open(&secret(1, "dev.example.org"), "login", START), None);
        for changed in [
            String::new(),
            "x".repeat(5000),
            sealed.replace(sealed.chars().nth(20).unwrap(), "_"),
            sealed.chars().skip(1).collect(),
        ] {
            assert!(
                changed == sealed || own.open::<String>("login", &changed, age, START).is_none()
            );
        }
    }

    #[test]
    fn a_tag_is_of_one_text_and_one_trust_domains_secret() {
        let own = secret(1, "a");
        let tag = own.tag("session-1");
        assert!(own.is_tag(&tag, "session-1"));
        assert!(!own.is_tag(&tag, "session-2") && !secret(2, "a").is_tag(&tag, "session-1"));
        assert!(!own.is_tag("", "session-1") && !own.is_tag("?", "session-1"));
    }
}
