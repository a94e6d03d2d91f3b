//! Grants of other domains, redeemed.

use marque_testkit::ScratchProof;

use super::*;
use crate::{NoncePolicy, OneHeader, Presented};

impl Partner {
    pub(super) fn sign(&self, profile: GrantProfile, claims: &Value) -> String {
        self.sign_as(Some(profile.typ()), claims)
    }

    fn sign_as(&self, typ: Option<&str>, claims: &Value) -> String {
        sign_compact(typ, claims, &self.0).unwrap().expose_token().to_owned()
    }
}

/// The claims of a grant of the partner for the rig's agent.
pub(super) fn claims(rig: &Rig) -> Value {
    json!({
        "iss": PARTNER,
        "sub": "alice",
        "aud": ISSUER,
        "client_id": rig.agent.as_str(),
        "jti": "one",
        "iat": START.as_second(),
        "exp": START.as_second() + 120,
        "scope": "secrets.read orders.write",
    })
}

pub(super) fn assertion(rig: &Rig, grant: &str) -> Fields {
    Fields::default()
        .set("grant_type", GRANT_TYPE_JWT_BEARER)
        .authenticated(&rig.svid())
        .set("assertion", grant)
        .intent(&rig.intent)
}

#[tokio::test]
async fn oauth_17_10_a_redeemed_grant_stays_within_the_intent_and_its_own_scope() {
    for profile in GrantProfile::ALL {
        let (rig, partner) = rig(|_| {});
        let fields = assertion(&rig, &partner.sign(profile, &claims(&rig)));
        let wider = fields.clone().set("scope", "secrets.update");
        assert_eq!(refused(&rig, &wider).await, OAuthErrorCode::InvalidScope);
        let (answer, token, typ) = issued(&rig, &fields).await;
        assert_eq!(typ.as_deref(), Some("at+jwt"));
        assert_eq!(
            (&answer["scope"], &answer["token_type"]),
            (&json!("secrets.read"), &json!("Bearer"))
        );
        assert_eq!(
            (&token["sub"], &token["delegator_id"]),
            (&json!("partner:alice"), &json!("partner:alice"))
        );
        assert_eq!(token["act"]["sub"], rig.agent.as_str());
        assert_eq!(token["client_id"], rig.agent.as_str());
        assert_eq!(token["exp"], START.as_second() + 120);
        assert_eq!(token["intent"]["id"], rig.intent.as_str());
    }
}

#[tokio::test]
async fn oauth_17_10_details_and_resources_of_a_grant_bound_the_token() {
    let held = json!({"type": "k8s_object", "actions": ["patch"], "identifier": "ns/ingress/secret/web-tls"});
    let other = json!({"type": "k8s_object", "actions": ["get"], "identifier": "ns/ingress/secret/web-tls"});
    for (name, member, value, code) in [
        ("covered", "authorization_details", json!([held]), None),
        (
            "narrower",
            "authorization_details",
            json!([other]),
            Some(OAuthErrorCode::InvalidAuthorizationDetails),
        ),
        (
            "none",
            "authorization_details",
            json!([]),
            Some(OAuthErrorCode::InvalidAuthorizationDetails),
        ),
        ("no_details", "authorization_details", json!([1]), Some(OAuthErrorCode::InvalidGrant)),
        ("its_resource", "resource", json!(AUDIENCE), None),
        ("its_resources", "resource", json!([AUDIENCE, RESOURCE]), None),
        ("another_resource", "resource", json!(RESOURCE), Some(OAuthErrorCode::InvalidTarget)),
        ("no_resources", "resource", json!([]), Some(OAuthErrorCode::InvalidGrant)),
        ("no_text", "resource", json!(7), Some(OAuthErrorCode::InvalidGrant)),
    ] {
        let (rig, partner) = rig(|_| {});
        let mut claims = claims(&rig);
        claims[member] = value;
        let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims));
        match code {
            Some(code) => assert_eq!(refused(&rig, &fields).await, code, "{name}"),
            None => {
                let (_, token, _) = issued(&rig, &fields).await;
                if member == "resource" {
                    assert_eq!(token["aud"], AUDIENCE, "{name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn oauth_17_8_a_grant_is_redeemed_once() {
    let (rig, partner) = with(|_| {}, |terms| terms.uses = 3);
    let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)));
    issued(&rig, &fields).await;
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidGrant);
    // The same id in another form of grant is the same grant.
    let again = assertion(&rig, &partner.sign(GrantProfile::Jwt, &claims(&rig)));
    assert_eq!(refused(&rig, &again).await, OAuthErrorCode::InvalidGrant);
    let mut second = claims(&rig);
    second["jti"] = json!("two");
    issued(&rig, &assertion(&rig, &partner.sign(GrantProfile::IdJag, &second))).await;
    assert_eq!(rig.store.kept().tokens.len(), 2);
}

