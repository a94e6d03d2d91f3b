//! What a request asks for, and how.

use marque_intent::DenialCode;
use serde_json::json;

use crate::{
    GRANT_TYPE_DEFERRED,
    OAuthErrorCode::{
        self, AccessDenied, InvalidAuthorizationDetails, InvalidClient, InvalidGrant,
        InvalidRequest, InvalidScope, InvalidTarget, UnauthorizedClient, UnsupportedGrantType,
    },
    OneHeader, Presented, TokenRequest,
    fixture::{AUDIENCE, Fields, Rig},
};

/// The request is refused by this code, and nothing was issued.
async fn refuses(rig: &Rig, name: &str, fields: &Fields, code: OAuthErrorCode) {
    let Err(error) = rig.exchange(fields).await else { panic!("{name} is granted") };
    assert_eq!(error.code(), code, "{name}");
    assert!(rig.store.kept().tokens.is_empty(), "{name}");
}

#[tokio::test]
async fn oauth_21_scope_superset() {
    let rig = Rig::new();
    for scope in [
        "admin",
        "secrets.update admin",
        "secrets.update secrets.read secrets.delete",
        "secrets",
        "secrets.update.all",
        "Secrets.update",
    ] {
        refuses(&rig, scope, &rig.fields().set("scope", scope), InvalidScope).await;
    }
    // Less is granted (CVE-2026-56668 asks to keep that as well).
    let less = rig.exchange(&rig.fields().set("scope", "secrets.read")).await.unwrap();
    assert_eq!(less.expose_json()["scope"], "secrets.read");
}

#[tokio::test]
async fn oauth_21_scope_order() {
    for scope in ["secrets.read secrets.update", "secrets.update secrets.read"] {
        let rig = Rig::new();
        let answer = rig.exchange(&rig.fields().set("scope", scope)).await.unwrap().expose_json();
        let granted: std::collections::BTreeSet<_> =
            answer["scope"].as_str().unwrap().split(' ').collect();
        assert_eq!(granted, ["secrets.read", "secrets.update"].into());
    }
    let rig = Rig::new();
    let twice = rig.fields().set("scope", "secrets.read secrets.read");
    assert_eq!(rig.exchange(&twice).await.unwrap().expose_json()["scope"], "secrets.read");
}

#[tokio::test]
async fn oauth_21_scope_bytes() {
    let rig = Rig::new();
    for scope in [
        "secrets.read\tsecrets.update",
        "secrets.read\0",
        "secrets.read\nsecrets.update",
        "secrets.read  secrets.update",
        " secrets.read",
        "secrets.read ",
        "secrets.read\u{a0}secrets.update",
        "secrets.r\u{e9}ad",
        "\"secrets.read\"",
        "secrets\\read",
    ] {
        refuses(&rig, scope, &rig.fields().set("scope", scope), InvalidScope).await;
    }
    let long = |bytes: usize| rig.fields().set("scope", &"a ".repeat(bytes / 2));
    refuses(&rig, "two megabytes", &long(2 << 20), InvalidRequest).await;
    refuses(&rig, "as long as a field may be", &long(16_000), InvalidScope).await;
}

#[tokio::test]
async fn oauth_21_resource() {
    let rig = Rig::new();
    for resource in [
        "https://gw.prod.example.org/k8s#a",
        "https://gw.prod.example.org/k8s#",
        "/k8s",
        "k8s",
        "//gw.prod.example.org/k8s",
        "https:",
        "https://",
        "https://user@gw.prod.example.org/k8s",
        "https://user:password@gw.prod.example.org/k8s",
        "https://gw.pr\u{f6}d.example.org/k8s",
        "https://gw.prod.example.org/k 8s",
        "https://gw.prod.example.org/k8s\r\nx: y",
        "https://attacker.example.org/k8s",
        "https://gw.prod.example.org/k8s/../x",
        "https://GW.prod.example.org/k8s",
    ] {
        refuses(&rig, resource, &rig.fields().set("resource", resource), InvalidTarget).await;
        // One good target does not carry a bad one.
        let beside = rig.fields().add("resource", AUDIENCE).add("resource", resource);
        refuses(&rig, resource, &beside, InvalidTarget).await;
    }
}

#[tokio::test]
async fn oauth_21_audience_unknown() {
    let rig = Rig::new();
    for audience in [
        "https://attacker.example.org",
        "*",
        "https://gw.prod.example.org",
        "https://gw.prod.example.org/k8s/",
        "https://GW.prod.example.org/k8s",
    ] {
        refuses(&rig, audience, &rig.fields().set("audience", audience), InvalidTarget).await;
        let beside = rig.fields().add("audience", AUDIENCE).add("audience", audience);
        refuses(&rig, audience, &beside, InvalidTarget).await;
    }
}

