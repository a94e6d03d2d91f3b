//! Bundles of other trust domains and revocation lists on the wire, and who gets which.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marque_registry::EntryRole;
use marque_spiffe::{Clock, SpiffeId};
use marque_testkit::ScratchTrustDomain;
use marque_workload::BundleSet;
use tokio::time::timeout;
use tonic::Code;

use super::super::super::proto::workload as proto;
use super::super::super::serve::Limits;
use super::super::super::stage::{PATIENCE, Stage};
use super::{AUDIENCE, Raw, code, proper, raw, validation};
use crate::clock::SystemClock;

const OWN: &str = "spiffe://test.example.org";
const PARTNER: &str = "spiffe://partner.example.org";

async fn x509_svids(client: &mut Raw) -> proto::X509svidResponse {
    let stream = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap();
    timeout(PATIENCE, stream.into_inner().message()).await.unwrap().unwrap().unwrap()
}

async fn x509_bundles(client: &mut Raw) -> proto::X509BundlesResponse {
    let stream = client.fetch_x509_bundles(proto::X509BundlesRequest {}).await.unwrap();
    timeout(PATIENCE, stream.into_inner().message()).await.unwrap().unwrap().unwrap()
}

async fn jwt_bundles(client: &mut Raw) -> proto::JwtBundlesResponse {
    let stream = client.fetch_jwt_bundles(proto::JwtBundlesRequest {}).await.unwrap();
    timeout(PATIENCE, stream.into_inner().message()).await.unwrap().unwrap().unwrap()
}

fn keys<T>(map: &std::collections::HashMap<String, T>) -> BTreeSet<&str> {
    map.keys().map(String::as_str).collect()
}

fn root(domain: &ScratchTrustDomain) -> Vec<u8> {
    domain.root().certificate().to_vec()
}

#[tokio::test]
async fn a_caller_gets_the_bundles_that_its_entries_federate_with_and_no_others() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    assert!(x509_svids(&mut client).await.federated_bundles.is_empty());
    assert_eq!(keys(&x509_bundles(&mut client).await.bundles), [OWN].into());
    assert_eq!(keys(&jwt_bundles(&mut client).await.bundles), [OWN].into());
    // Two identities of one caller: what one of them federates with, the caller gets.
    stage.register_federating("/agent/b", &["partner.example.org"]);
    let svids = x509_svids(&mut client).await;
    assert_eq!(svids.svids.len(), 2);
    assert_eq!(keys(&svids.federated_bundles), [PARTNER].into());
    assert_eq!(svids.federated_bundles[PARTNER], root(&stage.partner));
    assert_eq!(keys(&x509_bundles(&mut client).await.bundles), [OWN, PARTNER].into());
    assert_eq!(keys(&jwt_bundles(&mut client).await.bundles), [OWN, PARTNER].into());
}

#[tokio::test]
async fn wa_9_x509_bundles_hold_the_own_trust_domain_whatever_is_federated() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org", "stranger.example.org"]);
    let served = stage.serve_workload(Limits::default());
    let bundles = x509_bundles(&mut raw(&served, proper).await).await.bundles;
    assert_eq!(bundles.len(), 3);
    assert_eq!(bundles[OWN], root(&stage.scratch));
    assert_eq!(bundles[PARTNER], root(&stage.partner), "bundles are never merged");
}

#[tokio::test]
async fn wa_11_jwt_bundles_hold_the_own_trust_domain_and_no_key_of_another_use() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org", "stranger.example.org"]);
    let served = stage.serve_workload(Limits::default());
    let bundles = jwt_bundles(&mut raw(&served, proper).await).await.bundles;
    assert_eq!(bundles.len(), 3);
    assert!(bundles.contains_key(OWN));
    for (name, bundle) in bundles {
        let document: serde_json::Value = serde_json::from_slice(&bundle).unwrap();
        let keys = document["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 1, "{name}");
        for key in keys {
            assert_eq!(key["use"], "jwt-svid", "{name}");
            assert!(key.get("x5c").is_none() && key.get("kid").is_some(), "{name}: {key}");
        }
    }
}

#[tokio::test]
async fn wa_13_x509_messages_hold_x509_authorities_alone() {
    let stage = Stage::new();
    stage.register_federating("/agent/a", &["partner.example.org"]);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let svids = x509_svids(&mut client).await;
    let bundles = x509_bundles(&mut client).await.bundles;
    let own = svids.svids.iter().map(|svid| &svid.bundle);
    let mut count = 0;
    for bundle in own.chain(svids.federated_bundles.values()).chain(bundles.values()) {
        let mut rest: &[u8] = bundle;
        while !rest.is_empty() {
            let (after, certificate) = x509_parser::parse_x509_certificate(rest).unwrap();
            assert!(certificate.is_ca());
            rest = after;
            count += 1;
        }
    }
    assert_eq!(count, 1 + 1 + 2);
}

