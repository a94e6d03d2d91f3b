//! The code of a deferral: 256 random bits that are seen twice, when they are given and when they come back.

use std::fmt;

use marque_intent::Digest;
use marque_jose::base64url;
use marque_spiffe::{Random, RandomError};
use zeroize::Zeroizing;

/// How long a code is, in characters.
pub const DEFERRAL_CODE_LEN: usize = 43;
const CODE_BYTES: usize = 32;

/// A deferral code or an authentication request id: the base64url form of 32 random bytes. It does not print.
#[derive(Clone)]
pub struct DeferralCode(Zeroizing<String>);

impl DeferralCode {
    /// Draws a code.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; CODE_BYTES]);
        random.fill(&mut *bytes)?;
        Ok(Self(Zeroizing::new(base64url::encode(*bytes))))
    }

    /// What somebody shows as a code, if it can be one: it has the length and the alphabet.
    pub fn shown(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (text.len() == DEFERRAL_CODE_LEN && text.bytes().all(plain))
            .then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// What is kept of it, and found by: SHA-256 of all its characters, so that no part of a code is one.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The code, for the wire and for nothing else.
    pub fn expose_code(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DeferralCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeferralCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use marque_testkit::SeededRandom;

    use super::*;

    #[test]
    fn oauth_18_a_code_has_256_random_bits_and_does_not_print() {
        let random = SeededRandom::new(7);
        let codes: Vec<_> = (0..64).map(|_| DeferralCode::generate(&random).unwrap()).collect();
        let distinct: BTreeSet<_> = codes.iter().map(DeferralCode::digest).collect();
        assert_eq!(distinct.len(), codes.len());
        for code in &codes {
            assert_eq!(base64url::decode(code.expose_code()).unwrap().len(), 32);
            assert!(!format!("{code:?}").contains(code.expose_code()));
            let shown = DeferralCode::shown(code.expose_code()).unwrap();
            assert_eq!(shown.digest(), code.digest());
        }
    }

    #[test]
    fn what_cannot_be_a_code_is_none() {
        let code = DeferralCode::generate(&SeededRandom::new(7)).unwrap();
        let code = code.expose_code();
        for text in [
            "",
            code.split_at(1).1,
            &format!("{code}="),
            &format!("{code}A"),
            &code.replace('A', "+"),
        ] {
            assert!(text == code || DeferralCode::shown(text).is_none(), "{text}");
        }
        assert!(DeferralCode::shown(&"é".repeat(22)).is_none());
    }
}
