//! Transaction tokens, through the token service's own door.

mod replacing;

use marque_intent::{DenialCode, Dimension, GrantTerms, OnBehalf};
use marque_jose::{UnverifiedJws, sign_compact};
use marque_testkit::START;
use serde_json::{Value, json};

use super::*;
use crate::{
    Offers, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_TXN_TOKEN, TokenKind,
    fixture::{AUDIENCE, Fields, ISSUER, Rig, is_plain},
};

const TRUST_DOMAIN: &str = "prod.example.org";
const BILLING: &str = "spiffe://prod.example.org/service/billing";
const GATEWAY: &str = "spiffe://prod.example.org/service/k8s-gateway";

/// The fields of a request for a transaction token, with the client's own SVID.
fn transaction(rig: &Rig) -> Fields {
    rig.fields()
        .set("requested_token_type", TOKEN_TYPE_TXN_TOKEN)
        .set("audience", TRUST_DOMAIN)
        .set("scope", "secrets.read secrets.update")
}

/// A request of `client` about a token of ours.
fn about(rig: &Rig, client: &str, token: &str, kind: &str) -> Fields {
    transaction(rig)
        .authenticated(&rig.svid_of(&rig.own, &client.parse().unwrap()))
        .set("subject_token", token)
        .set("subject_token_type", kind)
        .without("authorization_details")
}

/// Two services may carry on what the agent began, with less or as much.
fn handed_on(terms: &mut GrantTerms) {
    terms.on_behalf = Some(OnBehalf {
        max_depth: 3,
        agents: vec![BILLING.parse().unwrap(), GATEWAY.parse().unwrap()],
        equal: Dimension::NARROWED_BY_DELEGATION.into_iter().collect(),
    });
}

fn claims(token: &str) -> Value {
    let jws = UnverifiedJws::parse(token).unwrap();
    assert_eq!(jws.header().typ(), Some("txntoken+jwt"));
    Value::Object(jws.dangerous_unverified_claims().clone())
}

async fn issued(rig: &Rig, fields: &Fields) -> (Value, String) {
    let response = rig.exchange(fields).await.unwrap();
    (response.expose_json(), response.access_token().expose_token().to_owned())
}

async fn refused(rig: &Rig, fields: &Fields) -> OAuthErrorCode {
    let error = rig.exchange(fields).await.unwrap_err();
    assert!(is_plain(&error));
    error.code()
}

#[tokio::test]
async fn oauth_16_1_a_transaction_token_has_every_claim_that_is_required() {
    let rig = Rig::new();
    let (_, token) = issued(&rig, &transaction(&rig)).await;
    let claims = claims(&token);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], TRUST_DOMAIN);
    assert_eq!(claims["sub"], rig.agent.as_str());
    assert_eq!(claims["req_wl"], rig.agent.as_str());
    assert_eq!(claims["scope"], "secrets.update secrets.read");
    assert_eq!(claims["iat"], START.as_second());
    assert_eq!(claims["exp"], START.as_second() + 240);
    assert!(claims["txn"].as_str().unwrap().parse::<TransactionId>().is_ok());
    assert!(claims.get("act").is_none() && claims.get("client_id").is_none());
    let kept = rig.store.kept();
    let record = kept.tokens.values().next().unwrap();
    assert_eq!(record.kind, TokenKind::TransactionToken);
    assert_eq!(claims["jti"], record.id.as_str());
    assert_eq!(record.audiences, [TRUST_DOMAIN]);
}

#[tokio::test]
async fn cve_2025_55241_the_log_tells_what_was_issued_for_whom_and_how_much() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 4);
    let mut events = Vec::new();
    for fields in
        [rig.fields(), rig.fields().set("scope", "secrets.read"), rig.fields(), transaction(&rig)]
    {
        rig.exchange(&fields).await.unwrap();
        events.extend(rig.store.kept().events.last().cloned());
        rig.clock.set(START);
    }
    let told = |name: &str| -> Vec<String> {
        events.iter().map(|event| event.detail[name].as_str().unwrap().to_owned()).collect()
    };
    let access = "access_token";
    assert_eq!(told("kind"), [access, access, access, "transaction_token"]);
    let all = "secrets.update secrets.read";
    assert_eq!(told("scope"), [all, "secrets.read", all, all]);
    let [whole, narrowed, again, _] = told("rights").try_into().unwrap();
    assert_eq!((whole == again, whole == narrowed), (true, false));
    let [first, .., last] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (first.audience[0].as_str(), last.audience.as_slice()),
        (AUDIENCE, &[TRUST_DOMAIN.to_owned()][..])
    );
}

