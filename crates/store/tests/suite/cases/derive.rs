//! Tokens that derive from others: how many, from which parents, and however many ask at once.

use std::time::Duration;

use futures::future::join_all;
use marque_audit::EventKind;
use marque_exchange::{
    Confirmation, Derivation, MAX_DERIVED_TOKENS, RedeemError, Thumbprint, TokenId, TokenLifeStore,
    TokenRecord, TokenStore, TokenUse, is_live,
};
use marque_intent::{DenialCode, Intent, IntentChange, IntentStore, KillScope, Outcome};
use marque_store::Store;

use super::log::verified;
use crate::engine::Engine;
use crate::fixture::*;

/// An intent with the token of its one use.
async fn issued(store: &Store, shape: impl FnOnce(&mut TokenRecord)) -> (Intent, TokenRecord) {
    let intent = submit(store, approved(agent("a"), 1)).await;
    let mut wanted = redemption(&intent, START);
    shape(&mut wanted.token);
    let redeemed = store.redeem(wanted).await.unwrap();
    (redeemed.intent, redeemed.token)
}

async fn refusal(store: &Store, wanted: Derivation) -> DenialCode {
    match store.derive(wanted).await {
        Err(RedeemError::Refused(denial)) => denial.code(),
        other => panic!("{other:?}"),
    }
}

/// How many tokens of an intent that derive from others are live.
async fn live(store: &Store, intent: &Intent) -> usize {
    let intent = store.find(intent.id()).await.unwrap().unwrap();
    let kills = TokenStore::kill_state(store);
    let tokens = store.tokens_of(intent.id()).await.unwrap();
    let live = |token: &&TokenRecord| is_live(token, &intent, &kills, START).is_ok();
    tokens.iter().filter(|token| token.parent.is_some()).filter(live).count()
}

