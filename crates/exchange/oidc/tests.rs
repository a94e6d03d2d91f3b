use std::sync::atomic::{AtomicUsize, Ordering};

use marque_jose::{KeyId, Signer as _, base64url};
use marque_testkit::{START, ScratchSigner};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://login.example.org";

#[derive(Debug)]
struct Keys {
    set: Option<JwkSet>,
    missed: AtomicUsize,
}

impl OidcKeys for Keys {
    fn keys(&self, issuer: &str, _now: Timestamp) -> Result<Arc<JwkSet>, StaleOidcKeys> {
        assert_eq!(issuer, "corp", "keys are found by the name in the configuration");
        self.set.clone().map(Arc::new).ok_or(StaleOidcKeys)
    }

    fn missing(&self, _issuer: &str) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }
}

struct Stage {
    signer: ScratchSigner,
    keys: Arc<Keys>,
    issuer: OidcIssuer,
}

impl Stage {
    fn new() -> Self {
        let signer = ScratchSigner::generate("corp-1");
        let jwk = Jwk::for_signatures(signer.public_key().clone(), signer.key_id().clone());
        let keys = Keys { set: Some(JwkSet { keys: vec![jwk] }), missed: AtomicUsize::new(0) };
        let issuer = OidcIssuer {
            name: "corp".to_owned(),
            issuer: ISSUER.to_owned(),
            audiences: BTreeSet::from(["marque-prod".to_owned()]),
            max_age: Duration::from_secs(600),
            groups_claim: Some("groups".to_owned()),
            required_claims: BTreeMap::from([("tid".to_owned(), "t-1".to_owned())]),
        };
        Self { signer, keys: Arc::new(keys), issuer }
    }

    fn verify(&self, token: &str) -> Result<Person, IdTokenError> {
        let keys = Arc::clone(&self.keys) as Arc<dyn OidcKeys>;
        PersonVerifier::new(vec![self.issuer.clone()], keys, Duration::from_secs(10))
            .verify(token, START)
    }

    /// A token with this header beside `alg` and `kid`, and these claims, signed by the issuer's key.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let mut members = json!({"alg": "ES256", "kid": "corp-1", "typ": "JWT"});
        let object = members.as_object_mut().unwrap();
        for (name, value) in header.as_object().unwrap() {
            if value.is_null() {
                object.remove(name);
            } else {
                object.insert(name.clone(), value.clone());
            }
        }
        let input = format!(
            "{}.{}",
            base64url::encode(members.to_string()),
            base64url::encode(claims.to_string())
        );
        format!("{input}.{}", base64url::encode(self.signer.sign(input.as_bytes()).unwrap()))
    }

    fn token(&self, claims: &Value) -> String {
        self.signed(&json!({}), claims)
    }
}

