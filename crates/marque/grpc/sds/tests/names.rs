//! What stands behind each name, and what a caller has to show for it.

use std::sync::Arc;

use marque_registry::EntryRole;
use tonic::Code;

use super::super::super::serve::Limits;
use super::super::super::stage::Stage;
use super::super::{MAX_NAME_BYTES, MAX_NAMES};
use super::*;
use marque_spiffe::Clock as _;
use marque_workload::BundleSet;

async fn fetch(client: &mut Client, names: &[&str]) -> Result<DiscoveryResponse, Status> {
    client.fetch_secrets(ask(names)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn default_is_the_default_identity_with_its_key() {
    let stage = Stage::new();
    let first = stage.register("/agent/a", EntryRole::Agent);
    stage.register("/agent/b", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let response = fetch(&mut client(&served).await, &["default"]).await.unwrap();
    assert_eq!(response.type_url, SECRET_TYPE);
    let secret = sole(&response);
    assert_eq!(secret.name, "default");
    assert_eq!(identity(&secret, &stage.scratch.bundle()), first);
}

#[tokio::test]
async fn a_spiffe_id_is_that_identity() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let second = stage.register("/agent/b", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let response = fetch(&mut client(&served).await, &[second.as_str()]).await.unwrap();
    let secret = sole(&response);
    assert_eq!(secret.name, second.as_str());
    assert_eq!(identity(&secret, &stage.scratch.bundle()), second);
}

#[tokio::test]
async fn rootca_and_the_trust_domains_id_hold_the_own_bundle_alone() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org"]);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let own = stage.scratch.bundle().x509_authorities().to_vec();
    for name in ["ROOTCA", "spiffe://test.example.org"] {
        let secret = sole(&fetch(&mut client, &[name]).await.unwrap());
        assert_eq!(secret.name, name);
        assert_eq!(spiffe_validator(&secret), [("test.example.org".to_owned(), own.clone())]);
        assert!(validation(&secret).trusted_ca.is_none());
    }
}

#[tokio::test]
async fn the_id_of_a_federated_trust_domain_holds_its_bundle_alone() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org"]);
    let served = stage.serve_workload(Limits::default());
    let response = fetch(&mut client(&served).await, &["spiffe://partner.example.org"]).await;
    let authorities = stage.partner.bundle().x509_authorities().to_vec();
    assert_eq!(
        spiffe_validator(&sole(&response.unwrap())),
        [("partner.example.org".to_owned(), authorities)]
    );
}

#[tokio::test]
async fn all_holds_each_trust_domain_apart_and_none_that_the_caller_does_not_federate_with() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org"]);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let validator = spiffe_validator(&sole(&fetch(&mut client, &["ALL"]).await.unwrap()));
    let of = |domain: &marque_testkit::ScratchTrustDomain| {
        (domain.trust_domain().to_string(), domain.bundle().x509_authorities().to_vec())
    };
    assert_eq!(validator, [of(&stage.scratch), of(&stage.partner)]);
    let stranger = fetch(&mut client, &["spiffe://stranger.example.org"]).await.unwrap_err();
    assert_eq!(stranger.code(), Code::NotFound);
}

#[tokio::test]
async fn a_caller_that_federates_with_nobody_gets_its_own_trust_domain_alone() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    stage.register_for("/agent/other", EntryRole::Agent, "unix:uid:4294967290");
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    assert_eq!(spiffe_validator(&sole(&fetch(&mut client, &["ALL"]).await.unwrap())).len(), 1);
    let foreign = fetch(&mut client, &["spiffe://partner.example.org"]).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
}

