//! Tokens after their issue: revoked with all that derives, used once, listed by place, and forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use marque_audit::EventKind;
use marque_exchange::{
    RedeemError, RevocationOutcome, Revoker, SuspectQuery, TOKENS_KEPT_FOR, TokenId,
    TokenLifeStore, TokenRecord, TokenStore, TokenUse, is_live,
};
use marque_intent::{
    DenialCode, IdempotencyKey, Intent, IntentChange, IntentStore, KillScope, Outcome, Submitted,
};
use marque_store::Store;

use super::log::verified;
use crate::engine::Engine;
use crate::fixture::*;

/// An intent with the token of its one use.
pub(super) async fn issued(store: &Store, name: &str) -> (Intent, TokenRecord) {
    issued_with(store, name, false).await
}

pub(super) async fn issued_with(
    store: &Store,
    name: &str,
    single_use: bool,
) -> (Intent, TokenRecord) {
    let intent = submit(store, approved(agent(name), 1)).await;
    let mut wanted = redemption(&intent, START);
    wanted.token.single_use = single_use;
    let redeemed = store.redeem(wanted).await.unwrap();
    (redeemed.intent, redeemed.token)
}

pub(super) async fn derived(
    store: &Store,
    intent: &Intent,
    parent: &TokenRecord,
    holder: &str,
) -> TokenRecord {
    store.derive(derivation(intent, parent, holder)).await.unwrap().token
}

/// The tokens of an intent that are live.
pub(super) async fn live(store: &Store, intent: &Intent) -> BTreeSet<TokenId> {
    let intent = store.find(intent.id()).await.unwrap().unwrap();
    let kills = TokenStore::kill_state(store);
    let tokens = store.tokens_of(intent.id()).await.unwrap();
    let live = tokens.into_iter().filter(|token| is_live(token, &intent, &kills, START).is_ok());
    live.map(|token| token.id).collect()
}

fn using(token: &TokenRecord) -> TokenUse {
    TokenUse {
        token: token.id.clone(),
        intent: token.intent.clone(),
        by: agent("gateway"),
        now: START,
    }
}

pub(crate) async fn every_token_that_is_kept_is_listed_once_page_by_page(engine: impl Engine) {
    let store = engine.open().await;
    let mut all = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let (intent, token) = issued(&store, name).await;
        all.insert(derived(&store, &intent, &token, "d").await.id);
        all.insert(token.id);
    }
    let mut listed = Vec::new();
    loop {
        let page = store.tokens_after(listed.last().cloned(), 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|token| token.id));
    }
    assert_eq!((listed.len(), listed.into_iter().collect()), (6, all));
}

