use super::*;
use crate::log::AlteredLeaf;
use crate::testing::{ORIGIN, TestSigner, at, event, leaves, seal, trust_domain};
use crate::{Event, EventKind, PlaybookPin};

fn checkpoint_by(signer: &TestSigner, leaves: &[Leaf]) -> String {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.append(leaf.hash()));
    let checkpoint =
        Checkpoint { origin: ORIGIN.to_owned(), size: frontier.size(), root: frontier.root() };
    SignedCheckpoint::sign(&checkpoint, signer).unwrap().text().to_owned()
}

fn checkpoint(leaves: &[Leaf]) -> String {
    checkpoint_by(&TestSigner::new(1), leaves)
}

fn verify(
    leaves: Vec<Leaf>,
    checkpoint: &str,
    older: Option<&str>,
) -> Result<VerifiedLog, VerifyError> {
    verify_log(leaves.into_iter().map(Ok), checkpoint, &TestSigner::new(1).key(), older)
}

/// The same event at the same place with another content, as somebody who can write to the disk would leave it.
fn forged(leaf: &Leaf) -> Leaf {
    let event = leaf.event().clone().with_ticket("CHG-6666");
    Leaf::seal(event, &trust_domain(), leaf.seq(), leaf.recorded()).unwrap()
}

fn verify_events(events: Vec<Event>) -> Result<VerifiedLog, VerifyError> {
    let leaves = seal(events);
    let text = checkpoint(&leaves);
    verify(leaves, &text, None)
}

#[test]
fn an_honest_log_verifies_with_leaves_behind_its_checkpoint() {
    let all = leaves(20);
    let verified =
        verify(all.clone(), &checkpoint(&all[..15]), Some(&checkpoint(&all[..7]))).unwrap();
    assert_eq!((verified.checkpoint.size, verified.leaves), (15, 20));
}

#[test]
fn an_empty_log_verifies_against_an_empty_checkpoint() {
    let verified = verify(Vec::new(), &checkpoint(&[]), Some(&checkpoint(&[]))).unwrap();
    assert_eq!(verified.leaves, 0);
}

#[test]
fn a_leaf_that_no_longer_has_its_hash_is_named() {
    let all = leaves(9);
    let altered = LogError::Altered { seq: 5, source: AlteredLeaf::Hash };
    let read = all.clone().into_iter().take(5).map(Ok).chain([Err(altered)]);
    let error = verify_log(read, &checkpoint(&all), &TestSigner::new(1).key(), None).unwrap_err();
    assert_eq!((error.kind(), error.seq()), ("leaf_altered", Some(5)));
}

#[test]
fn a_leaf_altered_together_with_its_hash_is_found_between_two_checkpoints() {
    let mut all = leaves(9);
    let (older, newer) = (checkpoint(&all[..4]), checkpoint(&all));
    all[6] = forged(&all[6]);
    let error = verify(all, &newer, Some(&older)).unwrap_err();
    assert!(matches!(error, VerifyError::Root { from: 4, to: 9 }), "{error}");
}

#[test]
fn a_dropped_leaf_is_named() {
    let mut all = leaves(9);
    let text = checkpoint(&all);
    all.remove(4);
    let error = verify(all, &text, None).unwrap_err();
    assert!(matches!(error, VerifyError::Gap { expected: 4, found: 5 }), "{error}");
}

#[test]
fn reordered_leaves_are_named() {
    let mut all = leaves(9);
    let text = checkpoint(&all);
    all.swap(3, 4);
    let error = verify(all, &text, None).unwrap_err();
    assert!(matches!(error, VerifyError::Gap { expected: 3, found: 4 }), "{error}");
}

#[test]
fn a_truncated_log_is_found() {
    let mut all = leaves(9);
    let text = checkpoint(&all);
    all.truncate(7);
    let error = verify(all, &text, None).unwrap_err();
    assert!(matches!(error, VerifyError::Truncated { covered: 9, found: 7 }), "{error}");
}

#[test]
fn a_log_cut_back_with_its_checkpoint_is_found_by_the_older_one() {
    let all = leaves(9);
    let older = checkpoint(&all);
    let error = verify(all[..7].to_vec(), &checkpoint(&all[..7]), Some(&older)).unwrap_err();
    assert!(matches!(error, VerifyError::Shrunk { older: 9, newer: 7 }), "{error}");
}

