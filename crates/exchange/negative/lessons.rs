//! One test, named after it, for each published vulnerability whose lesson is about what is accepted here.

use std::{collections::BTreeSet, task::Poll, time::Duration};

use marque_audit::EventKind;
use marque_intent::{KillScope, OnBehalf};
use marque_jose::base64url;
use marque_testkit::START;
use serde_json::{Value, json};

use super::Forge;
use crate::{
    GRANT_TYPE_TOKEN_EXCHANGE,
    OAuthErrorCode::{InvalidClient, InvalidRequest, InvalidScope, UnsupportedGrantType},
    Presented, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT, TokenRequest,
    fixture::{AUDIENCE, Fields, ISSUER, Rig, SECOND_AUDIENCE},
};

#[tokio::test]
async fn cve_2026_56668_scope_never_widens_across_clients_and_narrowing_still_works() {
    let rig = Rig::new();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let stolen = rig.fields().authenticated(&other);
    assert_eq!(rig.exchange(&stolen).await.unwrap_err().code(), InvalidRequest);
    let wider = rig.fields().set("scope", "secrets.read secrets.update secrets.delete");
    assert_eq!(rig.exchange(&wider).await.unwrap_err().code(), InvalidScope);
    let narrower = rig.fields().set("scope", "secrets.read");
    assert_eq!(rig.exchange(&narrower).await.unwrap().expose_json()["scope"], "secrets.read");
}

#[tokio::test]
async fn cve_2026_37979_introspection_is_for_the_audience_alone() {
    let rig = Rig::new();
    let narrowed = rig.exchange(&rig.fields().set("audience", SECOND_AUDIENCE)).await.unwrap();
    let token = narrowed.access_token().expose_token();
    for caller in ["/service/k8s-gateway", "/agent/stranger"] {
        let svid = rig.svid_of(&rig.own, &rig.own.id(caller));
        let answer = rig.introspect(&svid, token).await.unwrap();
        assert_eq!(answer, json!({ "active": false }), "{caller}");
    }
    assert_eq!(rig.introspect(&rig.svid(), token).await.unwrap()["active"], true);
}

#[tokio::test]
async fn cve_2026_11800_the_algorithm_is_the_keys_and_not_the_headers() {
    let forge = Forge::new();
    for alg in ["HS256", "RS256", "PS256", "ES384", "none", "EdDSA"] {
        forge.refuses(alg, &forge.with_header("alg", json!(alg))).await;
    }
}

#[tokio::test]
async fn cve_2025_52477_an_unknown_issuer_is_refused_and_not_looked_up() {
    // There is nothing in the service that could look anything up: keys come from the bundles that it was given. What is
    // shown here is that `iss` does not choose among those either.
    let forge = Forge::new();
    for iss in ["https://attacker.example.org", "https://169.254.169.254", "file:///x", ISSUER] {
        let mut claims = forge.claims();
        claims["iss"] = json!(iss);
        claims["sub"] = json!("spiffe://attacker.example.org/agent/rotator");
        let token = forge.svid(&Forge::header().to_string(), &claims.to_string());
        forge.refuses(iss, &token).await;
    }
}

#[tokio::test]
async fn cve_2026_4874_no_parameter_of_a_request_is_an_address_to_call() {
    let rig = Rig::new();
    let url = "https://169.254.169.254/latest/meta-data";
    let names = [
        "client_session_host",
        "client_uri",
        "jwks_uri",
        "request_uri",
        "redirect_uri",
        "sector_identifier_uri",
        "spiffe_bundle_endpoint",
        "client_notification_endpoint",
    ];
    let fields = names.into_iter().fold(rig.fields(), |fields, name| fields.set(name, url));
    // They mean nothing: the request is granted as without them, and it takes no turn of the reactor to answer it.
    let mut answer = std::pin::pin!(rig.exchange(&fields));
    let Poll::Ready(answer) = futures::poll!(answer.as_mut()) else {
        panic!("the request waited for something")
    };
    assert!(!answer.unwrap().expose_json().to_string().contains("169.254"));
}

#[tokio::test]
async fn cve_2026_9793_a_jwe_of_plain_json_is_nothing() {
    let forge = Forge::new();
    let part = |bytes: &str| base64url::encode(bytes);
    let claims = forge.claims().to_string();
    for header in [
        json!({ "alg": "dir", "enc": "A128CBC-HS256" }),
        json!({ "alg": "none", "enc": "none" }),
        json!({ "alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": 2_000_000_000 }),
    ] {
        let header = part(&header.to_string());
        let token = format!("{header}..{}.{}.{}", part("iv"), part(&claims), part("tag"));
        forge.refuses("a JWE", &token).await;
        forge.refuses("its payload alone", &format!("{header}.{}.", part(&claims))).await;
    }
    forge.refuses("plain JSON", &claims).await;
}

