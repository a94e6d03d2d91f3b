//! Transaction tokens that carry a transaction on.

use super::*;

#[tokio::test]
async fn oauth_16_7_a_replacement_keeps_what_the_transaction_is() {
    let rig = Rig::with(|_| {}, handed_on);
    let began = transaction(&rig)
        .set("request_context", "{\"req_ip\":\"192.0.2.7\"}")
        .set("request_details", "{\"action\":\"rotate\"}");
    let (_, first) = issued(&rig, &began).await;
    let fields = about(&rig, BILLING, &first, TOKEN_TYPE_TXN_TOKEN).set("scope", "secrets.read");
    let (answer, second) = issued(&rig, &fields).await;
    assert_eq!(answer["token_type"], "N_A");
    let (first, second) = (claims(&first), claims(&second));
    for kept in ["txn", "sub", "aud", "tctx", "rctx", "intent"] {
        assert_eq!(first[kept], second[kept], "{kept}");
    }
    assert_ne!(first["jti"], second["jti"]);
    // What is said of a transaction is said when it begins.
    for name in ["request_context", "request_details"] {
        let code = refused(&rig, &fields.clone().set(name, "{\"action\":\"delete\"}")).await;
        assert_eq!(code, OAuthErrorCode::InvalidRequest, "{name}");
    }
}

#[tokio::test]
async fn oauth_16_8_a_replacement_extends_the_call_chain_and_neither_widens_nor_outlives() {
    let rig = Rig::with(|_| {}, handed_on);
    let (_, first) = issued(&rig, &transaction(&rig).set("scope", "secrets.read")).await;
    let wider = about(&rig, BILLING, &first, TOKEN_TYPE_TXN_TOKEN);
    assert_eq!(refused(&rig, &wider).await, OAuthErrorCode::InvalidScope);
    rig.clock.set(START + Duration::from_secs(100));
    let (_, second) = issued(&rig, &wider.set("scope", "secrets.read")).await;
    let (from, to) = (claims(&first), claims(&second));
    assert_eq!((&to["req_wl"], &to["act"]["sub"]), (&json!(BILLING), &json!(BILLING)));
    assert_eq!(from["exp"], to["exp"]);
    let fields = about(&rig, GATEWAY, &second, TOKEN_TYPE_TXN_TOKEN).set("scope", "secrets.read");
    let (_, third) = issued(&rig, &fields).await;
    assert_eq!(claims(&third)["act"]["sub"], GATEWAY);
    assert_eq!(claims(&third)["act"]["act"]["sub"], BILLING);
    rig.clock.set(START + Duration::from_secs(240));
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn oauth_16_8_who_may_not_carry_it_on_gets_none() {
    let rig = Rig::new();
    let (_, first) = issued(&rig, &transaction(&rig)).await;
    let read = |fields: Fields| fields.set("scope", "secrets.read");
    let fields = read(about(&rig, BILLING, &first, TOKEN_TYPE_TXN_TOKEN));
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::AccessDenied);
    let rig = Rig::with(|_| {}, handed_on);
    let (_, access) = issued(&rig, &rig.fields().set("audience", AUDIENCE)).await;
    let stranger = read(about(&rig, BILLING, &access, TOKEN_TYPE_ACCESS_TOKEN));
    assert_eq!(refused(&rig, &stranger).await, OAuthErrorCode::InvalidRequest);
    let meant = read(about(&rig, GATEWAY, &access, TOKEN_TYPE_ACCESS_TOKEN));
    let (_, token) = issued(&rig, &meant).await;
    assert_eq!(claims(&token)["act"]["sub"], GATEWAY);
    assert_eq!(claims(&token)["sub"], rig.agent.as_str());
}

#[tokio::test]
async fn nothing_comes_of_a_transaction_token_whose_intent_was_revoked() {
    let rig = Rig::with(
        |_| {},
        |terms| {
            handed_on(terms);
            terms.uses = 2;
        },
    );
    let (_, first) = issued(&rig, &transaction(&rig)).await;
    rig.revoke();
    let fields = about(&rig, BILLING, &first, TOKEN_TYPE_TXN_TOKEN).set("scope", "secrets.read");
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn oauth_16_8_a_transaction_token_that_has_ended_is_not_carried_on() {
    let rig = Rig::with(|_| {}, handed_on);
    let (_, first) = issued(&rig, &transaction(&rig)).await;
    let fields = about(&rig, BILLING, &first, TOKEN_TYPE_TXN_TOKEN).set("scope", "secrets.read");
    let end = jiff::Timestamp::from_second(claims(&first)["exp"].as_i64().unwrap()).unwrap();
    rig.clock.set(end - jiff::SignedDuration::from_secs(1));
    issued(&rig, &fields).await;
    rig.clock.set(end);
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest);
}
