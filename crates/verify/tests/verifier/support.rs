//! An issuer to play with: keys, documents that a scripted client fetches, tokens of any shape, and a clock to move.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Method, Uri};
use jiff::Timestamp;
use marque_jose::{Jwk, JwkSet, Signer as _, base64url, sign_compact};
use marque_testkit::{START, ScratchSigner};
use marque_verify::{
    ClientCertificate, Clock, Fetch, FetchError, FetchFuture, FetchRequest, Fetched, Presentation,
    Refusal, VerifiedToken, Verifier, VerifierSettings,
};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://marque.example.org";
pub(crate) const RESOURCE: &str = "https://api.example.org";
pub(crate) const AGENT: &str = "spiffe://example.org/agent/one";
pub(crate) const METADATA_URL: &str =
    "https://marque.example.org/.well-known/oauth-authorization-server";
pub(crate) const JWKS_URL: &str = "https://marque.example.org/oauth2/jwks";

/// A clock that a test moves.
#[derive(Debug, Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn seconds(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds()).expect("a time")
    }
}

/// What the scripted client answers, by URL; every call is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Documents(Arc<Mutex<Served>>);

#[derive(Debug, Default)]
struct Served {
    bodies: HashMap<String, Vec<u8>>,
    calls: Vec<String>,
}

impl Documents {
    pub(crate) fn put(&self, url: &str, body: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().bodies.insert(url.to_owned(), body.into());
    }

    pub(crate) fn remove(&self, url: &str) {
        self.0.lock().unwrap().bodies.remove(url);
    }

    pub(crate) fn calls_of(&self, url: &str) -> usize {
        self.0.lock().unwrap().calls.iter().filter(|call| *call == url).count()
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }
}

impl Fetch for Documents {
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a> {
        let mut served = self.0.lock().unwrap();
        served.calls.push(request.url.to_owned());
        let found = served.bodies.get(request.url).cloned();
        Box::pin(async move {
            found
                .map(|body| Fetched { body })
                .ok_or_else(|| FetchError::new("nobody answers there"))
        })
    }
}

/// The issuer and one resource server of it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) signer: ScratchSigner,
    pub(crate) documents: Documents,
    pub(crate) clock: HandClock,
    pub(crate) verifier: Arc<Verifier>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|_settings| {})
    }

    /// A verifier with these settings.
    pub(crate) fn with(change: impl FnOnce(&mut VerifierSettings)) -> Self {
        let signer = ScratchSigner::generate("key-1");
        let documents = Documents::default();
        let metadata = json!({ "issuer": ISSUER, "jwks_uri": JWKS_URL });
        documents.put(METADATA_URL, metadata.to_string());
        documents.put(JWKS_URL, key_set(&[&signer]));
        let clock = HandClock(Arc::new(AtomicI64::new(START.as_second())));
        let mut settings =
            VerifierSettings::new(ISSUER.parse().unwrap(), RESOURCE.parse().unwrap());
        settings.clock = Arc::new(clock.clone());
        change(&mut settings);
        let verifier = settings.verifier(Arc::new(documents.clone())).expect("good settings");
        Self { signer, documents, clock, verifier: Arc::new(verifier) }
    }

    /// The time that the verifier sees.
    pub(crate) fn verifier_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The claims of a good token.
    pub(crate) fn claims(&self) -> Value {
        let now = self.clock.seconds();
        json!({
            "iss": ISSUER,
            "sub": AGENT,
            "client_id": AGENT,
            "aud": RESOURCE,
            "iat": now,
            "exp": now + 300,
            "jti": "tok_00000000000000000000000000000001",
            "scope": "secrets.read secrets.update",
        })
    }

    /// A good token.
    pub(crate) fn token(&self) -> String {
        self.sign(&self.claims())
    }

    /// A good token but for these claims; `null` takes one away.
    pub(crate) fn token_with(&self, changes: &Value) -> String {
        self.sign(&changed(self.claims(), changes))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        sign(&self.signer, "at+jwt", claims)
    }

    pub(crate) async fn verify(&self, shown: &Presentation) -> Result<VerifiedToken, Refusal> {
        self.verifier.verify(shown, &[]).await.map_err(|refused| refused.refusal())
    }

    /// What becomes of a token that comes as a bearer.
    pub(crate) async fn bearer(&self, token: &str) -> Result<VerifiedToken, Refusal> {
        self.verify(&bearer(token)).await
    }

    /// The stable name of the refusal of a token that comes as a bearer, or `ok`.
    pub(crate) async fn outcome(&self, token: &str) -> &'static str {
        outcome(self.bearer(token).await)
    }
}

pub(crate) fn outcome(verified: Result<VerifiedToken, Refusal>) -> &'static str {
    match verified {
        Ok(_token) => "ok",
        Err(refusal) => refusal.name(),
    }
}

pub(crate) fn sign(signer: &ScratchSigner, typ: &str, claims: &Value) -> String {
    sign_compact(Some(typ), claims, signer).expect("a token").expose_token().to_owned()
}

/// The object with other members; `null` takes one away.
pub(crate) fn changed(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

/// A compact JWS with exactly this header and this payload, signed by the key.
pub(crate) fn raw(signer: &ScratchSigner, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
    let signature = signer.sign(input.as_bytes()).expect("a signature");
    format!("{input}.{}", base64url::encode(signature))
}

pub(crate) fn key_set(signers: &[&ScratchSigner]) -> String {
    let jwk = |signer: &&ScratchSigner| {
        Jwk::for_signatures(signer.public_key().clone(), signer.key_id().clone())
    };
    JwkSet { keys: signers.iter().map(jwk).collect() }.to_value().to_string()
}

pub(crate) fn bearer(token: &str) -> Presentation {
    shown("GET", "/things", &[("authorization", &format!("Bearer {token}"))], None)
}

pub(crate) fn shown(
    method: &str,
    uri: &str,
    headers: &[(&'static str, &str)],
    certificate: Option<ClientCertificate>,
) -> Presentation {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).expect("a header"));
    }
    let method: Method = method.parse().expect("a method");
    let uri: Uri = uri.parse().expect("a URI");
    Presentation::new(&method, &uri, &map, certificate)
}