#[tokio::test]
async fn cve_2026_7571_what_is_not_offered_cannot_be_reached() {
    let rig = Rig::new();
    for grant in [
        "password",
        "client_credentials",
        "authorization_code",
        "refresh_token",
        "implicit",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange ",
        "URN:ietf:params:oauth:grant-type:token-exchange",
    ] {
        let error = rig.exchange(&rig.fields().set("grant_type", grant)).await.unwrap_err();
        assert_eq!(error.code(), UnsupportedGrantType, "{grant}");
    }
}

#[tokio::test]
async fn cve_2025_27370_an_assertion_is_for_the_issuer_and_for_nobody_else() {
    let forge = Forge::new();
    let refuses = async |aud: Value| {
        let token = forge.with_claim("aud", aud.clone());
        let error =
            forge.rig.exchange(&forge.rig.fields().authenticated(&token)).await.unwrap_err();
        assert_eq!(error.code(), InvalidClient, "{aud}");
    };
    refuses(json!(format!("{ISSUER}/oauth2/token"))).await;
    refuses(json!([ISSUER, "https://honest.example.org"])).await;
    refuses(json!(["https://attacker.example.org", ISSUER])).await;
    refuses(json!([ISSUER, format!("{ISSUER}/oauth2/token")])).await;
    refuses(json!(format!("{ISSUER}/.well-known/oauth-authorization-server"))).await;
}

#[tokio::test]
async fn cve_2026_27840_a_token_that_was_cut_or_changed_in_any_byte_is_no_token() {
    let rig = Rig::new();
    let token = rig.exchange(&rig.fields()).await.unwrap();
    let token = token.access_token().expose_token();
    let is_active =
        async |token: &str| rig.introspect(&rig.svid(), token).await.unwrap()["active"] == true;
    assert!(is_active(token).await);
    for at in 0..token.len() {
        let mut changed = token.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(!is_active(&changed).await, "byte {at} changed");
        if at > 0 {
            assert!(!is_active(token.get(..at).unwrap()).await, "cut at {at}");
        }
    }
    assert!(!is_active(&format!("{token}A")).await);
}

#[tokio::test]
async fn cve_2026_25537_a_mistyped_date_is_an_error_and_never_absent() {
    let forge = Forge::new();
    for claim in ["exp", "nbf", "iat"] {
        for value in
            [json!("9999999999"), json!(9_999_999_999.0), json!([]), json!({}), Value::Null]
        {
            let name = format!("{claim} {value}");
            forge.refuses(&name, &forge.with_claim(claim, value)).await;
        }
    }
}

#[tokio::test]
async fn cve_2025_22868_dots_are_counted_before_a_token_is_split() {
    let forge = Forge::new();
    for token in [".".repeat(16 * 1024), format!("ey{}", ".a".repeat(8_000)), ".".repeat(60_000)] {
        forge.refuses("dots", &token).await;
    }
}

#[tokio::test]
async fn cve_2024_5798_an_audience_is_demanded() {
    let forge = Forge::new();
    forge.refuses("none", &forge.without_claim("aud")).await;
    forge.refuses("another", &forge.with_claim("aud", json!("https://x.example.org"))).await;
}

#[tokio::test]
async fn cve_2020_26160_an_empty_array_of_audiences_fits_nobody() {
    let forge = Forge::new();
    for aud in [json!([]), json!([""]), json!([[]]), json!([null])] {
        forge.refuses(&aud.to_string(), &forge.with_claim("aud", aud)).await;
    }
}

#[tokio::test]
async fn cve_2026_40264_the_trust_domain_is_part_of_every_name() {
    // The same path, key name and even key material in another trust domain is another agent.
    let rig = Rig::new();
    let twin = rig.federated.id("/agent/rotator");
    let svid = rig.svid_of(&rig.federated, &twin);
    let fields = rig.fields().authenticated(&svid).set("subject_token", &svid);
    let error = rig.exchange(&fields).await.unwrap_err();
    assert_eq!(error.denial(), Some(marque_intent::DenialCode::GrantNotBoundToSession));
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn ghsa_fpw6_hrg5_q5x5_a_token_without_exp_is_refused() {
    let forge = Forge::new();
    forge.refuses("no exp", &forge.without_claim("exp")).await;
    forge.refuses("exp null", &forge.with_claim("exp", Value::Null)).await;
}

#[tokio::test]
async fn oh_my_dc_a_subject_is_a_whole_name_and_never_a_pattern() {
    let forge = Forge::new();
    for sub in [
        "spiffe://prod.example.org/agent/*",
        "spiffe://prod.example.org/*",
        "spiffe://*/agent/rotator",
        "*",
    ] {
        forge.refuses(sub, &forge.with_claim("sub", json!(sub))).await;
    }
    // Claims that the holder may have chosen decide nothing.
    let mut claims = forge.claims();
    claims["sub"] = json!("spiffe://prod.example.org/agent/stranger");
    claims["client_id"] = json!(forge.rig.agent);
    claims["azp"] = json!(forge.rig.agent);
    claims["email"] = json!("root@example.org");
    let token = forge.svid(&Forge::header().to_string(), &claims.to_string());
    let fields = forge.rig.fields().authenticated(&token).set("subject_token", &token);
    assert!(forge.rig.exchange(&fields).await.is_err());
}

#[tokio::test]
async fn cve_2026_44699_a_key_without_alg_has_the_algorithm_of_its_type() {
    // The keys of a SPIFFE bundle have no `alg`; those of this rig have none either, and verify ES256 alone.
    let forge = Forge::new();
    let document = forge.rig.own.bundle().to_document();
    assert!(document["keys"].as_array().unwrap().iter().all(|key| key.get("alg").is_none()));
    for alg in ["HS256", "HS384", "HS512", "none"] {
        let token = forge.with_header("alg", json!(alg));
        let (input, _) = token.rsplit_once('.').unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"");
        let tag = ring::hmac::sign(&key, input.as_bytes());
        forge.refuses(alg, &format!("{input}.{}", base64url::encode(tag.as_ref()))).await;
    }
}

