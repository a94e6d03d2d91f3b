//! The digest by which people name one exact certificate.

use std::fmt;
use std::str::FromStr;

use marque_jose::sha256;
use rustls_pki_types::CertificateDer;

/// The SHA-256 digest of a certificate's DER, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateDigest([u8; 32]);

/// The text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a certificate is named by `sha256:` and the 64 hexadecimal digits of its SHA-256 (`openssl x509 -fingerprint -sha256`)"
)]
pub struct CertificateDigestError;

impl CertificateDigest {
    /// The digest of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(sha256(certificate))
    }
}

impl FromStr for CertificateDigest {
    type Err = CertificateDigestError;

    /// Takes digits of either case, and the colons that openssl prints between bytes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("sha256:").ok_or(CertificateDigestError)?;
        let is_plain = !digits.contains(':');
        let is_printed = digits.split(':').all(|byte| byte.len() == 2);
        if !is_plain && !is_printed {
            return Err(CertificateDigestError);
        }
        let mut digest = [0; 32];
        hex::decode_to_slice(digits.replace(':', ""), &mut digest)
            .map_err(|_hex_error| CertificateDigestError)?;
        Ok(Self(digest))
    }
}

impl fmt::Display for CertificateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written_and_as_openssl_prints_it() {
        let digest = CertificateDigest::of(&CertificateDer::from(b"abc".to_vec()));
        let text = digest.to_string();
        assert_eq!(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(text.parse(), Ok(digest));
        let digits = text.strip_prefix("sha256:").unwrap().to_uppercase();
        let bytes: Vec<_> =
            digits.as_bytes().chunks(2).map(|byte| std::str::from_utf8(byte).unwrap()).collect();
        assert_eq!(format!("sha256:{}", bytes.join(":")).parse(), Ok(digest));
        let but_first: String = digits.chars().skip(1).collect();
        let but_two: String = digits.chars().skip(2).collect();
        for wrong in [
            digits.clone(),
            format!("sha256:{but_two}"),
            format!("sha256:{digits}00"),
            format!("sha256::{digits}"),
            format!("sha256:00:{but_two}"),
            format!("sha1:{digits}"),
            format!("sha256:{but_first}g"),
        ] {
            assert_eq!(wrong.parse::<CertificateDigest>(), Err(CertificateDigestError), "{wrong}");
        }
    }
}
