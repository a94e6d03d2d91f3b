//! What a token must be: RFC 9068 §4, RFC 8725, and the negative list.

use marque_testkit::ScratchSigner;
use marque_verify::{Binding, ClientCertificate, Need};
use serde_json::{Value, json};

use crate::support::{AGENT, ISSUER, RESOURCE, Stage, changed, outcome, raw, shown, sign};

#[tokio::test]
async fn a_good_token_says_who_and_what() {
    let stage = Stage::new();
    let token = stage.token_with(&json!({
        "sub": "people:anna",
        "act": {"sub": AGENT, "iss": ISSUER, "act": {"sub": "spiffe://example.org/agent/zero"}},
        "intent": {"id": "int_1", "digest": "sha256:x", "playbook": "p", "version": 7},
        "authorization_details": [{"type": "file", "actions": ["read"], "identifier": "a/b"}],
        "delegator_id": "people:anna",
        "tenant_id": "example",
        "session_id": "s1",
        "task_id": "t1",
        "purpose": "renewal",
        "allowed_tools": ["crm.read"],
        "resource_constraints": {"max_records": 25},
    }));
    let token = stage.bearer(&token).await.expect("a good token");
    assert_eq!((token.subject(), token.client_id()), ("people:anna", AGENT));
    assert_eq!((token.issuer(), token.id()), (ISSUER, "tok_00000000000000000000000000000001"));
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["secrets.read", "secrets.update"]);
    let actor = token.actor().expect("an actor");
    assert_eq!((actor.subject(), actor.issuer()), (AGENT, Some(ISSUER)));
    assert_eq!(actor.before().unwrap().subject(), "spiffe://example.org/agent/zero");
    assert_eq!(token.intent().unwrap().playbook, "p");
    assert_eq!(token.expires_at().duration_since(token.issued_at()).as_secs(), 300);
    let envelope = token.envelope();
    assert_eq!(envelope.delegator_id.as_deref(), Some("people:anna"));
    assert_eq!(envelope.session_id.as_deref(), Some("s1"));
    assert_eq!(envelope.resource_constraints.as_ref().unwrap()["max_records"], 25);
    assert_eq!(token.claim("task_id"), Some(&json!("t1")));
    assert!(token.require(&Need::new("file", "read").on("a/b")).is_ok());
    assert!(token.require_scope("secrets.read").is_ok() && token.require_tool("crm.read").is_ok());
}

#[tokio::test]
async fn what_a_token_does_not_permit_is_refused_with_403() {
    let stage = Stage::new();
    let token = stage.token_with(&json!({
        "authorization_details": [{"type": "file", "actions": ["read"], "identifier": "a/b"}],
    }));
    let token = stage.bearer(&token).await.unwrap();
    for (refused, error) in [
        (token.require_scope("secrets"), "insufficient_scope"),
        (token.require_scope("secrets.*"), "insufficient_scope"),
        (token.require_scope(""), "insufficient_scope"),
        (
            token.require(&Need::new("file", "write").on("a/b")),
            "insufficient_authorization_details",
        ),
        (token.require_tool("crm.read"), "insufficient_authorization_details"),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.status(), 403);
        assert_eq!(refused.refusal().error(), Some(error));
    }
    let bare = stage.bearer(&stage.token_with(&json!({"scope": null}))).await.unwrap();
    assert_eq!(bare.scopes().count() + bare.details().len(), 0);
    assert!(bare.require_scope("secrets.read").is_err());
    assert!(bare.require(&Need::new("file", "read")).is_err());
}

