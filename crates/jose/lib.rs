//! Strict JOSE over ring: JWK, compact JWS, thumbprints and typed claims.
//!
//! Everything from outside is parsed once into a type with private fields; what was verified and what was not are two
//! types. Deliberately absent: SPIFFE and OAuth rules, JWE, JSON serialisation, symmetric algorithms, `none`, header
//! members that carry or point to a key (but for [`SelfSignedJws`], which asks for one), key storage (a [`HolderKey`] is handed to whom a token is bound to), and the clock (this crate reads dates and never compares them).

mod algorithm;
pub mod base64url;
mod claims;
mod confirmation;
mod digest;
mod holder;
pub mod json;
mod jwk;
mod jws;
mod key;
mod key_id;
mod sign;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{Audiences, EmptyAudience, NumericDate, NumericDateError, present};
pub use confirmation::{Confirmation, Thumbprint, ThumbprintError};
pub use digest::sha256;
pub use holder::{HolderKey, HolderKeyError, PrivateJwk};
pub use jwk::{Jwk, JwkError, JwkSet};
pub use jws::{
    ClaimsError, Header, JwsError, MAX_HEADER_MEMBERS, MAX_PROOF_BYTES, MAX_TOKEN_BYTES,
    SelfSignedJws, UnverifiedCompact, UnverifiedJws, VerifiedCompact, VerifiedJws,
};
pub use key::{EcKey, KeyError, PublicKey, RsaKey};
pub use key_id::{KeyId, KeyIdError};
pub use sign::{
    CompactToken, FixedKeys, SignError, Signer, SigningKeys, sign_compact, sign_compact_within,
};

/// Cuts text from outside so that it fits into an error: at most 64 characters, control characters escaped.
fn excerpt(text: &str) -> String {
    beginning(text, 64)
}

/// The first characters of a text, control characters escaped.
fn beginning(text: &str, characters: usize) -> String {
    text.chars().take(characters).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    //! What the unit tests of this crate share.

    /// Randomness for keys that live as long as one test.
    #[expect(
        clippy::disallowed_methods,
        reason = "scratch keys of a test need no seeded randomness"
    )]
    pub(crate) fn random() -> ring::rand::SystemRandom {
        ring::rand::SystemRandom::new()
    }
}
