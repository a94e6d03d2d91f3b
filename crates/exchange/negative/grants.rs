//! Assertions of other issuers as grants (RFC 7523): how long they are taken, and that each is used once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use marque_jose::{Jwk, JwkSet, Signer as _, sign_compact};
use marque_testkit::{START, ScratchSigner};
use serde_json::{Value, json};

use crate::{
    AuthorizationServer, GRANT_TYPE_JWT_BEARER, GrantProfile,
    OAuthErrorCode::InvalidGrant,
    OidcKeys, StaleOidcKeys,
    fixture::{Fields, ISSUER, Login, Rig},
};

/// Two issuers of grants, each with a key of its own.
#[derive(Debug)]
struct Issuers(BTreeMap<&'static str, ScratchSigner>);

impl Issuers {
    fn new() -> Self {
        let names = ["one", "two"];
        Self(names.map(|name| (name, ScratchSigner::generate("grants-1"))).into())
    }

    fn sign(&self, name: &str, claims: &Value) -> String {
        let signed = sign_compact(Some("oauth-id-jag+jwt"), claims, &self.0[name]).unwrap();
        signed.expose_token().to_owned()
    }
}

impl OidcKeys for Issuers {
    fn keys(&self, name: &str, _now: Timestamp) -> Result<Arc<JwkSet>, StaleOidcKeys> {
        let signer = self.0.get(name).ok_or(StaleOidcKeys)?;
        let key = Jwk::for_signatures(signer.public_key().clone(), signer.key_id().clone());
        Ok(Arc::new(JwkSet { keys: vec![key] }))
    }

    fn missing(&self, _name: &str) {}
}

fn url(name: &str) -> String {
    format!("https://{name}.example.org")
}

/// A service that takes grants of both issuers, with an intent of many uses.
fn rig() -> (Rig, Arc<Issuers>) {
    let issuers = Arc::new(Issuers::new());
    let rig = Rig::of(
        |config| {
            let server = |name: &str| AuthorizationServer {
                name: name.to_owned(),
                issuer: url(name),
                to: BTreeSet::new(),
                scopes: None,
                clients: BTreeMap::new(),
                from: GrantProfile::ALL.into(),
            };
            config.authorization_servers = vec![server("one"), server("two")];
        },
        |terms| terms.uses = 16,
        Arc::clone(&issuers) as _,
        Arc::new(Login::new()),
    );
    (rig, issuers)
}

fn claims(rig: &Rig, issuer: &str, jti: &str) -> Value {
    let (iat, exp) = (START.as_second(), START.as_second() + 120);
    json!({
        "iss": url(issuer), "sub": "alice", "aud": ISSUER, "client_id": rig.agent, "jti": jti,
        "iat": iat, "exp": exp, "scope": "secrets.read",
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
async fn oauth_3_6_the_id_of_one_issuers_grant_is_not_used_up_by_anothers() {
    let (rig, issuers) = rig();
    let grant = |issuer| issuers.sign(issuer, &claims(&rig, issuer, "same"));
    for issuer in ["one", "two"] {
        rig.exchange(&assertion(&rig, &grant(issuer))).await.unwrap();
    }
    for issuer in ["one", "two"] {
        let error = rig.exchange(&assertion(&rig, &grant(issuer))).await.unwrap_err();
        assert_eq!(error.code(), InvalidGrant, "{issuer}");
    }
    assert_eq!(rig.store.kept().tokens.len(), 2);
}

#[tokio::test]
async fn oauth_3_4_oauth_3_5_the_times_of_a_grant_are_taken_up_to_their_limits() {
    let (rig, issuers) = rig();
    let now = START.as_second();
    for (jti, claim, value, good) in [
        ("a", "exp", json!(now + 310), true),
        ("b", "exp", json!(now + 311), false),
        ("c", "exp", json!((now + 120) as f64), false),
        ("d", "exp", Value::Null, false),
        ("e", "iat", json!(now + 10), true),
        ("f", "iat", json!(now + 11), false),
        ("g", "iat", json!(now.to_string()), false),
    ] {
        let mut claims = claims(&rig, "one", jti);
        claims[claim] = value.clone();
        let answer = rig.exchange(&assertion(&rig, &issuers.sign("one", &claims))).await;
        assert_eq!(answer.is_ok(), good, "{claim} {value}");
    }
}
