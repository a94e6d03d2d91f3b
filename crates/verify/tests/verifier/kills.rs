//! The kill switch at a resource server: heard within the limit, or refused.

use marque_jose::NumericDate;
use marque_status_list::{Bits, KillStateClaims, Status, StatusList, StatusListClaims};
use marque_testkit::ScratchSigner;
use marque_verify::KillCheck;
use serde_json::{Value, json};

use crate::support::{ISSUER, Stage, changed, sign};

const LIST: &str = "https://marque.example.org/oauth2/status/7";
const KILLS: &str = "https://marque.example.org/oauth2/kill-state";

fn date(seconds: i64) -> NumericDate {
    NumericDate::from_seconds(u64::try_from(seconds).unwrap()).unwrap()
}

fn heeding() -> Stage {
    Stage::with(|settings| settings.kills = KillCheck::required())
}

fn statement(stage: &Stage, epoch: u64) -> Value {
    let now = stage.clock.seconds();
    let claims = KillStateClaims {
        iss: ISSUER.to_owned(),
        sub: KILLS.to_owned(),
        iat: date(now),
        exp: date(now + 10),
        kill_epoch: epoch,
    };
    serde_json::to_value(claims).unwrap()
}

/// The issuer says this epoch.
fn say(stage: &Stage, epoch: u64) {
    let claims = statement(stage, epoch);
    stage.documents.put(KILLS, sign(&stage.signer, "kill-state+jwt", &claims));
}

/// The issuer's list by the kills of this epoch, in which place 1 is stopped if it is told so.
fn publish(stage: &Stage, epoch: Option<u64>, stopped: bool) {
    let mut list = StatusList::new(Bits::One, 16);
    if stopped {
        list.set(1, Status::Invalid).unwrap();
    }
    let claims = StatusListClaims {
        sub: LIST.to_owned(),
        iat: date(stage.clock.seconds()),
        exp: None,
        ttl: None,
        kill_epoch: epoch,
        status_list: list.encode().unwrap(),
    };
    let claims = serde_json::to_value(claims).unwrap();
    stage.documents.put(LIST, sign(&stage.signer, "statuslist+jwt", &claims));
}

async fn outcome(stage: &Stage) -> &'static str {
    let status = json!({"status": {"status_list": {"idx": 1, "uri": LIST}}});
    stage.outcome(&stage.token_with(&status)).await
}

/// Asks until the answer is this one: what is refreshed behind a request comes a little later.
async fn becomes(stage: &Stage, name: &str) {
    for _ in 0..10_000 {
        if outcome(stage).await == name {
            return;
        }
        tokio::task::yield_now().await;
    }
    unreachable!("it never became {name}");
}

#[tokio::test]
async fn m_119_a_verifier_that_is_cut_off_refuses_after_the_limit_and_serves_again_when_it_heals() {
    let stage = heeding();
    say(&stage, 3);
    publish(&stage, Some(3), false);
    assert_eq!(outcome(&stage).await, "ok");
    stage.documents.remove(KILLS);
    stage.clock.advance(1);
    assert_eq!(outcome(&stage).await, "ok", "one second is within the limit");
    stage.clock.advance(1);
    assert_eq!(outcome(&stage).await, "issuer_unreachable", "two seconds are not");
    stage.clock.advance(3600);
    assert_eq!(outcome(&stage).await, "issuer_unreachable");
    say(&stage, 3);
    stage.clock.advance(1);
    publish(&stage, Some(3), false);
    assert_eq!(outcome(&stage).await, "ok");
}

#[tokio::test]
async fn m_119_a_kill_is_seen_although_the_copy_of_the_list_is_young() {
    let stage = heeding();
    say(&stage, 3);
    publish(&stage, Some(3), false);
    assert_eq!(outcome(&stage).await, "ok");
    say(&stage, 4);
    publish(&stage, Some(4), true);
    assert_eq!(outcome(&stage).await, "ok", "it was heard less than a second ago");
    stage.clock.advance(1);
    becomes(&stage, "token_revoked").await;
    assert_eq!(stage.documents.calls_of(LIST), 2);
    // And a lift.
    say(&stage, 5);
    publish(&stage, Some(5), false);
    stage.clock.advance(2);
    assert_eq!(outcome(&stage).await, "ok");
}

#[tokio::test]
async fn a_list_of_before_the_newest_kill_is_no_permission() {
    let stage = heeding();
    say(&stage, 4);
    for epoch in [None, Some(3)] {
        publish(&stage, epoch, false);
        assert_eq!(outcome(&stage).await, "issuer_document_refused", "{epoch:?}");
        stage.clock.advance(1);
        say(&stage, 4);
    }
    publish(&stage, Some(4), false);
    assert_eq!(outcome(&stage).await, "ok");
    // A replica of the issuer that is behind takes nothing back.
    stage.clock.advance(2);
    say(&stage, 3);
    publish(&stage, Some(3), true);
    assert_eq!(outcome(&stage).await, "ok", "the list of the fourth epoch is still the newest");
}

#[tokio::test]
async fn a_token_without_a_status_is_refused_because_no_kill_could_be_seen_at_it() {
    let stage = heeding();
    say(&stage, 0);
    assert_eq!(stage.outcome(&stage.token()).await, "token_without_status");
}

/// The good statement but for these claims, under the issuer's signature.
fn altered(stage: &Stage, changes: &Value) -> String {
    sign(&stage.signer, "kill-state+jwt", &changed(statement(stage, 0), changes))
}

/// The good statement as a token of this type by this key.
fn signed(stage: &Stage, typ: &str, signer: &ScratchSigner) -> String {
    sign(signer, typ, &statement(stage, 0))
}

#[tokio::test]
async fn a_statement_that_is_not_the_issuers_or_not_of_now_is_not_believed() {
    type Body = fn(&Stage) -> String;
    let table: [(&str, Body); 10] = [
        ("another issuer", |it| altered(it, &json!({"iss": "https://other.example.org"}))),
        ("another address", |it| altered(it, &json!({"sub": LIST}))),
        ("no epoch", |it| altered(it, &json!({"kill_epoch": null}))),
        ("of the future", |it| altered(it, &json!({"iat": it.clock.seconds() + 6}))),
        ("kept for too long", |it| altered(it, &json!({"iat": it.clock.seconds() - 9}))),
        ("expired", |it| altered(it, &json!({"exp": it.clock.seconds() - 5}))),
        ("another type", |it| signed(it, "statuslist+jwt", &it.signer)),
        ("a namesake's key", |it| signed(it, "kill-state+jwt", &ScratchSigner::generate("key-1"))),
        ("another key", |it| signed(it, "kill-state+jwt", &ScratchSigner::generate("key-9"))),
        ("no token", |_| "{}".to_owned()),
    ];
    for (what, body) in table {
        let stage = heeding();
        publish(&stage, Some(0), false);
        stage.documents.put(KILLS, body(&stage));
        assert_eq!(outcome(&stage).await, "issuer_document_refused", "{what}");
        stage.clock.advance(1);
        say(&stage, 0);
        assert_eq!(outcome(&stage).await, "ok", "{what}: it heals");
    }
    let stage = heeding();
    publish(&stage, Some(0), false);
    let old = json!({"iat": stage.clock.seconds() - 8});
    stage.documents.put(KILLS, altered(&stage, &old));
    assert_eq!(outcome(&stage).await, "ok", "the limit, the leeway and the rest of a second");
}