#[tokio::test]
async fn oauth_17_9_a_chain_yields_no_refresh_token() {
    let (rig, partner) = rig(|_| {});
    let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)));
    let (answer, _, _) = issued(&rig, &fields).await;
    assert!(answer.get("refresh_token").is_none());
}

/// A change of the claims.
type Spoil = fn(&mut Value);

/// Grants that are none, by the name of what is wrong: a change of the claims.
fn spoilt() -> Vec<(&'static str, Spoil)> {
    vec![
        ("iss_unknown", |claims| claims["iss"] = json!("https://evil.example.org")),
        ("iss_slash", |claims| claims["iss"] = json!(format!("{PARTNER}/"))),
        ("iss_another", |claims| claims["iss"] = json!(OTHER)),
        ("iss_own", |claims| claims["iss"] = json!(ISSUER)),
        ("iss_missing", |claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
        ("aud_another", |claims| claims["aud"] = json!(OTHER)),
        ("aud_two", |claims| claims["aud"] = json!([ISSUER, OTHER])),
        ("aud_empty", |claims| claims["aud"] = json!([])),
        ("aud_slash", |claims| claims["aud"] = json!(format!("{ISSUER}/"))),
        ("aud_missing", |claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        ("client_another", |claims| {
            claims["client_id"] = json!("spiffe://prod.example.org/agent/other");
        }),
        ("client_missing", |claims| drop(claims.as_object_mut().unwrap().remove("client_id"))),
        ("exp_missing", |claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("exp_past", |claims| claims["exp"] = json!(START.as_second())),
        ("exp_text", |claims| claims["exp"] = json!("9999999999")),
        ("exp_far", |claims| claims["exp"] = json!(START.as_second() + 311)),
        ("iat_missing", |claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
        ("iat_future", |claims| claims["iat"] = json!(START.as_second() + 11)),
        ("iat_old", |claims| claims["iat"] = json!(START.as_second() - 200)),
        ("nbf_future", |claims| claims["nbf"] = json!(START.as_second() + 11)),
        ("nbf_null", |claims| claims["nbf"] = Value::Null),
        ("jti_missing", |claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
        ("jti_empty", |claims| claims["jti"] = json!("")),
        ("jti_long", |claims| claims["jti"] = json!("x".repeat(513))),
        ("sub_missing", |claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("sub_empty", |claims| claims["sub"] = json!("")),
        ("sub_with_a_line", |claims| claims["sub"] = json!("alice\nbob")),
        ("scope_missing", |claims| drop(claims.as_object_mut().unwrap().remove("scope"))),
        ("scope_empty", |claims| claims["scope"] = json!("")),
        ("bound", |claims| claims["cnf"] = json!({"jkt": "x"})),
    ]
}

#[tokio::test]
async fn oauth_17_6_oauth_17_7_a_grant_that_is_spoilt_in_any_claim_is_none() {
    let (rig, partner) = rig(|_| {});
    for profile in GrantProfile::ALL {
        for (name, spoil) in spoilt() {
            let mut claims = claims(&rig);
            // Whatever else is wrong with it is not that it was shown before.
            claims["jti"] = json!(format!("{name}-{profile:?}"));
            spoil(&mut claims);
            let code = refused(&rig, &assertion(&rig, &partner.sign(profile, &claims))).await;
            assert_eq!(code, OAuthErrorCode::InvalidGrant, "{profile:?} {name}");
        }
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_17_7_a_grant_is_verified_with_its_issuers_own_key_and_type() {
    let (rig, partner) = rig(|_| {});
    let claims = claims(&rig);
    let stranger = Partner(ScratchSigner::generate("partner-1"));
    let unnamed = Partner(ScratchSigner::generate("partner-2"));
    let header = |alg: &str| {
        let header = json!({"alg": alg, "kid": "partner-1", "typ": "oauth-id-jag+jwt"});
        let encode = |text: String| marque_jose::base64url::encode(text);
        format!("{}.{}.AA", encode(header.to_string()), encode(claims.to_string()))
    };
    for (name, grant) in [
        ("another_key_of_that_name", stranger.sign(GrantProfile::IdJag, &claims)),
        ("a_key_of_another_name", unnamed.sign(GrantProfile::IdJag, &claims)),
        (
            "our_own_key",
            sign_compact(Some(ID_JAG_TYPE), &claims, &*rig.signer)
                .unwrap()
                .expose_token()
                .to_owned(),
        ),
        ("an_access_token", partner.sign_as(Some("at+jwt"), &claims)),
        ("a_transaction_token", partner.sign_as(Some("txntoken+jwt"), &claims)),
        ("a_client_assertion", partner.sign_as(Some("client-authentication+jwt"), &claims)),
        ("an_svid", rig.svid()),
        ("alg_none", header("none")),
        ("alg_hs256", header("HS256")),
        ("nothing", "x".to_owned()),
    ] {
        let code = refused(&rig, &assertion(&rig, &grant)).await;
        assert_eq!(code, OAuthErrorCode::InvalidGrant, "{name}");
    }
    let missing = assertion(&rig, "x").without("assertion");
    assert_eq!(refused(&rig, &missing).await, OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn oauth_17_12_an_id_jag_is_for_the_issuer_and_a_chaining_grant_may_be_for_the_endpoint() {
    let endpoint = format!("{ISSUER}/oauth2/token");
    for (profile, audience, good) in [
        (GrantProfile::IdJag, json!(ISSUER), true),
        (GrantProfile::IdJag, json!([ISSUER]), true),
        (GrantProfile::IdJag, json!(endpoint), false),
        (GrantProfile::Jwt, json!(ISSUER), true),
        (GrantProfile::Jwt, json!(endpoint), true),
    ] {
        let (rig, partner) = rig(|_| {});
        let mut claims = claims(&rig);
        claims["aud"] = audience.clone();
        let answer = rig.exchange(&assertion(&rig, &partner.sign(profile, &claims))).await;
        assert_eq!(answer.is_ok(), good, "{profile:?} {audience}");
    }
}

#[tokio::test]
async fn oauth_3_3_a_chaining_grant_may_come_without_its_type() {
    for typ in [None, Some("JWT"), Some("application/authorization-grant+jwt")] {
        let (rig, partner) = rig(|_| {});
        issued(&rig, &assertion(&rig, &partner.sign_as(typ, &claims(&rig)))).await;
    }
}

#[tokio::test]
async fn oauth_17_7_what_is_not_taken_from_an_issuer_is_no_grant() {
    let (rig, partner) = rig(|config| {
        config.authorization_servers[0].from = [GrantProfile::Jwt].into();
    });
    let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)));
    assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidGrant);
    issued(&rig, &assertion(&rig, &partner.sign(GrantProfile::Jwt, &claims(&rig)))).await;
}

#[tokio::test]
async fn oauth_17_10_without_an_approved_intent_a_grant_gives_nothing() {
    let (rig, partner) = rig(|_| {});
    let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)));
    let unnamed = fields.clone().without("authorization_details");
    assert_eq!(refused(&rig, &unnamed).await, OAuthErrorCode::InvalidRequest);
    let unknown = fields.intent(&"int_00000000000000000000000099".parse().unwrap());
    assert_eq!(refused(&rig, &unknown).await, OAuthErrorCode::AccessDenied);
}

#[tokio::test]
async fn the_log_knows_for_whom_another_domain_vouched() {
    let (rig, partner) = rig(|_| {});
    issued(&rig, &assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)))).await;
    let kept = rig.store.kept();
    let event = kept.events.iter().find(|event| event.token_id.is_some()).unwrap();
    assert_eq!(event.detail["delegator"], "partner:alice");
}

