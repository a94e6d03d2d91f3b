//! BR-3, BR-4 and BR-5: references, what becomes of them, and how a refusal says so; and what is on record afterwards.

use marque_audit::EventKind;
use marque_registry::EntryRole;
use marque_spiffe::Clock as _;
use marque_spiffe::UnverifiedX509Svid;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost_types::Any;
use tonic::{Code, Status};

use super::super::super::proto::broker as proto;
use super::client::{every_rpc, jwt, opened, x509};
use super::{AUDIENCE, SUPERVISOR, Scene, child, of_type, pid, pid_of, pod, told};
use crate::clock::SystemClock;

const INVALID: (Code, &str) = (Code::InvalidArgument, "WORKLOAD_REFERENCE_INVALID");
const NOT_FOUND: (Code, &str) = (Code::NotFound, "WORKLOAD_NOT_FOUND");
const NOT_ENTITLED: (Code, &str) = (Code::PermissionDenied, "WORKLOAD_NOT_ENTITLED");

fn is(status: &Status, expected: (Code, &str)) {
    assert_eq!(told(status), (expected.0, expected.1.to_owned()), "{status:?}");
}

async fn all_are(
    scene: &Scene,
    reference: Option<proto::WorkloadReference>,
    expected: (Code, &str),
) {
    for outcome in every_rpc(&mut scene.supervisor().await, reference).await {
        is(&outcome.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn br_3_each_rpc_answers_about_the_process_that_is_referred_to() {
    let scene = Scene::new();
    let id = scene.register_child("/agent/child");
    let workload = child();
    let mut client = scene.supervisor().await;
    let reference = || pid(pid_of(&workload));
    let (message, _stream) = x509(&mut client, reference()).await.unwrap();
    let [svid] = message.svids.as_slice() else { panic!("{message:?}") };
    assert_eq!((svid.spiffe_id.as_str(), svid.hint.as_str()), (id.as_str(), "agent-child"));
    let bundle = scene.stage.scratch.bundle();
    let parsed = UnverifiedX509Svid::parse_der_concat(&svid.x509_svid).unwrap();
    assert_eq!(parsed.verify(&bundle, SystemClock.now()).unwrap().id(), &id);
    assert_eq!(svid.bundle, bundle.x509_der());
    assert!(!svid.x509_svid_key.is_empty());
    let request = proto::SubscribeToX509BundlesRequest { reference: reference() };
    let (message, _stream) = opened(client.subscribe_to_x509_bundles(request).await).await.unwrap();
    assert_eq!(message.bundles["spiffe://test.example.org"], bundle.x509_der());
    let request = proto::SubscribeToJwtBundlesRequest { reference: reference() };
    let (message, _stream) = opened(client.subscribe_to_jwt_bundles(request).await).await.unwrap();
    let keys: serde_json::Value =
        serde_json::from_slice(&message.bundles["spiffe://test.example.org"]).unwrap();
    assert_eq!(keys["keys"][0]["use"], "jwt-svid");
    let svids = jwt(&mut client, reference(), &[AUDIENCE], "").await.unwrap();
    assert_eq!((svids[0].spiffe_id.as_str(), svids.len()), (id.as_str(), 1));
}

#[tokio::test]
async fn br_3_a_reference_of_an_unknown_type_is_an_invalid_argument() {
    let scene = Scene::new();
    let message = proto::WorkloadPidReference { pid: 1 };
    for name in
        ["org.example.VendorReference", "spiffe.broker.WorkloadReference", "spiffe.broker.", ""]
    {
        all_are(&scene, of_type(name, &message), INVALID).await;
    }
}

#[tokio::test]
async fn br_3_a_pod_is_known_by_its_name_or_its_uid() {
    let scene = Scene::new();
    let id = scene.stage.register_for("/agent/pod", EntryRole::Agent, "k8s:pod-uid:one");
    scene.pods.run("one");
    let mut client = scene.supervisor().await;
    for reference in [pod("shop", "cart", ""), pod("", "", "one"), pod("shop", "cart", "one")] {
        let (message, _stream) = x509(&mut client, reference).await.unwrap();
        assert_eq!(message.svids[0].spiffe_id, id.as_str());
    }
}

#[tokio::test]
async fn br_4_name_and_uid_of_a_pod_must_be_of_one_pod() {
    let scene = Scene::new();
    scene.stage.register_for("/agent/pod", EntryRole::Agent, "k8s:ns:shop");
    scene.pods.run("one");
    all_are(&scene, pod("shop", "cart", "two"), NOT_FOUND).await;
    all_are(&scene, pod("shop", "till", "one"), NOT_FOUND).await;
}

#[tokio::test]
async fn br_4_only_pods_are_workloads() {
    let scene = Scene::new();
    scene.pods.run("one");
    for (plural, group) in [("deployments", "apps"), ("pods", "apps"), ("serviceaccounts", "core")]
    {
        let kind =
            proto::KubernetesObjectType { plural: plural.to_owned(), group: group.to_owned() };
        let reference = proto::KubernetesObjectReference {
            r#type: Some(kind),
            key: None,
            uid: "one".to_owned(),
        };
        let reference = of_type("spiffe.broker.KubernetesObjectReference", &reference);
        all_are(&scene, reference, INVALID).await;
    }
}

#[tokio::test]
async fn br_4_what_a_process_is_entitled_to_is_attested_and_never_taken_from_the_broker() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    // A process of the same user that runs another program.
    let mut other = tokio::process::Command::new("/bin/cat")
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    all_are(&scene, pid(pid_of(&other)), NOT_ENTITLED).await;
    other.kill().await.unwrap();
}

#[tokio::test]
async fn br_4_the_daemon_itself_is_nobodys_workload() {
    let scene = Scene::new();
    // Everything that this user runs, and so this very process, would have the identity.
    scene.stage.register("/agent/everything", EntryRole::Agent);
    let own = i32::try_from(std::process::id()).unwrap();
    all_are(&scene, pid(own), NOT_ENTITLED).await;
    let workload = child();
    x509(&mut scene.supervisor().await, pid(pid_of(&workload))).await.unwrap();
}

#[tokio::test]
async fn br_5_a_missing_or_malformed_reference_is_an_invalid_argument_with_its_reason() {
    let scene = Scene::new();
    all_are(&scene, None, INVALID).await;
    all_are(&scene, Some(proto::WorkloadReference { reference: None }), INVALID).await;
    for process in [0, -1, i32::MIN] {
        all_are(&scene, pid(process), INVALID).await;
    }
    let type_url = "type.googleapis.com/spiffe.broker.WorkloadPIDReference".to_owned();
    let garbage = Any { type_url, value: vec![0xff; 8] };
    all_are(&scene, Some(proto::WorkloadReference { reference: Some(garbage) }), INVALID).await;
}

#[tokio::test]
async fn br_5_a_workload_that_is_not_there_is_not_found_with_its_reason() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let mut gone = child();
    let process = pid_of(&gone);
    gone.kill().await.unwrap();
    all_are(&scene, pid(process), NOT_FOUND).await;
    all_are(&scene, pid(i32::MAX), NOT_FOUND).await;
    all_are(&scene, pod("shop", "cart", ""), NOT_FOUND).await;
    // One that has ended and was not reaped yet is gone as well.
    let zombie = child();
    let process = pid_of(&zombie);
    kill(Pid::from_raw(process), Signal::SIGKILL).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    while !state().contains(") Z") {
        std::thread::yield_now();
    }
    all_are(&scene, pid(process), NOT_FOUND).await;
}

#[tokio::test]
async fn br_5_a_thread_is_no_workload() {
    let scene = Scene::new();
    scene.stage.register("/agent/everything", EntryRole::Agent);
    let (tell, told) = std::sync::mpsc::channel();
    let (_alive, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        wait.recv().unwrap_or_default();
    });
    let thread = told.recv().unwrap();
    all_are(&scene, pid(thread), NOT_FOUND).await;
}

