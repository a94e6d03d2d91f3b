//! The issuer's documents: where keys may come from, how long they are good, and what happens when they do not come.

use std::sync::Arc;

use marque_testkit::ScratchSigner;
use marque_verify::KeySource;
use serde_json::{Value, json};

use crate::support::{ISSUER, JWKS_URL, METADATA_URL, Stage, bearer, key_set, outcome, sign};

#[tokio::test]
async fn keys_come_from_the_metadata_or_from_a_configured_address() {
    let stage = Stage::new();
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    assert_eq!((stage.documents.calls_of(METADATA_URL), stage.documents.calls()), (1, 2));
    let stage = Stage::with(|settings| settings.keys = KeySource::At(JWKS_URL.parse().unwrap()));
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    assert_eq!((stage.documents.calls_of(METADATA_URL), stage.documents.calls()), (0, 1));
}

#[tokio::test]
async fn nothing_is_fetched_for_a_token_that_is_refused_by_its_form() {
    let stage = Stage::new();
    assert_eq!(stage.outcome("x.y.z").await, "token_malformed");
    assert_eq!(
        stage.outcome(&sign(&stage.signer, "JWT", &stage.claims())).await,
        "token_of_another_type"
    );
    assert_eq!(stage.documents.calls(), 0);
}

#[tokio::test]
async fn documents_that_are_not_what_they_should_be_are_no_ground_for_anything() {
    let metadata =
        |issuer: &str, jwks: Value| json!({"issuer": issuer, "jwks_uri": jwks}).to_string();
    let keys = |change: &dyn Fn(&mut Value)| {
        let mut set: Value =
            serde_json::from_str(&key_set(&[&ScratchSigner::generate("key-1")])).unwrap();
        change(&mut set);
        set.to_string()
    };
    for (url, body) in [
        (METADATA_URL, metadata("https://other.example.org", json!(JWKS_URL))),
        (METADATA_URL, metadata("https://marque.example.org/", json!(JWKS_URL))),
        (METADATA_URL, metadata(ISSUER, json!("http://marque.example.org/oauth2/jwks"))),
        (METADATA_URL, metadata(ISSUER, json!("file:///etc/passwd"))),
        (METADATA_URL, metadata(ISSUER, json!(["https://a.example.org"]))),
        (METADATA_URL, json!({"issuer": ISSUER}).to_string()),
        (METADATA_URL, "[]".to_owned()),
        (METADATA_URL, "<html>".to_owned()),
        (
            METADATA_URL,
            format!(
                "{{\"issuer\":\"{ISSUER}\",\"jwks_uri\":\"{JWKS_URL}\",\"x\":\"{}\"}}",
                "x".repeat(64 * 1024)
            ),
        ),
        (JWKS_URL, "{}".to_owned()),
        (JWKS_URL, "{\"keys\":[]}".to_owned()),
        (JWKS_URL, keys(&|set| set["keys"][0]["use"] = "jwt-svid".into())),
        (JWKS_URL, keys(&|set| set["keys"][0]["use"] = "enc".into())),
        (JWKS_URL, keys(&|set| set["keys"][0]["d"] = "AAAA".into())),
        (JWKS_URL, keys(&|set| set["keys"] = json!([set["keys"][0], set["keys"][0]]))),
        (JWKS_URL, format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1024 * 1024))),
    ] {
        let stage = Stage::new();
        stage.documents.put(url, body.clone());
        let outcome = stage.outcome(&stage.token()).await;
        assert_eq!(outcome, "issuer_document_refused", "{url}: {body:.200}");
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_asked_again_only_after_a_while() {
    let stage = Stage::new();
    stage.documents.remove(JWKS_URL);
    for _ in 0..3 {
        assert_eq!(stage.outcome(&stage.token()).await, "issuer_unreachable");
    }
    assert_eq!(stage.documents.calls_of(JWKS_URL), 1);
    stage.documents.put(JWKS_URL, key_set(&[&stage.signer]));
    stage.clock.advance(9);
    assert_eq!(stage.outcome(&stage.token()).await, "issuer_unreachable");
    stage.clock.advance(1);
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_but_not_more_often_than_the_limit() {
    let stage = Stage::new();
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    let next = ScratchSigner::generate("key-2");
    stage.documents.put(JWKS_URL, key_set(&[&stage.signer, &next]));
    let token = sign(&next, "at+jwt", &stage.claims());
    // The keys were fetched this very second.
    assert_eq!(stage.outcome(&token).await, "token_of_an_unknown_key");
    assert_eq!(stage.documents.calls_of(JWKS_URL), 1);
    stage.clock.advance(10);
    assert_eq!(stage.outcome(&token).await, "ok");
    let stranger = ScratchSigner::generate("key-3");
    for _ in 0..5 {
        let token = sign(&stranger, "at+jwt", &stage.claims());
        assert_eq!(stage.outcome(&token).await, "token_of_an_unknown_key");
    }
    assert_eq!(stage.documents.calls_of(JWKS_URL), 2);
}

#[tokio::test]
async fn a_key_that_is_gone_verifies_nothing_after_the_next_fetch() {
    let stage = Stage::new();
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    stage.documents.put(JWKS_URL, key_set(&[&ScratchSigner::generate("key-2")]));
    stage.clock.advance(300);
    // The first one after that time has them fetched, and does not wait for it.
    stage.outcome(&stage.token()).await;
    let outcome = until(async || {
        let outcome = stage.outcome(&stage.token()).await;
        (outcome != "ok").then_some(outcome)
    });
    assert_eq!(outcome.await, "token_of_an_unknown_key");
}

#[tokio::test]
async fn oauth_14_old_keys_are_good_while_the_issuer_is_away_and_not_for_ever() {
    let stage = Stage::new();
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    stage.documents.remove(METADATA_URL);
    stage.clock.advance(3599);
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    stage.clock.advance(1);
    assert_eq!(stage.outcome(&stage.token()).await, "issuer_unreachable");
    stage.documents.put(METADATA_URL, json!({"issuer": ISSUER, "jwks_uri": JWKS_URL}).to_string());
    stage.clock.advance(10);
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
}

#[tokio::test]
async fn oauth_21_a_clock_that_stepped_back_proves_no_freshness() {
    let stage = Stage::new();
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    stage.clock.advance(-100);
    stage.documents.remove(JWKS_URL);
    assert_eq!(stage.outcome(&stage.token()).await, "issuer_unreachable");
}

#[tokio::test]
async fn many_requests_at_once_fetch_the_keys_once() {
    let stage = Arc::new(Stage::new());
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { outcome(stage.verify(&bearer(&stage.token())).await) })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "ok");
    }
    assert_eq!(stage.documents.calls_of(JWKS_URL), 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_does_not_keep_the_keys_from_coming() {
    let stage = Stage::new();
    let shown = bearer(&stage.token());
    {
        let mut asked = Box::pin(stage.verify(&shown));
        let poll = futures::poll!(&mut asked);
        assert!(poll.is_pending(), "the keys are still on their way");
    }
    let outcome = until(async || (stage.outcome(&stage.token()).await == "ok").then_some("ok"));
    assert_eq!(outcome.await, "ok");
    assert_eq!(stage.documents.calls_of(JWKS_URL), 1);
}

/// Asks until there is an answer; the runtime of the test does the rest between.
async fn until<T>(mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..10_000 {
        if let Some(value) = condition().await {
            return value;
        }
        tokio::task::yield_now().await;
    }
    unreachable!("it never happened")
}
