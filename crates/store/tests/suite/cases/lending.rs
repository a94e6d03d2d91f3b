//! Delegated intents: what they may use comes out of what their parent has left, whatever happens at once.

use futures::future::join_all;
use marque_audit::EventKind;
use marque_exchange::{RedeemError, TokenStore};
use marque_intent::{
    DenialCode, Grant, GrantTerms, Intent, IntentChange, IntentStore, IntentStoreError,
    ParentIntent, Ruling, State,
};

use crate::engine::Engine;
use crate::fixture::*;

/// An intent below `parent` for another agent, approved by policy.
fn below(parent: &Intent, name: &str, uses: u32) -> Opened {
    let terms = GrantTerms {
        parent: Some(ParentIntent::of(parent.grant())),
        ..approved(agent(name), uses).0.grant().terms().clone()
    };
    Intent::open(Grant::seal(terms).unwrap(), None, Ruling::Approve { rules: Vec::new() }, START)
}

fn code(outcome: Result<impl std::fmt::Debug, IntentStoreError>) -> DenialCode {
    match outcome {
        Err(IntentStoreError::Refused(denial)) => denial.code(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn of_64_at_once_only_as_many_get_a_use_as_there_are(engine: impl Engine) {
    let store = engine.open().await;
    let parent = submit(&store, approved(agent("a"), 5)).await;
    let tasks = (0..64).map(|number| {
        let (store, (intent, events)) = (store.clone(), below(&parent, &format!("b{number}"), 1));
        tokio::spawn(async move { store.submit(intent, events, None).await })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let (lent, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((lent.len(), refused.len()), (5, 59));
    assert!(refused.into_iter().all(|one| code(one) == DenialCode::ExceedsParentScope));
    let after = store.find(parent.id()).await.unwrap().unwrap();
    // The parent has none left for itself.
    let spent = store.redeem(redemption(&after, START)).await;
    assert!(
        matches!(spent, Err(RedeemError::Refused(denial)) if denial.code() == DenialCode::GrantConsumed)
    );
}

pub(crate) async fn nothing_is_used_below_an_intent_that_has_ended(engine: impl Engine) {
    let store = engine.open().await;
    let top = submit(&store, approved(agent("a"), 3)).await;
    let middle = submit(&store, below(&top, "b", 2)).await;
    let bottom = submit(&store, below(&middle, "c", 1)).await;
    store.redeem(redemption(&bottom, START)).await.unwrap();
    let revoke = IntentChange::Revoke { actor: "operator".to_owned(), reason: reason() };
    store.change(top.id().clone(), revoke, START).await.unwrap();
    let refused = store.redeem(redemption(&middle, START)).await;
    assert!(
        matches!(&refused, Err(RedeemError::Refused(denial))
            if [DenialCode::ChainInvalid, DenialCode::GrantExpired].contains(&denial.code())),
        "{refused:?}"
    );
    let more = below(&middle, "d", 1);
    let refused = store.submit(more.0, more.1, None).await;
    assert_eq!(code(refused), DenialCode::ChainInvalid);
}

pub(crate) async fn what_was_not_used_below_comes_back(engine: impl Engine) {
    let store = engine.open().await;
    let parent = submit(&store, approved(agent("a"), 2)).await;
    let one = submit(&store, below(&parent, "b", 2)).await;
    let two = || below(&parent, "c", 1);
    let (intent, events) = two();
    assert_eq!(code(store.submit(intent, events, None).await), DenialCode::ExceedsParentScope);
    let cancel = IntentChange::Cancel { by: agent("b") };
    let cancelled = store.change(one.id().clone(), cancel, START).await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled);
    submit(&store, two()).await;
}

pub(crate) async fn break_glass_as_standing_privilege_is_refused(engine: impl Engine) {
    let store = engine.open().await;
    let emergency = serde_json::json!({
        "responders": ["group:operators"],
        "alert": "log",
        "post_review_within_s": 3600,
        "cooldown_s": 1800,
        "max_per_day": 2,
        "alert_above": 3,
    });
    let opened = |at: u64| {
        let usual = approved_at(agent("a"), 1, after(at)).0;
        let terms = GrantTerms {
            emergency: Some(serde_json::from_value(emergency.clone()).unwrap()),
            not_after: after(at + 7200),
            ..usual.grant().terms().clone()
        };
        let ruling = Ruling::Approve { rules: Vec::new() };
        Intent::open(Grant::seal(terms).unwrap(), None, ruling, after(at))
    };
    // Of those that come at once, one is kept.
    let tasks = (0..16).map(|_| {
        let (store, (intent, events)) = (store.clone(), opened(0));
        tokio::spawn(async move { store.submit(intent, events, None).await })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let (kept, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((kept.len(), refused.len()), (1, 15));
    assert!(refused.into_iter().all(|one| code(one) == DenialCode::ConcurrentGrantLimit));
    let told = [EventKind::BreakGlassRequested, EventKind::BreakGlassActivated];
    for kind in told {
        assert_eq!(count(&store, kind).await, 1, "{kind}");
    }
    let first = kept.into_iter().next().unwrap().unwrap().into_intent();
    let revoke = IntentChange::Revoke { actor: "operator".to_owned(), reason: reason() };
    store.change(first.id().clone(), revoke, START).await.unwrap();
    assert_eq!(count(&store, EventKind::BreakGlassEnded).await, 1);
}
