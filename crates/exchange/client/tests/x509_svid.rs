//! X.509-SVIDs over mutual TLS. The handshake is the edge's; here is what it handed over.

use marque_intent::DenialCode;
use marque_testkit::{START, ScratchCa};
use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;

use super::over;
use crate::{
    OAuthErrorCode::{AccessDenied, InvalidClient},
    fixture::{Fields, Rig},
};

type Chain = Vec<CertificateDer<'static>>;

/// A request of the client that says it is `client_id`, for the agent's own subject token.
fn request(rig: &Rig, client_id: &str) -> Fields {
    rig.fields().unauthenticated().set("client_id", client_id)
}

#[tokio::test]
async fn oauth_4_3_an_x509_svid_authenticates_the_client_that_client_id_names() {
    let rig = Rig::new();
    let chain = rig.own.x509_svid(&rig.agent).chain;
    let fields = request(&rig, rig.agent.as_str());
    let token = rig.exchange_with(&fields, over(&chain)).await.unwrap();
    assert_eq!(token.expose_json()["expires_in"], 240);
}

#[tokio::test]
async fn oauth_4_4_an_intermediate_of_the_client_ends_the_path_at_the_bundle() {
    let rig = Rig::new();
    let intermediate = rig.own.root().intermediate(rig.own.ca_params());
    let mut chain = intermediate.issue(&rig.own.leaf_params(&rig.agent)).chain;
    let without = chain.clone();
    chain.push(intermediate.certificate().clone());
    let fields = request(&rig, rig.agent.as_str());
    let error = rig.exchange_with(&fields, over(&without)).await.unwrap_err();
    assert_eq!(error.code(), InvalidClient);
    rig.exchange_with(&fields, over(&chain)).await.unwrap();
}

/// Chains that nobody is to be known by, all of them for the agent's own name.
fn forgeries(rig: &Rig) -> Vec<(&'static str, Chain)> {
    let own = &rig.own;
    let spoilt = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = own.leaf_params(&rig.agent);
        change(&mut params);
        own.root().issue(&params).chain
    };
    let stranger = ScratchCa::root(own.ca_params());
    // A leaf that plays the authority: its own certificate is genuine.
    let leaf_issuer = own.root().intermediate(own.leaf_params(&own.id("/agent/other")));
    let below_leaf = leaf_issuer.issue(&own.leaf_params(&rig.agent)).chain.remove(0);
    vec![
        ("signed_by_a_stranger_of_our_name", stranger.issue(&own.leaf_params(&rig.agent)).chain),
        (
            "signed_by_a_federated_authority",
            rig.federated.root().issue(&own.leaf_params(&rig.agent)).chain,
        ),
        ("self_signed", vec![ScratchCa::root(own.leaf_params(&rig.agent)).certificate().clone()]),
        (
            "two_uris",
            spoilt(|params| {
                params.subject_alt_names.push(SanType::URI(
                    "spiffe://prod.example.org/agent/other".try_into().unwrap(),
                ));
            }),
        ),
        (
            "the_same_uri_twice",
            spoilt(|params| params.subject_alt_names.push(params.subject_alt_names[0].clone())),
        ),
        ("no_uri", spoilt(|params| params.subject_alt_names.clear())),
        (
            "ca_certificate",
            spoilt(|params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }),
        ),
        (
            "no_digital_signature",
            spoilt(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
        ),
        ("no_key_usage", spoilt(|params| params.key_usages.clear())),
        ("issued_by_another_leaf", vec![below_leaf, leaf_issuer.certificate().clone()]),
        ("not_a_certificate", vec![CertificateDer::from(vec![0x30, 0x00])]),
    ]
}

#[tokio::test]
async fn oauth_4_4_no_forged_x509_svid_authenticates_a_client() {
    let rig = Rig::new();
    let fields = request(&rig, rig.agent.as_str());
    for (name, chain) in forgeries(&rig) {
        let Err(error) = rig.exchange_with(&fields, over(&chain)).await else {
            panic!("{name} authenticates")
        };
        assert_eq!(error.code(), InvalidClient, "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_4_3_client_id_is_the_uri_of_the_certificate_byte_by_byte() {
    let rig = Rig::new();
    let chain = rig.own.x509_svid(&rig.agent).chain;
    for other in [
        "spiffe://prod.example.org/agent/other",
        "spiffe://prod.example.org/agent/rotator/",
        "spiffe://PROD.example.org/agent/rotator",
        "spiffe://prod.example.org/agent/%72otator",
        "spiffe://prod.example.org/agent/*",
        "spiffe://prod.example.org",
        "/agent/rotator",
        "*",
    ] {
        let error = rig.exchange_with(&request(&rig, other), over(&chain)).await.unwrap_err();
        assert_eq!(error.code(), InvalidClient, "{other}");
    }
}

#[tokio::test]
async fn oauth_4_4_an_x509_svid_counts_while_it_is_valid_and_no_longer() {
    let rig = Rig::new();
    let chain = rig.own.x509_svid(&rig.agent).chain;
    let fields = request(&rig, rig.agent.as_str());
    for (name, at) in [("late", 3601), ("early", -3600)] {
        rig.clock.set(START + jiff::SignedDuration::from_secs(at));
        let error = rig.exchange_with(&fields, over(&chain)).await.unwrap_err();
        assert_eq!(error.code(), InvalidClient, "{name}");
    }
    rig.clock.set(START);
    rig.exchange_with(&fields, over(&chain)).await.unwrap();
}

#[tokio::test]
async fn oauth_4_6_an_x509_svid_does_not_cross_the_environment_boundary() {
    let rig = Rig::new();
    for (domain, code, denial) in [
        (&rig.other_environment, AccessDenied, Some(DenialCode::EnvironmentBoundary)),
        (&rig.undeclared, InvalidClient, None),
    ] {
        let id = domain.id("/agent/rotator");
        let chain = domain.x509_svid(&id).chain;
        let error = rig.exchange_with(&request(&rig, id.as_str()), over(&chain)).await.unwrap_err();
        assert_eq!((error.code(), error.denial()), (code, denial), "{id}");
    }
}
