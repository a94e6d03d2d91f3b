use proptest::prelude::*;

use super::*;
use crate::{
    Challenge, MAX_FORM_BYTES, MAX_FORM_FIELDS, OneHeader,
    fixture::{Fields, Rig, is_plain},
};

fn parse(fields: &Fields) -> Result<ExchangeRequest, OAuthError> {
    fields.exchange()
}

fn good() -> Fields {
    Rig::new().fields()
}

/// What came with an `Authorization` header.
fn authorized(header: &str) -> Presented {
    Presented { authorization: OneHeader::of([Some(header)].into_iter()), ..Presented::default() }
}

#[test]
fn a_complete_request_is_read() {
    let fields = good()
        .set("requested_token_type", TOKEN_TYPE_ACCESS_TOKEN)
        .set("scope", "b a")
        .add("audience", "x")
        .add("audience", "y")
        .add("resource", "https://a.example.org/b?c")
        .add("resource", "urn:example:thing")
        .set("unknown", "ignored");
    let request = parse(&fields).unwrap();
    assert_eq!(request.asked.audiences.iter().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(request.asked.resources.len(), 2);
    assert_eq!(request.asked.scopes.unwrap().len(), 2);
}

#[test]
fn oauth_1_4_empty_parameters_count_as_absent() {
    let mut fields = good();
    for name in [
        "scope",
        "audience",
        "resource",
        "actor_token",
        "requested_token_type",
        "client_secret",
        "client_id",
    ] {
        fields = fields.set(name, "");
    }
    let request = parse(&fields).unwrap();
    assert!(request.asked.scopes.is_none() && request.asked.audiences.is_empty());
    let absent = parse(&good().set("authorization_details", "")).unwrap();
    assert_eq!(absent.intent, IntentReference::Absent);
    for name in ["grant_type", "subject_token", "subject_token_type"] {
        let error = parse(&good().set(name, "")).unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidRequest, "{name}");
    }
}