#[tokio::test]
async fn cve_2025_55241_what_acts_is_signed_of_this_trust_domain_and_short() {
    let forge = Forge::new();
    let rig = &forge.rig;
    let (input, _) =
        rig.svid().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let day = rig.own.jwt_svid(&rig.agent, &[ISSUER], START + Duration::from_secs(86_400));
    for (name, token) in [
        ("unsigned", format!("{input}.")),
        ("of another trust domain", rig.svid_of(&rig.undeclared, &rig.agent)),
        ("of a day", day.expose_token().to_owned()),
    ] {
        forge.refuses(name, &token).await;
        let actor = rig.fields().set("actor_token", &token).set("actor_token_type", TOKEN_TYPE_JWT);
        assert_eq!(rig.exchange(&actor).await.unwrap_err().code(), InvalidRequest, "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn cve_2025_55241_what_acted_is_on_record_and_is_stopped_at_once() {
    let actor = "spiffe://prod.example.org/agent/b";
    let rig = Rig::with(
        |_| {},
        |terms| {
            let agents = vec![actor.parse().unwrap()];
            terms.on_behalf = Some(OnBehalf { max_depth: 1, agents, equal: BTreeSet::new() });
            terms.audiences.push(actor.to_owned());
        },
    );
    let first = rig.exchange(&rig.fields()).await.unwrap();
    let svid = rig.svid_of(&rig.own, &actor.parse().unwrap());
    let acting = Fields::default()
        .set("grant_type", GRANT_TYPE_TOKEN_EXCHANGE)
        .authenticated(&svid)
        .set("subject_token", first.access_token().expose_token())
        .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
        .set("actor_token", &svid)
        .set("actor_token_type", TOKEN_TYPE_JWT)
        .set("audience", AUDIENCE)
        .set("scope", "secrets.read");
    let second = rig.exchange(&acting).await.unwrap();
    let recorded = rig.store.kept().events.last().cloned().unwrap();
    assert_eq!(recorded.kind, EventKind::TokenDerived);
    assert_eq!(recorded.actor.as_deref(), Some(actor));
    rig.kill(KillScope::Agent(actor.parse().unwrap()));
    let token = second.access_token().expose_token();
    let gateway = rig.svid_of(&rig.own, &rig.own.id("/service/k8s-gateway"));
    let answer = rig.introspect(&gateway, token).await.unwrap();
    assert_eq!(answer, json!({ "active": false }));
    assert!(rig.exchange(&acting).await.is_err());
}

/// What a client sends is in no answer, whichever parameter it is in.
#[tokio::test]
async fn oauth_1_9_no_field_is_ever_echoed() {
    let rig = Rig::new();
    let good = rig.fields();
    for name in [
        "grant_type",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
        "audience",
        "resource",
        "scope",
        "authorization_details",
        "completion_mode",
        "assertion",
        "unknown",
    ] {
        for canary in ["canary-7f3a", "<canary-7f3a>", "\"canary-7f3a\\", "canary-7f3a\r\nx: y"] {
            let mut all = vec![good.clone().set(name, canary), good.clone().add(name, canary)];
            all.push(Fields::default().set("grant_type", "x").set(name, canary));
            for fields in all {
                let Err(error) = rig.exchange(&fields).await else { continue };
                let said = format!("{} {error}", error.to_json());
                assert!(!said.contains("7f3a"), "{name}: {said}");
            }
        }
    }
    let refused = TokenRequest::parse(b"canary-7f3a", &Presented::default()).unwrap_err();
    assert!(!refused.to_json().to_string().contains("7f3a"));
}
