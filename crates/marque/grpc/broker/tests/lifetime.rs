//! BR-6: a stream ends with its workload; and with its broker.

use std::time::Duration;

use marque_registry::EntryRole;
use marque_spiffe::{Bundle, Clock as _};
use marque_workload::BundleSet;
use tonic::Code;

use super::client::{every_rpc, jwt, next, x509};
use super::{AUDIENCE, SUPERVISOR, Scene, child, pid, pid_of, pod, told};
use crate::grpc::broker::target::POD_INTERVAL;

#[tokio::test]
async fn br_6_every_message_is_the_full_state_and_changes_are_pushed() {
    let scene = Scene::new();
    scene.register_child("/agent/one");
    let workload = child();
    let mut client = scene.supervisor().await;
    let (first, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    assert_eq!(first.svids.len(), 1);
    scene.register_child("/agent/two");
    let second = next(&mut stream).await.unwrap();
    assert_eq!(second.svids.len(), 2);
    assert_eq!(second.svids[0].x509_svid, first.svids[0].x509_svid);
    scene.stage.deregister("/agent/one");
    assert_eq!(next(&mut stream).await.unwrap().svids.len(), 1);
    scene.stage.deregister("/agent/two");
    let end = next(&mut stream).await.unwrap_err();
    assert_eq!(told(&end), (Code::PermissionDenied, "WORKLOAD_NOT_ENTITLED".to_owned()));
}

#[tokio::test]
async fn br_6_a_stream_ends_when_its_process_exits_and_others_go_on() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let (mut ending, staying) = (child(), child());
    let mut client = scene.supervisor().await;
    let (_first, mut ended) = x509(&mut client, pid(pid_of(&ending))).await.unwrap();
    let (_first, mut stays) = x509(&mut client, pid(pid_of(&staying))).await.unwrap();
    ending.kill().await.unwrap();
    let end = next(&mut ended).await.unwrap_err();
    assert_eq!(told(&end), (Code::NotFound, "WORKLOAD_NOT_FOUND".to_owned()));
    scene.register_child("/agent/second");
    assert_eq!(next(&mut stays).await.unwrap().svids.len(), 2);
}

#[tokio::test]
async fn br_6_a_stream_ends_when_its_pod_is_gone_or_another_has_its_name() {
    let scene = Scene::new();
    scene.stage.register_for("/agent/pod", EntryRole::Agent, "k8s:ns:shop");
    let mut client = scene.supervisor().await;
    let changes: [fn(&super::FakePods); 2] = [super::FakePods::stop, |pods| pods.run("two")];
    for change in changes {
        scene.pods.run("one");
        let (_first, mut stream) = x509(&mut client, pod("shop", "cart", "")).await.unwrap();
        change(&scene.pods);
        // Nothing says that a pod went, so it is asked after now and then.
        let end = tokio::spawn(async move { next(&mut stream).await });
        while !end.is_finished() {
            scene.clock.advance(POD_INTERVAL);
            tokio::task::yield_now().await;
            if scene.clock.now() > scene.stage.scratch_end() - Duration::from_secs(600) {
                break;
            }
        }
        let end = end.await.unwrap().unwrap_err();
        assert_eq!(told(&end), (Code::NotFound, "WORKLOAD_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn br_6_a_process_that_executes_another_program_is_another_workload() {
    let scene = Scene::new();
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let selector = format!("unix:path:{}", shell.display());
    scene.stage.register_for("/agent/shell", EntryRole::Agent, &selector);
    scene.register_child("/agent/child");
    let mut workload = tokio::process::Command::new(&shell)
        .args(["-c", "read line && exec /bin/sleep 1000"])
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut client = scene.supervisor().await;
    let (first, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    assert!(first.svids[0].spiffe_id.ends_with("/agent/shell"));
    let mut input = workload.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, b"go\n").await.unwrap();
    let program = format!("/proc/{}/exe", pid_of(&workload));
    while std::fs::read_link(&program).unwrap() == shell {
        tokio::task::yield_now().await;
    }
    // The next push finds out; until then nothing is said.
    scene.stage.register_for("/agent/more", EntryRole::Agent, &selector);
    let end = next(&mut stream).await.unwrap_err();
    assert_eq!(told(&end), (Code::PermissionDenied, "WORKLOAD_NOT_ENTITLED".to_owned()));
    let (anew, _stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    assert!(anew.svids[0].spiffe_id.ends_with("/agent/child"));
}

#[tokio::test]
async fn br_2_a_broker_that_is_stopped_or_deregistered_loses_its_open_streams_at_once() {
    let ends: [fn(&Scene); 2] = [
        |scene| scene.stage.kill(&scene.id(SUPERVISOR)),
        |scene| scene.stage.deregister(SUPERVISOR),
    ];
    for end_it in ends {
        let scene = Scene::new();
        scene.register_child("/agent/child");
        let workload = child();
        let mut client = scene.supervisor().await;
        let (_first, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
        end_it(&scene);
        let stopped = (Code::PermissionDenied, "broker_stopped".to_owned());
        assert_eq!(told(&next(&mut stream).await.unwrap_err()), stopped);
        for outcome in every_rpc(&mut client, pid(pid_of(&workload))).await {
            assert_eq!(told(&outcome.unwrap_err()), stopped);
        }
    }
}

#[tokio::test]
async fn br_1_a_broker_whose_authority_is_removed_is_not_identified_any_more() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let mut client = scene.supervisor().await;
    let (_first, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    let empty = Bundle::builder(scene.stage.scratch.trust_domain().clone()).sequence(2).build();
    scene.stage.push(|state| state.bundles = BundleSet::new(empty.into(), []).into());
    let unknown = (Code::Unauthenticated, "broker_not_identified".to_owned());
    assert_eq!(told(&next(&mut stream).await.unwrap_err()), unknown);
    for outcome in every_rpc(&mut client, pid(pid_of(&workload))).await {
        assert_eq!(told(&outcome.unwrap_err()), unknown);
    }
}

#[tokio::test]
async fn br_1_streams_and_the_connection_end_with_the_brokers_certificate() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let mut client = scene.supervisor().await;
    let (_first, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    let end = scene.stage.scratch_end() + Duration::from_secs(1);
    scene.clock.set(end - Duration::from_millis(1));
    jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], "").await.unwrap();
    scene.clock.set(end);
    let unknown = (Code::Unauthenticated, "broker_not_identified".to_owned());
    assert_eq!(told(&next(&mut stream).await.unwrap_err()), unknown);
    let refused = jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], "").await.unwrap_err();
    assert_eq!(told(&refused), unknown);
    // A moment later there is no connection either, and no new one with that certificate.
    scene.clock.advance(Duration::from_secs(1));
    let gone = async {
        loop {
            let refused = jwt(&mut client, pid(pid_of(&workload)), &[AUDIENCE], "").await;
            if refused.unwrap_err().code() != Code::Unauthenticated {
                break;
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn open_streams_of_brokers_end_when_the_daemon_stops() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let mut client = scene.supervisor().await;
    let (_first, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    scene.shutdown.cancel();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unavailable);
}