pub(crate) async fn oauth_12_3_a_revocation_takes_all_that_derives_along_with_a_leaf_for_each(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let (intent, root) = issued(&store, "a").await;
    let child = derived(&store, &intent, &root, "b").await;
    let sibling = derived(&store, &intent, &root, "c").await;
    let grandchild = derived(&store, &intent, &child, "c").await;
    let (_, elsewhere) = issued(&store, "a").await;
    let revoked = store.revoke_token(revocation(&child)).await.unwrap();
    let expected = RevocationOutcome::Revoked(vec![child.id.clone(), grandchild.id.clone()]);
    assert_eq!(revoked, expected);
    assert_eq!(live(&store, &intent).await, BTreeSet::from([root.id.clone(), sibling.id]));
    assert_eq!(count(&store, EventKind::TokenRevoked).await, 2);
    // Again, and by those who may not.
    let again = store.revoke_token(revocation(&child)).await.unwrap();
    assert_eq!(again, RevocationOutcome::Revoked(Vec::new()));
    let mut foreign = revocation(&root);
    foreign.by = Revoker::Client(agent("b"));
    assert_eq!(store.revoke_token(foreign).await.unwrap(), RevocationOutcome::NotOwner);
    assert_eq!(count(&store, EventKind::ChangeRefused).await, 1);
    let mut mixed = revocation(&root);
    mixed.intent = elsewhere.intent;
    assert_eq!(store.revoke_token(mixed).await.unwrap(), RevocationOutcome::Unknown);
    assert_eq!(count(&store, EventKind::TokenRevoked).await, 2);
    drop(store);
    let store = engine.open().await;
    assert!(!live(&store, &intent).await.contains(&grandchild.id));
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn oauth_12_4_a_revoked_token_is_not_derived_from_again(engine: impl Engine) {
    let store = engine.open().await;
    let (intent, root) = issued(&store, "a").await;
    let child = derived(&store, &intent, &root, "b").await;
    store.revoke_token(revocation(&root)).await.unwrap();
    for parent in [&root, &child] {
        match store.derive(derivation(&intent, parent, "d")).await {
            Err(RedeemError::Refused(denial)) => {
                assert_eq!(denial.code(), DenialCode::GrantRevoked)
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(live(&store, &intent).await.is_empty());
}

pub(crate) async fn oauth_12_5_a_revocation_and_derivations_at_once_leave_no_live_token(
    engine: impl Engine,
) {
    let store = engine.open().await;
    for round in 0..8 {
        let (intent, root) = issued(&store, "a").await;
        let child = derived(&store, &intent, &root, "b").await;
        let deriving = (0..16).map(|number| {
            let (store, parent) = (store.clone(), if number % 2 == 0 { &root } else { &child });
            let wanted = derivation(&intent, parent, &format!("d{number}"));
            tokio::spawn(async move { store.derive(wanted).await.is_ok() })
        });
        let (first, last): (Vec<_>, Vec<_>) = deriving.enumerate().partition(|(n, _)| n % 3 == 0);
        let revoking = {
            let (store, order) = (store.clone(), revocation(&root));
            tokio::spawn(async move { store.revoke_token(order).await.unwrap() })
        };
        join_all(first.into_iter().chain(last).map(|(_, task)| task)).await;
        revoking.await.unwrap();
        assert_eq!(live(&store, &intent).await, BTreeSet::new(), "round {round}");
    }
    // Every order that occurred is one in which nothing derives from what was revoked before.
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn cve_2026_1035_of_64_who_use_a_token_of_a_single_use_one_is_told_that_it_is_active(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let (intent, token) = issued_with(&store, "a", true).await;
    let tasks = (0..64).map(|_| {
        let (store, order) = (store.clone(), using(&token));
        tokio::spawn(async move { store.use_token(order).await.unwrap() })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 63));
    assert!(lost.into_iter().all(|told| told.unwrap_err().code() == DenialCode::GrantConsumed));
    assert_eq!(count(&store, EventKind::TokenUsed).await, 1);
    assert_eq!(live(&store, &intent).await, BTreeSet::new());
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn a_token_of_a_single_use_is_used_or_derived_from_and_never_both(
    engine: impl Engine,
) {
    let store = engine.open().await;
    for round in 0..8 {
        let (intent, token) = issued_with(&store, "a", true).await;
        let uses = (0..4).map(|_| {
            let (store, order) = (store.clone(), using(&token));
            tokio::spawn(async move { store.use_token(order).await.unwrap().is_ok() })
        });
        let derivations = (0..4).map(|number| {
            let store = store.clone();
            let wanted = derivation(&intent, &token, &format!("d{number}"));
            tokio::spawn(async move { store.derive(wanted).await.is_ok() })
        });
        let tasks: Vec<_> = if round % 2 == 0 {
            uses.chain(derivations).collect()
        } else {
            derivations.chain(uses).collect()
        };
        let won = join_all(tasks).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        assert_eq!(won, 1, "round {round}");
    }
    assert_eq!(count(&store, EventKind::TokenUsed).await, 8);
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn a_token_of_more_uses_is_not_used_up_and_a_dead_one_not_used(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let (_, ordinary) = issued(&store, "a").await;
    let told = store.use_token(using(&ordinary)).await.unwrap().unwrap_err();
    assert_eq!(told.code(), DenialCode::InvalidRequest);
    let (intent, single) = issued_with(&store, "a", true).await;
    let complete =
        IntentChange::Complete { by: agent("a"), outcome: Outcome::Success, report: None };
    store.change(intent.id().clone(), complete, START).await.unwrap();
    let told = store.use_token(using(&single)).await.unwrap().unwrap_err();
    assert_eq!(told.code(), DenialCode::GrantCompleted);
    let mut unknown = using(&single);
    unknown.token = redemption(&intent, START).token.id;
    let told = store.use_token(unknown).await.unwrap().unwrap_err();
    assert_eq!(told.code(), DenialCode::GrantNotBoundToSession);
    assert_eq!(count(&store, EventKind::TokenUsed).await, 0);
}

pub(crate) async fn oauth_15_4_a_place_is_given_once_also_after_opening_again(engine: impl Engine) {
    let mut places = BTreeSet::new();
    for _ in 0..3 {
        let store = engine.open().await;
        let tokens = join_all((0..20).map(|_| issued(&store, "a"))).await;
        places.extend(tokens.into_iter().map(|(_, token)| token.status_index.unwrap()));
        let (intent, token) = issued(&store, "a").await;
        let child = derived(&store, &intent, &token, "b").await;
        places.extend([token.status_index.unwrap(), child.status_index.unwrap()]);
    }
    assert_eq!(places.len(), 66);
    assert!(places.iter().all(|place| place.list() == 0));
    assert_eq!(engine.number("SELECT next_place FROM head").await, 66);
    let store = engine.open().await;
    let found = store.places().await.unwrap();
    assert_eq!(found, places.first().unwrap().number().min(66)..66);
    // Until the tokens are forgotten.
    let over = after(60).checked_add(TOKENS_KEPT_FOR).unwrap();
    assert_eq!(store.prune(over, 100).await.unwrap(), 66);
    assert_eq!(store.places().await.unwrap(), 66..66);
}

pub(crate) async fn a_refused_use_gives_no_place(engine: impl Engine) {
    let store = engine.open().await;
    let (intent, _) = issued(&store, "a").await;
    assert!(store.redeem(redemption(&intent, START)).await.is_err());
    assert_eq!(engine.number("SELECT next_place FROM head").await, 1);
}

async fn suspects(store: &Store, decided_before: u64, now: Timestamp) -> BTreeSet<TokenId> {
    let query = SuspectQuery { places: 0..1 << 17, now, decided_before };
    let suspects = store.suspects(query).await.unwrap();
    let found: BTreeSet<_> = suspects.tokens.iter().map(|(_, token)| token.clone()).collect();
    let records = store.tokens(found.iter().cloned().collect()).await.unwrap();
    assert_eq!(records.len(), suspects.tokens.len());
    for (record, intent) in records {
        assert_eq!(record.intent, *intent.id());
        let place = record.status_index.unwrap().number();
        assert!(suspects.tokens.contains(&(place, record.id)));
    }
    found
}

pub(crate) async fn oauth_15_5_whatever_may_have_ended_is_among_the_suspects(engine: impl Engine) {
    let store = engine.open().await;
    let (intent, root) = issued(&store, "a").await;
    let child = derived(&store, &intent, &root, "b").await;
    let (completed, of_completed) = issued(&store, "a").await;
    let (revoked, of_revoked) = issued(&store, "a").await;
    let (_, used) = issued_with(&store, "a", true).await;
    let (_, untouched) = issued(&store, "c").await;
    assert_eq!(suspects(&store, 0, START).await, BTreeSet::new());
    store.revoke_token(revocation(&child)).await.unwrap();
    let complete =
        IntentChange::Complete { by: agent("a"), outcome: Outcome::Success, report: None };
    store.change(completed.id().clone(), complete, START).await.unwrap();
    let revoke =
        IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason: reason() };
    store.change(revoked.id().clone(), revoke, START).await.unwrap();
    store.use_token(using(&used)).await.unwrap().unwrap();
    let ended = BTreeSet::from([child.id, of_completed.id, of_revoked.id, used.id]);
    assert_eq!(suspects(&store, 0, START).await, ended);
    let state = store.kill(kill(KillScope::Agent(agent("c"))), START).await.unwrap();
    // Whatever was decided on before the kill is looked through once more.
    let all: BTreeSet<_> = ended.iter().cloned().chain([root.id, untouched.id]).collect();
    assert_eq!(suspects(&store, state.epoch, START).await, all);
    assert_eq!(suspects(&store, 0, START).await, ended);
    assert_eq!(suspects(&store, state.epoch, after(60)).await, BTreeSet::new());
    let outside = SuspectQuery { places: 1 << 17..2 << 17, now: START, decided_before: 9 };
    let outside = store.suspects(outside).await.unwrap();
    assert_eq!((outside.tokens.len(), outside.recorded_epoch), (0, 1));
}

pub(crate) async fn what_is_long_over_is_forgotten_in_bounded_steps_and_the_log_still_verifies(
    engine: impl Engine,
) {
    let store = engine.open().await;
    for _ in 0..5 {
        let (intent, token) = issued(&store, "a").await;
        derived(&store, &intent, &token, "b").await;
    }
    let over = after(60).checked_add(TOKENS_KEPT_FOR).unwrap();
    let before = over.checked_sub(Duration::from_micros(1)).unwrap();
    assert_eq!(store.prune(before, 100).await.unwrap(), 0);
    let (_, younger) = {
        let intent = submit(&store, approved(agent("a"), 1)).await;
        let redeemed = store.redeem(redemption(&intent, after(1))).await.unwrap();
        (intent, redeemed.token)
    };
    for (left, pruned) in [(7, 4), (3, 4), (1, 2), (1, 0)] {
        assert_eq!(store.prune(over, 4).await.unwrap(), pruned);
        assert_eq!(engine.number("SELECT count(*) FROM tokens").await, left);
    }
    assert!(store.token(&younger.id).await.unwrap().is_some());
    assert_eq!(count(&store, EventKind::TokenIssued).await, 6);
    verified(&engine, &store).await.unwrap();
    // A place that was given is not given again.
    let (_, next) = issued(&store, "a").await;
    assert_eq!(engine.number("SELECT next_place FROM head").await, 12);
    assert!(next.status_index.is_some());
}

pub(crate) async fn an_idempotency_key_that_is_over_is_forgotten_and_others_stay(
    engine: impl Engine,
) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let store = engine.open().await;
    let ask = async |store: &Arc<Store>, key: &str| {
        let (intent, events) = pending(agent("a"));
        let key = IdempotencyKey::new(agent("a"), key, b"body").unwrap();
        store.submit(intent, events, Some(key)).await.unwrap()
    };
    for name in ["one", "two", "three"] {
        ask(&store, name).await;
    }
    engine.clock().advance(Duration::from_secs(1));
    ask(&store, "younger").await;
    assert_eq!(store.prune(after(0) + DAY - Duration::from_micros(1), 2).await.unwrap(), 0);
    assert_eq!(store.prune(after(0) + DAY, 2).await.unwrap(), 2);
    assert_eq!(store.prune(after(0) + DAY, 2).await.unwrap(), 1);
    assert_eq!(store.prune(after(0) + DAY, 2).await.unwrap(), 0);
    assert!(matches!(ask(&store, "younger").await, Submitted::Replayed(_)));
}