#[tokio::test]
async fn oauth_21_actor_type_alone() {
    let rig = Rig::new();
    for kind in [crate::TOKEN_TYPE_JWT, crate::TOKEN_TYPE_ACCESS_TOKEN, "x"] {
        refuses(&rig, kind, &rig.fields().set("actor_token_type", kind), InvalidRequest).await;
    }
    let fields = rig.fields().set("actor_token", &rig.svid());
    refuses(&rig, "a token without its type", &fields, InvalidRequest).await;
}

#[tokio::test]
async fn oauth_21_basic_beside_svid() {
    let rig = Rig::new();
    for header in ["Basic eDp5", "basic ", "Bearer x", "DPoP x", ""] {
        let presented = Presented {
            authorization: OneHeader::of([Some(header)].into_iter()),
            ..Presented::default()
        };
        let error = rig.exchange_with(&rig.fields(), presented).await.unwrap_err();
        assert_eq!((error.code(), error.http_status()), (InvalidRequest, 400), "{header}");
    }
    let twice = OneHeader::of([Some("Basic eDp5"), Some("Basic eDp5")].into_iter());
    let presented = Presented { authorization: twice, ..Presented::default() };
    assert!(rig.exchange_with(&rig.fields(), presented).await.is_err());
}

#[tokio::test]
async fn oauth_21_parameter_twice() {
    let rig = Rig::new();
    for name in [
        "grant_type",
        "scope",
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
        "client_id",
        "client_assertion",
        "client_assertion_type",
        "client_secret",
        "authorization_details",
        "completion_mode",
        "request_context",
        "unknown",
    ] {
        for second in ["x", ""] {
            let fields = rig.fields().add(name, "x").add(name, second);
            refuses(&rig, name, &fields, InvalidRequest).await;
        }
    }
}

/// What the answer says beside the token, to the request that succeeds after this change.
async fn answer_after(change: impl FnOnce(Fields) -> Fields) -> serde_json::Value {
    let rig = Rig::new();
    let mut answer = rig.exchange(&change(rig.fields())).await.unwrap().expose_json();
    answer.as_object_mut().unwrap().remove("access_token").unwrap();
    answer
}

#[tokio::test]
async fn oauth_1_4_a_parameter_that_is_empty_or_unknown_changes_nothing() {
    let plain = answer_after(|fields| fields).await;
    let empty = [
        "scope",
        "audience",
        "resource",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
        "client_id",
        "client_secret",
        "assertion",
        "completion_mode",
    ];
    let unknown = ["prompt", "Scope", "scope[]", "redirect_uri", "resource ", "x"];
    for name in empty {
        assert_eq!(answer_after(|fields| fields.set(name, "")).await, plain, "{name}");
    }
    for name in unknown {
        assert_eq!(answer_after(|fields| fields.set(name, "admin")).await, plain, "{name}");
    }
    // What is demanded is not there when it is empty.
    let rig = Rig::new();
    for name in ["grant_type", "subject_token", "subject_token_type", "authorization_details"] {
        refuses(&rig, name, &rig.fields().set(name, ""), InvalidRequest).await;
    }
}

/// Each code of RFC 6749 §5.2, RFC 8693 §2.2.2 and RFC 9396 §5, by the request that earns it.
#[tokio::test]
async fn oauth_1_8_each_code_is_for_what_its_standard_says() {
    let rig = Rig::new();
    let good = rig.fields();
    let poll = |code: &str| {
        let fields = Fields::default().authenticated(&rig.svid());
        fields.set("grant_type", GRANT_TYPE_DEFERRED).set("deferral_code", code)
    };
    for (name, fields, code) in [
        ("no subject", good.clone().without("subject_token"), InvalidRequest),
        ("a subject that is none", good.clone().set("subject_token", "x"), InvalidRequest),
        ("an SVID that is none", good.clone().authenticated("x"), InvalidClient),
        ("nobody", good.clone().unauthenticated(), InvalidClient),
        ("a password", good.clone().set("grant_type", "password"), UnsupportedGrantType),
        ("a code that nobody gave", poll(&"A".repeat(43)), InvalidGrant),
        ("a scope beyond the grant", good.clone().set("scope", "admin"), InvalidScope),
        ("another target", good.clone().set("audience", "https://x.example.org"), InvalidTarget),
        (
            "details of no type",
            good.clone().set("authorization_details", "[{}]"),
            InvalidAuthorizationDetails,
        ),
    ] {
        let error = rig.exchange(&fields).await.expect_err(name);
        assert_eq!((error.code(), error.http_status()), (code, 400), "{name}");
        assert_eq!(error.challenge(), None, "{name}");
    }
    // A client that is known may not do with another's token what that one may.
    let token = rig.exchange(&good).await.unwrap();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let error = rig.revoke_token(&other, token.access_token().expose_token()).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), (UnauthorizedClient, 400));
}

