//! An authority's key in the two roles it plays: signer of certificates for rcgen, signer of tokens for `jose`.

use std::fmt;

use jiff::Timestamp;
use marque_jose::{Algorithm, KeyId, PublicKey, SignError, Signer};
use marque_keys::{KeyAlgorithm, SigningKey, SlotId};
use marque_spiffe::Random;

use crate::{
    AuthorityConfig, AuthorityError,
    ceiling::{CertificateCeiling, JwsHeader, TokenCeiling},
};

/// Signs certificates within its ceiling: rcgen's remote key.
pub(crate) struct CertificateSigner {
    key: SigningKey,
    ceiling: CertificateCeiling,
}

impl CertificateSigner {
    /// For the certificate of the key itself.
    pub(crate) fn for_root(key: SigningKey, config: &AuthorityConfig) -> Self {
        Self { key, ceiling: CertificateCeiling::of_root(config) }
    }

    /// For the request that somebody else sign a certificate for the key.
    pub(crate) fn for_request(key: SigningKey, config: &AuthorityConfig) -> Self {
        Self { key, ceiling: CertificateCeiling::of_request(config) }
    }

    /// For X.509-SVIDs under a root that ends at `root_ends_at`.
    pub(crate) fn for_leaves(
        key: SigningKey,
        config: &AuthorityConfig,
        root_ends_at: Timestamp,
    ) -> Self {
        Self { key, ceiling: CertificateCeiling::of_leaves(config, root_ends_at) }
    }

    /// For CA certificates of servers below an authority that ends at `ends_at`, with this path length at most.
    pub(crate) fn for_downstream(
        key: SigningKey,
        config: &AuthorityConfig,
        ends_at: Timestamp,
        path_length: u8,
    ) -> Self {
        Self { key, ceiling: CertificateCeiling::of_downstream(config, ends_at, path_length) }
    }

    /// For the tests of what holds beside the ceiling.
    #[cfg(test)]
    pub(crate) fn unbounded(key: SigningKey) -> Self {
        Self { key, ceiling: CertificateCeiling::unbounded() }
    }
}

impl rcgen::PublicKeyData for CertificateSigner {
    fn der_bytes(&self) -> &[u8] {
        self.key.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CertificateSigner {
    /// rcgen's error has no room for a source: who asked for too much is told to the alarm, the rest to the log.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        if let Err(breach) = self.ceiling.check(message, self.key.public_key()) {
            self.ceiling.guard().refuse(self.key.slot(), breach);
            return Err(rcgen::Error::RemoteKeyError);
        }
        self.key.sign_der(message).map_err(|error| {
            tracing::error!(slot = %self.key.slot(), error = &error as &dyn std::error::Error, "could not sign a certificate");
            rcgen::Error::RemoteKeyError
        })
    }
}

/// Signs tokens within its ceiling with the algorithm of its key, ES256 or RS256, under a key id that names the slot:
/// `jwt-svid-a-1-<8 hex of the thumbprint>`.
pub(crate) struct TokenSigner {
    key: SigningKey,
    algorithm: Algorithm,
    key_id: KeyId,
    public_key: PublicKey,
    ceiling: TokenCeiling,
}

impl TokenSigner {
    pub(crate) fn new(key: SigningKey, ceiling: TokenCeiling) -> Result<Self, AuthorityError> {
        let (key_id, public_key) = name_key(key.slot(), key.public_key())?;
        let algorithm = match key.algorithm() {
            KeyAlgorithm::EcdsaP256 => Algorithm::Es256,
            KeyAlgorithm::Rsa2048 => Algorithm::Rs256,
            KeyAlgorithm::Ed25519 => {
                return Err(AuthorityError::PublicKey { slot: key.slot().clone() });
            }
        };
        Ok(Self { key, algorithm, key_id, public_key, ceiling })
    }

    #[cfg(test)]
    pub(crate) fn jwk(&self) -> marque_jose::Jwk {
        marque_jose::Jwk::pinned(self.public_key.clone(), self.key_id.clone(), self.algorithm)
    }
}

impl Signer for TokenSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let own = JwsHeader { algorithm: self.algorithm, key_id: &self.key_id };
        if let Err(breach) = self.ceiling.check(message, &own) {
            return Err(SignError::new(self.ceiling.guard().refuse(self.key.slot(), breach)));
        }
        self.key.sign_fixed(message).map_err(SignError::new)
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The key id and the parsed public half of a key in a slot: a P-256 point, or the DER of an RSA key. Neither form can be
/// taken for the other: a point begins with 4, a DER sequence with 0x30.
pub(crate) fn name_key(
    slot: &SlotId,
    public_half: &[u8],
) -> Result<(KeyId, PublicKey), AuthorityError> {
    let refused = || AuthorityError::PublicKey { slot: slot.clone() };
    let public_key = match public_half.try_into() {
        Ok(point) => PublicKey::from_p256_point(point),
        Err(_length) => PublicKey::from_rsa_public_key_der(public_half),
    };
    let public_key = public_key.map_err(|_jose_error| refused())?;
    let [a, b, c, d, ..] = public_key.thumbprint();
    let key_id = format!("{slot}-{a:02x}{b:02x}{c:02x}{d:02x}")
        .parse()
        .map_err(|_key_id_error| refused())?;
    Ok((key_id, public_key))
}

/// 122 random bits as a UUID of version 4, so that a token can be named without being shown.
pub(crate) fn token_id(random: &dyn Random) -> Result<String, AuthorityError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(AuthorityError::Random)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

#[cfg(test)]
mod tests {
    use marque_testkit::SeededRandom;

    use super::token_id;

    #[test]
    fn a_token_id_is_drawn_from_the_randomness_handed_in() {
        let id = |seed| token_id(&SeededRandom::new(seed)).unwrap();
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
