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

mod redeeming;

use self::redeeming::{assertion, claims};

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