#[tokio::test]
async fn oauth_21_many_parameters() {
    let rig = Rig::new();
    let good = rig.fields().encode();
    for body in [
        "a=b&".repeat(100_000),
        format!("{good}&{}", "&".repeat(64)),
        format!("{good}{}", "&audience=x".repeat(100)),
        format!("{good}{}", (0..64).map(|n| format!("&x{n}=")).collect::<String>()),
    ] {
        let refused = TokenRequest::parse(body.as_bytes(), &Presented::default());
        assert_eq!(refused.unwrap_err().code(), InvalidRequest);
    }
}

#[tokio::test]
async fn oauth_21_percent_encoding() {
    let rig = Rig::new();
    for tail in ["&x=%", "&x=%4", "&x=%zz", "&x=%%41", "&%=x", "&x=%u0041", "&x=%-1", "&x=% 41"] {
        let body = format!("{}{tail}", rig.fields().encode());
        let refused = TokenRequest::parse(body.as_bytes(), &Presented::default());
        assert_eq!(refused.unwrap_err().code(), InvalidRequest, "{tail}");
    }
    // One name in two spellings is one name.
    let body = format!("{}&gr%61nt_type=x", rig.fields().encode());
    let refused = TokenRequest::parse(body.as_bytes(), &Presented::default());
    assert_eq!(refused.unwrap_err().description(), "a parameter is repeated");
}

#[tokio::test]
async fn oauth_21_utf8() {
    let rig = Rig::new();
    let raw: [&[u8]; 5] = [b"&x=\xff", b"&x=\xc3\xa9", b"&\xc3=x", b"&x=\x00", b"&x=\r\n"];
    for tail in raw {
        let body = [rig.fields().encode().as_bytes(), tail].concat();
        let refused = TokenRequest::parse(&body, &Presented::default());
        assert_eq!(refused.unwrap_err().code(), InvalidRequest, "{tail:?}");
    }
    for tail in ["%ff", "%c3%28", "%c3", "%ed%a0%80", "%c0%af", "%f5%80%80%80", "%e2%82"] {
        let body = format!("{}&x={tail}", rig.fields().encode());
        let refused = TokenRequest::parse(body.as_bytes(), &Presented::default());
        assert_eq!(refused.unwrap_err().code(), InvalidRequest, "{tail}");
    }
}

#[tokio::test]
async fn oauth_8_1_details_of_another_shape_are_refused_whoever_sends_them() {
    let rig = Rig::new();
    let id = rig.intent.as_str();
    let named = json!({ "type": "marque_intent", "intent_id": id });
    let with = |member: &str, value: serde_json::Value| {
        let mut detail = named.clone();
        detail[member] = value;
        json!([detail]).to_string()
    };
    for (name, details) in [
        ("an object", named.to_string()),
        ("nothing", "[]".to_owned()),
        ("a string", json!(["marque_intent"]).to_string()),
        ("another type", json!([{ "type": "payment_initiation" }]).to_string()),
        ("no type", json!([{ "intent_id": id }]).to_string()),
        ("a type in another case", with("type", json!("Marque_intent"))),
        ("an unknown member", with("scope", json!("*"))),
        ("a foreign grant's details", with("actions", json!(["patch", "delete"]))),
        ("an id that is no text", with("intent_id", json!([id]))),
        ("a path for an id", with("intent_id", json!("../int_00000000000000000000000000"))),
        (
            "a member twice",
            format!(r#"[{{"type":"marque_intent","intent_id":"{id}","intent_id":"{id}"}}]"#),
        ),
        ("fifty levels", format!("{}{}", "[".repeat(50), "]".repeat(50))),
        ("a hundred thousand levels, cut off", "[".repeat(8_000)),
        ("something after it", format!("[{named}]x")),
    ] {
        let fields = rig.fields().set("authorization_details", &details);
        refuses(&rig, name, &fields, InvalidAuthorizationDetails).await;
    }
}

#[tokio::test]
async fn oauth_21_act_forged() {
    let rig = Rig::new();
    // A request has no parameter for an actor but a token; whatever else looks like one means nothing.
    let other = "spiffe://prod.example.org/agent/other";
    let act = json!({ "sub": other }).to_string();
    let fields = rig.fields().set("act", &act).set("sub", other).set("may_act", &act);
    rig.exchange(&fields).await.unwrap();
    let kept = rig.store.kept();
    let record = kept.tokens.values().next().unwrap();
    assert_eq!((&record.client, record.through.len()), (&rig.agent, 0));
}

#[tokio::test]
async fn a_refusal_about_an_intent_says_which_without_saying_whose() {
    let rig = Rig::new();
    let stranger = rig.svid_of(&rig.own, &rig.own.id("/agent/stranger"));
    let fields = rig.fields().authenticated(&stranger).set("subject_token", &stranger);
    let error = rig.exchange(&fields).await.unwrap_err();
    let code = Some(DenialCode::GrantNotBoundToSession);
    assert_eq!((error.code(), error.denial()), (AccessDenied, code));
    assert!(!error.to_json().to_string().contains("rotator"));
}