#[test]
fn every_malformed_request_is_refused_by_its_code() {
    use OAuthErrorCode::{
        InvalidAuthorizationDetails, InvalidClient, InvalidRequest, InvalidScope, InvalidTarget,
    };
    let jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let access_token = TOKEN_TYPE_ACCESS_TOKEN;
    let cases: &[(&str, Fields, OAuthErrorCode)] = &[
        ("grant_type_missing", good().without("grant_type"), InvalidRequest),
        (
            "grant_type_other",
            good().set("grant_type", "client_credentials"),
            OAuthErrorCode::UnsupportedGrantType,
        ),
        (
            "grant_type_case",
            good().set("grant_type", &GRANT_TYPE_TOKEN_EXCHANGE.to_uppercase()),
            OAuthErrorCode::UnsupportedGrantType,
        ),
        (
            "no_client_authentication",
            good().without("client_assertion").without("client_assertion_type"),
            InvalidClient,
        ),
        ("assertion_without_type", good().without("client_assertion_type"), InvalidRequest),
        ("assertion_type_without_assertion", good().without("client_assertion"), InvalidRequest),
        (
            "assertion_type_jwt_bearer",
            good().set("client_assertion_type", jwt_bearer),
            InvalidClient,
        ),
        ("client_secret_beside_svid", good().set("client_secret", "x"), InvalidRequest),
        (
            "client_secret_alone",
            good()
                .without("client_assertion")
                .without("client_assertion_type")
                .set("client_secret", "x"),
            InvalidClient,
        ),
        ("subject_token_missing", good().without("subject_token"), InvalidRequest),
        ("subject_token_type_missing", good().without("subject_token_type"), InvalidRequest),
        (
            "subject_token_type_other",
            good().set("subject_token_type", &access_token.replace("access", "refresh")),
            InvalidRequest,
        ),
        ("actor_token_without_type", good().set("actor_token", "x"), InvalidRequest),
        (
            "actor_token_type_without_token",
            good().set("actor_token_type", TOKEN_TYPE_JWT),
            InvalidRequest,
        ),
        (
            "actor_token_type_other",
            good().set("actor_token", "x").set("actor_token_type", access_token),
            InvalidRequest,
        ),
        (
            "requested_token_type_refresh",
            good().set("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            InvalidRequest,
        ),
        ("details_broken", good().set("authorization_details", "[{"), InvalidAuthorizationDetails),
        (
            "details_nested",
            good().set("authorization_details", &"[".repeat(50)),
            InvalidAuthorizationDetails,
        ),
        ("scope_wildcard", good().set("scope", "secrets.*"), InvalidScope),
        ("scope_tab", good().set("scope", "a\tb"), InvalidScope),
        ("scope_nul", good().set("scope", "a\0"), InvalidScope),
        ("scope_double_space", good().set("scope", "a  b"), InvalidScope),
        ("scope_quote", good().set("scope", "a\""), InvalidScope),
        ("scope_not_ascii", good().set("scope", "ä"), InvalidScope),
        ("resource_relative", good().set("resource", "/a"), InvalidTarget),
        ("resource_without_scheme", good().set("resource", "//gw.example.org"), InvalidTarget),
        ("resource_fragment", good().set("resource", "https://gw.example.org/#a"), InvalidTarget),
        (
            "resource_empty_fragment",
            good().set("resource", "https://gw.example.org/#"),
            InvalidTarget,
        ),
        ("resource_userinfo", good().set("resource", "https://u@gw.example.org/"), InvalidTarget),
        ("resource_idn", good().set("resource", "https://gẅ.example.org/"), InvalidTarget),
        ("resource_space", good().set("resource", "https://gw.example.org/a b"), InvalidTarget),
        (
            "resource_header_injection",
            good().set("resource", "https://gw.example.org/\r\nX: y"),
            InvalidTarget,
        ),
        ("audience_control_character", good().set("audience", "a\r\nX: y"), InvalidTarget),
        (
            "audience_too_long",
            good().set("audience", &"a".repeat(MAX_TARGET_BYTES + 1)),
            InvalidTarget,
        ),
        (
            "one_bad_resource_among_good",
            good().add("resource", "https://a.example.org").add("resource", "b"),
            InvalidTarget,
        ),
    ];
    for (name, fields, code) in cases {
        let error = parse(fields).expect_err(name);
        assert_eq!(error.code(), *code, "{name}");
        assert_eq!(error.http_status(), 400, "{name}");
        assert!(is_plain(&error), "{name}");
    }
}

#[test]
fn the_longest_target_is_read() {
    assert!(parse(&good().set("audience", &"a".repeat(MAX_TARGET_BYTES))).is_ok());
}

#[test]
fn oauth_1_5_only_audience_and_resource_may_repeat() {
    for name in ["audience", "resource"] {
        let fields = good().add(name, "https://a.example.org").add(name, "https://b.example.org");
        let asked = parse(&fields).unwrap().asked;
        assert_eq!(asked.audiences.len() + asked.resources.len(), 2, "{name}");
    }
    let names = [
        "grant_type",
        "scope",
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "requested_token_type",
        "authorization_details",
        "unknown",
    ];
    for name in names {
        let error = parse(&good().add(name, "x").add(name, "x")).unwrap_err();
        assert_eq!(
            (error.code(), error.description()),
            (OAuthErrorCode::InvalidRequest, "a parameter is repeated")
        );
    }
}

#[test]
fn oauth_1_5_no_parameter_of_the_other_endpoints_may_repeat() {
    let rig = Rig::new();
    let fields = Fields::default().authenticated(&rig.svid()).set("token", "x");
    for name in ["token", "token_type_hint", "client_id", "audience", "resource", "unknown"] {
        for second in ["x", ""] {
            let body = fields.clone().set(name, "x").add(name, second).encode();
            let asked = IntrospectionRequest::parse(body.as_bytes(), &Presented::default());
            let revoked = RevocationRequest::parse(body.as_bytes(), &Presented::default());
            for error in [asked.unwrap_err(), revoked.unwrap_err()] {
                assert_eq!(error.description(), "a parameter is repeated", "{name}");
            }
        }
    }
}

#[test]
fn an_authorization_header_is_answered_by_its_own_challenge() {
    let fields = good().without("client_assertion").without("client_assertion_type").encode();
    for (header, challenge) in [
        ("Basic Y2xpZW50OnNlY3JldA==", Challenge::Basic),
        ("bAsIc x", Challenge::Basic),
        ("Bearer x", Challenge::Bearer),
        ("", Challenge::Bearer),
    ] {
        let error = TokenRequest::parse(fields.as_bytes(), &authorized(header)).unwrap_err();
        assert_eq!(
            (error.code(), error.challenge()),
            (OAuthErrorCode::InvalidClient, Some(challenge)),
            "{header}"
        );
        assert_eq!(error.http_status(), 401);
    }
}

#[test]
fn an_authorization_header_beside_an_svid_is_a_second_method() {
    let error =
        TokenRequest::parse(good().encode().as_bytes(), &authorized("Basic eDp5")).unwrap_err();
    assert_eq!((error.code(), error.http_status()), (OAuthErrorCode::InvalidRequest, 400));
}

#[test]
fn oversized_bodies_and_a_hundred_thousand_parameters_are_refused() {
    let many = "a&".repeat(100_000);
    let some = format!(
        "{}&{}",
        good().encode(),
        (0..MAX_FORM_FIELDS).map(|n| format!("x{n}=1&")).collect::<String>()
    );
    let large = format!("{}&x={}", good().encode(), "x".repeat(MAX_FORM_BYTES));
    for body in [many, some, large] {
        assert_eq!(
            TokenRequest::parse(body.as_bytes(), &Presented::default()).unwrap_err().code(),
            OAuthErrorCode::InvalidRequest
        );
    }
}

#[test]
fn broken_encoding_is_an_invalid_request() {
    for tail in [&b"&x=%"[..], b"&x=%g0", b"&x=%c3%28", b"&x=\xff", b"\n"] {
        let mut body = good().encode().into_bytes();
        body.extend_from_slice(tail);
        assert_eq!(
            TokenRequest::parse(&body, &Presented::default()).unwrap_err().code(),
            OAuthErrorCode::InvalidRequest
        );
    }
}

#[test]
fn introspection_wants_a_token_and_a_client() {
    let rig = Rig::new();
    let fields = Fields::default()
        .authenticated(&rig.svid())
        .set("token", "x")
        .set("token_type_hint", "access_token");
    let parse = |fields: &Fields| {
        IntrospectionRequest::parse(fields.encode().as_bytes(), &Presented::default())
    };
    assert!(parse(&fields).is_ok());
    assert_eq!(
        parse(&fields.clone().without("token")).unwrap_err().code(),
        OAuthErrorCode::InvalidRequest
    );
    assert_eq!(
        parse(&fields.add("token", "y")).unwrap_err().code(),
        OAuthErrorCode::InvalidRequest
    );
    let anonymous = Fields::default().set("token", "x");
    assert_eq!(parse(&anonymous).unwrap_err().code(), OAuthErrorCode::InvalidClient);
}

#[test]
fn a_request_prints_no_token() {
    let rig = Rig::new();
    let request = parse(&rig.fields()).unwrap();
    let signature = rig.svid().rsplit('.').next().unwrap().to_owned();
    assert!(!format!("{request:?}").contains(&signature));
}

proptest! {
    #[test]
    fn no_refusal_echoes_its_input(value in "[a-z]{24}", name in 0_usize..8) {
        let names = ["grant_type", "client_assertion_type", "subject_token_type", "actor_token", "scope", "resource",
            "authorization_details", "requested_token_type"];
        let hostile = format!("<{value}>");
        if let Err(error) = parse(&good().set(names[name], &hostile)) {
            prop_assert!(!error.to_json().to_string().contains(&value));
        }
    }
}