pub(crate) async fn of_an_intents_derived_tokens_64_are_live_and_no_more(engine: impl Engine) {
    let store = engine.open().await;
    let (intent, parent) = issued(&store, |_| {}).await;
    let (elsewhere, other) = issued(&store, |_| {}).await;
    let mut last = parent.clone();
    for number in 0..MAX_DERIVED_TOKENS {
        let holder = format!("d{number}");
        last = store.derive(derivation(&intent, &parent, &holder)).await.unwrap().token;
    }
    let one_more = || derivation(&intent, &parent, "one-more");
    assert_eq!(refusal(&store, one_more()).await, DenialCode::ConcurrentGrantLimit);
    // From a child it is the same intent, and another intent has room of its own.
    let of_child = derivation(&intent, &last, "one-more");
    assert_eq!(refusal(&store, of_child).await, DenialCode::ConcurrentGrantLimit);
    store.derive(derivation(&elsewhere, &other, "d")).await.unwrap();
    drop(store);
    let store = engine.open().await;
    assert_eq!(refusal(&store, one_more()).await, DenialCode::ConcurrentGrantLimit);
    // What was revoked takes no room.
    store.revoke_token(revocation(&last)).await.unwrap();
    store.derive(one_more()).await.unwrap();
    assert_eq!(refusal(&store, one_more()).await, DenialCode::ConcurrentGrantLimit);
    assert_eq!(live(&store, &intent).await, MAX_DERIVED_TOKENS);
    assert_eq!(count(&store, EventKind::TokenDerived).await, MAX_DERIVED_TOKENS + 2);
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn of_80_who_derive_at_once_64_get_a_token(engine: impl Engine) {
    let store = engine.open().await;
    let (intent, parent) = issued(&store, |_| {}).await;
    let tasks = (0..80).map(|number| {
        let wanted = derivation(&intent, &parent, &format!("d{number}"));
        let store = store.clone();
        tokio::spawn(async move { store.derive(wanted).await.is_ok() })
    });
    let won = join_all(tasks).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, MAX_DERIVED_TOKENS);
    assert_eq!(live(&store, &intent).await, MAX_DERIVED_TOKENS);
    assert_eq!(count(&store, EventKind::TokenDerived).await, MAX_DERIVED_TOKENS);
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn of_64_who_derive_from_a_token_of_a_single_use_one_gets_a_token(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let (intent, parent) = issued(&store, |token| token.single_use = true).await;
    let tasks = (0..64).map(|number| {
        let wanted = derivation(&intent, &parent, &format!("d{number}"));
        let store = store.clone();
        tokio::spawn(async move { store.derive(wanted).await })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 63));
    for refused in lost {
        let Err(RedeemError::Refused(denial)) = refused else { panic!("{refused:?}") };
        assert_eq!(denial.code(), DenialCode::GrantConsumed);
    }
    // The one use passed to the child.
    let child = won.into_iter().next().unwrap().unwrap().token;
    assert!(child.single_use && child.used_at.is_none());
    let used = store.token(&parent.id).await.unwrap().unwrap().0;
    assert!(used.used_at.is_some());
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn oauth_21_revoked_parent_nor_any_other_dead_one_gives_a_token(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let revoked = issued(&store, |_| {}).await;
    store.revoke_token(revocation(&revoked.1)).await.unwrap();
    let completed = issued(&store, |_| {}).await;
    let complete =
        IntentChange::Complete { by: agent("a"), outcome: Outcome::Success, report: None };
    store.change(completed.0.id().clone(), complete, START).await.unwrap();
    let ended = issued(&store, |_| {}).await;
    let revoke =
        IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason: reason() };
    store.change(ended.0.id().clone(), revoke, START).await.unwrap();
    let used = issued(&store, |token| token.single_use = true).await;
    let order = TokenUse {
        token: used.1.id.clone(),
        intent: used.1.intent.clone(),
        by: agent("gateway"),
        now: START,
    };
    store.use_token(order).await.unwrap().unwrap();
    let expired = issued(&store, |_| {}).await;
    let children = store.tokens_of(expired.0.id()).await.unwrap().len();
    for ((intent, parent), now, code) in [
        (&revoked, START, DenialCode::GrantRevoked),
        (&completed, START, DenialCode::GrantCompleted),
        (&ended, START, DenialCode::GrantRevoked),
        (&used, START, DenialCode::GrantConsumed),
        (&expired, parent_end(), DenialCode::GrantExpired),
    ] {
        let wanted = Derivation { now, ..derivation(intent, parent, "b") };
        assert_eq!(refusal(&store, wanted).await, code, "{code}");
    }
    // A moment before its end it gives one.
    let just = parent_end() - Duration::from_micros(1);
    let wanted = Derivation { now: just, ..derivation(&expired.0, &expired.1, "b") };
    store.derive(wanted).await.unwrap();
    // Whoever is stopped gets none, be it the one who holds the parent or the one who would hold the child.
    let (intent, parent) = issued(&store, |_| {}).await;
    store.kill(kill(KillScope::Agent(agent("c"))), START).await.unwrap();
    let to_c = derivation(&intent, &parent, "c");
    assert_eq!(refusal(&store, to_c).await, DenialCode::KillSwitchAgent);
    store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    let to_b = derivation(&intent, &parent, "b");
    assert_eq!(refusal(&store, to_b).await, DenialCode::KillSwitchAgent);
    assert_eq!(store.tokens_of(intent.id()).await.unwrap().len(), children);
    assert_eq!(count(&store, EventKind::TokenDerived).await, 1);
    verified(&engine, &store).await.unwrap();
}

/// When the tokens of [`redemption`] end.
fn parent_end() -> jiff::Timestamp {
    after(60)
}

pub(crate) async fn no_token_is_kept_that_is_wider_than_its_parent(engine: impl Engine) {
    let store = engine.open().await;
    let key = Some(Confirmation::Jkt(Thumbprint::new([7; 32])));
    let (intent, parent) = issued(&store, |token| {
        token.confirmation = key;
        token.single_use = true;
    })
    .await;
    let (_, foreign) = issued(&store, |_| {}).await;
    let shaped = |shape: &dyn Fn(&mut TokenRecord)| {
        let mut wanted = derivation(&intent, &parent, "b");
        shape(&mut wanted.token);
        wanted
    };
    let (exceeds, stranger) = (DenialCode::ExceedsParentScope, DenialCode::GrantNotBoundToSession);
    type Shape<'a> = &'a dyn Fn(&mut TokenRecord);
    let cases: [(&str, Shape<'_>, DenialCode); 10] = [
        ("longer", &|token| token.expires_at = after(61), exceeds),
        ("for others", &|token| token.audiences.push("https://x.example.org".to_owned()), exceeds),
        ("not bound", &|token| token.confirmation = None, exceeds),
        ("of many uses", &|token| token.single_use = false, exceeds),
        ("of another chain", &|token| token.through = vec![agent("x")], stranger),
        ("of no chain", &|token| token.through.clear(), stranger),
        ("of no keys above", &|token| token.keys_above.clear(), stranger),
        ("of another intent's token", &|token| token.parent = Some(foreign.id.clone()), stranger),
        ("of an unknown token", &|token| token.parent = Some(unknown(&parent)), stranger),
        ("of nothing", &|token| token.parent = None, stranger),
    ];
    for (name, shape, code) in cases {
        match store.derive(shaped(shape)).await {
            Err(RedeemError::Refused(denial)) => assert_eq!(denial.code(), code, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let twice = shaped(&|token| token.id = parent.id.clone());
    assert!(store.derive(twice).await.is_err());
    assert_eq!(store.tokens_of(intent.id()).await.unwrap().len(), 1);
    assert_eq!(count(&store, EventKind::TokenDerived).await, 0);
    // None of them cost the parent its one use.
    store.derive(derivation(&intent, &parent, "b")).await.unwrap();
    verified(&engine, &store).await.unwrap();
}

/// An id that was never given.
fn unknown(parent: &TokenRecord) -> TokenId {
    let mut id = parent.id.as_str().to_owned();
    let last = if id.pop() == Some('0') { '1' } else { '0' };
    format!("{id}{last}").parse().unwrap()
}

pub(crate) async fn the_end_of_an_intent_and_derivations_at_once_leave_no_live_token(
    engine: impl Engine,
) {
    let store = engine.open().await;
    for round in 0..8 {
        let (intent, parent) = issued(&store, |_| {}).await;
        let deriving = (0..16).map(|number| {
            let store = store.clone();
            let wanted = derivation(&intent, &parent, &format!("d{number}"));
            tokio::spawn(async move { store.derive(wanted).await.is_ok() })
        });
        let (first, last): (Vec<_>, Vec<_>) = deriving.enumerate().partition(|(n, _)| n % 3 == 0);
        let ending = {
            let (store, id) = (store.clone(), intent.id().clone());
            let revoke =
                IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason: reason() };
            tokio::spawn(async move { store.change(id, revoke, START).await.map(drop) })
        };
        join_all(first.into_iter().chain(last).map(|(_, task)| task)).await;
        ending.await.unwrap().unwrap();
        assert_eq!(live(&store, &intent).await, 0, "round {round}");
    }
    verified(&engine, &store).await.unwrap();
}

pub(crate) async fn the_record_of_a_token_names_who_stands_at_its_root(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let mut wanted = redemption(&intent, START);
    wanted.token.root = Some("corp:alice".parse().unwrap());
    let redeemed = store.redeem(wanted).await.unwrap();
    let wanted = derivation(&redeemed.intent, &redeemed.token, "b");
    let child = store.derive(wanted).await.unwrap().token;
    let leaves = leaves(&store).await;
    for (kind, token) in
        [(EventKind::TokenIssued, &redeemed.token), (EventKind::TokenDerived, &child)]
    {
        let event =
            leaves.iter().map(|leaf| leaf.event()).find(|event| event.kind == kind).unwrap();
        assert_eq!(event.token_id.as_deref(), Some(token.id.as_str()));
        assert_eq!(event.detail["delegator"], "corp:alice");
    }
}
