//! Tokens that are bound to a key, before those resource servers that take them and those that do not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::stage::{PERMITTED, Stage};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{approved_rotation, exchange_fields};
use crate::support::tokens::{ScratchKey, claims, now};
use crate::support::wait::until;

/// A token and the key that it is bound to.
pub(super) struct Bound {
    pub(super) token: String,
    key: ScratchKey,
}

/// A proof with these claims (RFC 9449 §4.2).
fn proof(key: &ScratchKey, claims: &Value) -> String {
    key.sign(&json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk() }), claims)
}

impl Bound {
    /// The agent's token for a new key.
    pub(super) async fn new(stage: &Stage) -> Self {
        let key = ScratchKey::new();
        let intent = approved_rotation(&stage.daemon, &stage.rotator).await;
        let endpoint = &stage.rotator.place.token_endpoint;
        let exchange = async |jti: &str, nonce: &str| {
            let said =
                json!({ "jti": jti, "htm": "POST", "htu": endpoint, "iat": now(), "nonce": nonce });
            let call = Call::form(endpoint, &exchange_fields(&stage.rotator.svid, &intent));
            stage.rotator.send(call.header("dpop", proof(&key, &said))).await
        };
        let told = exchange("one", "").await.oauth_error("use_dpop_nonce");
        let nonce = told.headers["dpop-nonce"].to_str().expect("a nonce");
        let token = exchange("two", nonce).await.expect(200).text("access_token");
        assert!(claims(&token)["cnf"]["jkt"].is_string());
        Self { token, key }
    }

    /// What a proof says of a request for what is permitted.
    fn claims(&self, base: &str, jti: &str) -> Value {
        let ath = URL_SAFE_NO_PAD.encode(digest(&SHA256, self.token.as_bytes()));
        json!({ "jti": jti, "htm": "GET", "htu": format!("{base}{PERMITTED}"), "iat": now(), "ath": ath })
    }

    async fn ask(&self, stage: &Stage, base: &str, scheme: &str, proofs: &[String]) -> Answer {
        let call = Call::get(&format!("{base}{PERMITTED}"))
            .header("authorization", format!("{scheme} {}", self.token));
        let call = proofs.iter().fold(call, |call, proof| call.header("dpop", proof));
        stage.rotator.send(call).await
    }
}

/// Whether a server looks at which token a proof is for; mod_oauth2 does not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ath {
    Checked,
    NotChecked,
}

impl Stage {
    /// A bound token is taken with its proof alone, and each proof once.
    pub(super) async fn takes_a_bound_token_with_its_proof(&self, base: &str, ath: Ath) {
        let bound = Bound::new(self).await;
        let with = |jti: &str, name: &str, value: Value| {
            let mut claims = bound.claims(base, jti);
            claims[name] = value;
            vec![proof(&bound.key, &claims)]
        };
        let good = |jti: &str| proof(&bound.key, &bound.claims(base, jti));
        let first = good("r-1");
        bound.ask(self, base, "DPoP", std::slice::from_ref(&first)).await.expect(200);
        let another = proof(&ScratchKey::new(), &bound.claims(base, "r-2"));
        let mut refused = vec![
            ("a proof again", "DPoP", vec![first]),
            ("no proof", "DPoP", vec![]),
            ("a bearer token", "Bearer", vec![]),
            ("a bearer token with a proof", "Bearer", vec![good("r-3")]),
            ("two proofs", "DPoP", vec![good("r-4"), good("r-5")]),
            ("another key's proof", "DPoP", vec![another]),
            ("another method", "DPoP", with("r-6", "htm", json!("PATCH"))),
            ("another path", "DPoP", with("r-7", "htu", json!(format!("{base}/secrets/other")))),
            ("another host", "DPoP", with("r-8", "htu", json!("https://other.example.org/"))),
            ("an old proof", "DPoP", with("r-9", "iat", json!(now() - 900))),
            ("a proof of tomorrow", "DPoP", with("r-10", "iat", json!(now() + 900))),
        ];
        if ath == Ath::Checked {
            refused.push((
                "another token's proof",
                "DPoP",
                with("r-11", "ath", json!("x".repeat(43))),
            ));
            refused.push(("any token's proof", "DPoP", with("r-12", "ath", Value::Null)));
        }
        for (what, scheme, proofs) in refused {
            let answer = bound.ask(self, base, scheme, &proofs).await;
            assert!(matches!(answer.status, 400 | 401), "{what}: {answer:?}");
        }
        let (_intent, bearer) = self.token().await;
        let plain = Bound { token: bearer, key: ScratchKey::new() };
        let unbound = plain.ask(self, base, "DPoP", &[good("r-13")]).await;
        assert_eq!(unbound.status, 401, "a proof does not bind a token: {unbound:?}");
        bound.ask(self, base, "DPoP", &[good("r-14")]).await.expect(200);
    }

    /// A bound token is no token here, with or without its proof.
    pub(super) async fn refuses_bound_tokens(&self, base: &str) {
        let bound = Bound::new(self).await;
        let proof = proof(&bound.key, &bound.claims(base, "r-1"));
        for (scheme, proofs) in
            [("Bearer", vec![]), ("Bearer", vec![proof.clone()]), ("DPoP", vec![proof])]
        {
            let answer = bound.ask(self, base, scheme, &proofs).await;
            assert!(matches!(answer.status, 400 | 401 | 403), "{scheme}: {answer:?}");
        }
        let (_intent, token) = self.token().await;
        self.bearer(base, &token).await.expect(200);
    }

    /// A token that was revoked is refused as soon as the server can know, though it has long to live.
    pub(super) async fn refuses_a_revoked_token(&self, base: &str) {
        let (_intent, token) = self.token().await;
        let (_intent, other) = self.token().await;
        self.bearer(base, &token).await.expect(200);
        self.rotator.revoke(&token).await.expect(200);
        until("the refusal of a revoked token", async || {
            let answer = self.bearer(base, &token).await;
            (answer.status != 200).then(|| assert_eq!(answer.status, 401, "{answer:?}"))
        })
        .await;
        self.bearer(base, &other).await.expect(200);
    }
}
