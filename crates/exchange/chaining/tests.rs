//! Grants for other domains and of other domains, through the token service's own door.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use marque_intent::GrantTerms;
use marque_jose::{Jwk, JwkSet, Signer as _, UnverifiedJws, sign_compact};
use marque_testkit::{START, ScratchSigner};
use serde_json::{Value, json};

use super::*;
use crate::{
    MAX_GRANT_LIFETIME, OAuthErrorCode, OidcKeys, StaleOidcKeys, TOKEN_TYPE_ACCESS_TOKEN,
    TokenKind, TokenServiceConfig,
    fixture::{AUDIENCE, Fields, ISSUER, Rig, is_plain},
};

const PARTNER: &str = "https://issuer.partner.example.org";
const OTHER: &str = "https://issuer.other.example.org";
const RESOURCE: &str = "https://orders.partner.example.org/v2";

/// The partner's keys: those of `partner`, and of nobody else.
#[derive(Debug)]
struct Partner(ScratchSigner);

impl OidcKeys for Partner {
    fn keys(&self, issuer: &str, _now: Timestamp) -> Result<Arc<JwkSet>, StaleOidcKeys> {
        if issuer != "partner" {
            return Err(StaleOidcKeys);
        }
        let key = Jwk::for_signatures(self.0.public_key().clone(), self.0.key_id().clone());
        Ok(Arc::new(JwkSet { keys: vec![key] }))
    }

    fn missing(&self, _issuer: &str) {}
}

fn server(name: &str, issuer: &str) -> AuthorizationServer {
    AuthorizationServer {
        name: name.to_owned(),
        issuer: issuer.to_owned(),
        to: GrantProfile::ALL.into(),
        scopes: None,
        clients: BTreeMap::new(),
        from: GrantProfile::ALL.into(),
    }
}

/// A service whose intent reaches the partner, and the partner.
fn rig(configure: impl FnOnce(&mut TokenServiceConfig)) -> (Rig, Arc<Partner>) {
    with(configure, |terms| {
        terms.audiences.push(PARTNER.to_owned());
        terms.resources.push(RESOURCE.to_owned());
    })
}

fn with(
    configure: impl FnOnce(&mut TokenServiceConfig),
    shape: impl FnOnce(&mut GrantTerms),
) -> (Rig, Arc<Partner>) {
    let partner = Arc::new(Partner(ScratchSigner::generate("partner-1")));
    let configure = |config: &mut TokenServiceConfig| {
        config.authorization_servers = vec![server("partner", PARTNER), server("other", OTHER)];
        configure(config);
    };
    let login = Arc::new(crate::fixture::login::Login::new());
    (Rig::of(configure, shape, Arc::clone(&partner) as _, login), partner)
}

/// A request for a grant.
fn grant(rig: &Rig, profile: GrantProfile) -> Fields {
    rig.fields().set("requested_token_type", profile.token_type()).set("audience", PARTNER)
}

async fn refused(rig: &Rig, fields: &Fields) -> OAuthErrorCode {
    let error = rig.exchange(fields).await.unwrap_err();
    assert!(is_plain(&error));
    error.code()
}

async fn issued(rig: &Rig, fields: &Fields) -> (Value, Value, Option<String>) {
    let response = rig.exchange(fields).await.unwrap();
    let jws = UnverifiedJws::parse(response.access_token().expose_token()).unwrap();
    let claims = Value::Object(jws.dangerous_unverified_claims().clone());
    (response.expose_json(), claims, jws.header().typ().map(str::to_owned))
}

