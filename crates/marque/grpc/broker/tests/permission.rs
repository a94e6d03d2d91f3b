//! BR-2: what is not listed is refused.

use marque_registry::EntryRole;
use marque_workload::Profiles;
use tonic::Code;

use super::client::{every_rpc, jwt, next, x509};
use super::{
    AUDIENCE, BROKERS, CALLS, Limits, NOBODY, PATIENCE, Scene, child, pid, pid_of, pod, told,
};

fn denied(code: &str) -> (Code, String) {
    (Code::PermissionDenied, code.to_owned())
}

#[tokio::test]
async fn br_2_a_workload_that_is_no_broker_is_refused_by_every_rpc() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    scene.stage.register_for("/service/other", EntryRole::Service, NOBODY);
    let workload = child();
    let mut client = scene.client("/service/other").await;
    for outcome in every_rpc(&mut client, pid(pid_of(&workload))).await {
        assert_eq!(told(&outcome.unwrap_err()), denied("broker_not_listed"));
    }
    // A reference that refers to nothing tells it nothing either.
    for outcome in every_rpc(&mut client, pid(-1)).await {
        assert_eq!(told(&outcome.unwrap_err()), denied("broker_not_listed"));
    }
    assert!(scene.given().is_empty());
}

#[tokio::test]
async fn br_2_a_broker_gets_no_identity_beyond_its_own_list_and_the_default_is_of_those() {
    let scene = Scene::new();
    let tool = scene.register_child("/tool/hammer");
    let workload = child();
    let mut client = scene.supervisor().await;
    let refused = x509(&mut client, pid(pid_of(&workload))).await.unwrap_err();
    assert_eq!(told(&refused), denied("WORKLOAD_NOT_ENTITLED"));
    let agent = scene.register_child("/agent/child");
    let (message, _stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    let ids: Vec<_> = message.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, [agent.as_str()]);
    let svids = jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], "").await.unwrap();
    assert_eq!(svids.len(), 1);
    let named = jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], tool.as_str()).await;
    assert_eq!(told(&named.unwrap_err()), denied("WORKLOAD_NOT_ENTITLED"));
    let named = jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], agent.as_str()).await;
    assert_eq!(named.unwrap()[0].spiffe_id, agent.as_str());
}

#[tokio::test]
async fn br_2_a_broker_gets_jwt_svids_for_the_audiences_of_its_list_alone() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let mut client = scene.supervisor().await;
    let other = "https://other.example.org";
    for audience in [&[other][..], &[AUDIENCE, other], &["https://api.example.org/"]] {
        let refused = jwt(&mut client, pid(pid_of(&workload)), audience, "").await.unwrap_err();
        assert_eq!(told(&refused), denied("broker_audience"), "{audience:?}");
        assert!(!refused.message().contains(other));
    }
    let svids = jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], "").await.unwrap();
    assert_eq!(svids.len(), 1);
    // A broker without audiences has none.
    scene.pods.run("1");
    scene.stage.register_for("/agent/pod", EntryRole::Agent, "k8s:ns:shop");
    let mut client = scene.client("/service/podman").await;
    let refused = jwt(&mut client, pod("shop", "cart", ""), &[AUDIENCE], "").await.unwrap_err();
    assert_eq!(told(&refused), denied("broker_audience"));
}

#[tokio::test]
async fn br_2_a_broker_refers_to_workloads_in_the_ways_of_its_list_alone() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    scene.stage.register_for("/agent/pod", EntryRole::Agent, "k8s:ns:shop");
    scene.pods.run("1");
    let workload = child();
    let mut client = scene.client("/service/podman").await;
    for process in [pid_of(&workload), 1, i32::MAX] {
        let refused = x509(&mut client, pid(process)).await.unwrap_err();
        assert_eq!(told(&refused), denied("broker_reference_type"));
    }
    x509(&mut client, pod("shop", "cart", "")).await.unwrap();
}

#[tokio::test]
async fn a_broker_has_as_many_calls_open_as_its_limit_over_all_connections_and_a_place_is_given_back()
 {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let mut clients = [scene.supervisor().await, scene.supervisor().await];
    let mut held = Vec::new();
    for number in 0..CALLS {
        let client = &mut clients[usize::from(number % 2 == 0)];
        held.push(x509(client, pid(pid_of(&workload))).await.unwrap().1);
    }
    let [client, _] = &mut clients;
    let refused = x509(client, pid(pid_of(&workload))).await.unwrap_err();
    assert_eq!(told(&refused), (Code::Unavailable, "calls_per_broker".to_owned()));
    let refused = jwt(client, pid(pid_of(&workload)), &[AUDIENCE], "").await.unwrap_err();
    assert_eq!(told(&refused), (Code::Unavailable, "calls_per_broker".to_owned()));
    // Another broker has places of its own.
    scene.pods.run("1");
    scene.stage.register_for("/agent/pod", EntryRole::Agent, "k8s:ns:shop");
    x509(&mut scene.client("/service/podman").await, pod("shop", "cart", "")).await.unwrap();
    held.pop();
    let freed = async {
        while x509(client, pid(pid_of(&workload))).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.unwrap();
}

#[tokio::test]
async fn br_2_a_profile_that_is_switched_off_is_not_served_to_brokers_either() {
    let scene = Scene::serving(Profiles { x509: false, ..Profiles::ALL });
    scene.register_child("/agent/child");
    let workload = child();
    let [x509, x509_bundles, jwt, jwt_bundles] =
        every_rpc(&mut scene.supervisor().await, pid(pid_of(&workload))).await;
    for refused in [x509, x509_bundles] {
        assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    }
    jwt.and(jwt_bundles).unwrap();
}

#[tokio::test]
async fn br_2_another_rule_ends_the_streams_of_its_broker_and_what_it_has_open_counts_on() {
    let scene = Scene::new();
    let agent = scene.register_child("/agent/child");
    scene.register_child("/tool/hammer");
    let workload = child();
    let mut client = scene.supervisor().await;
    let mut held = Vec::new();
    for _ in 0..CALLS {
        held.push(x509(&mut client, pid(pid_of(&workload))).await.unwrap().1);
    }
    // The same list again ends nothing, and a call more has room where the limit says so.
    scene.list(BROKERS);
    let most = scene.limits.now();
    scene.limits.change(Limits { calls_per_broker: CALLS + 1, ..most });
    held.push(x509(&mut client, pid(pid_of(&workload))).await.unwrap().1);
    let refused = x509(&mut client, pid(pid_of(&workload))).await.unwrap_err();
    assert_eq!(told(&refused), (Code::Unavailable, "calls_per_broker".to_owned()));
    scene.list(&BROKERS.replacen("/agent/*", "/tool/*", 1));
    for mut stream in held {
        let end = next(&mut stream).await.unwrap_err();
        assert_eq!(told(&end), (Code::Unavailable, "broker_rule_changed".to_owned()));
    }
    let (message, _stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    assert!(message.svids.iter().all(|svid| svid.spiffe_id != agent.as_str()));
    scene.list("");
    for outcome in every_rpc(&mut client, pid(pid_of(&workload))).await {
        assert_eq!(told(&outcome.unwrap_err()), denied("broker_not_listed"));
    }
}
