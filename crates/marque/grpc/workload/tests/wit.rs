//! WIT-SVIDs and their bundles over the real socket.

use std::sync::Arc;
use std::time::Duration;

use marque_jose::{HolderKey, PrivateJwk, Signer as _};
use marque_registry::{EntryRole, EntrySource, NewEntry};
use marque_spiffe::{Bundle, Clock as _, SpiffeId, UnverifiedWitSvid};
use marque_testkit::ScratchTrustDomain;
use marque_workload::BundleSet;
use serde_json::Value;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::super::super::proto::workload as proto;
use super::super::super::serve::Limits;
use super::super::super::stage::{PATIENCE, Stage};
use super::super::WorkloadClient;
use super::{Raw, code, first, proper, raw};
use crate::clock::SystemClock;

fn named(spiffe_id: &str) -> proto::WitsvidRequest {
    proto::WitsvidRequest { spiffe_id: spiffe_id.to_owned() }
}

async fn open(client: &mut Raw, spiffe_id: &str) -> Streaming<proto::WitsvidResponse> {
    client.fetch_witsvid(named(spiffe_id)).await.unwrap().into_inner()
}

/// The next message, which has to come.
async fn next(
    stream: &mut Streaming<proto::WitsvidResponse>,
) -> Result<Vec<proto::Witsvid>, Status> {
    let message = timeout(PATIENCE, stream.message()).await.unwrap();
    message.map(|message| message.unwrap().svids)
}

fn ids(svids: &[proto::Witsvid]) -> Vec<&str> {
    svids.iter().map(|svid| svid.spiffe_id.as_str()).collect()
}

#[tokio::test]
async fn the_tokens_come_at_once_with_their_keys_and_verify_by_the_bundle_that_is_served() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = WorkloadClient::connect(&served.socket).await.unwrap();
    let svids = client.wit_svids(None).await.unwrap();
    let [svid] = svids.as_slice() else { panic!("one identity") };
    assert_eq!((svid.spiffe_id.as_str(), svid.hint.as_str()), (id.as_str(), "agent-a"));
    let bundles = client.wit_bundles().await.unwrap();
    let document = bundles["spiffe://test.example.org"].to_string();
    let bundle = Bundle::parse(id.trust_domain().clone(), document.as_bytes()).unwrap();
    let verified = UnverifiedWitSvid::parse(&svid.svid).unwrap();
    let verified = verified.verify(&bundle, SystemClock.now()).unwrap();
    assert_eq!(verified.subject(), &id);
    let holder = HolderKey::from_private_jwk(&svid.key).unwrap();
    assert_eq!(verified.holder_key(), holder.public_key());
    let key: Value = serde_json::from_str(svid.key.expose_json()).unwrap();
    let printed = format!("{svid:?} {}", serde_json::to_string(svid).unwrap());
    assert!(!printed.contains(key["d"].as_str().unwrap()), "a private key is never printed");
}

#[tokio::test]
async fn wa_5_every_field_of_a_wit_svid_is_there() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let svids = next(&mut open(&mut raw(&served, proper).await, "").await).await.unwrap();
    let [proto::Witsvid { spiffe_id, wit_svid, wit_svid_key, hint: _ }] = svids.as_slice() else {
        panic!("one identity")
    };
    assert_eq!(spiffe_id, id.as_str());
    assert!(UnverifiedWitSvid::parse(wit_svid).is_ok());
    let key = PrivateJwk::from_string(wit_svid_key.clone());
    assert!(HolderKey::from_private_jwk(&key).is_ok());
}

#[tokio::test]
async fn wa_6_the_hints_of_wit_svids_are_unique_in_one_response() {
    let stage = Stage::new();
    let registered = [stage.register("/agent/a", EntryRole::Agent), alike(&stage, "/agent/b")];
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let svids = next(&mut open(&mut client, "").await).await.unwrap();
    assert_eq!(ids(&svids), registered.each_ref().map(SpiffeId::as_str));
    assert_eq!((svids[0].hint.as_str(), svids[1].hint.as_str()), ("agent-a", ""));
}

/// An entry that has the hint of `/agent/a`.
fn alike(stage: &Stage, path: &str) -> SpiffeId {
    let spiffe_id = stage.scratch.id(path);
    let entry: NewEntry = serde_json::from_value(serde_json::json!({
        "spiffe_id": spiffe_id,
        "selectors": [format!("unix:uid:{}", nix::unistd::Uid::effective())],
        "role": "agent", "owner": "group:tests", "hint": "agent-a",
        "expires_at": "2099-01-01T00:00:00Z",
    }))
    .unwrap();
    stage
        .registry
        .add(entry.into_entry("b".parse().unwrap(), EntrySource::Admin).unwrap())
        .unwrap();
    stage.push(|_| ());
    spiffe_id
}