#[tokio::test]
async fn oauth_17_11_a_grant_names_its_environment_and_none_of_the_other_is_redeemed() {
    let (issuing, _) = rig(|_| {});
    let (_, said, _) = issued(&issuing, &grant(&issuing, GrantProfile::Jwt)).await;
    assert_eq!(said["environment"], "production");
    let (rig, partner) = rig(|_| {});
    for profile in GrantProfile::ALL {
        let with = |environment: Value| {
            let mut claims = claims(&rig);
            claims["jti"] = json!(format!("{profile:?}-{environment}"));
            claims["environment"] = environment;
            assertion(&rig, &partner.sign(profile, &claims))
        };
        // Whatever is configured of the issuer.
        let error = rig.exchange(&with(json!("non-production"))).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidGrant);
        assert_eq!(error.denial(), Some(marque_intent::DenialCode::EnvironmentBoundary));
        for unknown in [json!("staging"), json!("Production"), json!(null), json!(1)] {
            assert_eq!(refused(&rig, &with(unknown)).await, OAuthErrorCode::InvalidGrant);
        }
    }
    let mut own = claims(&rig);
    own["environment"] = json!("production");
    issued(&rig, &assertion(&rig, &partner.sign(GrantProfile::Jwt, &own))).await;
}

#[tokio::test]
async fn oauth_9_3_how_somebody_logged_in_elsewhere_goes_along() {
    let (rig, partner) = rig(|_| {});
    let with = |name: &str, value: Value| {
        let mut claims = claims(&rig);
        claims["auth_time"] = json!(START.as_second() - 60);
        claims["amr"] = json!(["hwk"]);
        claims[name] = value;
        assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims))
    };
    for (name, value) in [
        ("acr", json!(1)),
        ("acr", json!("a".repeat(257))),
        ("amr", json!("hwk")),
        ("auth_time", json!("yesterday")),
    ] {
        let code = refused(&rig, &with(name, value)).await;
        assert_eq!(code, OAuthErrorCode::InvalidGrant, "{name}");
    }
    let (_, token, _) = issued(&rig, &with("acr", json!("two-factors"))).await;
    assert_eq!((&token["acr"], &token["amr"]), (&json!("two-factors"), &json!(["hwk"])));
    assert_eq!(token["auth_time"], START.as_second() - 60);
}

