use std::num::NonZeroU64;

use marque_intent::{KillScope, Outcome};
use marque_jose::{Signer as _, UnverifiedJws};
use marque_status_list::{Bits, MAX_LIST_BYTES};
use marque_testkit::START;

use super::*;
use crate::{
    OAuthErrorCode, Offers,
    fixture::{ISSUER, Rig},
};

async fn issued(rig: &Rig) -> StatusReference {
    let response = rig.exchange(&rig.fields()).await.unwrap();
    let jws = UnverifiedJws::parse(response.access_token().expose_token()).unwrap();
    let status = jws.dangerous_unverified_claims()["status"].clone();
    serde_json::from_value::<StatusClaim>(status).unwrap().status_list
}

/// Reads a list as a verifier does.
fn read(rig: &Rig, signed: &SignedStatusList) -> (StatusListClaims, StatusList) {
    let token = signed.token().expose_token();
    let jws = UnverifiedJws::parse_within(token, MAX_LIST_TOKEN_BYTES).unwrap();
    assert_eq!(jws.header().typ(), Some("statuslist+jwt"));
    let key = rig.signer.public_key();
    let claims: StatusListClaims =
        jws.verify(key, key.algorithms()).unwrap().into_claims().unwrap();
    let list = StatusList::decode(&claims.status_list, MAX_LIST_BYTES).unwrap();
    (claims, list)
}

async fn list(rig: &Rig, number: u64) -> (StatusListClaims, StatusList) {
    let signed = rig.service.status_list(number).await.unwrap().unwrap();
    read(rig, &signed)
}

async fn status(rig: &Rig, idx: u64) -> Status {
    list(rig, 0).await.1.status(idx).unwrap()
}

#[tokio::test]
async fn oauth_15_2_a_token_names_its_place_and_the_list_is_signed_as_the_draft_wants() {
    let rig = Rig::new();
    let place = issued(&rig).await;
    assert_eq!(place.uri, format!("{ISSUER}/oauth2/status/0"));
    assert_eq!(Some(place.idx), rig.record().status_index.map(StatusPlace::idx));
    let (claims, list) = list(&rig, 0).await;
    assert_eq!(claims.sub, place.uri);
    assert_eq!(claims.iat.seconds(), START.as_second());
    assert_eq!(claims.exp.unwrap().seconds(), START.as_second() + 300);
    assert_eq!(claims.ttl, NonZeroU64::new(10));
    assert_eq!(claims.status_list.bits, 1);
    assert_eq!(list.places(), STATUS_LIST_PLACES);
    assert_eq!(list.status(place.idx), Ok(Status::Valid));
}

#[tokio::test]
async fn cve_2026_8922_every_end_of_a_token_is_in_the_list() {
    type End = fn(&Rig);
    let ends: [(&str, End); 8] = [
        ("token_revoked", |rig| {
            rig.store.kept().tokens.values_mut().for_each(|token| token.revoked_at = Some(START));
        }),
        ("token_used", |rig| {
            rig.store.kept().tokens.values_mut().for_each(|token| token.used_at = Some(START));
        }),
        ("completed", Rig::complete),
        ("intent_revoked", Rig::revoke),
        ("agent_killed", |rig| rig.kill(KillScope::Agent(rig.agent.clone()))),
        ("playbook_killed", |rig| {
            rig.kill(KillScope::Playbook("ingress-cert-rotation".parse().unwrap()));
        }),
        ("trust_domain_killed", |rig| rig.kill(KillScope::TrustDomain)),
        ("all_killed", |rig| rig.kill(KillScope::All)),
    ];
    for (name, end) in ends {
        let rig = Rig::new();
        let idx = issued(&rig).await.idx;
        assert_eq!(status(&rig, idx).await, Status::Valid, "{name}");
        end(&rig);
        rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
        assert_eq!(status(&rig, idx).await, Status::Invalid, "{name}");
        let (_, list) = list(&rig, 0).await;
        let ended = (0..STATUS_LIST_PLACES).filter(|idx| list.status(*idx) != Ok(Status::Valid));
        assert_eq!(ended.collect::<Vec<_>>(), [idx], "{name}");
    }
}

#[tokio::test]
async fn oauth_15_5_a_kill_is_in_the_list_at_once_and_another_end_within_the_bound() {
    let rig = Rig::new();
    let idx = issued(&rig).await.idx;
    assert_eq!(status(&rig, idx).await, Status::Valid);
    rig.complete();
    rig.clock.advance(STATUS_LIST_REBUILT_EVERY - Duration::from_millis(1));
    assert_eq!(status(&rig, idx).await, Status::Valid);
    rig.kill(KillScope::Agent(rig.agent.clone()));
    assert_eq!(status(&rig, idx).await, Status::Invalid);

    let rig = Rig::new();
    let idx = issued(&rig).await.idx;
    assert_eq!(status(&rig, idx).await, Status::Valid);
    rig.complete();
    rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
    assert_eq!(status(&rig, idx).await, Status::Invalid);
}

