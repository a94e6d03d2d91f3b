//! Who is believed at a bundle endpoint.

use std::time::Duration;

use marque_testkit::{ScratchCa, ScratchTrustDomain};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::endpoint::{Endpoint, of};
use super::{Own, document_of, partner, server_id, spiffe, web};

#[tokio::test]
async fn fe_3_a_bundle_is_fetched_by_either_profile() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    endpoint.document(document_of(&partner, 7, 300));
    let run = own.start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    assert_eq!(run.sequence(), None);
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(7));

    let endpoint = of(&partner).await;
    endpoint.document(document_of(&partner, 8, 300));
    let text = spiffe(&endpoint.url("/bundle"), &server_id(&partner));
    let run = Own::new().start(&text, &[partner.bundle()]);
    assert_eq!(run.sequence(), Some(1));
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(8));
    assert_eq!(run.present().unwrap().x509_authorities(), [partner.root().certificate().clone()]);
}

#[tokio::test]
async fn fe_3_a_server_that_knows_tls_1_2_alone_is_spoken_to() {
    let endpoint = Endpoint::web().await;
    let folder = endpoint.ca_file.parent().unwrap();
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = rustls::crypto::ring::default_provider().into();
    let tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap();
    endpoint.set_tls(tls.with_no_client_auth().with_single_cert(chain, key).unwrap());
    endpoint.document(document_of(&partner(), 2, 300));
    let run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(2));
}

#[tokio::test]
async fn fe_6_a_fetch_shows_no_credential_of_any_kind() {
    let endpoint = Endpoint::web().await;
    endpoint.document(document_of(&partner(), 2, 300));
    let run = Own::new().start(&web(&endpoint.url("/bundle?x=1"), &endpoint.ca_file), &[]);
    endpoint
        .answer("/bundle?x=1", super::endpoint::Answer::Document(document_of(&partner(), 2, 300)));
    run.refresh().await.unwrap();
    let port = endpoint.port;
    let expected = format!(
        "GET /bundle?x=1 HTTP/1.1\r\nhost: localhost:{port}\r\naccept: application/json\r\n\r\n"
    );
    assert_eq!(endpoint.heads(), [expected]);
}

#[tokio::test]
async fn fe_7_a_web_certificate_of_another_authority_or_time_is_refused() {
    let own = Own::new();
    let (endpoint, other) = (Endpoint::web().await, Endpoint::web().await);
    endpoint.document(document_of(&partner(), 2, 300));
    let run = own.start(&web(&endpoint.url("/bundle"), &other.ca_file), &[]);
    assert!(run.refused().await.contains("invalid peer certificate"), "another authority");
    let run = own.start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    own.clock.advance(Duration::from_secs(91 * 24 * 3600));
    let said = run.refused().await;
    assert!(said.contains("expired"), "{said}");
    assert_eq!(endpoint.asked(), [""; 0], "nothing was asked of a stranger");
}

#[tokio::test]
async fn fe_7_a_web_certificate_for_another_host_is_refused() {
    let (endpoint, partner) = (Endpoint::web().await, partner());
    endpoint.document(document_of(&partner, 2, 300));
    let authorities = [partner.root().certificate().clone()];
    std::fs::write(&endpoint.ca_file, crate::pem::pem_certificates(&authorities)).unwrap();
    let run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    for (name, believed) in [("elsewhere.example.org", false), ("localhost", true)] {
        let mut params = partner.leaf_params(&server_id(&partner));
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        endpoint.show(&partner.root().issue(&params));
        if believed {
            run.refresh().await.unwrap();
        } else {
            let said = run.refused().await;
            assert!(said.contains("not valid for name"), "{said}");
        }
    }
    // The name that used to stand in the subject is not looked at.
    let mut params = partner.leaf_params(&server_id(&partner));
    params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    endpoint.show(&partner.root().issue(&params));
    assert!(run.refused().await.contains("not valid for name"));
}