#[test]
fn a_history_written_anew_is_found_by_the_older_checkpoint_although_the_new_one_is_signed() {
    let mut all = leaves(9);
    let older = checkpoint(&all[..6]);
    all[2] = forged(&all[2]);
    let error = verify(all.clone(), &checkpoint(&all), Some(&older)).unwrap_err();
    assert!(matches!(error, VerifyError::Rewritten { before: 6 }), "{error}");
}

#[test]
fn a_log_is_held_against_more_than_one_older_checkpoint() {
    let all = leaves(20);
    let key = TestSigner::new(1).key();
    let verifier = |older: &str, more: &str| {
        let verifier = LogVerifier::new(&checkpoint(&all), &key, Some(older)).unwrap();
        let mut verifier = verifier.covering(more, &key)?;
        all.iter().try_for_each(|leaf| verifier.push(leaf))?;
        verifier.finish()
    };
    let (honest, earlier) = (checkpoint(&all[..9]), checkpoint(&all[..4]));
    assert_eq!(verifier(&honest, &earlier).unwrap().leaves, 20);
    let mut other = all.clone();
    other[2] = forged(&other[2]);
    for (one, more) in [(&earlier, &checkpoint(&other[..9])), (&checkpoint(&other[..4]), &honest)] {
        let error = verifier(one, more).unwrap_err();
        assert_eq!(error.kind(), "history_rewritten");
    }
    assert_eq!(verifier(&honest, &checkpoint(&leaves(21))).unwrap_err().kind(), "shrunk");
    let signed_by_another = checkpoint_by(&TestSigner::new(2), &all[..4]);
    let error = verifier(&honest, &signed_by_another).unwrap_err();
    assert_eq!(error.kind(), "older_checkpoint_untrusted");
}

#[test]
fn a_log_signed_again_with_another_key_is_found() {
    let all = leaves(9);
    let resigned = checkpoint_by(&TestSigner::new(2), &all);
    let error = verify(all.clone(), &resigned, None).unwrap_err();
    assert_eq!(error.kind(), "checkpoint_untrusted");
    let error = verify(all.clone(), &checkpoint(&all), Some(&resigned)).unwrap_err();
    assert_eq!(error.kind(), "older_checkpoint_untrusted");
}

#[test]
fn a_leaf_that_names_another_checkpoint_than_its_log_has_is_named_unless_a_root_says_more() {
    let mut all = leaves(20);
    let naming = |size: u64, root: Hash| {
        let mut event = event(EventKind::IntentRequested, "int_new", 20);
        event.prev_checkpoint = Some(crate::PrevCheckpoint { root, size });
        Leaf::seal(event, &trust_domain(), 20, at(20)).unwrap()
    };
    let mut frontier = Frontier::new();
    all[..9].iter().for_each(|leaf| frontier.append(leaf.hash()));
    all.push(naming(9, frontier.root()));
    verify(all.clone(), &checkpoint(&all), None).unwrap();
    verify(all.clone(), &checkpoint(&all[..12]), None).unwrap();
    // Written anew and signed by the true key, but for the leaves that name what was before.
    let honest = checkpoint(&all);
    all[4] = forged(&all[4]);
    let error = verify(all.clone(), &checkpoint(&all), None).unwrap_err();
    assert_eq!((error.kind(), error.seq()), ("checkpoint_differs", Some(20)));
    let error = verify(all.clone(), &checkpoint(&all[..12]), None).unwrap_err();
    assert_eq!((error.kind(), error.seq()), ("checkpoint_differs", Some(20)));
    assert_eq!(verify(all, &honest, None).unwrap_err().kind(), "root_mismatch");
}

#[test]
fn a_leaf_of_another_trust_domain_is_named() {
    let mut all = leaves(3);
    let foreign = "dev.example.org".parse().unwrap();
    all.push(
        Leaf::seal(event(EventKind::IntentRequested, "int_9", 3), &foreign, 3, at(3)).unwrap(),
    );
    let error = verify(all.clone(), &checkpoint(&all), None).unwrap_err();
    assert!(matches!(error, VerifyError::OtherLog { seq: 3 }), "{error}");
}