#[tokio::test]
async fn oauth_16_1_it_ends_within_minutes_whatever_the_grant_permits() {
    let rig = Rig::with(|_| {}, |terms| terms.token_lifetime = Duration::from_secs(590));
    let svid = rig.own.jwt_svid(&rig.agent, &[ISSUER], START + Duration::from_secs(3000));
    let fields = transaction(&rig)
        .authenticated(svid.expose_token())
        .set("subject_token", svid.expose_token());
    let (answer, _) = issued(&rig, &fields).await;
    assert_eq!(answer["expires_in"], MAX_TRANSACTION_LIFETIME.as_secs());
}

#[tokio::test]
async fn oauth_16_2_the_audience_is_the_trust_domain_and_nothing_else() {
    use OAuthErrorCode::{InvalidRequest, InvalidTarget};
    let rig = Rig::new();
    let with = |audience: &str| transaction(&rig).set("audience", audience);
    for (name, fields, code) in [
        ("missing", transaction(&rig).without("audience"), InvalidRequest),
        ("another", with("dev.example.org"), InvalidTarget),
        ("a_resource_server", with(AUDIENCE), InvalidTarget),
        ("as_a_spiffe_id", with("spiffe://prod.example.org"), InvalidTarget),
        ("two", transaction(&rig).add("audience", AUDIENCE), InvalidTarget),
        ("a_resource_beside", transaction(&rig).set("resource", AUDIENCE), InvalidTarget),
    ] {
        assert_eq!(refused(&rig, &fields).await, code, "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_16_3_scope_is_demanded_and_never_more_than_the_grant() {
    use OAuthErrorCode::{InvalidRequest, InvalidScope};
    let rig = Rig::new();
    for (name, fields, code) in [
        ("missing", transaction(&rig).without("scope"), InvalidRequest),
        ("empty", transaction(&rig).set("scope", ""), InvalidRequest),
        ("wider", transaction(&rig).set("scope", "secrets.read secrets.delete"), InvalidScope),
    ] {
        assert_eq!(refused(&rig, &fields).await, code, "{name}");
    }
    let (answer, token) = issued(&rig, &transaction(&rig).set("scope", "secrets.read")).await;
    assert_eq!(answer["scope"], "secrets.read");
    assert_eq!(claims(&token)["scope"], "secrets.read");
}

#[tokio::test]
async fn oauth_16_3_a_subject_of_narrower_scope_gives_no_more_than_it_has() {
    let rig = Rig::with(|_| {}, handed_on);
    let narrow = rig.fields().set("scope", "secrets.read").set("audience", AUDIENCE);
    let (_, access) = issued(&rig, &narrow).await;
    let fields = about(&rig, GATEWAY, &access, TOKEN_TYPE_ACCESS_TOKEN);
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidScope);
    let (answer, _) = issued(&rig, &fields.set("scope", "secrets.read")).await;
    assert_eq!(answer["scope"], "secrets.read");
}

#[tokio::test]
async fn oauth_16_3_a_subject_of_unknown_scope_is_refused() {
    let unscoped = |terms: &mut GrantTerms| {
        handed_on(terms);
        terms.scopes.clear();
    };
    let rig = Rig::with(|_| {}, unscoped);
    let (_, access) = issued(&rig, &rig.fields().set("audience", AUDIENCE)).await;
    let fields = about(&rig, GATEWAY, &access, TOKEN_TYPE_ACCESS_TOKEN);
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn oauth_16_4_the_contexts_go_along_as_they_came() {
    let rig = Rig::new();
    let fields = transaction(&rig)
        .set("request_context", "{\"req_ip\":\"192.0.2.7\",\"authn\":\"urn:example:mtls\"}")
        .set("request_details", "{\"action\":\"rotate\",\"count\":{\"at_most\":3}}");
    let (_, token) = issued(&rig, &fields).await;
    let claims = claims(&token);
    assert_eq!(claims["rctx"], json!({"req_ip": "192.0.2.7", "authn": "urn:example:mtls"}));
    assert_eq!(claims["tctx"], json!({"action": "rotate", "count": {"at_most": 3}}));
}

/// Objects in each other, so many levels deep.
fn nested(levels: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

#[tokio::test]
async fn oauth_16_4_contexts_that_are_no_small_plain_objects_are_refused() {
    let rig = Rig::new();
    let deep = nested(MAX_CONTEXT_DEPTH + 1);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_CONTEXT_BYTES));
    let encoded = "eyJhIjoxfQ";
    for context in
        ["[]", "1", "null", "\"x\"", "{", "{\"a\":1,\"a\":2}", "{\"a\":1}x", encoded, &deep, &long]
    {
        for name in ["request_context", "request_details"] {
            let code = refused(&rig, &transaction(&rig).set(name, context)).await;
            assert_eq!(code, OAuthErrorCode::InvalidRequest, "{name} {context:.40}");
        }
    }
    let at_the_limit = nested(MAX_CONTEXT_DEPTH);
    issued(&rig, &transaction(&rig).set("request_context", &at_the_limit)).await;
}

#[tokio::test]
async fn contexts_of_another_kind_of_token_are_ignored_like_any_unknown_parameter() {
    let rig = Rig::new();
    let (answer, _) = issued(&rig, &rig.fields().set("request_context", "[")).await;
    assert_eq!(answer["token_type"], "Bearer");
}

#[tokio::test]
async fn oauth_16_5_the_answer_says_what_it_is_and_refreshes_nothing() {
    let rig = Rig::new();
    let (answer, _) = issued(&rig, &transaction(&rig)).await;
    assert_eq!(answer["token_type"], "N_A");
    assert_eq!(answer["issued_token_type"], TOKEN_TYPE_TXN_TOKEN);
    assert!(answer.get("refresh_token").is_none());
}

#[tokio::test]
async fn oauth_16_6_refresh_tokens_and_bare_words_are_no_subjects() {
    let rig = Rig::new();
    for kind in ["refresh_token", "self_signed", "unsigned_json", "saml2"] {
        let urn = format!("urn:ietf:params:oauth:token-type:{kind}");
        let fields = transaction(&rig).set("subject_token_type", &urn);
        assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest, "{kind}");
        let fields = fields.set("subject_token", "{\"sub\":\"alice\"}");
        assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest, "{kind}");
    }
}