#[tokio::test]
async fn oauth_9_every_claim_is_there_and_of_its_type() {
    let stage = Stage::new();
    let mut table: Vec<(String, Value)> = Vec::new();
    for name in ["iss", "sub", "client_id", "jti", "aud", "iat", "exp"] {
        for wrong in [json!(null), json!(true), json!({}), json!([]), json!("")] {
            table.push((name.to_owned(), wrong));
        }
    }
    for name in ["iat", "exp", "nbf"] {
        for wrong in [json!("9999999999"), json!(1.5), json!(-1), json!([1]), json!(u64::MAX)] {
            table.push((name.to_owned(), wrong));
        }
    }
    for (name, wrong) in [
        ("aud", json!([RESOURCE, 1])),
        ("aud", json!([RESOURCE, ""])),
        ("scope", json!(["secrets.read"])),
        ("scope", json!(1)),
        ("authorization_details", json!({"type": "file"})),
        ("authorization_details", json!(["file"])),
        ("authorization_details", json!([{}])),
        ("authorization_details", json!("[]")),
        ("act", json!("agent")),
        ("act", json!({})),
        ("act", json!({"sub": 1})),
        ("cnf", json!("key")),
        ("cnf", json!({})),
        ("cnf", json!({"jwk": {}})),
        ("cnf", json!({"jkt": "short"})),
        ("cnf", json!({"jkt": "A".repeat(43), "x5t#S256": "A".repeat(43)})),
        ("cnf", json!({"jkt": "A".repeat(43), "kid": "x"})),
        ("status", json!("valid")),
        ("status", json!({"status_list": {"idx": "1", "uri": "x"}})),
        ("status", json!({"status_list": {"idx": -1, "uri": "x"}})),
        ("intent", json!({"id": 1})),
        ("allowed_tools", json!("all")),
        ("resource_constraints", json!([])),
        ("tenant_id", json!(1)),
    ] {
        table.push((name.to_owned(), wrong));
    }
    for (name, wrong) in table {
        let outcome = stage.outcome(&stage.token_with(&json!({ name.clone(): wrong }))).await;
        assert_eq!(outcome, "token_claims", "{name}: {wrong}");
    }
    // A claim that is `null` is mistyped, not absent.
    for name in ["nbf", "scope", "authorization_details", "cnf", "status", "act", "tenant_id"] {
        let mut claims = stage.claims();
        claims[name] = Value::Null;
        assert_eq!(stage.outcome(&stage.sign(&claims)).await, "token_claims", "{name}: null");
    }
}

#[tokio::test]
async fn oauth_9_issuer_and_audience_are_compared_byte_by_byte() {
    let stage = Stage::new();
    for (changes, name) in [
        (json!({"iss": "https://marque.example.org/"}), "token_of_another_issuer"),
        (json!({"iss": "https://MARQUE.example.org"}), "token_of_another_issuer"),
        (json!({"iss": "https://marque.example"}), "token_of_another_issuer"),
        (json!({"aud": "https://other.example.org"}), "token_for_another_audience"),
        (json!({"aud": "https://api.example.org/"}), "token_for_another_audience"),
        (json!({"aud": "https://API.example.org"}), "token_for_another_audience"),
        (json!({"aud": "https://api.example.or"}), "token_for_another_audience"),
        (json!({"aud": "https://api.example.org.evil.example"}), "token_for_another_audience"),
        (
            json!({"aud": ["https://other.example.org", "https://third.example.org"]}),
            "token_for_another_audience",
        ),
        (json!({"aud": ["https://other.example.org", RESOURCE]}), "ok"),
    ] {
        assert_eq!(stage.outcome(&stage.token_with(&changes)).await, name, "{changes}");
    }
}

#[tokio::test]
async fn oauth_9_a_token_has_its_time_and_the_leeway_has_an_end() {
    let stage = Stage::new();
    let now = stage.clock.seconds();
    for (changes, name) in [
        (json!({"exp": now + 1}), "ok"),
        (json!({"exp": now - 4}), "ok"),
        (json!({"exp": now - 5}), "token_expired"),
        (json!({"exp": now - 1000}), "token_expired"),
        (json!({"iat": now + 5}), "ok"),
        (json!({"iat": now + 6}), "token_not_yet_valid"),
        (json!({"nbf": now + 5}), "ok"),
        (json!({"nbf": now + 6}), "token_not_yet_valid"),
        (json!({"nbf": now - 6}), "ok"),
        (json!({"exp": now + 3600}), "ok"),
        (json!({"exp": now + 3601}), "token_lives_too_long"),
        (json!({"exp": 253_402_207_200_i64}), "token_lives_too_long"),
    ] {
        assert_eq!(stage.outcome(&stage.token_with(&changes)).await, name, "{changes}");
    }
    let token = stage.token();
    stage.clock.advance(304);
    assert_eq!(stage.outcome(&token).await, "ok");
    stage.clock.advance(1);
    assert_eq!(stage.outcome(&token).await, "token_expired");
}