#[tokio::test]
async fn oauth_17_6_a_grant_of_another_client_is_worth_nothing_to_this_one() {
    let (rig, partner) = rig(|_| {});
    let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)));
    let other = rig.svid_of(&rig.own, &"spiffe://prod.example.org/agent/other".parse().unwrap());
    let stolen = fields.authenticated(&other);
    assert_eq!(refused(&rig, &stolen).await, OAuthErrorCode::InvalidGrant);
}

#[tokio::test]
async fn oauth_17_6_a_grant_that_lets_another_agent_act_is_worth_nothing_to_this_one() {
    let (rig, partner) = rig(|_| {});
    let with = |may_act: Value| {
        let mut claims = claims(&rig);
        claims["may_act"] = may_act;
        assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims))
    };
    let other = "spiffe://prod.example.org/agent/other";
    for may_act in [
        json!({"sub": other, "iss": PARTNER}),
        json!({"sub": rig.agent, "iss": OTHER}),
        json!({"iss": PARTNER}),
        json!(rig.agent),
        json!(null),
    ] {
        let code = refused(&rig, &with(may_act.clone())).await;
        assert_eq!(code, OAuthErrorCode::InvalidGrant, "{may_act}");
    }
    rig.exchange(&with(json!({"sub": rig.agent, "iss": PARTNER}))).await.unwrap();
}

#[tokio::test]
async fn a_proof_that_was_shown_before_costs_no_grant() {
    let (rig, partner) =
        with(|config| config.dpop_nonce = NoncePolicy::Optional, |terms| terms.uses = 2);
    let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)));
    let key = ScratchSigner::generate("k");
    let proof = |jti: &str| {
        let uri = format!("{ISSUER}/oauth2/token");
        let proof =
            ScratchProof::new(&key, "POST", &uri, rig.now()).claim("jti", json!(jti)).sign(&key);
        Presented {
            dpop: OneHeader::of([Some(proof.as_str())].into_iter()),
            ..Presented::default()
        }
    };
    let wider = fields.clone().set("scope", "secrets.update");
    rig.exchange_with(&wider, proof("one")).await.unwrap_err();
    let error = rig.exchange_with(&fields, proof("one")).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidDpopProof);
    rig.exchange_with(&fields, proof("two")).await.unwrap();
    let error = rig.exchange_with(&fields, proof("three")).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidGrant);
}
