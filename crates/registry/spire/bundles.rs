//! `spire-server bundle show|list -output json`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_jose::{KeyId, PublicKey};
use marque_spiffe::{Bundle, TrustDomain};
use rustls_pki_types::CertificateDer;

use super::read::{Members, SpireError, elements, json, trust_domain_name};

/// The most bundles of one file.
pub const MAX_SPIRE_BUNDLES: usize = 1024;
/// The most keys of one bundle.
const MAX_KEYS: usize = Bundle::MAX_KEYS;

/// A bundle as SPIRE has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpireBundle {
    /// The trust domain's name, as written.
    pub trust_domain: String,
    x509_authorities: Vec<Vec<u8>>,
    jwt_authorities: Vec<(String, Vec<u8>)>,
    wit_authorities: Vec<(String, Vec<u8>)>,
    /// How many authorities are tainted; they are none of the bundle's any more.
    pub tainted: usize,
    refresh_hint: u64,
    sequence: u64,
    /// Members that are not known and say something.
    pub unknown: Vec<String>,
}

/// Why a bundle of SPIRE is no SPIFFE bundle.
#[derive(Debug, thiserror::Error)]
pub enum SpireBundleError {
    /// The trust domain's name is none.
    #[error("`{0}` is not the name of a trust domain")]
    TrustDomain(String),
    /// A key is none that is read here.
    #[error("key `{0}` cannot be read")]
    Key(String),
    /// What SPIFFE refuses.
    #[error("is no SPIFFE bundle")]
    Bundle(#[source] marque_spiffe::BundleError),
}

/// Reads bundles: `{"bundles": […]}`, a list, or one bundle.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_spire_bundles(bytes: &[u8]) -> Result<Vec<SpireBundle>, SpireError> {
    let document = json(bytes)?;
    let found = elements(&document, "bundles", "trust_domain", MAX_SPIRE_BUNDLES)?;
    let bundles = found
        .into_iter()
        .enumerate()
        .map(|(index, value)| bundle(Members::of(value, format!("bundle {}", index + 1))?));
    bundles.collect()
}

fn bundle(mut members: Members<'_>) -> Result<SpireBundle, SpireError> {
    let trust_domain = trust_domain_name(&members.text("trust_domain")?).to_owned();
    let mut tainted = 0;
    let mut x509_authorities = Vec::new();
    for value in members.list("x509_authorities")? {
        let mut parts = Members::of(value, format!("an authority of `{trust_domain}`"))?;
        if parts.switch("tainted")? {
            tainted += 1;
        } else {
            x509_authorities.push(base64(&mut parts, "asn1")?);
        }
    }
    let (jwt_authorities, jwt_tainted) = keys(&mut members, "jwt_authorities", &trust_domain)?;
    let (wit_authorities, wit_tainted) = keys(&mut members, "wit_authorities", &trust_domain)?;
    tainted += jwt_tainted + wit_tainted;
    if x509_authorities.len() + jwt_authorities.len() + wit_authorities.len() > MAX_KEYS {
        return Err(SpireError::TooMany(MAX_KEYS));
    }
    let refresh_hint = members.number("refresh_hint")?;
    let sequence = members.number("sequence_number")?;
    let unknown = members.rest();
    Ok(SpireBundle {
        trust_domain,
        x509_authorities,
        jwt_authorities,
        wit_authorities,
        tainted,
        refresh_hint,
        sequence,
        unknown,
    })
}

/// Keys by their ids, and how many more are tainted.
type Keys = (Vec<(String, Vec<u8>)>, usize);

fn keys(
    members: &mut Members<'_>,
    name: &'static str,
    trust_domain: &str,
) -> Result<Keys, SpireError> {
    let (mut keys, mut tainted) = (Vec::new(), 0);
    for value in members.list(name)? {
        let mut parts = Members::of(value, format!("a key of `{trust_domain}`"))?;
        if parts.switch("tainted")? {
            tainted += 1;
        } else {
            keys.push((parts.text("key_id")?, base64(&mut parts, "public_key")?));
        }
    }
    Ok((keys, tainted))
}

fn base64(members: &mut Members<'_>, name: &'static str) -> Result<Vec<u8>, SpireError> {
    let text = members.text(name)?;
    STANDARD.decode(text).map_err(|_source| members.wrong(name, "base64"))
}

fn key(name: &str, der: &[u8]) -> Result<(KeyId, PublicKey), SpireBundleError> {
    let unreadable = || SpireBundleError::Key(name.to_owned());
    let id = name.parse().map_err(|_source| unreadable())?;
    Ok((id, PublicKey::from_spki_der(der).map_err(|_source| unreadable())?))
}

impl SpireBundle {
    /// The same authorities as a SPIFFE bundle.
    ///
    /// # Errors
    /// A certificate, a key or the name is none.
    pub fn to_bundle(&self) -> Result<Bundle, SpireBundleError> {
        let trust_domain: TrustDomain = self
            .trust_domain
            .parse()
            .map_err(|_source| SpireBundleError::TrustDomain(self.trust_domain.clone()))?;
        let mut builder = Bundle::builder(trust_domain);
        for der in &self.x509_authorities {
            let certificate = CertificateDer::from(der.clone());
            builder = builder.x509_authority(certificate).map_err(SpireBundleError::Bundle)?;
        }
        for (name, der) in &self.jwt_authorities {
            let (id, key) = key(name, der)?;
            builder = builder.jwt_authority(id, key).map_err(SpireBundleError::Bundle)?;
        }
        for (name, der) in &self.wit_authorities {
            let (id, key) = key(name, der)?;
            builder = builder.wit_authority(id, key).map_err(SpireBundleError::Bundle)?;
        }
        if self.refresh_hint > 0 {
            builder = builder.refresh_hint(Duration::from_secs(self.refresh_hint));
        }
        Ok(builder.sequence(self.sequence).build())
    }
}
