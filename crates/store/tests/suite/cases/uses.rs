//! Uses: redeemed once, whatever happens at once.

use futures::future::join_all;
use marque_audit::EventKind;
use marque_exchange::{RedeemError, Redeemed, TokenRecord, TokenStore};
use marque_intent::{Denial, DenialCode, IntentStore, State};

use crate::engine::Engine;
use crate::fixture::*;

fn refused<T: std::fmt::Debug>(answer: Result<T, RedeemError>) -> Denial {
    match answer {
        Err(RedeemError::Refused(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn of_64_who_redeem_a_single_use_one_wins(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let tasks = (0..64).map(|_| {
        let (store, redemption) = (store.clone(), redemption(&intent, START));
        tokio::spawn(async move { store.redeem(redemption).await })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 63));
    assert!(lost.into_iter().all(|answer| refused(answer).code() == DenialCode::GrantConsumed));
    assert_eq!(count(&store, EventKind::TokenIssued).await, 1);
    assert_eq!(engine.number("SELECT count(*) FROM tokens").await, 1);
    let after = store.find(intent.id()).await.unwrap().unwrap();
    assert_eq!((after.state(), after.uses_left()), (State::Consumed, 0));
}

pub(crate) async fn a_use_gives_one_token_and_one_leaf(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 2)).await;
    let wanted = redemption(&intent, START);
    let Redeemed { intent: redeemed, token } = store.redeem(wanted.clone()).await.unwrap();
    assert_eq!(redeemed.uses_left(), 1);
    assert_eq!(TokenRecord { status_index: None, ..token.clone() }, wanted.token);
    assert_eq!(TokenStore::intent(&*store, intent.id()).await.unwrap(), Some(redeemed.clone()));
    assert_eq!(store.token(&wanted.token.id).await.unwrap(), Some((token, redeemed)));
    let last = leaves(&store).await.pop().unwrap();
    assert_eq!(last.event().kind, EventKind::TokenIssued);
    assert_eq!(last.event().token_id.as_deref(), Some(wanted.token.id.as_str()));
    assert_eq!(last.event().audience, wanted.token.audiences);
    assert_eq!(last.event().detail["kind"], "access_token");
    assert_eq!(store.token(&redemption(&intent, START).token.id).await.unwrap(), None);
}

pub(crate) async fn a_use_whose_row_is_not_the_one_that_was_read_is_not_redeemed(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    engine.execute(engine.change_eater()).await;
    let lost = store.redeem(redemption(&intent, START)).await;
    assert!(matches!(lost, Err(RedeemError::Store(_))), "{lost:?}");
    assert_eq!(engine.number("SELECT count(*) FROM tokens").await, 0);
    assert_eq!(count(&store, EventKind::TokenIssued).await, 0);
    assert_eq!(store.find(intent.id()).await.unwrap(), Some(intent));
}

pub(crate) async fn a_token_id_is_given_once(engine: impl Engine) {
    let store = engine.open().await;
    let first = submit(&store, approved(agent("a"), 2)).await;
    let second = submit(&store, approved(agent("a"), 2)).await;
    let wanted = redemption(&first, START);
    let mut elsewhere = redemption(&second, START);
    elsewhere.token.id = wanted.token.id.clone();
    store.redeem(wanted).await.unwrap();
    assert_eq!(refused(store.redeem(elsewhere).await).code(), DenialCode::IdempotencyConflict);
    assert_eq!(store.find(second.id()).await.unwrap(), Some(second));
}

pub(crate) async fn an_unknown_intent_and_a_foreign_one_are_refused(engine: impl Engine) {
    let store = engine.open().await;
    let (unknown, _) = approved(agent("a"), 1);
    let code = refused(store.redeem(redemption(&unknown, START)).await).code();
    assert_eq!(code, DenialCode::GrantNotBoundToSession);
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let mut foreign = redemption(&intent, START);
    foreign.agent = agent("b");
    foreign.token.client = agent("b");
    assert_eq!(refused(store.redeem(foreign).await).code(), DenialCode::AgentNotAllowed);
    let mut mixed = redemption(&intent, START);
    mixed.token.client = agent("b");
    assert_eq!(refused(store.redeem(mixed).await).code(), DenialCode::GrantNotBoundToSession);
    assert_eq!(store.find(intent.id()).await.unwrap(), Some(intent));
    assert_eq!(count(&store, EventKind::TokenIssued).await, 0);
}

pub(crate) async fn a_use_after_the_end_is_refused_and_the_end_is_kept(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let denial = refused(store.redeem(redemption(&intent, after(900))).await);
    assert_eq!(denial.code(), DenialCode::GrantExpired);
    assert_eq!(store.find(intent.id()).await.unwrap().unwrap().state(), State::Expired);
    assert_eq!(count(&store, EventKind::IntentExpired).await, 1);
    assert_eq!(engine.number("SELECT count(*) FROM tokens").await, 0);
}
