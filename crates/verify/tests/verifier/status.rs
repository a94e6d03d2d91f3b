//! Token status lists: revoked tokens, lists that are not to be believed, and how old one may be.

use std::num::NonZeroU64;

use marque_jose::NumericDate;
use marque_status_list::{Bits, EncodedStatusList, Status, StatusList, StatusListClaims};
use marque_testkit::ScratchSigner;
use marque_verify::StatusCheck;
use serde_json::{Value, json};

use crate::support::{Stage, changed, sign};

const LIST: &str = "https://marque.example.org/oauth2/status/7";

fn date(seconds: i64) -> NumericDate {
    NumericDate::from_seconds(u64::try_from(seconds).unwrap()).unwrap()
}

/// A list in which place 1 is revoked and place 2 suspended.
fn encoded() -> EncodedStatusList {
    let mut list = StatusList::new(Bits::Two, 16);
    list.set(1, Status::Invalid).unwrap();
    list.set(2, Status::Suspended).unwrap();
    list.set(3, Status::Other(3)).unwrap();
    list.encode().unwrap()
}

fn claims(stage: &Stage) -> StatusListClaims {
    StatusListClaims {
        sub: LIST.to_owned(),
        iat: date(stage.clock.seconds()),
        exp: Some(date(stage.clock.seconds() + 300)),
        ttl: NonZeroU64::new(10),
        kill_epoch: None,
        status_list: encoded(),
    }
}

fn publish(stage: &Stage, claims: &StatusListClaims) {
    let claims = serde_json::to_value(claims).unwrap();
    stage.documents.put(LIST, sign(&stage.signer, "statuslist+jwt", &claims));
}

fn at(stage: &Stage, idx: u64, uri: &str) -> String {
    stage.token_with(&json!({"status": {"status_list": {"idx": idx, "uri": uri}}}))
}

#[tokio::test]
async fn oauth_15_a_token_is_what_its_place_says() {
    let stage = Stage::new();
    publish(&stage, &claims(&stage));
    for (idx, name) in [
        (0, "ok"),
        (1, "token_revoked"),
        (2, "token_revoked"),
        (3, "token_revoked"),
        (15, "ok"),
        (16, "token_status"),
        (u64::MAX, "token_status"),
    ] {
        assert_eq!(stage.outcome(&at(&stage, idx, LIST)).await, name, "{idx}");
    }
    assert_eq!(stage.documents.calls_of(LIST), 1);
}

#[tokio::test]
async fn oauth_15_a_revocation_is_seen_when_the_list_is_fetched_again() {
    let stage = Stage::new();
    let mut list = claims(&stage);
    list.status_list = StatusList::new(Bits::One, 16).encode().unwrap();
    publish(&stage, &list);
    assert_eq!(stage.outcome(&at(&stage, 1, LIST)).await, "ok");
    publish(&stage, &claims(&stage));
    assert_eq!(stage.outcome(&at(&stage, 1, LIST)).await, "ok", "a copy may be kept for its ttl");
    stage.clock.advance(10);
    stage.outcome(&at(&stage, 1, LIST)).await;
    for _ in 0..10_000 {
        if stage.outcome(&at(&stage, 1, LIST)).await == "token_revoked" {
            return;
        }
        tokio::task::yield_now().await;
    }
    unreachable!("the revocation was never seen");
}

#[tokio::test]
async fn oauth_15_a_list_that_is_too_old_is_no_permission() {
    let stage = Stage::new();
    publish(&stage, &claims(&stage));
    assert_eq!(stage.outcome(&at(&stage, 0, LIST)).await, "ok");
    stage.documents.remove(LIST);
    stage.clock.advance(119);
    assert_eq!(stage.outcome(&at(&stage, 0, LIST)).await, "ok");
    stage.clock.advance(1);
    assert_eq!(stage.outcome(&at(&stage, 0, LIST)).await, "issuer_unreachable");
    // One that is too old when it comes is none, however long it says that it is good, and is not fetched for each
    // request.
    let stage = Stage::new();
    let mut old = claims(&stage);
    old.iat = date(stage.clock.seconds() - 130);
    old.exp = Some(date(stage.clock.seconds() + 170));
    publish(&stage, &old);
    for name in ["issuer_document_refused", "issuer_unreachable", "issuer_unreachable"] {
        assert_eq!(stage.outcome(&at(&stage, 0, LIST)).await, name);
    }
    assert_eq!(stage.documents.calls_of(LIST), 1);
    // One that was signed long ago is old however lately it was fetched.
    let stage = Stage::new();
    let mut old = claims(&stage);
    old.iat = date(stage.clock.seconds() - 100);
    publish(&stage, &old);
    assert_eq!(stage.outcome(&at(&stage, 0, LIST)).await, "ok");
    stage.documents.remove(LIST);
    stage.clock.advance(20);
    assert_eq!(stage.outcome(&at(&stage, 0, LIST)).await, "issuer_unreachable");
}