#[test]
fn recorded_time_may_stand_still_and_not_go_back() {
    let leaf = |seq, recorded| {
        Leaf::seal(
            event(EventKind::IntentRequested, "int_9", 9),
            &trust_domain(),
            seq,
            at(recorded),
        )
        .unwrap()
    };
    let still = vec![leaf(0, 5), leaf(1, 5)];
    assert!(verify(still.clone(), &checkpoint(&still), None).is_ok());
    let back = vec![leaf(0, 5), leaf(1, 4)];
    let error = verify(back.clone(), &checkpoint(&back), None).unwrap_err();
    assert!(matches!(error, VerifyError::TimeWentBack { seq: 1 }), "{error}");
}

#[test]
fn a_token_without_an_approved_intent_is_named() {
    let issued = |intent| event(EventKind::TokenIssued, intent, 1).with_uses_left(0);
    let approved = || event(EventKind::IntentApproved, "int_1", 0).with_uses_left(1);
    for events in [
        vec![issued("int_1")],
        vec![approved(), issued("int_2")],
        vec![approved(), issued("int_1"), issued("int_1")],
        vec![approved(), event(EventKind::IntentRevoked, "int_1", 1), issued("int_1")],
        vec![approved(), event(EventKind::IntentExpired, "int_1", 1), issued("int_1")],
        vec![approved(), event(EventKind::IntentCancelled, "int_1", 1), issued("int_1")],
        vec![approved(), event(EventKind::IntentCompleted, "int_1", 1), issued("int_1")],
        vec![event(EventKind::IntentDenied, "int_1", 1), issued("int_1")],
    ] {
        let last = events.len() as u64 - 1;
        let error = verify_events(events).unwrap_err();
        assert!(matches!(error, VerifyError::UseWithoutGrant { seq } if seq == last), "{error}");
    }
}

#[test]
fn an_approval_does_not_give_uses_back() {
    let approved = || event(EventKind::IntentApproved, "int_1", 0).with_uses_left(1);
    let issued = || event(EventKind::TokenIssued, "int_1", 1).with_uses_left(0);
    let error = verify_events(vec![approved(), issued(), approved(), issued()]).unwrap_err();
    assert!(matches!(error, VerifyError::ApprovedTwice { seq: 2 }), "{error}");
}

#[test]
fn a_token_that_a_kill_stops_is_named() {
    let approved = || event(EventKind::IntentApproved, "int_1", 0).with_uses_left(1);
    let agent = "spiffe://prod.example.org/agent/a";
    let playbook = PlaybookPin { id: "p".to_owned(), version: 1, digest: "d".to_owned() };
    let issued = || {
        event(EventKind::TokenIssued, "int_1", 1)
            .with_uses_left(0)
            .with_agent(agent.parse().unwrap())
            .with_playbook(playbook.clone())
            .with_detail("task", "task-1")
            .with_detail("session", "session-1")
            .with_detail("sponsor", "team-a")
            .of_tenant("example")
    };
    let kill =
        |kill: serde_json::Value| Event::new(EventKind::Kill, at(0)).with_detail("kill", kill);
    for stops in [
        serde_json::json!({ "scope": "agent", "selector": agent }),
        serde_json::json!({ "scope": "playbook", "selector": "p" }),
        serde_json::json!({ "scope": "task", "selector": "task-1" }),
        serde_json::json!({ "scope": "session", "selector": "session-1" }),
        serde_json::json!({ "scope": "sponsor", "selector": "team-a" }),
        serde_json::json!({ "scope": "tenant", "selector": "example" }),
        serde_json::json!({ "scope": "trust_domain" }),
        serde_json::json!({ "scope": "all" }),
        serde_json::json!({ "scope": "moon", "selector": "dark side" }),
    ] {
        let error = verify_events(vec![approved(), kill(stops), issued()]).unwrap_err();
        assert!(matches!(error, VerifyError::UseAfterKill { seq: 2 }), "{error}");
    }
    for (scope, selector) in
        [("playbook", "q"), ("task", "session-1"), ("key", "task-1"), ("tenant", "other")]
    {
        let other = kill(serde_json::json!({ "scope": scope, "selector": selector }));
        assert!(verify_events(vec![approved(), other, issued()]).is_ok(), "{scope}");
    }
}