#[tokio::test]
async fn br_5_a_workload_without_an_identity_is_denied_with_its_reason() {
    let scene = Scene::new();
    let workload = child();
    all_are(&scene, pid(pid_of(&workload)), NOT_ENTITLED).await;
    let refused = x509(&mut scene.supervisor().await, pid(pid_of(&workload))).await.unwrap_err();
    assert_eq!(refused.message(), "no identity issued");
}

#[tokio::test]
async fn br_5_a_request_without_an_audience_or_with_a_malformed_id_is_an_invalid_argument() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let mut client = scene.supervisor().await;
    for (audience, id) in
        [(&[][..], ""), (&[""], ""), (&[AUDIENCE], "http://test.example.org/agent/child")]
    {
        let refused = jwt(&mut client, pid(pid_of(&workload)), audience, id).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn everything_that_a_broker_was_given_is_on_record_before_it_leaves() {
    let scene = Scene::new();
    let (first, second) = (scene.register_child("/agent/one"), scene.register_child("/agent/two"));
    let workload = child();
    let mut client = scene.supervisor().await;
    let (_message, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    let given = scene.given();
    let ids: Vec<_> = given.iter().map(|event| event.agent.clone().unwrap()).collect();
    assert_eq!(ids, [first, second.clone()]);
    for event in &given {
        assert_eq!(event.kind, EventKind::SvidBrokered);
        assert_eq!(event.actor.as_deref(), Some(scene.id(SUPERVISOR).as_str()));
        assert_eq!(event.detail["svid"], "x509-svid");
        assert_eq!(event.detail["workload"]["pid"], pid_of(&workload));
        assert!(event.expires_at.is_some());
    }
    // What a stream sends again is not given again; another call is.
    scene.register_child("/agent/three");
    super::client::next(&mut stream).await.unwrap();
    assert_eq!(scene.given().len(), 3);
    jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], second.as_str()).await.unwrap();
    let given = scene.given();
    assert_eq!(given.len(), 4);
    assert_eq!(
        (given[3].audience.as_slice(), &given[3].detail["svid"]),
        (&[AUDIENCE.to_owned()][..], &serde_json::Value::from("jwt-svid"))
    );
    scene.pods.run("one");
    scene.stage.register_for("/agent/pod", EntryRole::Agent, "k8s:ns:shop");
    x509(&mut client, pod("shop", "cart", "")).await.unwrap();
    let event = scene.given().pop().unwrap();
    assert_eq!(event.detail["workload"]["pod"], "shop/cart");
    assert_eq!(event.detail["workload"]["pod_uid"], "one");
}
