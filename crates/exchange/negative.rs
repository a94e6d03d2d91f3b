//! The negative list: what is refused, whoever asks, each case by its name (`oauth_21_<case>`), and one test for each
//! published vulnerability whose lesson is about tokens.
//!
//! A token that is to be refused for what is in it is signed by the right key all the same: it is one step away from one
//! that is accepted, and the first test here takes that step back.

mod claims;
mod ends;
mod grants;
mod header;
mod kinds;
mod lessons;
mod request;

use std::time::Duration;

use marque_jose::{Signer, base64url};
use marque_testkit::START;
use serde_json::{Value, json};

use crate::{
    OAuthErrorCode,
    fixture::{ISSUER, Rig},
};

/// A token service, and tokens that are made to be refused by it.
struct Forge {
    rig: Rig,
}

impl Forge {
    fn new() -> Self {
        Self { rig: Rig::new() }
    }

    /// The header of an SVID that is accepted.
    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "scratch-jwt-1", "typ": "JWT" })
    }

    /// The claims of an SVID of the agent that is accepted.
    fn claims(&self) -> Value {
        let (iat, exp) = (START.as_second(), START.as_second() + 300);
        json!({ "sub": self.rig.agent, "aud": ISSUER, "iat": iat, "exp": exp })
    }

    /// The agent's SVID with this member of its header.
    fn with_header(&self, member: &str, value: Value) -> String {
        let mut header = Self::header();
        header[member] = value;
        self.svid(&header.to_string(), &self.claims().to_string())
    }

    /// The agent's SVID with this claim.
    fn with_claim(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[claim] = value;
        self.svid(&Self::header().to_string(), &claims.to_string())
    }

    /// The agent's SVID without this claim.
    fn without_claim(&self, claim: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(claim);
        self.svid(&Self::header().to_string(), &claims.to_string())
    }

    /// Exactly this header and this payload, signed by the key for JWT-SVIDs of the agent's trust domain.
    fn svid(&self, header: &str, payload: &str) -> String {
        signed(header, payload, &**self.rig.own.signer())
    }

    /// Nobody is known by this token, it is no subject, and it is no access token.
    async fn refuses(&self, name: &str, token: &str) {
        let Self { rig } = self;
        // What is too long for a form is refused before anybody is asked who they are.
        let fits = token.len() <= crate::MAX_FORM_VALUE_BYTES;
        let refused = async |fields, code| {
            let Err(error) = rig.exchange(&fields).await else { panic!("{name} gets a token") };
            let code = if fits { code } else { OAuthErrorCode::InvalidRequest };
            assert_eq!(error.code(), code, "{name}: {error}");
            assert!(crate::fixture::is_plain(&error), "{name}: {error}");
        };
        refused(rig.fields().authenticated(token), OAuthErrorCode::InvalidClient).await;
        refused(rig.fields().set("subject_token", token), OAuthErrorCode::InvalidRequest).await;
        if fits {
            let answer = rig.introspect(&rig.svid(), token).await.unwrap();
            assert_eq!(answer, json!({ "active": false }), "{name}");
        }
        assert!(rig.store.kept().tokens.is_empty(), "{name}");
    }
}

/// A compact JWS of exactly this header and this payload.
fn signed(header: &str, payload: &str, signer: &dyn Signer) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
    let signature = signer.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

#[tokio::test]
async fn what_the_forgeries_spoil_is_accepted() {
    let forge = Forge::new();
    let svid = forge.svid(&Forge::header().to_string(), &forge.claims().to_string());
    let fields = forge.rig.fields().authenticated(&svid).set("subject_token", &svid);
    forge.rig.exchange(&fields).await.unwrap();
}

/// What else an SVID may hold without harm: a later test may not tighten this by accident.
#[tokio::test]
async fn an_svid_may_hold_claims_that_mean_nothing_here() {
    let forge = Forge { rig: Rig::with(|_| {}, |terms| terms.uses = 8) };
    for (claim, value) in [
        ("iss", json!("https://elsewhere.example.org")),
        ("jti", json!("1")),
        ("nbf", json!(START.as_second())),
        ("act", json!({ "sub": "spiffe://prod.example.org/agent/other" })),
    ] {
        let svid = forge.with_claim(claim, value);
        forge.rig.exchange(&forge.rig.fields().authenticated(&svid)).await.unwrap();
    }
    let end = START + Duration::from_secs(300);
    assert_eq!(forge.claims()["exp"], end.as_second());
}