#[test]
fn a_lift_ends_its_kill_by_id_whichever_comes_first() {
    let approved = || event(EventKind::IntentApproved, "int_1", 0).with_uses_left(1);
    let issued = || event(EventKind::TokenIssued, "int_1", 1).with_uses_left(0);
    let kill = |id: &str| {
        Event::new(EventKind::Kill, at(0))
            .with_epoch(1)
            .with_detail("id", id)
            .with_detail("mode", "stop")
            .with_detail("kill", serde_json::json!({ "scope": "all" }))
    };
    let lift = |id: &str| Event::new(EventKind::KillLifted, at(0)).with_detail("lifts", id);
    let sound = |events: Vec<Event>| verify_events(events).is_ok();
    assert!(sound(vec![approved(), kill("kill_a"), lift("kill_a"), issued()]));
    assert!(sound(vec![approved(), lift("kill_a"), kill("kill_a"), issued()]));
    // Of two kills with one epoch the lift is of the one that it names.
    let other = lift("kill_b").with_detail("kill_epoch", 1);
    assert!(!sound(vec![approved(), kill("kill_a"), other, issued()]));
    let relaxed = || lift("kill_a").with_detail("mode", "drain");
    assert!(sound(vec![approved(), relaxed(), kill("kill_a"), issued()]));
    assert!(!sound(vec![approved(), lift("kill_b"), kill("kill_a"), issued()]));
    // Leaves that say no id go by the epoch.
    let unnamed = || {
        let kill = serde_json::json!({ "scope": "all" });
        Event::new(EventKind::Kill, at(0)).with_epoch(7).with_detail("kill", kill)
    };
    let by_epoch = lift("kill_a").with_detail("kill_epoch", 7);
    assert!(sound(vec![approved(), unnamed(), by_epoch, issued()]));
}

#[test]
fn a_token_that_derives_from_another_is_within_the_grant_too() {
    let approved = || {
        event(EventKind::IntentApproved, "int_1", 0)
            .with_uses_left(1)
            .with_audience(["a", "b"])
            .with_expires_at(at(100))
    };
    // The only use is made, and the grant is what it was.
    let issued =
        || event(EventKind::TokenIssued, "int_1", 1).with_uses_left(0).with_token_id("tok_1");
    let derived = || {
        event(EventKind::TokenDerived, "int_1", 2)
            .with_token_id("tok_2")
            .with_detail("parent", "tok_1")
            .with_detail("kind", "access_token")
    };
    let found = |derived: Event| {
        let verified = verify_events(vec![approved(), issued(), derived]);
        verified.map_err(|error| (error.kind(), error.seq())).map(drop)
    };
    assert_eq!(found(derived().with_audience(["b"]).with_expires_at(at(100))), Ok(()));
    let transaction = derived().with_detail("kind", "transaction_token");
    assert_eq!(found(transaction.with_audience(["prod.example.org"])), Ok(()));
    for (name, derived, code) in [
        ("digest", derived().with_grant_digest("sha256:bb"), "use_of_another_grant"),
        ("end", derived().with_expires_at(at(101)), "token_outlives_grant"),
        ("audience", derived().with_audience(["b", "c"]), "token_for_another_audience"),
    ] {
        assert_eq!(found(derived), Err((code, Some(2))), "{name}");
    }
}

#[test]
fn every_use_takes_exactly_one() {
    let approved = || event(EventKind::IntentApproved, "int_1", 0).with_uses_left(3);
    let issued = |left| event(EventKind::TokenIssued, "int_1", 1).with_uses_left(left);
    assert!(verify_events(vec![approved(), issued(2), issued(1), issued(0)]).is_ok());
    for left in [3, 1, 0] {
        assert!(verify_events(vec![approved(), issued(left)]).is_err(), "{left}");
    }
}

