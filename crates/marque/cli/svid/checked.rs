//! SVIDs that were verified before they are shown or written.

use std::collections::BTreeMap;
use std::error::Error;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use marque_jose::sha256;
use marque_spiffe::{
    Bundle, Clock as _, SpiffeId, TrustDomain, UnverifiedJwtSvid, UnverifiedWitSvid,
    UnverifiedX509Svid,
};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::failure::Failure;
use crate::clock::SystemClock;
use crate::grpc::workload::{FetchedJwtSvid, FetchedWitSvid, FetchedX509Svid};
use crate::pem::pem_certificates;

/// An X.509-SVID that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct X509 {
    pub(super) spiffe_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) hint: String,
    pub(super) not_before: Timestamp,
    pub(super) expires_at: Timestamp,
    /// SHA-256 of the leaf certificate.
    pub(super) thumbprint: String,
    /// SHA-256 of each certificate, the leaf first.
    pub(super) chain: Vec<String>,
    pub(super) chain_pem: String,
    pub(super) bundle_pem: String,
}

/// A token that was checked, with what it says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Token {
    pub(super) spiffe_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) hint: String,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
    /// The key that signed it.
    pub(super) key_id: String,
    /// RFC 7638 thumbprint of the key that the holder has to prove; of WIT-SVIDs alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holder_thumbprint: Option<String>,
    pub(super) claims: Map<String, Value>,
    pub(super) svid: String,
}

/// Checks an X.509-SVID against the bundle that came with it, and its key against its certificate.
pub(super) fn x509(svid: &FetchedX509Svid) -> Result<X509, Failure> {
    let FetchedX509Svid { spiffe_id, hint, chain, key_der, bundle } = svid;
    let refused = |error: &dyn Error| refused(spiffe_id, error);
    let unverified =
        UnverifiedX509Svid::parse_chain(chain.clone()).map_err(|error| refused(&error))?;
    let authorities = authorities(unverified.id().trust_domain(), bundle)?;
    let verified =
        unverified.verify(&authorities, SystemClock.now()).map_err(|error| refused(&error))?;
    same_id(verified.id(), spiffe_id)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_der.as_slice())).clone_key();
    let pair = CertifiedKey::from_der(chain.clone(), key, &ring::default_provider());
    pair.map_err(|error| refused(&error))?;
    Ok(X509 {
        spiffe_id: spiffe_id.clone(),
        hint: hint.clone(),
        not_before: verified.not_before(),
        expires_at: verified.not_after(),
        thumbprint: hex::encode(verified.thumbprint()),
        chain: chain.iter().map(|certificate| hex::encode(sha256(certificate))).collect(),
        chain_pem: pem_certificates(chain),
        bundle_pem: pem_certificates(bundle),
    })
}

/// The bundle of a trust domain with these certificates.
pub(super) fn authorities(
    trust_domain: &TrustDomain,
    certificates: &[CertificateDer<'static>],
) -> Result<Bundle, Failure> {
    let mut bundle = Bundle::builder(trust_domain.clone());
    for certificate in certificates {
        bundle = bundle.x509_authority(certificate.clone()).map_err(|error| {
            Failure::because(format!("the bundle of `{trust_domain}` is not valid"), &error)
        })?;
    }
    Ok(bundle.build())
}

/// Checks a JWT-SVID for one of its audiences against the key set of its trust domain.
pub(super) fn jwt(
    fetched: &FetchedJwtSvid,
    audience: &str,
    bundles: &BTreeMap<String, Value>,
) -> Result<Token, Failure> {
    let FetchedJwtSvid { spiffe_id, hint, svid } = fetched;
    let refused = |error: &dyn Error| refused(spiffe_id, error);
    let unverified = UnverifiedJwtSvid::parse(svid).map_err(|error| refused(&error))?;
    let bundle = key_set(unverified.trust_domain(), bundles)?;
    let key_id = unverified.key_id().to_string();
    let verified =
        unverified.verify(&bundle, audience, SystemClock.now()).map_err(|error| refused(&error))?;
    same_id(verified.id(), spiffe_id)?;
    Ok(Token {
        spiffe_id: spiffe_id.clone(),
        hint: hint.clone(),
        issued_at: verified.issued_at(),
        expires_at: verified.expires_at(),
        key_id,
        holder_thumbprint: None,
        claims: verified.claims().clone(),
        svid: svid.clone(),
    })
}

/// Checks a WIT-SVID against the key set of its trust domain.
pub(super) fn wit(
    fetched: &FetchedWitSvid,
    bundles: &BTreeMap<String, Value>,
) -> Result<Token, Failure> {
    let FetchedWitSvid { spiffe_id, hint, svid, key: _ } = fetched;
    let unverified = UnverifiedWitSvid::parse(svid).map_err(|error| refused(spiffe_id, &error))?;
    let bundle = key_set(unverified.trust_domain(), bundles)?;
    let token = wit_by(unverified, &bundle, svid)?;
    if token.spiffe_id != *spiffe_id {
        return Err(other_id(spiffe_id, &token.spiffe_id));
    }
    Ok(Token { hint: hint.clone(), ..token })
}

/// Checks a WIT-SVID against a bundle of its trust domain.
pub(super) fn wit_by(
    unverified: UnverifiedWitSvid,
    bundle: &Bundle,
    svid: &str,
) -> Result<Token, Failure> {
    let (spiffe_id, key_id) = (unverified.id().to_string(), unverified.key_id().to_string());
    let verified = unverified
        .verify(bundle, SystemClock.now())
        .map_err(|error| refused(&spiffe_id, &error))?;
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(verified.holder_key().thumbprint());
    Ok(Token {
        spiffe_id,
        hint: String::new(),
        issued_at: verified.issued_at(),
        expires_at: verified.expires_at(),
        key_id,
        holder_thumbprint: Some(thumbprint),
        claims: verified.claims().clone(),
        svid: svid.to_owned(),
    })
}

/// The bundle of exactly this trust domain, among the key sets that came.
pub(super) fn key_set(
    trust_domain: &TrustDomain,
    bundles: &BTreeMap<String, Value>,
) -> Result<Bundle, Failure> {
    let keys = bundles.get(trust_domain.id().as_str()).ok_or_else(|| {
        Failure::failed(format!("the daemon gave no keys of the trust domain `{trust_domain}`"))
    })?;
    Bundle::parse(trust_domain.clone(), keys.to_string().as_bytes()).map_err(|error| {
        Failure::because(format!("the key set of `{trust_domain}` is not valid"), &error)
    })
}

fn same_id(found: &SpiffeId, said: &str) -> Result<(), Failure> {
    if found.as_str() == said { Ok(()) } else { Err(other_id(said, found.as_str())) }
}

fn other_id(said: &str, found: &str) -> Failure {
    Failure::failed(format!("the SVID of `{said}` is that of `{found}`"))
}

fn refused(spiffe_id: &str, error: &dyn Error) -> Failure {
    Failure::because(format!("the SVID of `{spiffe_id}` is not valid"), error)
}