fn good() -> Value {
    let now = START.as_second();
    json!({
        "iss": ISSUER,
        "sub": "00u1-alice",
        "aud": "marque-prod",
        "iat": now - 60,
        "exp": now + 240,
        "tid": "t-1",
        "groups": ["sre", "staff"],
        "email": "alice@example.org",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

#[test]
fn a_good_id_token_names_a_person_with_their_groups() {
    let stage = Stage::new();
    let person = stage.verify(&stage.token(&good())).unwrap();
    assert_eq!(person.principal(), "corp:00u1-alice");
    assert_eq!(person.groups, BTreeSet::from(["sre".to_owned(), "staff".to_owned()]));
    assert_eq!(person.expires_at.as_second(), START.as_second() + 240);
    assert!(!format!("{person:?}").contains("alice"), "a person is not printed");
    for header in [json!({"typ": null}), json!({"typ": "jwt"}), json!({"x5t": "abc"})] {
        assert!(stage.verify(&stage.signed(&header, &good())).is_ok(), "{header}");
    }
    for claims in [
        with("aud", json!(["marque-prod"])),
        with("azp", json!("marque-prod")),
        with("nbf", json!(START.as_second())),
        with("groups", json!(null)),
        with("groups", json!([])),
        with("auth_time", json!(START.as_second() - 3600)),
    ] {
        assert!(stage.verify(&stage.token(&claims)).is_ok(), "{claims}");
    }
    let mut several = with("aud", json!(["marque-prod", "other"]));
    several["azp"] = json!("marque-prod");
    assert!(stage.verify(&stage.token(&several)).is_ok());
}

#[test]
fn oauth_2_an_id_token_that_is_not_wholly_good_names_nobody() {
    let stage = Stage::new();
    let now = START.as_second();
    let table = [
        ("no issuer", with("iss", json!(null))),
        ("another issuer", with("iss", json!("https://login.example.com"))),
        ("an issuer with a slash", with("iss", json!("https://login.example.org/"))),
        ("an issuer in capitals", with("iss", json!("https://LOGIN.example.org"))),
        ("an issuer in a list", with("iss", json!([ISSUER]))),
        ("no audience", with("aud", json!(null))),
        ("an empty audience", with("aud", json!([]))),
        ("another audience", with("aud", json!("marque-dev"))),
        ("an audience as prefix", with("aud", json!("marque-prod-2"))),
        ("an audience in capitals", with("aud", json!("Marque-Prod"))),
        ("two audiences", with("aud", json!(["marque-prod", "other"]))),
        ("a login as text", with("auth_time", json!("now"))),
        ("a login to come", with("auth_time", json!(now + 3600))),
        ("a login of another kind", with("acr", json!(2))),
        ("a long kind of login", with("acr", json!("a".repeat(257)))),
        ("an empty kind of login", with("acr", json!(""))),
        ("one way to log in", with("amr", json!("pwd"))),
        ("many ways to log in", with("amr", json!(vec!["pwd"; 17]))),
        ("issued to another", with("azp", json!("other"))),
        ("issued to nobody", with("azp", json!(""))),
        ("an azp of another type", with("azp", json!(["marque-prod"]))),
        ("no end", with("exp", json!(null))),
        ("an end as text", with("exp", json!((now + 240).to_string()))),
        ("an end as fraction", with("exp", json!(1e10 + 0.5))),
        ("a negative end", with("exp", json!(-1))),
        ("ended", with("exp", json!(now - 1))),
        ("ending now", with("exp", json!(now))),
        ("no beginning", with("iat", json!(null))),
        ("a beginning as text", with("iat", json!("1"))),
        ("issued in the future", with("iat", json!(now + 11))),
        ("too old", with("iat", json!(now - 611))),
        ("not good yet", with("nbf", json!(now + 11))),
        ("an nbf as text", with("nbf", json!("0"))),
        ("no subject", with("sub", json!(null))),
        ("an empty subject", with("sub", json!(""))),
        ("a number for a subject", with("sub", json!(7))),
        ("a subject with a blank", with("sub", json!("a b"))),
        ("a subject with a line break", with("sub", json!("a\nb"))),
        ("a long subject", with("sub", json!("a".repeat(256)))),
        ("a workload", with("sub", json!("spiffe://prod.example.org/agent/a"))),
        ("a workload in capitals", with("sub", json!("SPIFFE://prod.example.org/agent/a"))),
        ("bound to a key", with("cnf", json!({"jkt": "x"}))),
        ("without a required claim", with("tid", json!(null))),
        ("with another required claim", with("tid", json!("t-2"))),
        ("a required claim in a list", with("tid", json!(["t-1"]))),
        ("groups as text", with("groups", json!("sre"))),
        ("groups of numbers", with("groups", json!([1]))),
        ("too many groups", with("groups", json!(vec!["g"; MAX_PERSON_GROUPS + 1]))),
        ("a may_act of another type", with("may_act", json!("anybody"))),
    ];
    for (name, claims) in table {
        assert!(stage.verify(&stage.token(&claims)).is_err(), "{name}: {claims}");
    }
}

#[test]
fn oauth_13_only_the_issuers_own_key_and_a_plain_header_verify() {
    let stage = Stage::new();
    let stranger = Stage::new();
    assert!(matches!(
        stage.verify(&stranger.token(&good())),
        Err(IdTokenError::Jws(JwsError::Signature))
    ));
    let key = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    for (name, header) in [
        ("no kid", json!({"kid": null})),
        ("an unknown kid", json!({"kid": "corp-2"})),
        ("a kid that is a path", json!({"kid": "../corp-1"})),
        ("no alg", json!({"alg": null})),
        ("none", json!({"alg": "none"})),
        ("NoNe", json!({"alg": "NoNe"})),
        ("HS256", json!({"alg": "HS256"})),
        ("an alg of another key type", json!({"alg": "RS256"})),
        ("an access token", json!({"typ": "at+jwt"})),
        ("an access token in full", json!({"typ": "application/at+jwt"})),
        ("a logout token", json!({"typ": "logout+jwt"})),
        ("a client assertion", json!({"typ": "client-authentication+jwt"})),
        ("jku", json!({"jku": "https://evil.example.org/jwks"})),
        ("jwk", json!({"jwk": key})),
        ("x5u", json!({"x5u": "https://evil.example.org/x"})),
        ("x5c", json!({"x5c": ["AA"]})),
        ("crit", json!({"crit": ["exp"]})),
        ("b64", json!({"b64": false})),
    ] {
        assert!(stage.verify(&stage.signed(&header, &good())).is_err(), "{name}");
    }
    let token = stage.token(&good());
    for mutated in [
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}.x"),
        token.replace('.', ".."),
        token.chars().take(token.len() - 2).collect(),
        String::new(),
        "null".to_owned(),
    ] {
        assert!(stage.verify(&mutated).is_err());
    }
}

#[test]
fn a_key_for_something_else_verifies_nothing() {
    let mut stage = Stage::new();
    let kid: KeyId = "corp-1".parse().unwrap();
    let mut jwk = Jwk::for_signatures(stage.signer.public_key().clone(), kid);
    jwk.key_use = Some("enc".to_owned());
    let keys = Keys { set: Some(JwkSet { keys: vec![jwk] }), missed: AtomicUsize::new(0) };
    stage.keys = Arc::new(keys);
    let refused = stage.verify(&stage.token(&good()));
    assert!(matches!(refused, Err(IdTokenError::Key)), "{refused:?}");
}

#[test]
fn keys_that_are_too_old_verify_nothing() {
    let mut stage = Stage::new();
    stage.keys = Arc::new(Keys { set: None, missed: AtomicUsize::new(0) });
    let refused = stage.verify(&stage.token(&good()));
    assert!(matches!(refused, Err(IdTokenError::StaleKeys(StaleOidcKeys))), "{refused:?}");
    assert!(matches!(NoOidcKeys.keys("corp", START), Err(StaleOidcKeys)));
}

#[test]
fn a_key_that_is_not_known_is_asked_for_and_only_then() {
    let stage = Stage::new();
    stage.verify(&stage.token(&good())).unwrap();
    stage.verify(&stage.token(&with("aud", json!("x")))).unwrap_err();
    assert_eq!(stage.keys.missed.load(Ordering::Relaxed), 0);
    stage.verify(&stage.signed(&json!({"kid": "corp-2"}), &good())).unwrap_err();
    assert_eq!(stage.keys.missed.load(Ordering::Relaxed), 1);
    // Not for somebody whose issuer is not even configured.
    stage.verify(&stage.token(&with("iss", json!("https://evil.example.org")))).unwrap_err();
    assert_eq!(stage.keys.missed.load(Ordering::Relaxed), 1);
}

#[test]
fn the_limits_of_time_are_where_they_are_said_to_be() {
    let stage = Stage::new();
    let now = START.as_second();
    for (name, value) in [
        ("iat", json!(now + 10)),
        ("iat", json!(now - 609)),
        ("nbf", json!(now + 10)),
        ("exp", json!(now + 1)),
    ] {
        assert!(stage.verify(&stage.token(&with(name, value.clone()))).is_ok(), "{name}: {value}");
    }
}

#[test]
fn a_token_says_which_issuer_it_claims_before_anything_is_verified() {
    let stage = Stage::new();
    let keys = Arc::clone(&stage.keys) as Arc<dyn OidcKeys>;
    let verifier = PersonVerifier::new(vec![stage.issuer.clone()], keys, Duration::ZERO);
    let of = |claims: &Value| {
        verifier.is_of_an_issuer(&UnverifiedJws::parse(&stage.token(claims)).unwrap())
    };
    assert!(of(&good()));
    for other in [json!(null), json!("https://login.example.com"), json!(7)] {
        assert!(!of(&with("iss", other)));
    }
}