#[test]
fn a_token_for_another_grant_or_beyond_its_grant_is_named() {
    let approved = || event(EventKind::IntentApproved, "int_1", 0).with_expires_at(at(100));
    let issued = || event(EventKind::TokenIssued, "int_1", 1);
    let other =
        verify_events(vec![approved(), issued().with_grant_digest("sha256:bb")]).unwrap_err();
    assert!(matches!(other, VerifyError::OtherGrant { seq: 1 }), "{other}");
    assert!(verify_events(vec![approved(), issued().with_expires_at(at(100))]).is_ok());
    let longer = verify_events(vec![approved(), issued().with_expires_at(at(101))]).unwrap_err();
    assert!(matches!(longer, VerifyError::OutlivesGrant { seq: 1 }), "{longer}");
}

#[test]
fn an_access_token_for_an_audience_that_its_grant_does_not_have_is_named() {
    let approved = || event(EventKind::IntentApproved, "int_1", 0).with_audience(["a", "b"]);
    let issued = || event(EventKind::TokenIssued, "int_1", 1);
    assert!(verify_events(vec![approved(), issued().with_audience(["b"])]).is_ok());
    let wider = issued().with_audience(["a", "c"]).with_detail("kind", "access_token");
    let error = verify_events(vec![approved(), wider]).unwrap_err();
    assert!(matches!(error, VerifyError::OtherAudience { seq: 1 }), "{error}");
    let grant = issued().with_audience(["c"]).with_detail("kind", "authorization_grant");
    assert!(verify_events(vec![approved(), grant]).is_ok());
}

#[test]
fn a_verification_that_goes_on_finds_everything_and_judges_only_what_it_is_asked_about() {
    let issued = |intent: &str| event(EventKind::TokenIssued, intent, 1).with_uses_left(0);
    let approved = |intent: &str| event(EventKind::IntentApproved, intent, 0).with_uses_left(1);
    let revoke = |id: &str| event(EventKind::TokenRevoked, "int_2", 1).with_token_id(id);
    let used = |id: &str| event(EventKind::TokenUsed, "int_2", 1).with_token_id(id);
    let all = seal(vec![
        issued("int_1"),
        approved("int_2"),
        issued("int_2").with_token_id("tok"),
        revoke("tok"),
        used("tok"),
        issued("int_2"),
    ]);
    let text = checkpoint(&all);
    let found = |judged: std::ops::RangeInclusive<u64>| {
        let key = TestSigner::new(1).key();
        let mut verifier = LogVerifier::new(&text, &key, None).unwrap().judging(judged).going_on();
        all.iter().for_each(|leaf| verifier.push(leaf).unwrap());
        let found: Vec<_> =
            verifier.findings().iter().map(|found| (found.kind(), found.seq().unwrap())).collect();
        verifier.finish().unwrap();
        found
    };
    let every = [("use_without_grant", 0), ("use_of_an_ended_token", 4), ("use_without_grant", 5)];
    assert_eq!(found(0..=u64::MAX), every);
    assert_eq!(found(1..=4), every[1..2]);
    assert_eq!(found(6..=9), []);
}

#[test]
fn so_many_findings_are_kept_and_the_next_one_ends_it() {
    let issued = event(EventKind::TokenIssued, "int_1", 1);
    let all = seal(vec![issued; MAX_FINDINGS + 1]);
    let key = TestSigner::new(1).key();
    let mut verifier = LogVerifier::new(&checkpoint(&all), &key, None).unwrap().going_on();
    assert!(all[..MAX_FINDINGS].iter().all(|leaf| verifier.push(leaf).is_ok()));
    assert_eq!(verifier.push(&all[MAX_FINDINGS]).unwrap_err().seq(), Some(MAX_FINDINGS as u64));
}

#[tokio::test]
async fn a_stored_log_is_verified_page_by_page() {
    use crate::testing::MemoryLog;
    let all = leaves(PAGE * 2 + 5);
    let store = MemoryLog::of(all.clone());
    let key = TestSigner::new(1).key();
    assert!(matches!(verify_store(&store, &key, None).await, Err(VerifyError::NoCheckpoint)));
    let kept = crate::StoredCheckpoint { text: checkpoint(&all), frontier: Frontier::new() };
    store.save_checkpoint(kept).await.unwrap();
    assert_eq!(verify_store(&store, &key, None).await.unwrap().leaves, all.len() as u64);
    store.leaves.lock().unwrap().remove(PAGE + 1);
    let error = verify_store(&store, &key, None).await.unwrap_err();
    assert_eq!(error.seq(), Some(PAGE as u64 + 1));
}
