//! DeltaSecrets: only what changed, and what is gone.

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use marque_registry::EntryRole;
use tonic::Code;

use super::super::super::serve::Limits;
use super::super::super::stage::Stage;
use super::super::MAX_NAMES;
use super::*;

struct Delta {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    async fn open(client: &mut Client, first: DeltaDiscoveryRequest) -> Self {
        let (requests, mut queue) = mpsc::unbounded_channel();
        requests.send(first).unwrap();
        let queue = futures::stream::poll_fn(move |context| queue.poll_recv(context));
        let responses = client.delta_secrets(queue).await.unwrap().into_inner();
        Self { requests, responses }
    }

    fn say(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).unwrap();
    }

    async fn try_next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let message =
            timeout(PATIENCE, self.responses.message()).await.expect("a response in time");
        message.map(|response| response.expect("the stream goes on"))
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        self.try_next().await.unwrap()
    }
}

fn subscribe(names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: SECRET_TYPE.to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn unsubscribe(names: &[&str]) -> DeltaDiscoveryRequest {
    let resource_names_unsubscribe = names.iter().map(ToString::to_string).collect();
    DeltaDiscoveryRequest { resource_names_unsubscribe, ..subscribe(&[]) }
}

fn acknowledge(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..subscribe(&[]) }
}

fn changed(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

fn secret_of(resource: &Resource) -> Secret {
    secret(resource.resource.as_ref().unwrap())
}

#[tokio::test]
async fn the_first_answer_holds_what_is_subscribed_to_and_names_what_is_not_there() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut delta = Delta::open(&mut client, subscribe(&["default", "ROOTCA", "nonsense"])).await;
    let first = delta.next().await;
    assert_eq!(first.type_url, SECRET_TYPE);
    assert_eq!(changed(&first), ["ROOTCA", "default"]);
    assert_eq!(first.removed_resources, ["nonsense"]);
    assert!(first.resources.iter().all(|resource| !resource.version.is_empty()));
    assert_eq!(identity(&secret_of(&first.resources[1]), &stage.scratch.bundle()), id);
}

#[tokio::test]
async fn only_what_changed_is_sent_and_an_acknowledgement_is_answered_by_nothing() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let later = "spiffe://test.example.org/agent/later";
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut delta = Delta::open(&mut client, subscribe(&["default", "ROOTCA", later])).await;
    let first = delta.next().await;
    assert_eq!(first.removed_resources, [later]);
    delta.say(acknowledge(&first));
    stage.register("/agent/later", EntryRole::Agent);
    let second = delta.next().await;
    assert_eq!((changed(&second), second.removed_resources.len()), (vec![later], 0));
    assert_ne!(second.system_version_info, first.system_version_info);
    delta.say(acknowledge(&second));
    stage.deregister("/agent/later");
    let third = delta.next().await;
    assert_eq!((third.resources.len(), third.removed_resources), (0, vec![later.to_owned()]));
}

#[tokio::test]
async fn a_refused_version_is_not_sent_again_and_the_stream_goes_on() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut delta = Delta::open(&mut client, subscribe(&["default"])).await;
    let first = delta.next().await;
    let detail = rpc::Status { code: 13, message: "no".to_owned(), details: Vec::new() };
    for _ in 0..50 {
        delta.say(DeltaDiscoveryRequest {
            error_detail: Some(detail.clone()),
            ..acknowledge(&first)
        });
    }
    delta.say(subscribe(&["ROOTCA"]));
    assert_eq!(changed(&delta.next().await), ["ROOTCA"]);
}

#[tokio::test]
async fn subscribing_again_sends_again_and_unsubscribing_is_silent() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut delta = Delta::open(&mut client, subscribe(&["default", "ROOTCA"])).await;
    delta.next().await;
    delta.say(subscribe(&["default"]));
    assert_eq!(changed(&delta.next().await), ["default"]);
    delta.say(unsubscribe(&["default"]));
    delta.say(subscribe(&["ALL"]));
    assert_eq!(changed(&delta.next().await), ["ALL"]);
    // A change of what nobody wants any more is not sent, nor that it went.
    stage.register("/agent/b", EntryRole::Agent);
    stage.deregister("/agent/a");
    delta.say(subscribe(&["spiffe://test.example.org"]));
    let last = delta.next().await;
    assert_eq!(
        (changed(&last), last.removed_resources.len()),
        (vec!["spiffe://test.example.org"], 0)
    );
}

#[tokio::test]
async fn who_comes_back_gets_only_what_is_new_to_it() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut delta = Delta::open(&mut client, subscribe(&["default", "ROOTCA"])).await;
    let first = delta.next().await;
    drop(delta);
    let held = first.resources.iter().map(|one| (one.name.clone(), one.version.clone()));
    let mut held: std::collections::HashMap<_, _> = held.collect();
    held.insert("default".to_owned(), "an older one".to_owned());
    let back = DeltaDiscoveryRequest {
        initial_resource_versions: held,
        ..subscribe(&["default", "ROOTCA"])
    };
    let mut delta = Delta::open(&mut client, back).await;
    let again = delta.next().await;
    assert_eq!((changed(&again), again.removed_resources.len()), (vec!["default"], 0));
}

#[tokio::test]
async fn everything_is_asked_for_by_no_name_or_by_the_wildcard_until_it_is_given_up() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    for first in [subscribe(&[]), subscribe(&["*"])] {
        let mut delta = Delta::open(&mut client, first).await;
        let everything = delta.next().await;
        let expected = ["spiffe://test.example.org", "spiffe://test.example.org/agent/a"];
        assert_eq!(changed(&everything), expected);
        stage.register("/agent/b", EntryRole::Agent);
        assert_eq!(changed(&delta.next().await), ["spiffe://test.example.org/agent/b"]);
        stage.deregister("/agent/b");
        assert_eq!(delta.next().await.removed_resources, ["spiffe://test.example.org/agent/b"]);
        delta.say(unsubscribe(&["*"]));
        delta.say(subscribe(&["default"]));
        let last = delta.next().await;
        assert_eq!((changed(&last), last.removed_resources.len()), (vec!["default"], 0));
    }
}

#[tokio::test]
async fn names_add_up_to_the_limit_and_one_more_is_refused() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let names: Vec<String> = (0..MAX_NAMES).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut delta = Delta::open(&mut client, subscribe(&names)).await;
    assert_eq!(delta.next().await.removed_resources.len(), MAX_NAMES);
    delta.say(subscribe(&names[..1]));
    assert_eq!(delta.next().await.removed_resources, names[..1]);
    delta.say(subscribe(&["default"]));
    assert_eq!(delta.try_next().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn wa_14_a_delta_stream_ends_with_the_last_entitlement() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut delta = Delta::open(&mut client, subscribe(&["ROOTCA"])).await;
    delta.next().await;
    stage.deregister("/agent/a");
    assert_eq!(delta.try_next().await.unwrap_err().code(), Code::PermissionDenied);
    let mut stranger = Delta::open(&mut client, subscribe(&["ROOTCA"])).await;
    assert_eq!(stranger.try_next().await.unwrap_err().code(), Code::PermissionDenied);
}