#[tokio::test]
async fn wa_6_hints_that_are_not_empty_are_unique_in_a_response() {
    let stage = Stage::new();
    stage.register_hinted("/agent/a", Some("internal"));
    stage.register_hinted("/agent/b", Some("internal"));
    stage.register_hinted("/agent/c", None);
    stage.register_hinted("/agent/d", None);
    stage.register_hinted("/agent/e", Some("external"));
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let svids = x509_svids(&mut client).await.svids;
    let hints: Vec<_> = svids.iter().map(|svid| svid.hint.as_str()).collect();
    assert_eq!(hints, ["internal", "", "", "", "external"], "the first keeps it");
    let request =
        proto::JwtsvidRequest { audience: vec![AUDIENCE.to_owned()], spiffe_id: String::new() };
    let jwt = client.fetch_jwtsvid(request).await.unwrap().into_inner().svids;
    assert_eq!(jwt.iter().map(|svid| svid.hint.as_str()).collect::<Vec<_>>(), hints);
}

#[tokio::test]
async fn wa_8_the_default_identity_is_first_in_every_message_and_stays_it() {
    let stage = Stage::new();
    stage.register_federating("/agent/b", &["partner.example.org"]);
    stage.register("/agent/c", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap().into_inner();
    let mut next = async || {
        let message = timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
        message.svids.into_iter().map(|svid| svid.spiffe_id).collect::<Vec<_>>()
    };
    let [b, c, d] = ["b", "c", "d"].map(|name| stage.scratch.id(&format!("/agent/{name}")));
    let told = |ids: &[&SpiffeId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(next().await, told(&[&b, &c]));
    stage.register("/agent/d", EntryRole::Agent);
    assert_eq!(next().await, told(&[&b, &c, &d]));
    stage.deregister("/agent/c");
    assert_eq!(next().await, told(&[&b, &d]));
    for _ in 0..3 {
        let svids = x509_svids(&mut client).await.svids;
        assert_eq!(svids[0].spiffe_id, b.to_string(), "also for whoever asks anew");
    }
}

#[tokio::test]
async fn wa_12_a_foreign_token_is_verified_by_its_own_bundle_and_only_for_who_federates() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let soon = SystemClock.now() + Duration::from_secs(60);
    let foreign = stage.partner.id("/agent/theirs");
    let token = stage.partner.jwt_svid(&foreign, &[AUDIENCE], soon);
    let before = client.validate_jwtsvid(validation(AUDIENCE, token.expose_token())).await;
    assert_eq!(code(before), Code::InvalidArgument, "the bundle is there, but not for this caller");
    stage.register_federating("/agent/b", &["partner.example.org"]);
    let valid = client.validate_jwtsvid(validation(AUDIENCE, token.expose_token())).await.unwrap();
    assert_eq!(valid.into_inner().spiffe_id, foreign.to_string());
    // Signed by one trust domain in the name of the other: no bundle but that of the subject counts.
    let own_id = stage.scratch.id("/agent/a");
    for forged in [
        stage.partner.jwt_svid(&own_id, &[AUDIENCE], soon),
        stage.scratch.jwt_svid(&foreign, &[AUDIENCE], soon),
    ] {
        let refused = client.validate_jwtsvid(validation(AUDIENCE, forged.expose_token())).await;
        assert_eq!(code(refused), Code::InvalidArgument);
    }
    stage.deregister("/agent/b");
    let after = client.validate_jwtsvid(validation(AUDIENCE, token.expose_token())).await;
    assert_eq!(code(after), Code::InvalidArgument);
}

#[tokio::test]
async fn revocation_lists_are_in_both_x509_messages_and_a_new_one_is_pushed() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut svids = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap().into_inner();
    let mut bundles =
        client.fetch_x509_bundles(proto::X509BundlesRequest {}).await.unwrap().into_inner();
    assert!(svids.message().await.unwrap().unwrap().crl.is_empty());
    assert!(bundles.message().await.unwrap().unwrap().crl.is_empty());
    let now = SystemClock.now();
    let list = stage.scratch.root().revocation_list(&[&[1, 2]], now, now + PATIENCE * 100);
    let der: Arc<[u8]> = list.clone().into();
    stage.push(|state| {
        state.bundles = Arc::new(BundleSet::clone(&state.bundles).with_crls([der]));
    });
    let told = timeout(PATIENCE, svids.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.crl, std::slice::from_ref(&list));
    let told = timeout(PATIENCE, bundles.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.crl, [list]);
}
