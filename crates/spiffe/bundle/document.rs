//! The bundle document: a JWK Set with two members of its own.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use marque_jose::{Jwk, PublicKey, json};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value};

use super::{Bundle, BundleError, TokenKeys};
use crate::{TrustDomain, read_certificate};

pub(super) const X509_SVID: &str = "x509-svid";
pub(super) const JWT_SVID: &str = "jwt-svid";
pub(super) const WIT_SVID: &str = "wit-svid";

const LIMITS: json::Limits = json::Limits { max_bytes: 1024 * 1024, max_depth: 16 };

pub(super) fn parse(trust_domain: TrustDomain, document: &[u8]) -> Result<Bundle, BundleError> {
    read(trust_domain, &json::parse_object(document, &LIMITS).map_err(BundleError::Json)?)
}

/// Reads the members of a document; that no name occurs twice in it is for the caller to have checked.
pub(super) fn read(
    trust_domain: TrustDomain,
    document: &Map<String, Value>,
) -> Result<Bundle, BundleError> {
    let mut bundle = Bundle::builder(trust_domain).build();
    if let Some(sequence) = document.get("spiffe_sequence") {
        bundle.sequence = Some(sequence.as_u64().ok_or(BundleError::Sequence)?);
    }
    if let Some(hint) = document.get("spiffe_refresh_hint") {
        bundle.refresh_hint =
            Some(Duration::from_secs(hint.as_u64().ok_or(BundleError::RefreshHint)?));
    }
    let keys = document.get("keys").and_then(Value::as_array).ok_or(BundleError::NoKeys)?;
    if keys.len() > Bundle::MAX_KEYS {
        return Err(BundleError::TooManyKeys);
    }
    for (index, entry) in keys.iter().enumerate() {
        let members = entry.as_object().ok_or(BundleError::NotAnObject { index })?;
        match members.get("use").and_then(Value::as_str) {
            Some(X509_SVID) => add_x509(&mut bundle, index, entry, members)?,
            Some(JWT_SVID) => add_token_key(&mut bundle, index, entry, |bundle| &mut bundle.jwt)?,
            Some(WIT_SVID) => add_token_key(&mut bundle, index, entry, |bundle| &mut bundle.wit)?,
            _ => {} // TB-5: a missing or unknown use ignores the key.
        }
    }
    Ok(bundle)
}

pub(super) fn render(bundle: &Bundle) -> Value {
    let mut keys: Vec<Value> = bundle.x509_authorities.iter().filter_map(x509_jwk).collect();
    keys.extend(token_keys(&bundle.jwt, JWT_SVID));
    keys.extend(token_keys(&bundle.wit, WIT_SVID));
    let mut document = Map::new();
    document.insert("keys".to_owned(), keys.into());
    if let Some(sequence) = bundle.sequence {
        document.insert("spiffe_sequence".to_owned(), sequence.into());
    }
    if let Some(hint) = bundle.refresh_hint {
        document.insert("spiffe_refresh_hint".to_owned(), hint.as_secs().into());
    }
    Value::Object(document)
}

pub(super) fn token_keys(keys: &TokenKeys, key_use: &str) -> Vec<Value> {
    keys.jwks(key_use).map(|jwk| jwk.to_value()).collect()
}

/// The key in exactly one DER certificate.
pub(super) fn certificate_key(certificate: &CertificateDer<'_>) -> Result<PublicKey, BundleError> {
    let read = read_certificate(certificate).ok_or(BundleError::Certificate)?;
    PublicKey::from_spki_der(read.public_key().raw).map_err(BundleError::CertificateKey)
}

fn add_x509(
    bundle: &mut Bundle,
    index: usize,
    entry: &Value,
    members: &Map<String, Value>,
) -> Result<(), BundleError> {
    let Some(chain) = members.get("x5c") else { return Ok(()) }; // X5-9
    let Some(beside) = supported(index, entry)? else { return Ok(()) };
    if beside.kid.is_some() {
        return Err(BundleError::X509KeyId { index });
    }
    // X5-9: only the first value is used; X5-8 allows no second one, which is for the writer to heed.
    let first = chain
        .as_array()
        .and_then(|chain| chain.first()?.as_str())
        .ok_or(BundleError::X5c { index })?;
    let der = STANDARD.decode(first).map_err(|_position| BundleError::X5c { index })?;
    let certificate = CertificateDer::from(der);
    if certificate_key(&certificate)? != beside.key {
        return Err(BundleError::X509KeyMismatch { index });
    }
    bundle.x509_authorities.push(certificate);
    Ok(())
}

fn add_token_key(
    bundle: &mut Bundle,
    index: usize,
    entry: &Value,
    keys: impl FnOnce(&mut Bundle) -> &mut TokenKeys,
) -> Result<(), BundleError> {
    let Some(Jwk { key, kid, key_use: _, alg }) = supported(index, entry)? else { return Ok(()) };
    let kid = kid.ok_or(BundleError::NoKeyId { index })?;
    bundle.refuse_duplicate(&kid)?;
    keys(bundle).insert(kid, key, alg);
    Ok(())
}

/// TB-4, TB-5: a key of an unknown or missing `kty`, or of a kind that is not supported, is ignored.
fn supported(index: usize, entry: &Value) -> Result<Option<Jwk>, BundleError> {
    if entry.get("kty").is_none() {
        return Ok(None);
    }
    match Jwk::parse(entry) {
        Ok(jwk) => Ok(Some(jwk)),
        Err(error) if error.is_unsupported() => Ok(None),
        Err(source) => Err(BundleError::Key { index, source }),
    }
}

fn x509_jwk(certificate: &CertificateDer<'static>) -> Option<Value> {
    // Each certificate was read when it came into the bundle.
    let mut members = certificate_key(certificate).ok()?.to_jwk();
    members.insert("use".to_owned(), X509_SVID.into());
    members.insert("x5c".to_owned(), vec![STANDARD.encode(certificate)].into());
    Some(Value::Object(members))
}
