//! DPoP proofs at the resource server (RFC 9449 §7, §9), and tokens that are used once.

use std::sync::Arc;

use http::{Method, Request};
use marque_jose::{Signer as _, base64url, sha256};
use marque_testkit::ScratchSigner;
use marque_verify::{
    MemoryReplays, Nonces, Presentation, Replays, ReplaysFuture, ReplaysUnavailable, Use,
    VerifyLayer,
};
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};

use crate::support::{Stage, changed, outcome, raw, shown};

const URI: &str = "https://api.example.org/things";

/// An agent's key.
struct Holder(ScratchSigner);

impl Holder {
    fn new() -> Self {
        Self(ScratchSigner::generate("holder"))
    }

    fn jwk(&self) -> Value {
        Value::Object(self.0.public_key().to_jwk())
    }

    /// A token that is bound to the key.
    fn token(&self, stage: &Stage) -> String {
        let jkt = base64url::encode(self.0.public_key().thumbprint());
        stage.token_with(&json!({"cnf": {"jkt": jkt}}))
    }

    /// The claims of a good proof for a `GET` of [`URI`] with the token.
    fn claims(stage: &Stage, token: &str, jti: &str) -> Value {
        json!({
            "jti": jti,
            "htm": "GET",
            "htu": URI,
            "iat": stage.clock.seconds(),
            "ath": base64url::encode(sha256(token.as_bytes())),
        })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let base = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()});
        raw(&self.0, &changed(base, header).to_string(), &claims.to_string())
    }

    fn proof(&self, stage: &Stage, token: &str, jti: &str) -> String {
        self.sign(&json!({}), &Self::claims(stage, token, jti))
    }
}

fn dpop(token: &str, proof: &str) -> Presentation {
    let authorization = format!("DPoP {token}");
    shown("GET", "/things?page=2", &[("authorization", &authorization), ("dpop", proof)], None)
}

#[tokio::test]
async fn oauth_7_a_bound_token_with_its_proof_is_good() {
    let (stage, holder) = (Stage::new(), Holder::new());
    let token = holder.token(&stage);
    let proof = holder.proof(&stage, &token, "1");
    assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), "ok");
}

#[tokio::test]
async fn oauth_7_a_proof_is_of_this_key_for_this_request_and_token_and_of_now() {
    let (stage, holder, other) = (Stage::new(), Holder::new(), Holder::new());
    let token = holder.token(&stage);
    let good = Holder::claims(&stage, &token, "jti");
    let now = stage.clock.seconds();
    let header = |changes: Value| holder.sign(&changes, &good);
    let claims = |changes: Value| holder.sign(&json!({}), &changed(good.clone(), &changes));
    let mut private = holder.jwk();
    private["d"] = "AAAA".into();
    for (what, proof, name) in [
        ("another key", other.sign(&json!({}), &good), "proof_of_another_key"),
        ("a borrowed key", other.sign(&json!({"jwk": holder.jwk()}), &good), "proof_malformed"),
        ("a private key", header(json!({"jwk": private})), "proof_malformed"),
        ("no key", header(json!({"jwk": null})), "proof_malformed"),
        ("a symmetric key", header(json!({"jwk": {"kty": "oct", "k": "AA"}})), "proof_malformed"),
        ("alg none", header(json!({"alg": "none"})), "proof_malformed"),
        ("alg HS256", header(json!({"alg": "HS256"})), "proof_malformed"),
        ("alg of another key", header(json!({"alg": "RS256"})), "proof_malformed"),
        ("no type", header(json!({"typ": null})), "proof_malformed"),
        ("type JWT", header(json!({"typ": "JWT"})), "proof_malformed"),
        ("type of a token", header(json!({"typ": "at+jwt"})), "proof_malformed"),
        ("no jti", claims(json!({"jti": null})), "proof_malformed"),
        ("an empty jti", claims(json!({"jti": ""})), "proof_malformed"),
        ("a long jti", claims(json!({"jti": "x".repeat(129)})), "proof_malformed"),
        ("no method", claims(json!({"htm": null})), "proof_malformed"),
        ("another method", claims(json!({"htm": "POST"})), "proof_of_another_request"),
        ("method in lower case", claims(json!({"htm": "get"})), "proof_of_another_request"),
        ("no URL", claims(json!({"htu": null})), "proof_malformed"),
        (
            "another host",
            claims(json!({"htu": "https://b.example.org/things"})),
            "proof_of_another_request",
        ),
        (
            "another scheme",
            claims(json!({"htu": "http://api.example.org/things"})),
            "proof_of_another_request",
        ),
        (
            "another port",
            claims(json!({"htu": "https://api.example.org:8443/things"})),
            "proof_of_another_request",
        ),
        (
            "another path",
            claims(json!({"htu": "https://api.example.org/thing"})),
            "proof_of_another_request",
        ),
        (
            "another case of path",
            claims(json!({"htu": "https://api.example.org/Things"})),
            "proof_of_another_request",
        ),
        ("with its query", claims(json!({"htu": format!("{URI}?page=2")})), "proof_malformed"),
        ("with a fragment", claims(json!({"htu": format!("{URI}#x")})), "proof_malformed"),
        (
            "the token endpoint",
            claims(json!({"htu": "https://marque.example.org/oauth2/token", "htm": "POST"})),
            "proof_of_another_request",
        ),
        ("no time", claims(json!({"iat": null})), "proof_malformed"),
        ("time as text", claims(json!({"iat": now.to_string()})), "proof_malformed"),
        ("too old", claims(json!({"iat": now - 61})), "proof_of_another_time"),
        ("from the future", claims(json!({"iat": now + 11})), "proof_of_another_time"),
        ("no token hash", claims(json!({"ath": null})), "proof_of_another_token"),
        (
            "hash of another token",
            claims(json!({"ath": base64url::encode(sha256(b"x"))})),
            "proof_of_another_token",
        ),
        ("no proof", "x".to_owned(), "proof_malformed"),
        ("two in one", format!("{0}, {0}", holder.sign(&json!({}), &good)), "proof_malformed"),
        ("default port", claims(json!({"htu": "https://API.example.org:443/things"})), "ok"),
    ] {
        assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), name, "{what}");
    }
}

