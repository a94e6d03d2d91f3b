//! Pods that a broker names (BR-3, BR-4).

use super::*;
use crate::{Attestation, KubernetesObject};

fn pod(namespace: &str, name: &str, uid: &str) -> KubernetesObject {
    KubernetesObject {
        resource: "pods".to_owned(),
        group: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    }
}

fn attestors(stage: &Stage) -> Attestors {
    Attestors::new(Vec::new()).with_objects(Arc::new(stage.attestor()))
}

async fn attest(
    stage: &Stage,
    object: KubernetesObject,
) -> Result<Option<Attestation>, AttestError> {
    attestors(stage).attest_kubernetes(&object).await
}

const NAME: &str = "build-agent-7c9d8b6f5-x2x4q";

#[tokio::test]
async fn br_3_a_pod_is_known_by_its_name_its_uid_or_both() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(listed);
    for object in [pod("agents", NAME, ""), pod("", "", POD), pod("agents", NAME, POD)] {
        let found = attest(&stage, object).await.unwrap().unwrap();
        let mut expected = Vec::from(OF_THE_POD);
        let uid = format!("k8s:pod-uid:{POD}");
        expected.extend([uid.as_str(), "k8s:sa:build-agent"]);
        expected.sort_unstable();
        assert_eq!((texts(&found.selectors), found.pid), (expected, 0));
    }
}

#[tokio::test]
async fn br_4_a_name_and_a_uid_of_two_pods_are_no_pod() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(listed);
    for object in [
        pod("agents", NAME, "d2f1e0c9b8a7968574635241302f1e0d"),
        pod("agents", "gateway-node-1", "d2f1e0c9b8a7968574635241302f1e0d"),
        pod("kube-system", NAME, POD),
        pod("agents", "unknown", ""),
        pod("", "", "6f1c0a52-9d3e-4b7a-8c21-000000000000"),
        pod("agents", NAME, &POD.to_uppercase()),
    ] {
        assert!(attest(&stage, object.clone()).await.unwrap().is_none(), "{object:?}");
    }
}

#[tokio::test]
async fn br_6_a_pod_that_has_ended_is_there_no_more() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(listed);
    let ended = pod("agents", "nightly-29391840-8wz5k", "");
    assert!(attest(&stage, ended).await.unwrap().is_none());
}

#[tokio::test]
async fn a_pod_that_came_after_the_last_list_is_found() {
    let mut stage = Stage::new().await;
    let server = stage.serve(|asked| match asked.nth {
        0 => Reply::Json(200, json!({ "items": [] }).to_string()),
        _ => listed(asked),
    });
    let attestors =
        Attestors::new(Vec::new()).with_objects(Arc::new(stage.attestor_with(KubernetesConfig {
            max_list_age: Duration::from_secs(1000),
            ..config()
        })));
    let object = pod("agents", NAME, POD);
    assert!(attestors.attest_kubernetes(&object).await.unwrap().is_none());
    assert!(attestors.attest_kubernetes(&object).await.unwrap().is_some());
    // And once it is known, it is not asked for anew each time.
    assert!(attestors.attest_kubernetes(&object).await.unwrap().is_some());
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn br_3_other_objects_than_pods_and_half_names_are_unsupported() {
    let mut stage = Stage::new().await;
    let server = stage.serve(listed);
    let of_type = |resource: &str, group: &str| KubernetesObject {
        resource: resource.to_owned(),
        group: group.to_owned(),
        ..pod("agents", NAME, POD)
    };
    for object in [
        of_type("deployments", "apps"),
        of_type("pods", "apps"),
        of_type("pod", ""),
        of_type("", ""),
        pod("agents", "", POD),
        pod("", NAME, POD),
        pod("", "", ""),
    ] {
        let error = attest(&stage, object.clone()).await.unwrap_err();
        assert!(matches!(error, AttestError::UnsupportedObject), "{object:?}: {error}");
    }
    assert_eq!(server.asked(), []);
    let without = Attestors::new(Vec::new()).attest_kubernetes(&pod("agents", NAME, "")).await;
    assert!(matches!(without.unwrap_err(), AttestError::UnsupportedObject));
}

#[tokio::test]
async fn a_kubelet_that_cannot_tell_is_an_error_not_an_absent_pod() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(|_| Reply::Json(500, String::new()));
    let error = attest(&stage, pod("agents", NAME, POD)).await.unwrap_err();
    assert!(matches!(error, AttestError::Source { attestor: "k8s", .. }), "{error}");
}
