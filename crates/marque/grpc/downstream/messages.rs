//! The messages of SPIRE's server API, from and to what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use marque_authority::SignedDownstream;
use marque_jose::{KeyId, PublicKey};
use marque_spiffe::Bundle;
use rustls_pki_types::CertificateDer;
use tonic::Status;

use super::super::proto::spire_svid::NewDownstreamX509caResponse;
use super::super::proto::spire_types as proto;
use crate::error;

/// How long the certificate should last; `None` leaves it to the server.
pub(super) fn lifetime(preferred_ttl: i32) -> Result<Option<Duration>, Status> {
    match u64::try_from(preferred_ttl) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_negative) => Err(error::downstream::negative_lifetime()),
    }
}

pub(super) fn signed(signed: SignedDownstream) -> NewDownstreamX509caResponse {
    let SignedDownstream { chain, roots, serial: _, not_after: _ } = signed;
    NewDownstreamX509caResponse { ca_cert_chain: der(&chain), x509_authorities: der(&roots) }
}

fn der(certificates: &[CertificateDer<'static>]) -> Vec<Vec<u8>> {
    certificates.iter().map(|certificate| certificate.to_vec()).collect()
}

/// What of a bundle is wanted. What is not in `untainted` is tainted.
pub(super) fn bundle(
    bundle: &Bundle,
    untainted: &Bundle,
    mask: Option<proto::BundleMask>,
) -> proto::Bundle {
    let everything = proto::BundleMask {
        x509_authorities: true,
        jwt_authorities: true,
        refresh_hint: true,
        sequence_number: true,
        wit_authorities: true,
    };
    let wants = mask.unwrap_or(everything);
    let mut message =
        proto::Bundle { trust_domain: bundle.trust_domain().to_string(), ..Default::default() };
    if wants.x509_authorities {
        let good = untainted.x509_authorities();
        let certificate = |der: &CertificateDer<'static>| proto::X509Certificate {
            asn1: der.to_vec(),
            tainted: !good.contains(der),
        };
        message.x509_authorities = bundle.x509_authorities().iter().map(certificate).collect();
    }
    if wants.jwt_authorities {
        let keys = keys(bundle.jwt_authorities(), untainted.jwt_authorities());
        message.jwt_authorities = keys
            .map(|Key { public_key, key_id, tainted }| proto::JwtKey {
                public_key,
                key_id,
                expires_at: 0,
                tainted,
            })
            .collect();
    }
    if wants.wit_authorities {
        let keys = keys(bundle.wit_authorities(), untainted.wit_authorities());
        message.wit_authorities = keys
            .map(|Key { public_key, key_id, tainted }| proto::WitKey {
                public_key,
                key_id,
                expires_at: 0,
                tainted,
            })
            .collect();
    }
    if wants.refresh_hint {
        let seconds = bundle.refresh_hint().as_secs();
        message.refresh_hint = i64::try_from(seconds).unwrap_or(i64::MAX);
    }
    if wants.sequence_number {
        message.sequence_number = bundle.sequence();
    }
    message
}

struct Key {
    public_key: Vec<u8>,
    key_id: String,
    tainted: bool,
}

fn keys<'a>(
    all: &'a BTreeMap<KeyId, PublicKey>,
    untainted: &'a BTreeMap<KeyId, PublicKey>,
) -> impl Iterator<Item = Key> + 'a {
    all.iter().map(|(key_id, key)| Key {
        public_key: key.to_spki_der(),
        key_id: key_id.to_string(),
        tainted: !untainted.contains_key(key_id),
    })
}

#[cfg(test)]
mod tests {
    use marque_testkit::ScratchTrustDomain;

    use super::*;

    #[test]
    fn a_mask_chooses_and_the_trust_domain_always_comes() {
        let scratch = ScratchTrustDomain::new("example.org");
        let own = scratch.bundle();
        let all = bundle(&own, &own, None);
        assert_eq!(all.trust_domain, "example.org");
        assert!(!all.x509_authorities.is_empty() && !all.jwt_authorities.is_empty());
        assert!(!all.x509_authorities.iter().any(|one| one.tainted));
        let none = bundle(&own, &own, Some(proto::BundleMask::default()));
        let nothing =
            proto::Bundle { trust_domain: all.trust_domain.clone(), ..proto::Bundle::default() };
        assert_eq!(none, nothing);
        let mask = proto::BundleMask { x509_authorities: true, ..proto::BundleMask::default() };
        let some = bundle(&own, &own, Some(mask));
        assert_eq!(some, proto::Bundle { x509_authorities: all.x509_authorities, ..nothing });
    }

    #[test]
    fn what_is_tainted_says_so() {
        let scratch = ScratchTrustDomain::new("example.org");
        let own = scratch.bundle();
        let nothing = Bundle::builder(own.trust_domain().clone()).build();
        let all = bundle(&own, &nothing, None);
        assert!(all.x509_authorities.iter().all(|one| one.tainted));
        assert!(all.jwt_authorities.iter().all(|one| one.tainted));
    }

    #[test]
    fn a_lifetime_is_asked_for_or_left_to_the_server() {
        assert_eq!(lifetime(0).unwrap(), None);
        assert_eq!(lifetime(3600).unwrap(), Some(Duration::from_secs(3600)));
        assert_eq!(lifetime(-1).unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
