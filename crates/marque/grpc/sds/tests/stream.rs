//! StreamSecrets: pushes, acknowledgements, refusals and other wishes in mid-stream.

use std::time::Duration;

use marque_registry::EntryRole;
use tonic::Code;

use super::super::super::serve::Limits;
use super::super::super::stage::Stage;
use super::*;

#[tokio::test]
async fn an_acknowledgement_is_answered_by_nothing_and_a_rotation_by_a_new_version() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    stage.set_lifetime(Duration::from_secs(2));
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut conversation = Conversation::open(&mut client, ask(&["default"])).await;
    let mut last = conversation.next().await;
    for _ in 0..3 {
        conversation.say(acknowledge(&last, &["default"]));
        // Whatever comes next came of the rotation: it holds another certificate.
        let next = conversation.next().await;
        assert_ne!(next.version_info, last.version_info);
        assert_ne!(next.nonce, last.nonce);
        let chain =
            |response| certificates(tls_certificate(&sole(response)).certificate_chain.as_ref());
        assert_ne!(chain(&next), chain(&last));
        assert_eq!(identity(&sole(&next), &stage.scratch.bundle()), id);
        last = next;
    }
}

#[tokio::test]
async fn a_stream_for_bundles_is_not_pushed_to_when_an_svid_rotates() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    stage.set_lifetime(Duration::from_secs(2));
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut bundles = Conversation::open(&mut client, ask(&["ROOTCA"])).await;
    let mut svids = Conversation::open(&mut client.clone(), ask(&["default"])).await;
    let first = bundles.next().await;
    bundles.say(acknowledge(&first, &["ROOTCA"]));
    for _ in 0..2 {
        let rotated = svids.next().await;
        svids.say(acknowledge(&rotated, &["default"]));
    }
    // The next response there is the one that is asked for now.
    bundles.say(acknowledge(&first, &["default"]));
    assert_eq!(names(&bundles.next().await), ["default"]);
}

#[tokio::test]
async fn a_refusal_keeps_the_stream_is_answered_by_nothing_and_the_next_version_comes() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut conversation = Conversation::open(&mut client, ask(&[])).await;
    let first = conversation.next().await;
    for _ in 0..50 {
        conversation.say(refuse(&first, &[], "Failed to load certificate chain"));
    }
    stage.register("/agent/b", EntryRole::Agent);
    let second = conversation.next().await;
    assert_eq!(names(&second).len(), names(&first).len() + 1);
    assert_ne!(second.version_info, first.version_info);
    conversation.say(acknowledge(&second, &[]));
    stage.register("/agent/c", EntryRole::Agent);
    assert_eq!(names(&conversation.next().await).len(), names(&first).len() + 2);
}

#[tokio::test]
async fn other_names_in_mid_stream_are_answered_at_once_and_only_they() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut conversation = Conversation::open(&mut client, ask(&["default"])).await;
    let first = conversation.next().await;
    assert_eq!(names(&first), ["default"]);
    conversation.say(acknowledge(&first, &["default", "ROOTCA"]));
    let second = conversation.next().await;
    assert_eq!(names(&second), ["ROOTCA", "default"]);
    conversation.say(acknowledge(&second, &["ROOTCA"]));
    let third = conversation.next().await;
    assert_eq!(names(&third), ["ROOTCA"]);
    // What answers an older response is out of date.
    conversation.say(acknowledge(&second, &["ALL"]));
    conversation.say(acknowledge(&third, &["default"]));
    assert_eq!(names(&conversation.next().await), ["default"]);
}

#[tokio::test]
async fn who_named_something_and_names_nothing_more_gets_nothing_more() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let mut conversation = Conversation::open(&mut client, ask(&["default"])).await;
    let first = conversation.next().await;
    conversation.say(acknowledge(&first, &[]));
    let none = conversation.next().await;
    assert!(none.resources.is_empty());
    stage.register("/agent/b", EntryRole::Agent);
    conversation.say(acknowledge(&none, &["default"]));
    assert_eq!(names(&conversation.next().await), ["default"]);
}

