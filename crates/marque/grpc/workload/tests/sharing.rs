//! Shared identities at the edge: what a stream counts as, and what a refusal reads like. Two processes share one in
//! `tests/e2e/sharing.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use marque_attest::{AttestError, Attestor, Attestors, Fingerprint, ProcessInstance, ProcessPin};
use marque_audit::EventKind;
use marque_registry::EntryRole;
use marque_spiffe::{Selector, SelectorSet, SpiffeId};
use marque_workload::IdentityUser;
use nix::unistd::Uid;
use tokio::time::timeout;
use tonic::Code;

use super::super::super::serve::Limits;
use super::super::super::stage::{PATIENCE, Stage};
use super::{AUDIENCE, jwt_request, proper, proto, raw};

const DENY: &str = "[identities]\nsharing = \"deny\"\n";

/// The caller's user, and a label that the test changes.
#[derive(Debug, Clone, Default)]
struct Label(Arc<AtomicU32>);

impl Attestor for Label {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        let texts = [
            format!("unix:uid:{}", process.uid()),
            format!("test:label:{}", self.0.load(Ordering::Relaxed)),
        ];
        let selectors = texts.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(std::future::ready(Ok(selectors)))
    }
}

fn stage(label: &Label) -> Stage {
    Stage::with(DENY, Attestors::new(vec![Box::new(label.clone())]))
}

/// Somebody else who has the identity already.
async fn held_by_another(stage: &Stage, spiffe_id: &SpiffeId) {
    let selectors: SelectorSet =
        ["test:label:other".parse::<Selector>().unwrap()].into_iter().collect();
    let user = IdentityUser {
        fingerprint: Fingerprint::of(&selectors),
        process: Some(ProcessInstance::named(1, 1)),
        uid: Some(1),
    };
    assert!(
        stage.sharing.observe(std::slice::from_ref(spiffe_id), &user, &selectors).await.is_empty()
    );
}

#[tokio::test]
async fn a_stream_whose_own_process_comes_to_look_otherwise_is_not_shared() {
    let label = Label::default();
    let stage = stage(&label);
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().svids.len(), 1);
    label.0.store(1, Ordering::Relaxed);
    stage.register("/agent/b", EntryRole::Agent);
    let next = timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.svids.len(), 2);
    assert_eq!(stage.log.events(), []);
}

#[tokio::test]
async fn a_caller_keeps_the_identities_that_nobody_else_holds() {
    let label = Label::default();
    let stage = stage(&label);
    let held = stage.register("/agent/a", EntryRole::Agent);
    let free = stage.register("/agent/b", EntryRole::Agent);
    held_by_another(&stage, &held).await;
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let answer = client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await.unwrap().into_inner();
    let ids: Vec<_> = answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, [free.as_str()]);
    let mut stream = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(
        first.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect::<Vec<_>>(),
        [free.as_str()]
    );
    let mut stream =
        client.fetch_witsvid(proto::WitsvidRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.svids.len(), 1);
}

#[tokio::test]
async fn a_refusal_because_another_holds_the_identity_reads_like_any_other_but_for_its_code() {
    let label = Label::default();
    let stage = stage(&label);
    let held = stage.register("/agent/a", EntryRole::Agent);
    held_by_another(&stage, &held).await;
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let refused = [
        client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await.map(|_| ()).unwrap_err(),
        client
            .fetch_jwtsvid(jwt_request(&[AUDIENCE], held.as_str()))
            .await
            .map(|_| ())
            .unwrap_err(),
        {
            let opened = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap();
            opened.into_inner().message().await.unwrap_err()
        },
        {
            let opened = client.fetch_witsvid(proto::WitsvidRequest::default()).await.unwrap();
            opened.into_inner().message().await.unwrap_err()
        },
    ];
    for status in refused {
        assert_eq!(
            (status.code(), status.message()),
            (Code::PermissionDenied, "no identity issued")
        );
        assert_eq!(status.metadata().get("marque-code").unwrap(), "identity_shared");
    }
    // One record for the pair, however often it is refused; and the selectors stay out of it.
    let events = stage.log.events();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.kind, EventKind::IdentityShared);
    assert_eq!(event.agent.as_ref(), Some(&held));
    assert_eq!(event.code.as_deref(), Some("identity_shared"));
    assert_eq!(event.detail["newcomer"]["uid"], Uid::effective().as_raw());
    assert_eq!(event.detail["newcomer"]["pids"][0], std::process::id());
    assert!(!serde_json::to_string(event).unwrap().contains("test:label"), "{event:?}");
    // Operators can see who was refused.
    assert!(stage.denials.recent().iter().all(|denied| denied.code == "identity_shared"));
    assert_eq!(stage.denials.recent().len(), 3);
}