#[tokio::test]
async fn oauth_13_only_the_type_of_access_tokens_is_taken() {
    let stage = Stage::new();
    for (typ, name) in [
        ("at+jwt", "ok"),
        ("application/at+jwt", "ok"),
        ("AT+JWT", "token_of_another_type"),
        ("JWT", "token_of_another_type"),
        ("jwt", "token_of_another_type"),
        ("at+jwt ", "token_of_another_type"),
        ("wit+jwt", "token_of_another_type"),
        ("dpop+jwt", "token_of_another_type"),
        ("txntoken+jwt", "token_of_another_type"),
        ("oauth-id-jag+jwt", "token_of_another_type"),
        ("statuslist+jwt", "token_of_another_type"),
        ("token-introspection+jwt", "token_of_another_type"),
        ("", "token_of_another_type"),
    ] {
        assert_eq!(stage.outcome(&sign(&stage.signer, typ, &stage.claims())).await, name, "{typ}");
    }
    let claims = stage.claims().to_string();
    let untyped = raw(&stage.signer, r#"{"alg":"ES256","kid":"key-1"}"#, &claims);
    assert_eq!(stage.outcome(&untyped).await, "token_of_another_type");
}

#[tokio::test]
async fn oauth_21_what_is_no_strict_jws_is_refused() {
    let stage = Stage::new();
    let claims = stage.claims().to_string();
    let with = |header: &str| raw(&stage.signer, header, &claims);
    let header = r#"{"alg":"ES256","kid":"key-1","typ":"at+jwt"}"#;
    assert_eq!(stage.outcome(&with(header)).await, "ok");
    for (token, name) in [
        (with(r#"{"alg":"none","kid":"key-1","typ":"at+jwt"}"#), "token_malformed"),
        (with(r#"{"alg":"NoNe","kid":"key-1","typ":"at+jwt"}"#), "token_malformed"),
        (with(r#"{"alg":"","kid":"key-1","typ":"at+jwt"}"#), "token_malformed"),
        (with(r#"{"alg":"HS256","kid":"key-1","typ":"at+jwt"}"#), "token_malformed"),
        (with(r#"{"alg":"es256","kid":"key-1","typ":"at+jwt"}"#), "token_malformed"),
        (with(r#"{"alg":"RS256","kid":"key-1","typ":"at+jwt"}"#), "token_signature"),
        (with(r#"{"alg":"ES384","kid":"key-1","typ":"at+jwt"}"#), "token_signature"),
        (with(r#"{"kid":"key-1","typ":"at+jwt"}"#), "token_malformed"),
        (with(r#"{"alg":"ES256","typ":"at+jwt"}"#), "token_of_an_unknown_key"),
        (with(r#"{"alg":"ES256","kid":"","typ":"at+jwt"}"#), "token_malformed"),
        (
            with(r#"{"alg":"ES256","kid":"../../dev/null","typ":"at+jwt"}"#),
            "token_of_an_unknown_key",
        ),
        (with(r#"{"alg":"ES256","kid":"' OR 1=1","typ":"at+jwt"}"#), "token_of_an_unknown_key"),
        (with(r#"{"alg":"ES256","kid":"key-1","kid":"key-1","typ":"at+jwt"}"#), "token_malformed"),
        (
            with(r#"{"alg":"ES256","kid":"key-1","typ":"at+jwt","crit":["x"],"x":1}"#),
            "token_malformed",
        ),
        (with(r#"{"alg":"ES256","kid":"key-1","typ":"at+jwt","b64":false}"#), "token_malformed"),
        (
            with(r#"{"alg":"ES256","kid":"key-1","typ":"at+jwt","jku":"https://a.example"}"#),
            "token_malformed",
        ),
        (with(r#"{"alg":"ES256","kid":"key-1","typ":"at+jwt","x5c":[]}"#), "token_malformed"),
        (with(r#"{"alg":"ES256","kid":"key-1","typ":"at+jwt","jwk":{}}"#), "token_malformed"),
        (raw(&stage.signer, header, "[]"), "token_malformed"),
        (raw(&stage.signer, header, r#"{"a":1,"a":1}"#), "token_malformed"),
        ("x".to_owned(), "token_malformed"),
        ("..".to_owned(), "token_malformed"),
        (".".repeat(10_000), "token_malformed"),
        (format!("{}.a.b", stage.token()), "token_malformed"),
        (format!("{}=", stage.token()), "token_malformed"),
        ("a".repeat(20_000), "token_malformed"),
    ] {
        assert_eq!(stage.outcome(&token).await, name, "{token:.100}");
    }
}

#[tokio::test]
async fn cve_2026_27840_every_changed_byte_spoils_the_token() {
    let stage = Stage::new();
    let token = stage.token();
    assert_eq!(stage.outcome(&token).await, "ok");
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let spoiled = String::from_utf8(bytes).unwrap();
        assert_ne!(stage.outcome(&spoiled).await, "ok", "byte {at}");
        let cut: String = token.chars().take(at).collect();
        assert_ne!(stage.outcome(&cut).await, "ok", "cut at {at}");
    }
}

#[tokio::test]
async fn oauth_21_a_namesakes_key_signs_nothing() {
    let stage = Stage::new();
    let namesake = ScratchSigner::generate("key-1");
    assert_eq!(stage.outcome(&sign(&namesake, "at+jwt", &stage.claims())).await, "token_signature");
    let stranger = ScratchSigner::generate("key-2");
    let stranger = sign(&stranger, "at+jwt", &stage.claims());
    assert_eq!(stage.outcome(&stranger).await, "token_of_an_unknown_key");
}

#[tokio::test]
async fn oauth_2_a_chain_of_actors_has_an_end() {
    let stage = Stage::new();
    let chain = |depth: usize| {
        let mut actor = json!({"sub": AGENT});
        for _ in 1..depth {
            actor = json!({"sub": AGENT, "act": actor});
        }
        changed(stage.claims(), &json!({ "act": actor }))
    };
    assert_eq!(stage.outcome(&stage.sign(&chain(8))).await, "ok");
    assert_eq!(stage.outcome(&stage.sign(&chain(9))).await, "token_claims");
}

#[tokio::test]
async fn oauth_6_a_token_bound_to_a_certificate_needs_a_connection_with_it() {
    let certificate = ClientCertificate::from_der(b"a certificate");
    let other = ClientCertificate::from_der(b"another certificate of the same SPIFFE ID");
    let stage = Stage::new();
    let x5t = marque_jose::base64url::encode(certificate.thumbprint().as_bytes());
    let token = stage.token_with(&json!({"cnf": {"x5t#S256": x5t}}));
    for (scheme, shows, name) in [
        ("Bearer", Some(certificate), "ok"),
        ("Bearer", Some(other), "token_of_another_certificate"),
        ("Bearer", None, "token_without_its_proof"),
        ("DPoP", Some(certificate), "token_without_its_proof"),
        ("DPoP", None, "token_without_its_proof"),
    ] {
        let header = format!("{scheme} {token}");
        let shown = shown("GET", "/x", &[("authorization", &header)], shows);
        assert_eq!(outcome(stage.verify(&shown).await), name, "{scheme} {shows:?}");
    }
}

#[tokio::test]
async fn oauth_7_a_token_bound_to_a_key_is_no_bearer_token_and_a_bearer_token_needs_no_proof() {
    let stage = Stage::new();
    let bound = stage.token_with(&json!({"cnf": {"jkt": "A".repeat(43)}}));
    assert_eq!(stage.outcome(&bound).await, "token_without_its_proof");
    let header = format!("DPoP {}", stage.token());
    let shown = shown("GET", "/x", &[("authorization", &header)], None);
    assert_eq!(outcome(stage.verify(&shown).await), "token_not_bound");
}

#[tokio::test]
async fn a_server_may_demand_how_tokens_are_bound() {
    let certificate = ClientCertificate::from_der(b"a certificate");
    let x5t = marque_jose::base64url::encode(certificate.thumbprint().as_bytes());
    for (binding, unbound, bound) in [
        (Binding::Optional, "ok", "ok"),
        (Binding::Required, "token_not_bound", "ok"),
        (Binding::Certificate, "token_not_bound", "ok"),
        (Binding::Dpop, "token_not_bound", "token_not_bound"),
    ] {
        let stage = Stage::with(|settings| settings.binding = binding);
        assert_eq!(stage.outcome(&stage.token()).await, unbound, "{binding:?}");
        let token = stage.token_with(&json!({"cnf": {"x5t#S256": x5t}}));
        let header = format!("Bearer {token}");
        let shown = shown("GET", "/x", &[("authorization", &header)], Some(certificate));
        assert_eq!(outcome(stage.verify(&shown).await), bound, "{binding:?}");
    }
}