#[tokio::test]
async fn oauth_7_a_proof_comes_exactly_once_and_with_its_scheme() {
    let (stage, holder) = (Stage::new(), Holder::new());
    let token = holder.token(&stage);
    let proof = holder.proof(&stage, &token, "1");
    let (bearer, scheme) = (format!("Bearer {token}"), format!("DPoP {token}"));
    for (headers, name) in [
        (vec![("authorization", &*scheme)], "proof_malformed"),
        (
            vec![("authorization", &*scheme), ("dpop", &*proof), ("dpop", &*proof)],
            "proof_malformed",
        ),
        (vec![("authorization", &*bearer), ("dpop", &*proof)], "token_without_its_proof"),
        (vec![("dpop", &*proof)], "no_token"),
    ] {
        let shown = shown("GET", "/things", &headers, None);
        assert_eq!(outcome(stage.verify(&shown).await), name, "{headers:?}");
    }
}

#[tokio::test]
async fn oauth_7_a_replayed_proof_is_refused_and_nobody_uses_up_anothers() {
    let (stage, holder, other) = (Stage::new(), Holder::new(), Holder::new());
    let (token, others) = (holder.token(&stage), other.token(&stage));
    let proof = holder.proof(&stage, &token, "same");
    assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), "ok");
    assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), "proof_replayed");
    let again = holder.proof(&stage, &token, "same");
    assert_eq!(outcome(stage.verify(&dpop(&token, &again)).await), "proof_replayed");
    let elses = other.proof(&stage, &others, "same");
    assert_eq!(outcome(stage.verify(&dpop(&others, &elses)).await), "ok");
    // To the last second at which it would be good.
    stage.clock.advance(60);
    assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), "proof_replayed");
    stage.clock.advance(1);
    assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), "proof_of_another_time");
}

#[tokio::test]
async fn oauth_21_a_proof_from_before_the_start_counts_as_used() {
    let (stage, holder) = (Stage::new(), Holder::new());
    let token = holder.token(&stage);
    let claims =
        changed(Holder::claims(&stage, &token, "1"), &json!({"iat": stage.clock.seconds() - 1}));
    let proof = holder.sign(&json!({}), &claims);
    assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), "proof_replayed");
}

#[tokio::test]
async fn a_refused_request_uses_up_no_proof() {
    let (stage, holder) = (Stage::new(), Holder::new());
    let token = holder.token(&stage);
    let proof = holder.proof(&stage, &token, "1");
    let refused = stage.verifier.verify(&dpop(&token, &proof), &["admin"]).await;
    assert_eq!(refused.unwrap_err().refusal().name(), "scope_missing");
    assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), "ok");
}