#[tokio::test]
async fn the_identity_that_is_named_comes_alone_and_that_of_somebody_else_does_not() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let second = stage.register("/agent/b", EntryRole::Agent);
    stage.register_for("/agent/c", EntryRole::Agent, "unix:uid:4294967290");
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let svids = next(&mut open(&mut client, second.as_str()).await).await.unwrap();
    assert_eq!(ids(&svids), [second.as_str()]);
    for other in ["spiffe://test.example.org/agent/c", "spiffe://test.example.org/nobody"] {
        let refused = first(client.fetch_witsvid(named(other)).await).await;
        assert_eq!(refused, Code::PermissionDenied, "{other}");
    }
}

#[tokio::test]
async fn a_name_that_is_no_spiffe_id_is_refused_before_anybody_is_attested() {
    // Without an entry, whoever is attested gets PermissionDenied.
    let stage = Stage::new();
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    for malformed in ["agent", "http://test.example.org/agent/a", "spiffe://test.example.org//a"] {
        let refused = code(client.fetch_witsvid(named(malformed)).await);
        assert_eq!(refused, Code::InvalidArgument, "{malformed}");
    }
    let refused = first(client.fetch_witsvid(named("")).await).await;
    assert_eq!(refused, Code::PermissionDenied);
}

#[tokio::test]
async fn wa_2_a_stream_of_wit_svids_is_pushed_the_full_state_until_the_entitlement_ends() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream = open(&mut client, "").await;
    assert_eq!(ids(&next(&mut stream).await.unwrap()), ["spiffe://test.example.org/agent/a"]);
    let second = stage.register("/agent/b", EntryRole::Agent);
    assert_eq!(next(&mut stream).await.unwrap().len(), 2);
    stage.deregister("/agent/a");
    assert_eq!(ids(&next(&mut stream).await.unwrap()), [second.as_str()]);
    stage.kill(&second);
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_stream_of_one_identity_is_not_woken_by_another_and_ends_with_its_own() {
    let stage = Stage::new();
    let own = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream = open(&mut client, own.as_str()).await;
    assert_eq!(ids(&next(&mut stream).await.unwrap()), [own.as_str()]);
    stage.register("/agent/b", EntryRole::Agent);
    stage.kill(&own);
    // The end, and nothing about the other before it.
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn wi_11_wit_bundles_hold_keys_for_wit_svids_alone_each_with_a_name_of_its_own() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let partner = ScratchTrustDomain::at("partner.example.org", SystemClock.now());
    stage.push(|state| {
        let own = Arc::clone(state.bundles.own());
        state.bundles = Arc::new(BundleSet::new(own, [partner.bundle()]));
    });
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream =
        client.fetch_wit_bundles(proto::WitBundlesRequest {}).await.unwrap().into_inner();
    let bundles = stream.message().await.unwrap().unwrap().bundles;
    let keys: Value = serde_json::from_str(&bundles["spiffe://test.example.org"]).unwrap();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (keys[0]["use"].as_str(), keys[0]["kid"].as_str()),
        (Some("wit-svid"), Some("scratch-wit-1"))
    );
    assert!(keys[0].get("x5c").is_none() && keys[0].get("d").is_none(), "{keys:?}");
}

#[tokio::test]
async fn a_stream_of_wit_bundles_has_the_own_trust_domain_even_when_it_has_no_keys() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream =
        client.fetch_wit_bundles(proto::WitBundlesRequest {}).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let empty = Bundle::builder(stage.scratch.trust_domain().clone()).sequence(2).build();
    stage.push(|state| state.bundles = Arc::new(BundleSet::new(Arc::new(empty), [])));
    let message = timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(message.bundles["spiffe://test.example.org"], r#"{"keys":[]}"#);
}

#[tokio::test]
async fn wi_10_a_wit_svid_is_not_validated_as_a_jwt_svid() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let holder = HolderKey::generate().unwrap();
    let soon = SystemClock.now() + Duration::from_secs(60);
    let token = stage.scratch.wit_svid(&id, &holder, soon);
    let mut client = raw(&served, proper).await;
    let request = super::validation(super::AUDIENCE, token.expose_token());
    assert_eq!(code(client.validate_jwtsvid(request).await), Code::InvalidArgument);
}