#[tokio::test]
async fn no_name_stands_for_each_identity_and_each_trust_domain_once() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org"]);
    stage.register("/agent/b", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let expected = [
        "spiffe://test.example.org/agent/a",
        "spiffe://test.example.org/agent/b",
        "spiffe://test.example.org",
        "spiffe://partner.example.org",
    ];
    for none in [&[][..], &[""], &["*"]] {
        assert_eq!(names(&fetch(&mut client, none).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn names_that_the_caller_has_nothing_for_are_left_out_and_nothing_else_is_not_found() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let others = stage.register_for("/agent/b", EntryRole::Agent, "unix:uid:4294967290");
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let asked = ["default", others.as_str(), "rootca", "spiffe://test.example.org/nobody"];
    assert_eq!(names(&fetch(&mut client, &asked).await.unwrap()), ["default"]);
    // Whether somebody else has it makes no difference.
    let refusals = [others.as_str(), "spiffe://test.example.org/nobody"];
    let mut told = Vec::new();
    for name in refusals {
        let refused = fetch(&mut client, &[name]).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        told.push(refused.message().to_owned());
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn a_node_may_choose_a_plain_list_of_authorities_of_one_trust_domain() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org"]);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    for (name, domain) in
        [("ROOTCA", &*stage.scratch), ("spiffe://partner.example.org", &stage.partner)]
    {
        let request = without_the_spiffe_validator(ask(&[name]));
        let secret = sole(&client.fetch_secrets(request).await.unwrap().into_inner());
        let context = validation(&secret);
        assert!(context.custom_validator_config.is_none());
        let authorities = certificates(context.trusted_ca.as_ref());
        assert_eq!(authorities, domain.bundle().x509_authorities());
    }
    // One list for several trust domains would let each speak for all (TB-7).
    let all = client.fetch_secrets(without_the_spiffe_validator(ask(&["ALL"]))).await;
    assert_eq!(all.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn own_revocation_lists_go_along_with_the_own_bundle_and_with_no_other() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org"]);
    let now = SystemClock.now();
    let crl = stage.scratch.root().revocation_list(&[&[7]], now, now + PATIENCE * 100);
    let list: Arc<[u8]> = crl.clone().into();
    stage.push(|state| {
        let bundles = BundleSet::clone(&state.bundles).with_crls([list]);
        state.bundles = Arc::new(bundles);
    });
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    for name in ["ROOTCA", "ALL", "spiffe://test.example.org"] {
        let secret = sole(&fetch(&mut client, &[name]).await.unwrap());
        // Envoy's SPIFFE validator does not look at the lists; several trust domains need it all the same.
        let plain = validation(&secret).custom_validator_config.is_none();
        assert_eq!(plain, name != "ALL");
        let pem = inline(validation(&secret).crl.as_ref());
        let found = rustls_pki_types::CertificateRevocationListDer::from_pem_slice(pem).unwrap();
        assert_eq!(*found, *crl);
    }
    let foreign = fetch(&mut client, &["spiffe://partner.example.org"]).await.unwrap();
    assert!(validation(&sole(&foreign)).crl.is_none());
}

#[tokio::test]
async fn a_caller_without_an_identity_gets_nothing_by_any_name() {
    let stage = Stage::new();
    stage.register_for("/agent/a", EntryRole::Agent, "unix:uid:4294967290");
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    for asked in [&[][..], &["default"], &["ROOTCA"], &["ALL"], &["nonsense"]] {
        let refused = fetch(&mut client, asked).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::PermissionDenied, "no identity issued")
        );
        let mut conversation = Conversation::open(&mut client, ask(asked)).await;
        assert_eq!(conversation.try_next().await.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn we_2_secret_discovery_without_the_security_header_is_refused() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut bare = client_with(&served, Ok).await;
    let empty = futures::stream::empty::<DiscoveryRequest>;
    assert_eq!(fetch(&mut bare, &["default"]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(bare.stream_secrets(empty()).await.unwrap_err().code(), Code::InvalidArgument);
    let delta = bare.delta_secrets(futures::stream::empty()).await;
    assert_eq!(delta.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_trust_domain_that_switched_it_off_answers_unimplemented() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_without_sds();
    let mut client = client(&served).await;
    assert_eq!(fetch(&mut client, &["default"]).await.unwrap_err().code(), Code::Unimplemented);
    let opened = client.stream_secrets(futures::stream::empty()).await;
    assert_eq!(opened.unwrap_err().code(), Code::Unimplemented);
    let opened = client.delta_secrets(futures::stream::empty()).await;
    assert_eq!(opened.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn another_resource_type_too_many_names_and_too_long_a_name_are_refused() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut asked = async |request: DiscoveryRequest| {
        let answer = client.fetch_secrets(request.clone()).await;
        let fetched = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        let mut conversation = Conversation::open(&mut client, request).await;
        let streamed =
            conversation.try_next().await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(fetched, streamed);
        fetched
    };
    let clusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    let other = DiscoveryRequest { type_url: clusters, ..ask(&["default"]) };
    assert_eq!(asked(other).await, Code::InvalidArgument);
    let unsaid = DiscoveryRequest { type_url: String::new(), ..ask(&["default"]) };
    assert_eq!(asked(unsaid).await, Code::Ok);
    assert_eq!(asked(ask(&vec!["default"; MAX_NAMES])).await, Code::Ok);
    assert_eq!(asked(ask(&vec!["default"; MAX_NAMES + 1])).await, Code::InvalidArgument);
    let (longest, over) = ("x".repeat(MAX_NAME_BYTES), "x".repeat(MAX_NAME_BYTES + 1));
    assert_eq!(asked(ask(&["default", &longest])).await, Code::Ok);
    assert_eq!(asked(ask(&["default", &over])).await, Code::InvalidArgument);
}
