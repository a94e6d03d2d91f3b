//! A token and all that derives from it: found whole, bounded, and on one principal's behalf.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use marque_audit::EventKind;
use marque_exchange::{
    MAX_DERIVED_TOKENS, RedeemError, RevocationOutcome, TokenKind, TokenLifeStore, TokenStore,
};
use marque_intent::{DenialCode, Digest};

use super::life::{derived, issued, issued_with, live};
use crate::engine::Engine;
use crate::fixture::*;

pub(crate) async fn oauth_12_3_a_clock_that_was_ahead_for_a_while_hides_nobody_from_a_revocation(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let (intent, root) = issued(&store, "a").await;
    let child = derived(&store, &intent, &root, "b").await;
    engine.clock().advance(Duration::from_secs(60 * 60));
    store.record_refusal(refusal()).await.unwrap();
    engine.clock().set(START);
    assert_eq!(live(&store, &intent).await.len(), 2);
    let revoked = store.revoke_token(revocation(&root)).await.unwrap();
    assert_eq!(revoked, RevocationOutcome::Revoked(vec![root.id, child.id]));
    assert!(live(&store, &intent).await.is_empty());
}

pub(crate) async fn oauth_12_3_a_token_that_does_not_read_stops_a_revocation_and_is_not_stepped_over(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let (intent, root) = issued(&store, "a").await;
    let child = derived(&store, &intent, &root, "b").await;
    let grandchild = derived(&store, &intent, &child, "c").await;
    let (elsewhere, other) = issued(&store, "a").await;
    let others_child = derived(&store, &elsewhere, &other, "b").await;
    let whole = serde_json::to_string(&child).unwrap();
    let write = async |document: String| {
        let id = &child.id;
        engine
            .execute(&format!("UPDATE tokens SET document = '{document}' WHERE id = '{id}'"))
            .await;
    };
    // As a newer replica may have written it.
    write(whole.replacen('{', "{\"unheard_of\":1,", 1)).await;
    let (failed, done) = futures::join!(
        store.revoke_token(revocation(&root)),
        store.revoke_token(revocation(&other)),
    );
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(done.unwrap(), RevocationOutcome::Revoked(vec![other.id, others_child.id]));
    assert!(matches!(
        store.derive(derivation(&intent, &root, "d")).await,
        Err(RedeemError::Store(_))
    ));
    assert_eq!(count(&store, EventKind::TokenRevoked).await, 2);
    write(whole).await;
    let revoked = store.revoke_token(revocation(&root)).await.unwrap();
    assert_eq!(revoked, RevocationOutcome::Revoked(vec![root.id, child.id.clone(), grandchild.id]));
    assert!(live(&store, &intent).await.is_empty());
}

pub(crate) async fn one_derived_token_past_those_that_have_not_expired_is_refused_be_the_others_dead(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let (intent, root) = issued_with(&store, "a", false).await;
    let refused = async |now: Timestamp| {
        let mut wanted = derivation(&intent, &root, "b");
        wanted.now = now;
        match store.derive(wanted).await {
            Err(RedeemError::Refused(denial)) => Some(denial.code()),
            Ok(_) => None,
            other => panic!("{other:?}"),
        }
    };
    // One and all that derive from it, revoked together, time and again.
    while engine.number("SELECT count(*) FROM tokens").await <= 512 {
        let child = derived(&store, &intent, &root, "b").await;
        let below = (1..MAX_DERIVED_TOKENS).map(|_| derived(&store, &intent, &child, "c"));
        join_all(below).await;
        assert_eq!(refused(START).await, Some(DenialCode::ConcurrentGrantLimit));
        store.revoke_token(revocation(&child)).await.unwrap();
    }
    assert_eq!(engine.number("SELECT count(*) FROM tokens").await, 513);
    assert_eq!(live(&store, &intent).await, BTreeSet::from([root.id.clone()]));
    assert_eq!(refused(START).await, Some(DenialCode::RateLimited));
    // Another intent has its own; and what has expired does not count.
    let (elsewhere, other) = issued(&store, "a").await;
    derived(&store, &elsewhere, &other, "b").await;
    engine.execute("UPDATE tokens SET expires_at = 0 WHERE ended_at IS NOT NULL").await;
    assert_eq!(refused(START).await, None);
}

pub(crate) async fn cve_2025_55241_on_whose_behalf_a_token_is_and_who_asked_is_in_the_log_and_kept(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let mut wanted = redemption(&intent, START);
    wanted.token.root = Some("corp:alice".parse().unwrap());
    wanted.token.single_use = true;
    wanted.carried.scope = "secrets.update".to_owned();
    wanted.carried.rights = Some(Digest::of(b"rights"));
    let root = store.redeem(wanted).await.unwrap().token;
    let mut wanted = derivation(&intent, &root, "b");
    wanted.token.kind = TokenKind::TransactionToken;
    wanted.token.audiences = vec!["prod.example.org".to_owned()];
    wanted.requested_by = agent("gateway");
    // Never for somebody else than its parent.
    for other in [None, Some("corp:bob".parse().unwrap())] {
        let mut widened = wanted.clone();
        widened.token.root = other;
        assert!(matches!(store.derive(widened).await, Err(RedeemError::Refused(_))));
    }
    let child = store.derive(wanted).await.unwrap().token;
    drop(store);
    let store = engine.open().await;
    let kept = store.tokens_of(intent.id()).await.unwrap();
    assert_eq!(kept.iter().map(|token| &token.root).collect::<Vec<_>>(), [&root.root; 2]);
    let leaves = leaves(&store).await;
    let [.., issued, derived, used] = leaves.as_slice() else { panic!("{leaves:?}") };
    let (issued, derived, used) = (issued.event(), derived.event(), used.event());
    assert_eq!((issued.kind, derived.kind), (EventKind::TokenIssued, EventKind::TokenDerived));
    assert_eq!(issued.detail["delegator"], "corp:alice");
    assert_eq!(issued.detail["scope"], "secrets.update");
    assert_eq!(issued.detail["rights"], Digest::of(b"rights").to_string());
    assert_eq!(derived.detail["delegator"], "corp:alice");
    assert_eq!(derived.detail["kind"], "transaction_token");
    assert_eq!(derived.audience, child.audiences);
    // Who will hold it, and who exchanged its parent.
    assert_eq!(derived.actor.as_deref(), Some(agent("b").as_str()));
    assert_eq!(derived.detail["requested_by"], agent("gateway").as_str());
    assert_eq!(used.actor.as_deref(), Some(agent("gateway").as_str()));
}
