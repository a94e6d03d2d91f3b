//! Path validation (RFC 5280 section 6), cut down to what X.509-SVIDs need.

use jiff::Timestamp;
use marque_jose::PublicKey;
use ring::signature::{self, VerificationAlgorithm};
use rustls_pki_types::CertificateDer;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
};

use super::{Certificate, X509SvidError};
use crate::{Bundle, SpiffeId};

/// Walks the chain from the leaf up until an authority of the bundle has issued a certificate. What the peer sent beyond
/// that point is not used.
pub(super) fn verify(
    chain: &[CertificateDer<'static>],
    bundle: &Bundle,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp, PublicKey), X509SvidError> {
    let mut rest = chain.iter().enumerate();
    let (_, der) = rest.next().ok_or(X509SvidError::Empty)?;
    let leaf = Certificate::parse(der, 0)?;
    let id = leaf.leaf_id()?;
    let (not_before, not_after) = leaf.check_validity(now)?;
    let public_key = leaf.public_key.clone();
    let mut lowest = leaf;
    loop {
        if is_anchored(&lowest, bundle, &id, now)? {
            return Ok((not_before, not_after, public_key));
        }
        let Some((position, der)) = rest.next() else {
            return Err(X509SvidError::UnknownAuthority(lowest.position));
        };
        let issuer = Certificate::parse(der, position)?;
        if !is_issued(&lowest, &issuer) {
            return Err(X509SvidError::NotIssued(lowest.position));
        }
        issuer.check_signer(&id, lowest.position)?;
        issuer.check_validity(now)?;
        if bundle.distrusts(&issuer.public_key) {
            return Err(X509SvidError::Distrusted(position));
        }
        lowest = issuer;
    }
}

/// Whether an authority of the bundle issued `lowest`. When authorities of the right name and key are all refused, for
/// being expired perhaps, the last refusal is the answer.
fn is_anchored(
    lowest: &Certificate<'_>,
    bundle: &Bundle,
    leaf: &SpiffeId,
    now: Timestamp,
) -> Result<bool, X509SvidError> {
    let position = lowest.position + 1;
    let mut refusal = None;
    for der in bundle.x509_authorities() {
        // An authority that does not parse can anchor nothing; the others still can.
        let Ok(authority) = Certificate::parse(der, position) else { continue };
        if !is_issued(lowest, &authority) {
            continue;
        }
        match authority
            .check_signer(leaf, lowest.position)
            .and_then(|()| authority.check_validity(now))
        {
            Ok(_) => return Ok(true),
            Err(error) => refusal = Some(error),
        }
    }
    refusal.map_or(Ok(false), Err)
}

/// Name and signature. Names are compared as bytes, so different encodings of one name do not match.
fn is_issued(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
    certificate.x509.issuer().as_raw() == issuer.x509.subject().as_raw()
        && is_signed(certificate, issuer)
}

fn is_signed(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
    let oid = &certificate.x509.signature_algorithm.algorithm;
    let algorithm: &dyn VerificationAlgorithm = match issuer.public_key {
        PublicKey::EcP256(_) if *oid == OID_SIG_ECDSA_WITH_SHA256 => {
            &signature::ECDSA_P256_SHA256_ASN1
        }
        PublicKey::EcP256(_) if *oid == OID_SIG_ECDSA_WITH_SHA384 => {
            &signature::ECDSA_P256_SHA384_ASN1
        }
        PublicKey::EcP384(_) if *oid == OID_SIG_ECDSA_WITH_SHA256 => {
            &signature::ECDSA_P384_SHA256_ASN1
        }
        PublicKey::EcP384(_) if *oid == OID_SIG_ECDSA_WITH_SHA384 => {
            &signature::ECDSA_P384_SHA384_ASN1
        }
        PublicKey::Rsa(_) if *oid == OID_PKCS1_SHA256WITHRSA => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        PublicKey::Rsa(_) if *oid == OID_PKCS1_SHA384WITHRSA => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        PublicKey::Rsa(_) if *oid == OID_PKCS1_SHA512WITHRSA => {
            &signature::RSA_PKCS1_2048_8192_SHA512
        }
        _ => return false,
    };
    let bits = &certificate.x509.signature_value;
    bits.unused_bits == 0
        && signature::UnparsedPublicKey::new(
            algorithm,
            &issuer.x509.public_key().subject_public_key.data,
        )
        .verify(certificate.x509.tbs_certificate.as_ref(), &bits.data)
        .is_ok()
}