#[tokio::test]
async fn oauth_16_9_a_transaction_token_is_no_access_token_and_authenticates_nobody() {
    let rig = Rig::with(|_| {}, handed_on);
    let (_, token) = issued(&rig, &transaction(&rig)).await;
    let as_client = rig.fields().set("client_assertion", &token);
    assert_eq!(refused(&rig, &as_client).await, OAuthErrorCode::InvalidClient);
    assert!(rig.service.authenticator().authenticate(&token).is_err());
    let own = about(&rig, rig.agent.as_str(), &token, TOKEN_TYPE_TXN_TOKEN)
        .without("audience")
        .without("scope")
        .set("requested_token_type", TOKEN_TYPE_ACCESS_TOKEN);
    assert_eq!(refused(&rig, &own).await, OAuthErrorCode::InvalidRequest);
    let misnamed = about(&rig, rig.agent.as_str(), &token, TOKEN_TYPE_ACCESS_TOKEN);
    assert_eq!(refused(&rig, &misnamed).await, OAuthErrorCode::InvalidRequest);
    assert!(rig.service.own_token(&token).is_none());
}

#[tokio::test]
async fn oauth_16_9_introspection_says_nothing_of_a_transaction_token() {
    let rig = Rig::with(|_| {}, handed_on);
    let (_, token) = issued(&rig, &transaction(&rig)).await;
    let gateway = rig.svid_of(&rig.own, &GATEWAY.parse().unwrap());
    for caller in [rig.svid(), gateway] {
        let told = rig.introspect(&caller, &token).await.unwrap();
        assert_eq!(told, json!({"active": false}));
    }
    // It stands all the same: who is next in the chain exchanges it.
    let fields = about(&rig, BILLING, &token, TOKEN_TYPE_TXN_TOKEN).set("scope", "secrets.read");
    issued(&rig, &fields).await;
}