#[tokio::test]
async fn oauth_15_a_list_is_built_once_for_all_who_ask_within_the_bound() {
    let rig = Rig::new();
    issued(&rig).await;
    let first = rig.service.status_list(0).await.unwrap().unwrap();
    for _ in 0..100 {
        let again = rig.service.status_list(0).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again));
    }
    assert_eq!(rig.store.kept().suspect_queries.len(), 1);
    rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
    let again = rig.service.status_list(0).await.unwrap().unwrap();
    assert_eq!(rig.store.kept().suspect_queries.len(), 2);
    // Nothing changed, and its signature is young: the same bytes, for conditional requests.
    assert!(Arc::ptr_eq(&first, &again));
    rig.clock.advance(SIGNED_AGAIN_AFTER);
    let later = rig.service.status_list(0).await.unwrap().unwrap();
    assert_ne!(first.tag(), later.tag());
    assert_eq!(read(&rig, &later).0.iat.seconds(), rig.now().as_second());
    // A clock that stepped back does not keep an old list.
    rig.clock.set(START);
    rig.service.status_list(0).await.unwrap().unwrap();
    assert_eq!(rig.store.kept().suspect_queries.len(), 4);
}

#[tokio::test]
async fn oauth_15_a_list_that_takes_long_is_built_once_for_all_who_waited() {
    let rig = Rig::new();
    issued(&rig).await;
    let longer = STATUS_LIST_REBUILT_EVERY * 4;
    rig.store.kept().slow_suspects = Some((rig.clock.clone(), longer));
    let waiting = futures::future::join_all((0..20).map(|_| rig.service.status_list(0))).await;
    assert!(waiting.iter().all(|list| list.as_ref().is_ok_and(Option::is_some)));
    assert_eq!(rig.store.kept().suspect_queries.len(), 1);
    // A kill that comes meanwhile is not waited for.
    rig.kill(KillScope::Agent(rig.agent.clone()));
    rig.service.status_list(0).await.unwrap();
    assert_eq!(rig.store.kept().suspect_queries.len(), 2);
}

#[tokio::test]
async fn oauth_15_whoever_asks_for_lists_in_a_loop_makes_us_look_once_in_the_bound() {
    let rig = Rig::new();
    issued(&rig).await;
    for number in 0..100 {
        rig.service.status_lists().await.unwrap();
        rig.service.status_list(number).await.unwrap();
        rig.service.look_up_status_list(99_999).await.unwrap();
    }
    assert_eq!(rig.store.kept().place_queries, 1);
    rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
    assert!(rig.service.status_list(99_999).await.unwrap().is_none());
    assert_eq!(rig.store.kept().place_queries, 2);
    assert_eq!(rig.store.kept().suspect_queries.len(), 1);
}

#[tokio::test]
async fn a_list_is_looked_up_without_being_built() {
    let rig = Rig::new();
    issued(&rig).await;
    let look = async |number| rig.service.look_up_status_list(number).await.unwrap();
    assert!(matches!(look(0).await, Listed::Due { epoch: 0 }));
    assert!(matches!(look(1).await, Listed::Absent));
    assert_eq!(rig.store.kept().suspect_queries.len(), 0);
    let built = rig.service.status_list(0).await.unwrap().unwrap();
    assert!(matches!(look(0).await, Listed::Fresh(fresh) if Arc::ptr_eq(&fresh, &built)));
    rig.kill(KillScope::Agent(rig.agent.clone()));
    assert!(matches!(look(0).await, Listed::Due { epoch: 1 }));
}

#[tokio::test]
async fn oauth_15_7_a_list_exists_before_a_token_has_a_place_on_it() {
    let rig = Rig::new();
    for (next_place, there) in [(NEXT_LIST_FROM * 7 - 1, false), (NEXT_LIST_FROM * 7, true)] {
        rig.store.kept().next_place = next_place;
        rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
        let found = rig.service.status_list(1).await.unwrap();
        assert_eq!(found.is_some(), there, "{next_place}");
    }
}