#[tokio::test]
async fn fe_7_only_the_configured_spiffe_id_is_believed() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = of(&partner).await;
    endpoint.document(document_of(&partner, 2, 300));
    let text = spiffe(&endpoint.url("/bundle"), &server_id(&partner));
    let run = own.start(&text, &[partner.bundle()]);
    for path in ["/bundle-endpoint/x", "/bundle", "/Bundle-endpoint"] {
        endpoint.show(&partner.x509_svid(&partner.id(path)));
        let said = run.refused().await;
        assert!(said.contains("SomebodyElse"), "{path}: {said}");
    }
    // The right name, signed by somebody else.
    let impostor = ScratchTrustDomain::new(super::PARTNER);
    endpoint.show(&impostor.x509_svid(&server_id(&partner)));
    let said = run.refused().await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    // A trust domain that has no business here.
    let stranger = ScratchTrustDomain::new("stranger.example.org");
    endpoint.show(&stranger.x509_svid(&stranger.id("/bundle-endpoint")));
    let said = run.refused().await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    // No SVID at all.
    let mut params = partner.leaf_params(&server_id(&partner));
    params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
    endpoint.show(&partner.root().issue(&params));
    let said = run.refused().await;
    assert!(said.contains("NoUri"), "{said}");
    assert_eq!(endpoint.asked(), [""; 0], "nothing was asked of a stranger");
    // The far side of all of it.
    endpoint.show(&partner.x509_svid(&server_id(&partner)));
    run.refresh().await.unwrap();
    // It has ended an hour later.
    own.clock.advance(Duration::from_secs(3601));
    let said = run.refused().await;
    assert!(said.contains("Expired"), "{said}");
}

#[tokio::test]
async fn fe_7_the_endpoint_is_verified_by_the_latest_bundle_that_was_fetched() {
    let (own, old) = (Own::new(), partner());
    // The same trust domain after all of its keys have changed.
    let new = partner();
    let (id, endpoint) = (server_id(&old), of(&old).await);
    let text = spiffe(&endpoint.url("/bundle"), &id);
    let run = own.start(&text, &[old.bundle()]);
    endpoint.show(&new.x509_svid(&id));
    endpoint.document(document_of(&new, 2, 300));
    assert!(run.refused().await.contains("UnknownIssuer"), "not in the bundle yet");
    endpoint.show(&old.x509_svid(&id));
    run.refresh().await.unwrap();
    assert!(run.refused().await.contains("UnknownIssuer"), "not in the bundle any more");
    endpoint.show(&new.x509_svid(&id));
    endpoint.document(document_of(&new, 3, 300));
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(3));
    // After a restart, too, though the file is still the old one.
    let run = own.start(&text, &[old.bundle()]);
    assert_eq!(run.sequence(), Some(3));
    run.refresh().await.unwrap();
}

#[tokio::test]
async fn fe_7_an_endpoint_of_a_third_trust_domain_is_verified_by_the_bundle_of_that_one() {
    let (partner, host) = (partner(), ScratchTrustDomain::new("host.example.org"));
    let id = host.id("/bundle-endpoint");
    let endpoint = Endpoint::spiffe(&host.x509_svid(&id)).await;
    endpoint.document(document_of(&partner, 2, 300));
    let text = format!(
        "{}[[federation]]\ntrust_domain = \"host.example.org\"\nenvironment = \"non-production\"\nbundle = \"y.json\"\n",
        spiffe(&endpoint.url("/bundle"), &id)
    );
    let run = Own::new().start(&text, &[partner.bundle(), host.bundle()]);
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(2));
    let run = Own::new().start(&text, &[partner.bundle()]);
    assert!(run.refused().await.contains("UnknownIssuer"));
}

#[tokio::test]
async fn a_bundle_of_the_other_environment_is_refused() {
    let endpoint = Endpoint::web().await;
    let run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    let partner = partner();
    for (unit, crosses) in [("production", true), ("non-production", false)] {
        let mut params = partner.ca_params();
        params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, unit);
        let authority = ScratchCa::root(params).certificate().clone();
        let bundle = marque_spiffe::Bundle::builder(super::partner_name());
        let bundle = bundle.x509_authority(authority).unwrap().sequence(2).build();
        endpoint.document(bundle.to_document().to_string());
        if crosses {
            assert!(run.refused().await.contains("environment_boundary"));
        } else {
            run.refresh().await.unwrap();
        }
    }
}
