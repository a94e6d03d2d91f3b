//! ID-11: nothing that says who somebody is stands outside the signature; and what each kind of document leaves free.

use jiff::Timestamp;
use marque_jose::base64url;
use marque_spiffe::{
    Bundle, BundleSource as _, JwtSvidError, UnverifiedJwtSvid, UnverifiedX509Svid,
};
use marque_testkit::{START, ScratchBundles, ScratchTrustDomain};
use rustls_pki_types::CertificateDer;
use std::time::Duration;

const AUDIENCE: &str = "https://api.example.org";

fn verified(chain: Vec<CertificateDer<'static>>, bundle: &Bundle, now: Timestamp) -> bool {
    UnverifiedX509Svid::parse_chain(chain).and_then(|svid| svid.verify(bundle, now)).is_ok()
}

#[test]
fn id_11_another_id_or_key_in_an_x509_svid_breaks_its_signature() {
    let domain = ScratchTrustDomain::new("example.org");
    let svid = domain.x509_svid(&domain.id("/agent/a"));
    assert!(verified(svid.chain.clone(), &domain.bundle(), START));
    let leaf = svid.chain.first().unwrap();
    let id = leaf.windows(7).position(|window| window == b"agent/a").unwrap() + 6;
    // The point of a P-256 key begins with 4 and is 65 bytes of a BIT STRING of 66 (RFC 5480 §2.2).
    let key = leaf.windows(4).position(|window| window == [0x03, 0x42, 0x00, 0x04]).unwrap() + 40;
    for at in [id, key] {
        let mut altered = leaf.to_vec();
        altered[at] ^= 1;
        assert!(
            !verified(vec![altered.into()], &domain.bundle(), START),
            "byte {at} is not signed"
        );
    }
}

#[test]
fn id_11_another_subject_in_a_jwt_svid_breaks_its_signature() {
    let domain = ScratchTrustDomain::new("example.org");
    let token =
        domain.jwt_svid(&domain.id("/agent/a"), &[AUDIENCE], START + Duration::from_secs(60));
    let token = token.expose_token();
    let verify = |token: &str| {
        UnverifiedJwtSvid::parse(token).unwrap().verify(&domain.bundle(), AUDIENCE, START)
    };
    verify(token).unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let claims = String::from_utf8(base64url::decode(parts[1]).unwrap()).unwrap();
    let claims = base64url::encode(claims.replace("/agent/a", "/agent/b"));
    let altered = format!("{}.{claims}.{}", parts[0], parts[2]);
    assert!(matches!(verify(&altered), Err(JwtSvidError::Jws(_))));
}

#[test]
fn tb_7_a_bundle_speaks_for_its_own_trust_domain_alone() {
    let (one, other) =
        (ScratchTrustDomain::new("example.org"), ScratchTrustDomain::new("other.example.org"));
    let bundles = ScratchBundles::of(&[&one, &other]);
    for domain in [&one, &other] {
        let found = bundles.bundle(domain.trust_domain()).unwrap();
        assert_eq!(found.trust_domain(), domain.trust_domain());
        assert_eq!(found.x509_authorities(), [domain.root().certificate().clone()]);
        assert_eq!(found.jwt_authorities().len(), 1);
    }
    // An authority that another trust domain lists says nothing about this one's workloads.
    let svid = one.x509_svid(&one.id("/agent/a"));
    let borrowed = Bundle::builder(other.trust_domain().clone())
        .x509_authority(one.root().certificate().clone())
        .unwrap()
        .build();
    assert!(!verified(svid.chain.clone(), &borrowed, START));
    assert!(verified(svid.chain, &one.bundle(), START));
}
