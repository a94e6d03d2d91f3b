//! The two halves of an SVID's own key, on the side of the authority.

use std::fmt;

use marque_jose::PublicKey;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::{AuthorityError, TemplateError};

/// A P-256 public key that was checked to be on the curve.
#[derive(Clone, PartialEq, Eq)]
pub struct P256PublicKey {
    point: [u8; 65],
}

impl P256PublicKey {
    /// Takes the uncompressed point `04 || x || y`.
    ///
    /// # Errors
    /// [`TemplateError::PublicKey`] when it has another form or is not on the curve.
    pub fn from_point(point: &[u8]) -> Result<Self, TemplateError> {
        let point: [u8; 65] = point.try_into().map_err(|_length| TemplateError::PublicKey)?;
        PublicKey::from_p256_point(&point).map_err(|_jose_error| TemplateError::PublicKey)?;
        Ok(Self { point })
    }

    /// The uncompressed point, 65 bytes.
    pub fn as_point(&self) -> &[u8; 65] {
        &self.point
    }
}

impl fmt::Debug for P256PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P256PublicKey(")?;
        self.point.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl rcgen::PublicKeyData for P256PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// An SVID's private key in unencrypted PKCS#8 (RFC 5958), as the Workload API sends it. It is zeroed when dropped, never
/// printed and never compared.
pub struct PrivateKeyPkcs8 {
    der: Zeroizing<Vec<u8>>,
}

impl PrivateKeyPkcs8 {
    /// The DER bytes. Whoever copies them zeroes the copy.
    pub fn expose_der(&self) -> &[u8] {
        &self.der
    }

    /// A new P-256 key pair, drawn by ring.
    pub(crate) fn generate() -> Result<(Self, P256PublicKey), AuthorityError> {
        #[expect(clippy::disallowed_methods, reason = "ring draws the key pair itself")]
        let random = ring::rand::SystemRandom::new();
        let form = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(form, &random)
            .map_err(|_unspecified| AuthorityError::SubjectKey)?;
        let der = Zeroizing::new(document.as_ref().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(form, &der, &random)
            .map_err(|_rejected| AuthorityError::SubjectKey)?;
        let point =
            pair.public_key().as_ref().try_into().map_err(|_length| AuthorityError::SubjectKey)?;
        Ok((Self { der }, P256PublicKey { point }))
    }
}

impl fmt::Debug for PrivateKeyPkcs8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKeyPkcs8").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_an_uncompressed_point_on_the_curve() {
        let (_, key) = PrivateKeyPkcs8::generate().unwrap();
        let point = key.as_point().to_vec();
        assert_eq!(P256PublicKey::from_point(&point).unwrap(), key);
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        let off_curve = [&point[..64], &[point[64] ^ 1]].concat();
        let longer = [point.as_slice(), &[0]].concat();
        for wrong in [&[], &point[1..], &compressed, &off_curve, &longer, &[0; 65], &[4; 65]] {
            assert_eq!(
                P256PublicKey::from_point(wrong),
                Err(TemplateError::PublicKey),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn two_key_pairs_are_never_the_same_and_the_private_half_is_not_printed() {
        let (private, public) = PrivateKeyPkcs8::generate().unwrap();
        assert_ne!(PrivateKeyPkcs8::generate().unwrap().1, public);
        assert_eq!(format!("{private:?}"), "PrivateKeyPkcs8 { .. }");
        assert!(
            private.expose_der().ends_with(public.as_point()),
            "ring writes the public half last"
        );
    }
}