#[tokio::test]
async fn what_is_used_once_goes_along_with_no_transaction() {
    let rig = Rig::with(|_| {}, |terms| terms.single_use_tokens = true);
    let refused = |fields: Fields| {
        let rig = &rig;
        async move {
            let error = rig.exchange(&fields).await.unwrap_err();
            assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
            assert_eq!(error.denial(), Some(DenialCode::AudienceNotAllowed));
        }
    };
    refused(transaction(&rig)).await;
    assert!(rig.store.kept().tokens.is_empty());
    let token = rig.exchange(&rig.fields()).await.unwrap();
    let token = token.access_token().expose_token();
    refused(about(&rig, rig.agent.as_str(), token, TOKEN_TYPE_ACCESS_TOKEN)).await;
    // It was not used for that either.
    assert!(rig.store.kept().tokens.values().all(|record| record.used_at.is_none()));
}

#[tokio::test]
async fn the_log_ties_the_tokens_of_a_transaction_together() {
    let rig = Rig::with(|_| {}, handed_on);
    let (_, first) = issued(&rig, &transaction(&rig)).await;
    let fields = about(&rig, BILLING, &first, TOKEN_TYPE_TXN_TOKEN).set("scope", "secrets.read");
    issued(&rig, &fields).await;
    let kept = rig.store.kept();
    let told: Vec<_> = kept.events.iter().filter_map(|event| event.detail.get("txn")).collect();
    assert_eq!(told, [&claims(&first)["txn"], &claims(&first)["txn"]]);
    assert!(kept.events.iter().all(|event| !event.detail.contains_key("delegator")));
}

#[tokio::test]
async fn oauth_16_9_one_that_another_key_signed_is_none() {
    let rig = Rig::with(|_| {}, handed_on);
    let (_, token) = issued(&rig, &transaction(&rig)).await;
    let claims = claims(&token);
    let forged = sign_compact(Some("txntoken+jwt"), &claims, &**rig.own.signer()).unwrap();
    let fields = about(&rig, BILLING, forged.expose_token(), TOKEN_TYPE_TXN_TOKEN);
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest);
    let retyped = sign_compact(Some("at+jwt"), &claims, &*rig.signer).unwrap();
    let fields = about(&rig, BILLING, retyped.expose_token(), TOKEN_TYPE_ACCESS_TOKEN);
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn oauth_16_10_what_was_said_of_a_transaction_is_in_no_debug_form_and_in_no_event() {
    let rig = Rig::new();
    let fields = transaction(&rig).set("request_context", "{\"req_ip\":\"192.0.2.7\"}");
    assert!(!format!("{:?}", fields.exchange().unwrap()).contains("192.0.2.7"));
    let response = rig.exchange(&fields).await.unwrap();
    assert!(!format!("{response:?}").contains(response.access_token().expose_token()));
    assert!(!format!("{:?}", rig.store.kept().events).contains("192.0.2.7"));
}

#[tokio::test]
async fn cve_2026_7571_transaction_tokens_that_are_switched_off_cannot_be_reached() {
    let off = Offers { transaction_tokens: false, ..Offers::ALL };
    let rig = Rig::with(|config| config.offers = off, |_| {});
    assert_eq!(refused(&rig, &transaction(&rig)).await, OAuthErrorCode::InvalidRequest);
    assert!(rig.store.kept().tokens.is_empty());
}

#[test]
fn the_id_of_a_transaction_has_one_form() {
    let id = "txn_0123456789abcdef0123456789abcdef";
    assert_eq!(id.parse::<TransactionId>().unwrap().as_str(), id);
    for other in [
        "",
        "txn_",
        "tok_0123456789abcdef0123456789abcdef",
        "txn_0123456789ABCDEF0123456789abcdef",
        "txn_0123456789abcdef0123456789abcde",
    ] {
        assert!(other.parse::<TransactionId>().is_err(), "{other}");
    }
}