#[tokio::test]
async fn oauth_17_1_the_target_is_one_configured_authorization_server() {
    use OAuthErrorCode::{InvalidRequest, InvalidTarget};
    let (rig, _) = rig(|config| config.authorization_servers[1].to.clear());
    for profile in GrantProfile::ALL {
        let plain = || grant(&rig, profile);
        for (name, fields, code) in [
            ("none", plain().without("audience"), InvalidTarget),
            ("unknown", plain().set("audience", "https://evil.example.org"), InvalidTarget),
            ("with_a_slash", plain().set("audience", &format!("{PARTNER}/")), InvalidTarget),
            ("no_grants_for_it", plain().set("audience", OTHER), InvalidTarget),
            ("two", plain().add("audience", OTHER), InvalidTarget),
            ("one_and_a_resource_server", plain().add("audience", AUDIENCE), InvalidTarget),
            ("a_resource_outside", plain().set("resource", "https://x.example.org"), InvalidTarget),
            ("with_an_actor_type", plain().set("actor_token_type", "x"), InvalidRequest),
        ] {
            assert_eq!(refused(&rig, &fields).await, code, "{profile:?} {name}");
        }
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_17_1_the_intent_has_to_reach_that_server() {
    let (rig, _) = with(|_| {}, |_| {});
    for profile in GrantProfile::ALL {
        assert_eq!(refused(&rig, &grant(&rig, profile)).await, OAuthErrorCode::InvalidTarget);
    }
}

#[tokio::test]
async fn oauth_17_1_a_resource_names_the_server_as_well() {
    let (rig, _) = rig(|_| {});
    let fields = grant(&rig, GrantProfile::Jwt).without("audience").set("resource", PARTNER);
    let (_, claims, _) = issued(&rig, &fields).await;
    assert_eq!(claims["aud"], PARTNER);
    assert!(claims.get("resource").is_none());
}

#[tokio::test]
async fn oauth_17_2_a_grant_is_for_one_server_and_ends_within_minutes() {
    let (rig, _) = with(
        |_| {},
        |terms| {
            terms.audiences.push(PARTNER.to_owned());
            terms.token_lifetime = Duration::from_secs(590);
            terms.uses = 2;
        },
    );
    let svid = rig.own.jwt_svid(&rig.agent, &[ISSUER], START + Duration::from_secs(3000));
    let mut ids = BTreeSet::new();
    for profile in GrantProfile::ALL {
        let fields = grant(&rig, profile)
            .authenticated(svid.expose_token())
            .set("subject_token", svid.expose_token());
        let (answer, claims, _) = issued(&rig, &fields).await;
        assert_eq!(claims["aud"], PARTNER);
        assert_eq!(answer["expires_in"], MAX_GRANT_LIFETIME.as_secs());
        assert_eq!(claims["exp"], START.as_second() + 300);
        assert!(ids.insert(claims["jti"].as_str().unwrap().to_owned()));
    }
    let kept = rig.store.kept();
    for record in kept.tokens.values() {
        assert_eq!(record.kind, TokenKind::AuthorizationGrant);
        assert_eq!(record.audiences, [PARTNER]);
        assert!(record.single_use);
    }
}

#[tokio::test]
async fn oauth_17_3_the_answer_says_which_kind_it_is() {
    for profile in GrantProfile::ALL {
        let (rig, _) = rig(|_| {});
        let (answer, _, typ) = issued(&rig, &grant(&rig, profile)).await;
        assert_eq!(answer["token_type"], "N_A");
        assert_eq!(answer["issued_token_type"], profile.token_type());
        assert_eq!(typ.as_deref(), Some(profile.typ()));
        assert!(answer.get("refresh_token").is_none());
    }
}

#[tokio::test]
async fn oauth_17_4_scope_and_details_are_those_of_the_intent_or_less() {
    let bounded = |config: &mut TokenServiceConfig| {
        config.authorization_servers[0].scopes = Some(["secrets.read".parse().unwrap()].into());
    };
    let (open, _) = rig(|_| {});
    let (answer, claims, _) = issued(&open, &grant(&open, GrantProfile::Jwt)).await;
    assert_eq!(claims["scope"], "secrets.update secrets.read");
    assert_eq!(claims["authorization_details"][0]["type"], "k8s_object");
    assert_eq!(answer["authorization_details"], claims["authorization_details"]);
    let (open, _) = rig(|_| {});
    let wider = grant(&open, GrantProfile::Jwt).set("scope", "secrets.delete");
    assert_eq!(refused(&open, &wider).await, OAuthErrorCode::InvalidScope);
    let (narrow, _) = rig(bounded);
    let wider = grant(&narrow, GrantProfile::IdJag).set("scope", "secrets.update");
    assert_eq!(refused(&narrow, &wider).await, OAuthErrorCode::InvalidScope);
    let (_, claims, _) = issued(&narrow, &grant(&narrow, GrantProfile::IdJag)).await;
    assert_eq!(claims["scope"], "secrets.read");
}

#[tokio::test]
async fn oauth_17_4_a_token_yields_no_grant_for_another_domain() {
    let (rig, _) = rig(|_| {});
    let response = rig.exchange(&rig.fields()).await.unwrap();
    for profile in GrantProfile::ALL {
        let fields = grant(&rig, profile)
            .set("subject_token", response.access_token().expose_token())
            .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
            .without("authorization_details");
        assert_eq!(refused(&rig, &fields).await, OAuthErrorCode::InvalidRequest);
    }
}

#[tokio::test]
async fn oauth_17_5_an_id_jag_names_the_client_as_it_is_known_there() {
    for (clients, expected) in [
        (BTreeMap::new(), "spiffe://prod.example.org/agent/rotator"),
        (
            BTreeMap::from([(
                "spiffe://prod.example.org/agent/rotator".parse().unwrap(),
                "rotator-at-partner".to_owned(),
            )]),
            "rotator-at-partner",
        ),
    ] {
        let (rig, _) = rig(|config| config.authorization_servers[0].clients = clients);
        let fields = grant(&rig, GrantProfile::IdJag).set("resource", RESOURCE);
        let (_, claims, typ) = issued(&rig, &fields).await;
        assert_eq!(typ.as_deref(), Some("oauth-id-jag+jwt"));
        assert_eq!(claims["iss"], ISSUER);
        assert_eq!(claims["sub"], rig.agent.as_str());
        assert_eq!(
            (&claims["client_id"], &claims["resource"]),
            (&json!(expected), &json!(RESOURCE))
        );
    }
}

#[tokio::test]
async fn oauth_17_13_an_access_token_is_never_for_an_authorization_server() {
    let (rig, _) = rig(|_| {});
    let asked = rig.fields().set("audience", PARTNER);
    assert_eq!(refused(&rig, &asked).await, OAuthErrorCode::InvalidTarget);
    let (_, claims, _) = issued(&rig, &rig.fields()).await;
    assert!(!claims["aud"].to_string().contains(PARTNER));
}

#[tokio::test]
async fn cve_2026_7571_grants_that_are_switched_off_cannot_be_reached() {
    let (rig, partner) = rig(|config| {
        config.offers.identity_chaining = false;
        config.offers.id_jag = false;
    });
    for profile in GrantProfile::ALL {
        assert_eq!(refused(&rig, &grant(&rig, profile)).await, OAuthErrorCode::InvalidRequest);
        let code = refused(&rig, &assertion(&rig, &partner.sign(profile, &claims(&rig)))).await;
        assert_eq!(code, OAuthErrorCode::UnsupportedGrantType);
    }
    let metadata = rig.service.metadata();
    for member in [
        "identity_chaining_requested_token_types_supported",
        "authorization_grant_profiles_supported",
    ] {
        assert!(metadata.get(member).is_none(), "{member}");
    }
}

#[test]
fn oauth_10_6_the_metadata_names_the_grants_that_are_issued_and_redeemed() {
    let (rig, _) = rig(|config| config.offers.identity_chaining = false);
    let metadata = rig.service.metadata();
    assert_eq!(
        metadata["identity_chaining_requested_token_types_supported"],
        json!(["urn:ietf:params:oauth:token-type:id-jag"])
    );
    assert_eq!(metadata["authorization_grant_profiles_supported"], json!([GRANT_PROFILE_ID_JAG]));
    assert!(metadata["grant_types_supported"].to_string().contains(GRANT_TYPE_JWT_BEARER));
}

impl Partner {
    fn sign(&self, profile: GrantProfile, claims: &Value) -> String {
        self.sign_as(Some(profile.typ()), claims)
    }

    fn sign_as(&self, typ: Option<&str>, claims: &Value) -> String {
        sign_compact(typ, claims, &self.0).unwrap().expose_token().to_owned()
    }
}

/// The claims of a grant of the partner for the rig's agent.
fn claims(rig: &Rig) -> Value {
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

fn assertion(rig: &Rig, grant: &str) -> Fields {
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
async fn oauth_3_2_a_chaining_grant_may_come_without_its_type() {
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
    let (rig, partner) = rig(|_| {});
    let (_, said, _) = issued(&rig, &grant(&rig, GrantProfile::Jwt)).await;
    assert_eq!(said["environment"], "production");
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
async fn oauth_17_6_a_grant_of_another_client_is_worth_nothing_to_this_one() {
    let (rig, partner) = rig(|_| {});
    let fields = assertion(&rig, &partner.sign(GrantProfile::IdJag, &claims(&rig)));
    let other = rig.svid_of(&rig.own, &"spiffe://prod.example.org/agent/other".parse().unwrap());
    let stolen = fields.authenticated(&other);
    assert_eq!(refused(&rig, &stolen).await, OAuthErrorCode::InvalidGrant);
}