#[tokio::test]
async fn oauth_7_of_one_proof_on_many_connections_one_passes() {
    let (stage, holder) = (Arc::new(Stage::new()), Holder::new());
    let token = holder.token(&stage);
    let proof = holder.proof(&stage, &token, "1");
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (stage, shown) = (Arc::clone(&stage), dpop(&token, &proof));
            tokio::spawn(async move { outcome(stage.verify(&shown).await) })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        match task.await.unwrap() {
            "ok" => passed += 1,
            other => assert_eq!(other, "proof_replayed"),
        }
    }
    assert_eq!(passed, 1);
}

/// A memory that does not answer.
#[derive(Debug)]
struct Away;

impl Replays for Away {
    fn remember(&self, _one: Use, _now: jiff::Timestamp) -> ReplaysFuture<'_> {
        Box::pin(async { Err(ReplaysUnavailable) })
    }
}

#[tokio::test]
async fn oauth_7_without_a_memory_no_proof_is_good() {
    let holder = Holder::new();
    let away = Stage::with(|settings| settings.replays = Some(Arc::new(Away)));
    let full = Stage::with(|settings| settings.limits.replays = 1);
    for (stage, jti, name) in [
        (&away, "1", "uses_cannot_be_remembered"),
        (&full, "1", "ok"),
        (&full, "2", "uses_cannot_be_remembered"),
    ] {
        let token = holder.token(stage);
        let proof = holder.proof(stage, &token, jti);
        assert_eq!(outcome(stage.verify(&dpop(&token, &proof)).await), name, "{jti}");
    }
    // What needs no memory goes on.
    assert_eq!(away.outcome(&away.token()).await, "ok");
}

#[tokio::test]
async fn oauth_7_a_server_that_demands_nonces_hands_them_out() {
    let nonces = Nonces::new(&[7; 32], "https://api.example.org");
    let foreign = Nonces::new(&[8; 32], "https://api.example.org");
    let stage = Stage::with(|settings| settings.nonces = Some(nonces.clone()));
    let holder = Holder::new();
    let token = holder.token(&stage);
    let layer = VerifyLayer::new(Arc::clone(&stage.verifier));
    let service = tower::ServiceBuilder::new().layer(layer).service(service_fn(
        async |_request: Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        },
    ));
    let ask = async |proof: &str| {
        let request = Request::builder()
            .method(Method::GET)
            .uri("/things")
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof)
            .body(())
            .unwrap();
        service.clone().oneshot(request).await.unwrap()
    };
    let with = |jti: &str, nonce: Value| {
        let claims = changed(Holder::claims(&stage, &token, jti), &json!({"nonce": nonce}));
        holder.sign(&json!({}), &claims)
    };
    let now = stage.verifier_now();
    let old = nonces.current(now.checked_sub(jiff::SignedDuration::from_secs(900)).unwrap());
    for (jti, nonce) in [
        ("1", json!(null)),
        ("2", json!("x")),
        ("3", json!(foreign.current(now))),
        ("4", json!(old)),
    ] {
        let answer = ask(&with(jti, nonce)).await;
        assert_eq!(answer.status(), 401);
        let told = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(told.starts_with("DPoP ") && told.contains("error=\"use_dpop_nonce\""), "{told}");
        assert_eq!(answer.headers()["dpop-nonce"], nonces.current(now));
    }
    let nonce = nonces.current(now);
    let answer = ask(&with("5", json!(nonce))).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["dpop-nonce"]),
        (200, &nonce.parse().unwrap())
    );
}

#[tokio::test]
async fn a_single_use_token_is_used_once() {
    let stage = Stage::with(|settings| settings.single_use = true);
    let (first, second) = (stage.token(), stage.token_with(&json!({"jti": "tok_2"})));
    let refused = stage.verifier.verify(&crate::support::bearer(&first), &["admin"]).await;
    assert_eq!(refused.unwrap_err().refusal().name(), "scope_missing");
    assert_eq!(stage.outcome(&first).await, "ok");
    assert_eq!(stage.outcome(&first).await, "token_replayed");
    assert_eq!(stage.outcome(&second).await, "ok");
    // To the end of its life, leeway included.
    stage.clock.advance(304);
    assert_eq!(stage.outcome(&first).await, "token_replayed");
}

#[tokio::test]
async fn two_servers_that_share_a_memory_take_a_single_use_token_once() {
    let stage = Stage::with(|settings| settings.single_use = true);
    let memory: Arc<dyn Replays> = Arc::new(MemoryReplays::new(stage.verifier_now(), 10));
    let with_memory = || {
        Stage::with(|settings| {
            settings.single_use = true;
            settings.replays = Some(Arc::clone(&memory));
        })
    };
    let (one, two) = (with_memory(), with_memory());
    assert_eq!(one.outcome(&one.token()).await, "ok");
    assert_eq!(two.outcome(&two.token()).await, "token_replayed");
}