#[tokio::test]
async fn a_kill_is_held_against_older_tokens_once_it_is_recorded() {
    let rig = Rig::new();
    let idx = issued(&rig).await.idx;
    rig.kill(KillScope::Agent(rig.own.id("/agent/other")));
    // In force and not recorded: every list looks through all tokens again.
    rig.store.kept().recorded_epoch = Some(0);
    for _ in 0..2 {
        assert_eq!(status(&rig, idx).await, Status::Valid);
        rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
    }
    rig.store.kept().recorded_epoch = None;
    for _ in 0..2 {
        assert_eq!(status(&rig, idx).await, Status::Valid);
        rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
    }
    let asked: Vec<u64> =
        rig.store.kept().suspect_queries.iter().map(|query| query.decided_before).collect();
    assert_eq!(asked, [1, 1, 1, 0]);
}

#[tokio::test]
async fn oauth_15_5_an_end_stays_in_the_list_until_the_token_expires() {
    let rig = Rig::new();
    let idx = issued(&rig).await.idx;
    rig.change(&marque_intent::IntentChange::Complete {
        by: rig.agent.clone(),
        outcome: Outcome::Success,
        report: None,
    });
    for _ in 0..3 {
        assert_eq!(status(&rig, idx).await, Status::Invalid);
        rig.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn oauth_15_7_lists_follow_one_another_and_go_when_their_tokens_are_forgotten() {
    let rig = Rig::new();
    rig.store.kept().next_place = STATUS_LIST_PLACES - 1;
    assert_eq!(issued(&rig).await.uri, format!("{ISSUER}/oauth2/status/0"));
    assert_eq!(rig.store.kept().next_place, STATUS_LIST_PLACES);
    let all = |numbers: &[u64]| {
        let urls = numbers.iter().map(|list| format!("{ISSUER}/oauth2/status/{list}"));
        json!({"status_lists": urls.collect::<Vec<_>>()})
    };
    assert_eq!(rig.service.status_lists().await.unwrap(), Some(all(&[0, 1])));
    for (number, there) in [(0, true), (1, true), (2, false), (u64::MAX, false)] {
        let found = rig.service.status_list(number).await.unwrap();
        assert_eq!(found.is_some(), there, "{number}");
    }
    rig.store.kept().tokens.clear();
    rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
    assert_eq!(rig.service.status_lists().await.unwrap(), Some(all(&[1])));
    assert!(rig.service.status_list(0).await.unwrap().is_none());
    assert!(rig.service.status_list(1).await.unwrap().is_some());
    assert_eq!(rig.service.status_lists.lock().len(), 1);
}

#[tokio::test]
async fn oauth_15_7_before_the_first_token_there_is_one_empty_list() {
    let rig = Rig::new();
    let (_, empty) = list(&rig, 0).await;
    assert_eq!(empty, StatusList::new(Bits::One, 1 << 17));
    assert!(rig.service.status_list(1).await.unwrap().is_none());
}

#[tokio::test]
async fn oauth_15_1_without_the_switch_there_is_neither_claim_nor_list() {
    let offers = Offers { token_status_list: false, ..Offers::ALL };
    let rig = Rig::with(|config| config.offers = offers, |_| {});
    let response = rig.exchange(&rig.fields()).await.unwrap();
    let jws = UnverifiedJws::parse(response.access_token().expose_token()).unwrap();
    assert!(jws.dangerous_unverified_claims().get("status").is_none());
    assert!(rig.service.status_list(0).await.unwrap().is_none());
    assert!(rig.service.status_lists().await.unwrap().is_none());
}

#[tokio::test]
async fn oauth_15_5_no_list_is_answered_while_kills_elsewhere_are_not_heard_of() {
    let rig = Rig::new();
    issued(&rig).await;
    rig.service.status_list(0).await.unwrap();
    rig.store.kept().deaf = true;
    let answers = [
        rig.service.status_list(0).await.map(drop),
        rig.service.look_up_status_list(0).await.map(drop),
    ];
    for answer in answers {
        assert_eq!(answer.unwrap_err().code(), OAuthErrorCode::TemporarilyUnavailable);
    }
    rig.store.kept().deaf = false;
    assert!(matches!(rig.service.look_up_status_list(0).await, Ok(Listed::Fresh(_))));
}

#[tokio::test]
async fn a_list_is_not_answered_from_memory_while_the_store_is_down() {
    let rig = Rig::new();
    let idx = issued(&rig).await.idx;
    assert_eq!(status(&rig, idx).await, Status::Valid);
    rig.store.kept().down = true;
    rig.clock.advance(STATUS_LIST_REBUILT_EVERY);
    let error = rig.service.status_list(0).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
    rig.store.kept().down = false;
    assert_eq!(status(&rig, idx).await, Status::Valid);
}
