//! An authority's key in the two roles it plays: signer of certificates for rcgen, signer of tokens for `jose`.

use std::fmt;

use marque_jose::{Algorithm, Jwk, KeyId, PublicKey, SignError, Signer};
use marque_keys::{SigningKey, SlotId};
use marque_spiffe::Random;

use crate::AuthorityError;

/// Signs certificates: rcgen's remote key.
pub(crate) struct CertificateSigner(pub(crate) SigningKey);

impl rcgen::PublicKeyData for CertificateSigner {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CertificateSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign_der(message).map_err(|error| {
            // rcgen's error has no room for a source.
            tracing::error!(slot = %self.0.slot(), error = &error as &dyn std::error::Error, "could not sign a certificate");
            rcgen::Error::RemoteKeyError
        })
    }
}

/// Signs tokens with ES256 under a key id that names the slot: `jwt-svid-a-1-<8 hex of the thumbprint>`.
pub(crate) struct TokenSigner {
    key: SigningKey,
    key_id: KeyId,
    public_key: PublicKey,
}

impl TokenSigner {
    pub(crate) fn new(key: SigningKey) -> Result<Self, AuthorityError> {
        let (key_id, public_key) = name_key(key.slot(), key.public_key())?;
        Ok(Self { key, key_id, public_key })
    }

    pub(crate) fn jwk(&self) -> Jwk {
        Jwk::for_signatures(self.public_key.clone(), self.key_id.clone())
    }
}

impl Signer for TokenSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Es256
    }

    fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.key.sign_fixed(message).map_err(SignError::new)
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The key id and the parsed public half of a P-256 key in a slot.
pub(crate) fn name_key(slot: &SlotId, point: &[u8]) -> Result<(KeyId, PublicKey), AuthorityError> {
    let refused = || AuthorityError::PublicKey { slot: slot.clone() };
    let point = point.try_into().map_err(|_length| refused())?;
    let public_key = PublicKey::from_p256_point(point).map_err(|_jose_error| refused())?;
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