/// The good list but for these claims, under the issuer's signature.
fn changed_list(stage: &Stage, changes: &Value) -> String {
    let good = serde_json::to_value(claims(stage)).unwrap();
    sign(&stage.signer, "statuslist+jwt", &changed(good, changes))
}

/// The good list as a token of this type by this key.
fn signed_list(stage: &Stage, typ: &str, signer: &ScratchSigner) -> String {
    sign(signer, typ, &serde_json::to_value(claims(stage)).unwrap())
}

#[tokio::test]
async fn oauth_15_a_list_that_is_not_the_issuers_is_not_believed() {
    type Body = fn(&Stage) -> String;
    let table: [(&str, Body); 15] = [
        ("another list", |it| changed_list(it, &json!({"sub": format!("{LIST}0")}))),
        ("no subject", |it| changed_list(it, &json!({"sub": null}))),
        ("no date", |it| changed_list(it, &json!({"iat": null}))),
        ("of the future", |it| changed_list(it, &json!({"iat": it.clock.seconds() + 6}))),
        ("expired", |it| changed_list(it, &json!({"exp": it.clock.seconds()}))),
        ("mistyped end", |it| changed_list(it, &json!({"exp": "9999999999"}))),
        ("a ttl of zero", |it| changed_list(it, &json!({"ttl": 0}))),
        ("three bits", |it| {
            changed_list(it, &json!({"status_list": {"bits": 3, "lst": encoded().lst}}))
        }),
        ("not packed", |it| changed_list(it, &json!({"status_list": {"bits": 1, "lst": "AAAA"}}))),
        ("a bomb", |it| {
            let bomb = StatusList::new(Bits::Eight, 2 * 1024 * 1024).encode().unwrap();
            changed_list(it, &json!({"status_list": bomb}))
        }),
        ("of another type", |it| signed_list(it, "at+jwt", &it.signer)),
        ("of a namesake's key", |it| {
            signed_list(it, "statuslist+jwt", &ScratchSigner::generate("key-1"))
        }),
        ("of another key", |it| {
            signed_list(it, "statuslist+jwt", &ScratchSigner::generate("key-2"))
        }),
        ("no token", |_it| "{}".to_owned()),
        ("too long", |_it| "a".repeat(64 * 1024 + 1)),
    ];
    for (what, body) in table {
        let stage = Stage::new();
        stage.documents.put(LIST, body(&stage));
        let outcome = stage.outcome(&at(&stage, 0, LIST)).await;
        assert_eq!(outcome, "issuer_document_refused", "{what}");
    }
}

#[tokio::test]
async fn cve_2025_52477_a_token_sends_the_verifier_nowhere_but_to_its_issuer() {
    let stage = Stage::new();
    assert_eq!(stage.outcome(&stage.token()).await, "ok");
    let calls = stage.documents.calls();
    for uri in [
        "https://other.example.org/oauth2/status/7",
        "http://marque.example.org/oauth2/status/7",
        "https://marque.example.org:8443/oauth2/status/7",
        "https://marque.example.org.evil.example/7",
        "https://marque.example.org@evil.example/7",
        "https://user@marque.example.org/7",
        "https://169.254.169.254/latest",
        "https://marque.example.org/../7",
        "https://marque.example.org/7?x=y",
        "https://marque.example.org",
        "file:///etc/passwd",
        "7",
    ] {
        assert_eq!(stage.outcome(&at(&stage, 0, uri)).await, "token_status", "{uri}");
    }
    assert_eq!(stage.outcome(&at(&stage, 0, "")).await, "token_status");
    assert_eq!(stage.documents.calls(), calls);
}

#[tokio::test]
async fn the_lists_that_are_kept_have_an_end() {
    let stage = Stage::new();
    for number in 0..65 {
        let uri = format!("{LIST}/{number}");
        let mut list = claims(&stage);
        list.sub.clone_from(&uri);
        stage
            .documents
            .put(&uri, sign(&stage.signer, "statuslist+jwt", &serde_json::to_value(list).unwrap()));
        let expected = if number < 64 { "ok" } else { "uses_cannot_be_remembered" };
        assert_eq!(stage.outcome(&at(&stage, 0, &uri)).await, expected, "{number}");
    }
    // Those that went stale make room.
    stage.clock.advance(120);
    publish(&stage, &claims(&stage));
    assert_eq!(stage.outcome(&at(&stage, 0, LIST)).await, "ok");
}

#[tokio::test]
async fn a_server_may_demand_a_status_or_do_without() {
    for (status, without, revoked) in [
        (StatusCheck::Off, "ok", "ok"),
        (StatusCheck::WherePresent, "ok", "token_revoked"),
        (StatusCheck::Required, "token_without_status", "token_revoked"),
    ] {
        let stage = Stage::with(|settings| settings.status = status);
        publish(&stage, &claims(&stage));
        assert_eq!(stage.outcome(&stage.token()).await, without, "{status:?}");
        let other = stage.token_with(&json!({"status": {"other_mechanism": 1}}));
        assert_eq!(stage.outcome(&other).await, without, "{status:?}");
        assert_eq!(stage.outcome(&at(&stage, 1, LIST)).await, revoked, "{status:?}");
    }
}