#[tokio::test]
async fn a_stream_waits_for_a_name_that_is_not_there_yet() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let later = "spiffe://test.example.org/agent/later";
    let mut conversation = Conversation::open(&mut client, ask(&[later])).await;
    stage.register("/agent/b", EntryRole::Agent);
    stage.register("/agent/later", EntryRole::Agent);
    assert_eq!(names(&conversation.next().await), [later]);
    stage.deregister("/agent/later");
    assert!(conversation.next().await.resources.is_empty(), "it is gone, and that is said");
}

#[tokio::test]
async fn a_version_is_of_the_content_and_the_same_on_another_stream() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let first = Conversation::open(&mut client, ask(&["default", "ROOTCA"])).await.next().await;
    let again = Conversation::open(&mut client, acknowledge(&first, &["ROOTCA", "default"])).await;
    let again = { again }.next().await;
    assert_eq!(again.version_info, first.version_info);
    assert_eq!(names(&again), names(&first), "a new stream is answered whatever it says it has");
}

#[tokio::test]
async fn wa_14_a_stream_ends_with_the_last_entitlement() {
    let stage = Stage::new();
    let id = stage.scratch.id("/agent/a");
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let ends: [fn(&Stage, &SpiffeId); 2] =
        [|stage, _id| stage.deregister("/agent/a"), |stage, id| stage.kill(id)];
    for end in ends {
        stage.register("/agent/a", EntryRole::Agent);
        let mut bundles = Conversation::open(&mut client, ask(&["ROOTCA"])).await;
        let mut svids = Conversation::open(&mut client.clone(), ask(&["default"])).await;
        bundles.next().await;
        svids.next().await;
        end(&stage, &id);
        for stream in [&mut bundles, &mut svids] {
            let ended = stream.try_next().await.unwrap_err();
            assert_eq!(ended.code(), Code::PermissionDenied);
            assert_eq!(ended.message(), "no identity issued");
        }
    }
}

#[tokio::test]
async fn streams_end_when_the_daemon_stops_also_those_that_never_spoke() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let silent = futures::stream::pending::<DiscoveryRequest>();
    let mut silent = client.stream_secrets(silent).await.unwrap().into_inner();
    let mut open = Conversation::open(&mut client, ask(&["default"])).await;
    open.next().await;
    served.shutdown.cancel();
    assert_eq!(open.try_next().await.unwrap_err().code(), Code::Unavailable);
    let ended = timeout(PATIENCE, silent.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
}

#[tokio::test]
async fn requests_of_an_open_stream_count_like_calls_and_one_too_many_ends_it() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let limits =
        Limits { requests_per_second_per_uid: 1, request_burst_per_uid: 4, ..Limits::default() };
    let served = stage.serve_workload(limits);
    let mut client = client(&served).await;
    // The call is one, and so is each request: this is the third.
    let mut conversation = Conversation::open(&mut client, ask(&["default"])).await;
    let first = conversation.next().await;
    conversation.say(acknowledge(&first, &["default", "ROOTCA"]));
    assert_eq!(names(&conversation.next().await).len(), 2);
    for _ in 0..10 {
        conversation.say(acknowledge(&first, &["default"]));
    }
    let ended = conversation.try_next().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    let limit = ended.metadata().get(crate::error::CODE_METADATA).unwrap();
    assert_eq!(limit, "requests_per_second_per_uid");
}

#[tokio::test]
async fn a_client_that_closes_its_half_ends_the_stream() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = client(&served).await;
    let Conversation { requests, mut responses } =
        Conversation::open(&mut client, ask(&["default"])).await;
    responses.message().await.unwrap().unwrap();
    drop(requests);
    assert!(timeout(PATIENCE, responses.message()).await.unwrap().unwrap().is_none());
}
