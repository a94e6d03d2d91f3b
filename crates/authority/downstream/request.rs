//! What a server below asks with: a certification request (PKCS #10, RFC 2986) in DER.

use marque_jose::PublicKey;
use rcgen::SubjectPublicKeyInfo;
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::{
        OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
    },
    prelude::FromDer as _,
    x509::X509Name,
};

/// The upper bound of RFC 5280 for a common name, in characters.
const MAX_COMMON_NAME: usize = 64;
/// How a server is called that has no name for itself.
const NAMELESS: &str = "downstream";

/// A request whose signature was verified: whoever made it holds the private key. Everything else that it says is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamRequest {
    public_key: SubjectPublicKeyInfo,
    common_name: String,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownstreamRequestError {
    /// Too many bytes.
    #[error("is longer than {} bytes", DownstreamRequest::MAX_BYTES)]
    TooLong,
    /// Not one DER request, or something behind it.
    #[error("is not one certification request (PKCS #10) in DER")]
    Malformed,
    /// The algorithm of the signature is none of those.
    #[error(
        "is not signed by ECDSA with SHA-256 or SHA-384, or by RSA (PKCS #1) with SHA-256, SHA-384 or SHA-512"
    )]
    Algorithm,
    /// The key is of another kind or size.
    #[error("has a public key that is neither P-256, P-384 nor RSA of 2048 to 4096 bits")]
    PublicKey,
    /// The signature is not by the key that is in it.
    #[error("is not signed by the key that it is for")]
    Signature,
}

impl DownstreamRequest {
    /// The most bytes of a request.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Reads a request and verifies its signature.
    ///
    /// # Errors
    /// [`DownstreamRequestError`].
    pub fn from_der(der: &[u8]) -> Result<Self, DownstreamRequestError> {
        if der.len() > Self::MAX_BYTES {
            return Err(DownstreamRequestError::TooLong);
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(DownstreamRequestError::Malformed);
        };
        let allowed = [
            OID_SIG_ECDSA_WITH_SHA256,
            OID_SIG_ECDSA_WITH_SHA384,
            OID_PKCS1_SHA256WITHRSA,
            OID_PKCS1_SHA384WITHRSA,
            OID_PKCS1_SHA512WITHRSA,
        ];
        if !allowed.contains(&request.signature_algorithm.algorithm) {
            return Err(DownstreamRequestError::Algorithm);
        }
        let info = &request.certification_request_info;
        let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw);
        let public_key = public_key.map_err(|_rcgen_error| DownstreamRequestError::PublicKey)?;
        // Its size, and that a point lies on its curve.
        PublicKey::from_spki_der(info.subject_pki.raw)
            .map_err(|_key_error| DownstreamRequestError::PublicKey)?;
        request.verify_signature().map_err(|_x509_error| DownstreamRequestError::Signature)?;
        Ok(Self { public_key, common_name: common_name(&info.subject) })
    }

    /// The key that is to be signed.
    pub(crate) fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }

    /// What it calls itself, without control characters and cut to what a certificate may have; never empty.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }
}

fn common_name(subject: &X509Name<'_>) -> String {
    let named = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    let plain = named.unwrap_or_default().chars().filter(|character| !character.is_control());
    let plain: String = plain.take(MAX_COMMON_NAME).collect();
    match plain.trim() {
        "" => NAMELESS.to_owned(),
        name => name.to_owned(),
    }
}
