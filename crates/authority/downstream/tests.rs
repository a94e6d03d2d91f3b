use std::time::Duration;

use marque_keys::KeyPurpose;
use marque_spiffe::{UnverifiedX509Svid, X509Svid, X509SvidError};
use marque_testkit::START;
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

use super::*;
use crate::{
    Authority, AuthorityConfig, AuthorityError,
    certificate::Extensions,
    root::names_environment,
    testing::{HOUR, House, config, later},
};

fn upstream(path_length: u8) -> AuthorityConfig {
    AuthorityConfig {
        path_length,
        max_downstream_lifetime: Some(12 * HOUR),
        ..config("prod.example.org")
    }
}

fn open(config: AuthorityConfig) -> Authority {
    House::default().open_with(config, START).unwrap()
}

/// A request of a server that calls itself so.
fn request(key: &KeyPair, name: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // None of it counts.
    params.distinguished_name.push(DnType::OrganizationalUnitName, "non-production");
    params.subject_alt_names = vec![SanType::URI("spiffe://dev.example.org".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serialize_request(key).unwrap().der().to_vec()
}

fn asked(key: &KeyPair) -> DownstreamRequest {
    DownstreamRequest::from_der(&request(key, "x509-authority-a-1")).unwrap()
}

/// An SVID that the server mints below its certificate, with that as the rest of its chain, as a verifier sees it.
fn below(
    signed: &SignedDownstream,
    key: &KeyPair,
    bundle: &marque_spiffe::Bundle,
) -> Result<X509Svid, X509SvidError> {
    let issuer = Issuer::from_ca_cert_der(&signed.chain[0], key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let id = SanType::URI("spiffe://prod.example.org/agent/a".try_into().unwrap());
    params.subject_alt_names = vec![id];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Validity { not_before: START, not_after: later(60) }.apply(&mut params).unwrap();
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let chain = [vec![leaf.der().clone()], signed.chain.clone()].concat();
    UnverifiedX509Svid::parse_chain(chain).unwrap().verify(bundle, START)
}

#[test]
fn what_a_server_below_mints_verifies_by_the_roots_alone() {
    let authority = open(upstream(1));
    for key in [KeyPair::generate(), KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)] {
        let key = key.unwrap();
        let signed = authority.sign_downstream(&asked(&key), None, START).unwrap();
        assert_eq!(signed.roots, authority.bundle().x509_authorities());
        assert_eq!(signed.not_after, later(12 * 3600));
        let svid = below(&signed, &key, &authority.bundle()).unwrap();
        assert_eq!(svid.id().as_str(), "spiffe://prod.example.org/agent/a");
    }
}

#[test]
fn nothing_of_the_other_environment_verifies_whoever_signed_it() {
    let (production, key) = (open(upstream(1)), KeyPair::generate().unwrap());
    let other = AuthorityConfig { environment: Environment::NonProduction, ..upstream(1) };
    let other = open(other);
    let signed = other.sign_downstream(&asked(&key), None, START).unwrap();
    below(&signed, &key, &other.bundle()).unwrap();
    let refused = below(&signed, &key, &production.bundle()).unwrap_err();
    assert!(matches!(refused, X509SvidError::UnknownAuthority(_)), "{refused:?}");
}

#[test]
fn the_certificate_says_what_the_upstream_wants_and_nothing_of_what_was_asked() {
    let (authority, key) = (open(upstream(3)), KeyPair::generate().unwrap());
    let signed = authority.sign_downstream(&asked(&key), None, START).unwrap();
    let certificate = certificate::read(&signed.chain[0]).unwrap();
    let subject = certificate.subject().to_string();
    assert_eq!(
        subject,
        format!(
            "O=prod.example.org, OU=production, CN=x509-authority-a-1, serialNumber={}",
            signed.serial
        )
    );
    // The root has the same name, but for the serial number.
    assert_ne!(certificate.subject().as_raw(), certificate.issuer().as_raw());
    assert!(names_environment(&certificate, Environment::Production));
    let extensions = Extensions::read(&certificate).unwrap();
    assert!(extensions.has_root_usages());
    assert_eq!(extensions.path_length(), Some(2));
    let again = authority.sign_downstream(&asked(&key), None, START).unwrap();
    assert_ne!(again.serial, signed.serial);
}

#[test]
fn a_certificate_ends_with_what_was_asked_for_the_ceiling_or_the_root() {
    let (authority, key) = (open(upstream(1)), KeyPair::generate().unwrap());
    let end = |lifetime: Option<Duration>, now| {
        authority.sign_downstream(&asked(&key), lifetime, now).unwrap().not_after
    };
    assert_eq!(end(Some(HOUR), START), later(3600));
    assert_eq!(end(Some(12 * HOUR + Duration::from_secs(1)), START), later(12 * 3600));
    assert_eq!(end(None, later(20 * 3600)), later(24 * 3600), "with the root");
}

#[test]
fn a_root_without_room_signs_no_authority_and_one_that_has_none_below_neither() {
    let key = KeyPair::generate().unwrap();
    let sign = |config| open(config).sign_downstream(&asked(&key), None, START).unwrap_err();
    assert!(matches!(sign(upstream(0)), AuthorityError::NoRoom { slot }
        if slot.purpose() == KeyPurpose::X509Authority));
    let nobody = AuthorityConfig { max_downstream_lifetime: None, ..upstream(2) };
    assert!(matches!(sign(nobody), AuthorityError::NoDownstream));
}

#[test]
fn a_root_that_is_on_record_keeps_its_path_length() {
    let (house, key) = (House::default(), KeyPair::generate().unwrap());
    house.open_with(upstream(0), START).unwrap();
    let authority = house.open_with(upstream(1), START).unwrap();
    let refused = authority.sign_downstream(&asked(&key), None, START).unwrap_err();
    assert!(matches!(refused, AuthorityError::NoRoom { .. }), "{refused}");
}

#[test]
fn a_name_is_an_ornament() {
    let key = KeyPair::generate().unwrap();
    for (asked, called) in [
        ("server-1", "server-1".to_owned()),
        ("", NAMELESS.to_owned()),
        ("\u{7}\n", NAMELESS.to_owned()),
        ("a\u{0}b", "ab".to_owned()),
        (&"é".repeat(65), "é".repeat(64)),
    ] {
        let request = DownstreamRequest::from_der(&request(&key, asked)).unwrap();
        assert_eq!(request.common_name(), called, "{asked:?}");
        open(upstream(1)).sign_downstream(&request, None, START).unwrap();
    }
}

const NAMELESS: &str = "downstream";

#[test]
fn a_request_that_proves_nothing_is_refused() {
    use DownstreamRequestError as Refused;

    let der = request(&KeyPair::generate().unwrap(), "a");
    let refused = |der: &[u8]| DownstreamRequest::from_der(der).unwrap_err();
    let mut tampered = der.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&tampered), Refused::Signature);
    assert_eq!(refused(&[der.clone(), vec![0]].concat()), Refused::Malformed);
    assert_eq!(refused(&der[..der.len() - 1]), Refused::Malformed);
    assert_eq!(refused(b""), Refused::Malformed);
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(refused(&request(&ed25519, "a")), Refused::Algorithm);
    // The key of one request under the signature of another.
    let other = request(&KeyPair::generate().unwrap(), "a");
    let point = |der: &[u8]| der.windows(2).position(|two| two == [0x00, 0x04]).unwrap() + 1;
    let (mut swapped, from, to) = (der.clone(), point(&other), point(&der));
    swapped[to..to + 65].copy_from_slice(&other[from..from + 65]);
    assert_eq!(refused(&swapped), Refused::Signature);
    // A point that is on no curve.
    let mut nowhere = der;
    nowhere[to + 64] ^= 1;
    assert_eq!(refused(&nowhere), Refused::PublicKey);
    let most = DownstreamRequest::MAX_BYTES;
    assert_eq!(refused(&vec![0x30; most]), Refused::Malformed);
    assert_eq!(refused(&vec![0x30; most + 1]), Refused::TooLong);
}
