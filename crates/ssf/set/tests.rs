//! SETs of a sender whose key is known, each with one thing wrong.

use marque_testkit::{START, ScratchSigner};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://idp.example.org";
const AUDIENCE: &str = "https://issuer.example.org/ssf";
const AGENT: &str = "spiffe://prod.example.org/agent/a";

fn expected() -> Expected<'static> {
    Expected {
        issuer: ISSUER,
        audience: AUDIENCE,
        max_age: Duration::from_hours(1),
        leeway: Duration::from_mins(1),
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "jti": "a1", "iat": START.as_second(),
        "sub_id": { "format": "uri", "uri": AGENT },
        "events": { (crate::EventType::SessionRevoked.uri()): {} },
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

struct Sender {
    signer: ScratchSigner,
    keys: JwkSet,
}

impl Sender {
    fn new() -> Self {
        let signer = ScratchSigner::generate("sets-1");
        let key =
            marque_jose::Jwk::for_signatures(signer.public_key().clone(), signer.key_id().clone());
        Self { signer, keys: JwkSet { keys: vec![key] } }
    }

    fn signed(&self, typ: Option<&str>, claims: &Value) -> String {
        sign_compact(typ, claims, &self.signer).unwrap().expose_token().to_owned()
    }

    fn take(&self, token: &str, now: Timestamp) -> Result<SecurityEvent, SetError> {
        UnverifiedSet::parse(token)?.verify(&expected(), &self.keys, now)
    }
}

#[test]
fn what_we_make_verifies_and_says_the_same() {
    let sender = Sender::new();
    let subject = Subject::Uri(AGENT.to_owned());
    let event = Event::session_revoked(crate::InitiatingEntity::Admin, "stopped", START);
    let claims = SetClaims::new(NewSet {
        issuer: ISSUER,
        audience: AUDIENCE,
        jti: "set_1",
        txn: Some("kill-1"),
        subject: &subject,
        event: &event,
        issued_at: START,
    });
    let token = claims.sign(&sender.signer).unwrap();
    let taken = sender.take(token.expose_token(), START).unwrap();
    assert_eq!((taken.jti.as_str(), taken.txn.as_deref()), ("set_1", Some("kill-1")));
    assert_eq!((taken.subject, taken.event), (subject, event));
    let jws = UnverifiedJws::parse(token.expose_token()).unwrap();
    assert_eq!(jws.header().typ(), Some(SET_TYPE));
    let claims = jws.dangerous_unverified_claims();
    let mut names: Vec<&str> = claims.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "events", "iat", "iss", "jti", "sub_id", "txn"]);
}

#[test]
fn a_set_with_one_thing_wrong_is_refused_with_its_code() {
    let sender = Sender::new();
    let second = |by: i64| json!(START.as_second() + by);
    let revoked = crate::EventType::SessionRevoked.uri();
    for (claims, code) in [
        (with("iss", json!("https://idp.example.org/")), "invalid_issuer"),
        (with("aud", json!("https://issuer.example.org")), "invalid_audience"),
        (with("aud", json!([])), "invalid_request"),
        (with("sub", json!(AGENT)), "invalid_request"),
        (with("exp", second(300)), "invalid_request"),
        (with("exp", Value::Null), "invalid_request"),
        (with("jti", json!("")), "invalid_request"),
        (with("jti", json!("a".repeat(MAX_JTI_BYTES + 1))), "invalid_request"),
        (with("jti", json!("a b")), "invalid_request"),
        (with("iat", second(61)), "invalid_request"),
        (with("iat", second(-3660)), "invalid_request"),
        (with("iat", json!("1")), "invalid_request"),
        (with("events", json!({})), "invalid_request"),
        (with("events", json!({ (revoked.clone()): {}, "urn:x": {} })), "invalid_request"),
        (with("events", json!({ "urn:x": {} })), "invalid_request"),
        (with("events", json!({ (revoked): [] })), "invalid_request"),
        (with("sub_id", json!({ "format": "uri" })), "invalid_request"),
        (with("txn", json!(1)), "invalid_request"),
        (without("sub_id"), "invalid_request"),
        (without("jti"), "invalid_request"),
        (without("iat"), "invalid_request"),
        (without("aud"), "invalid_request"),
        (without("events"), "invalid_request"),
    ] {
        let token = sender.signed(Some(SET_TYPE), &claims);
        let error = sender.take(&token, START).unwrap_err();
        assert_eq!(error.code().as_str(), code, "{claims}: {error}");
    }
    for typ in [None, Some("JWT"), Some("at+jwt"), Some("logout+jwt")] {
        let error = sender.take(&sender.signed(typ, &claims()), START).unwrap_err();
        assert!(matches!(error, SetError::Type), "{typ:?}: {error}");
    }
}

#[test]
fn times_and_audiences_are_taken_to_their_edge() {
    let sender = Sender::new();
    for claims in [
        with("iat", json!(START.as_second() + 60)),
        with("iat", json!(START.as_second() - 3659)),
        with("aud", json!(["https://other.example.org", AUDIENCE])),
        with("jti", json!("a".repeat(MAX_JTI_BYTES))),
    ] {
        sender.take(&sender.signed(Some("application/secevent+jwt"), &claims), START).unwrap();
    }
}

#[test]
fn nobody_else_s_signature_is_believed() {
    let (sender, other) = (Sender::new(), Sender::new());
    let token = other.signed(Some(SET_TYPE), &claims());
    assert!(matches!(sender.take(&token, START), Err(SetError::Signature(_))));
    let nobody = Sender { keys: JwkSet::default(), ..Sender::new() };
    assert!(matches!(nobody.take(&token, START), Err(SetError::Key)));
    let token = sender.signed(Some(SET_TYPE), &claims());
    let (input, _) = token.rsplit_once('.').unwrap();
    assert!(matches!(sender.take(&format!("{input}."), START), Err(SetError::Signature(_))));
    assert!(matches!(sender.take("a.b", START), Err(SetError::Jws(_))));
}
