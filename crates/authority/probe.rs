//! The trial of a certificate that somebody else signed: an X.509-SVID is minted below it, verified as any verifier would, and
//! thrown away. What passes is put on record.

use std::time::Duration;

use jiff::Timestamp;
use marque_keys::SigningKey;
use marque_spiffe::{Bundle, Random, SpiffeId};

use crate::{
    AuthorityConfig, AuthorityError, ConfigError, P256PublicKey, PrivateKeyPkcs8, SelfCheckError,
    SignedAuthority, SignedAuthorityError, X509SvidTemplate,
    certificate::plus_seconds,
    intermediate::Standing,
    signer::{CertificateSigner, name_key},
    snapshot::X509Certificates,
    x509::{Leaf, X509Authority},
};

/// Holds what came back for the request of a key to everything that it has to be. `now` is a whole second.
pub(crate) fn try_signed(
    signed: &SignedAuthority,
    config: &AuthorityConfig,
    key: &SigningKey,
    random: &dyn Random,
    now: Timestamp,
) -> Result<X509Certificates, AuthorityError> {
    let slot = key.slot();
    let refused = |source| AuthorityError::SignedAuthority { slot: slot.clone(), source };
    let (_, public_key) = name_key(slot, key.public_key())?;
    let certificates = signed.read(config, slot, &public_key, Standing::New).map_err(refused)?;
    let (ends_at, least) = (certificates.own.validity.not_after, config.least_authority_lifetime());
    let whole_seconds =
        i64::try_from(least.as_secs()).map_err(|_range| AuthorityError::Time(now))?;
    if plus_seconds(now, whole_seconds)? > ends_at {
        return Err(refused(SignedAuthorityError::EndsTooSoon { ends_at, least }));
    }
    mint_below(&certificates, config, key, random, now).map_err(|error| match error {
        AuthorityError::SelfCheck { source: SelfCheckError::X509(source), .. } => {
            refused(SignedAuthorityError::Path(source))
        }
        other => other,
    })?;
    Ok(certificates)
}

fn mint_below(
    certificates: &X509Certificates,
    config: &AuthorityConfig,
    key: &SigningKey,
    random: &dyn Random,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let mut bundle = Bundle::builder(config.trust_domain.clone());
    for root in &certificates.anchors {
        bundle = bundle.x509_authority(root.clone()).map_err(AuthorityError::Bundle)?;
    }
    let template = X509SvidTemplate {
        spiffe_id: probe_id(config)?,
        lifetime: Duration::from_secs(1),
        dns_names: Vec::new(),
    };
    let (_private, public_key): (PrivateKeyPkcs8, P256PublicKey) = PrivateKeyPkcs8::generate()?;
    let ends_at = certificates.own.validity.not_after;
    let signer = CertificateSigner::for_leaves(key.clone(), config, ends_at);
    let authority = X509Authority::new(key.slot().clone(), certificates.clone(), signer)?;
    let validity = authority.validity(template.lifetime, template.lifetime, now)?;
    let leaf = Leaf { template: &template, public_key: &public_key, validity };
    authority.mint(&leaf, &bundle.build(), random, now).map(drop)
}

/// An identity that no entry can have: `marque` is reserved.
fn probe_id(config: &AuthorityConfig) -> Result<SpiffeId, AuthorityError> {
    let id = format!("{}/marque/probe", config.trust_domain.id().as_str());
    id.parse().map_err(|_too_long| AuthorityError::Config(ConfigError::RootTooLong))
}
