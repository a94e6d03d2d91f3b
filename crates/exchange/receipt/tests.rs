use marque_intent::KillScope;
use marque_jose::{Signer as _, Thumbprint, UnverifiedJws};
use marque_spiffe::SpiffeId;

use super::*;
use crate::Confirmation;
use crate::fixture::Rig;

async fn issued(rig: &Rig) -> String {
    rig.exchange(&rig.fields()).await.unwrap().access_token().expose_token().to_owned()
}

/// Who gets what, in words.
async fn told(rig: &Rig, bearer: &str, id: &TokenId) -> String {
    match rig.service.token_for_receipt(bearer, id).await {
        Ok(record) => record.id.to_string(),
        Err(ReceiptRefusal::Unauthenticated(_)) => "unauthenticated".to_owned(),
        Err(ReceiptRefusal::Stopped(code)) => code.to_string(),
        Err(ReceiptRefusal::NotFound) => "not found".to_owned(),
        Err(ReceiptRefusal::Unavailable(error)) => panic!("{error}"),
    }
}

fn svid(rig: &Rig, id: &SpiffeId) -> String {
    rig.svid_of(&rig.own, id)
}

#[tokio::test]
async fn a_receipt_is_for_holders_and_for_those_that_a_token_came_through() {
    let rig = Rig::new();
    issued(&rig).await;
    let root = rig.record();
    let (b, stranger) = (rig.own.id("/agent/b"), rig.own.id("/agent/stranger"));
    let child = rig.derived(&root, &b, 1);
    let id = |record: &TokenRecord| record.id.to_string();
    assert_eq!(told(&rig, &rig.svid(), &root.id).await, id(&root));
    assert_eq!(told(&rig, &rig.svid(), &child.id).await, id(&child));
    assert_eq!(told(&rig, &svid(&rig, &b), &child.id).await, id(&child));
    // What was derived from is not the business of who it was handed to.
    assert_eq!(told(&rig, &svid(&rig, &b), &root.id).await, "not found");
    assert_eq!(told(&rig, &svid(&rig, &stranger), &root.id).await, "not found");
    let unknown = format!("tok_{:032}", 9).parse().unwrap();
    assert_eq!(told(&rig, &rig.svid(), &unknown).await, "not found");
    rig.kill(KillScope::Agent(rig.agent.clone()));
    assert_eq!(told(&rig, &rig.svid(), &root.id).await, "kill_switch_agent");
}

#[tokio::test]
async fn a_token_that_is_shown_gives_its_own_receipt_while_it_lives_and_is_bound_to_no_key() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let own = rig.record();
    assert_eq!(told(&rig, &token, &own.id).await, own.id.to_string());
    let other = rig.derived(&own, &rig.own.id("/agent/b"), 1);
    assert_eq!(told(&rig, &token, &other.id).await, "unauthenticated");
    let claims = UnverifiedJws::parse(&token).unwrap().dangerous_unverified_claims().clone();
    let forged = marque_jose::sign_compact(
        Some("at+jwt"),
        &claims,
        &marque_testkit::ScratchSigner::generate(rig.signer.key_id().as_str()),
    );
    assert_eq!(told(&rig, forged.unwrap().expose_token(), &own.id).await, "unauthenticated");
    let bind = |confirmation| {
        rig.store.kept().tokens.get_mut(&own.id).unwrap().confirmation = confirmation;
    };
    bind(Some(Confirmation::Jkt(Thumbprint::new([7; 32]))));
    assert_eq!(told(&rig, &token, &own.id).await, "unauthenticated");
    bind(None);
    rig.revoke_token(&rig.svid(), &token).await.unwrap();
    assert_eq!(told(&rig, &token, &own.id).await, "unauthenticated");
    assert_eq!(told(&rig, &rig.svid(), &own.id).await, own.id.to_string());
}
