//! Pace: refusals counted, repeated and put on record, in the transaction that keeps or refuses a request.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use marque_audit::EventKind;
use marque_exchange::{RedeemError, TokenLifeStore as _, TokenStore as _};
use marque_intent::pace::{Asked, Family, PaceSettings, Turn};
use marque_intent::{
    Approval, ApprovalLimits, Approver, ChangeError, Decider, Denial, DenialClass, DenialCode,
    DenialFilter, DenialId, Grant, GrantTerms, IdempotencyKey, Intent, IntentChange, IntentStore,
    IntentStoreError, Outcome, ParentIntent, Person, RefusedRequest, Release, Ruling, Submitted,
};
use marque_spiffe::Clock as _;
use marque_store::Store;
use marque_testkit::SeededRandom;

use crate::engine::Engine;
use crate::fixture::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn refused(name: &str, code: DenialCode, number: u64, now: Timestamp) -> RefusedRequest {
    RefusedRequest {
        id: DenialId::generate(&SeededRandom::new(number), now).unwrap(),
        asked: Asked::by(&agent(name), None),
        request: None,
        denial: Denial::new(code, "no").expecting("yes", "no"),
        now,
    }
}

/// A store that counts, with these numbers.
async fn counting(engine: &impl Engine, settings: PaceSettings) -> Arc<Store> {
    let store = engine.open().await;
    store.keep_pace(settings);
    store
}

async fn told(store: &Store, name: &str, code: DenialCode, number: u64) -> Denial {
    store.record_denial(refused(name, code, number, START)).await.unwrap()
}

/// Brings on so many cooldowns of `w/one`'s family.
async fn cool_down(engine: &impl Engine, store: &Store, times: u64) {
    for number in 0..times {
        for second in 0..2 {
            told(store, "w/one", DenialCode::AgentNotAllowed, 1000 + number * 2 + second).await;
        }
        engine.clock().advance(Duration::from_secs(31 * 60));
    }
}

fn release(name: &str) -> Release {
    let family = Family::of(&agent(name));
    Release { family, actor: "operator:alice(1000)".to_owned(), reason: reason(), now: START }
}

fn one() -> IntentChange {
    IntentChange::Deny { decider: alice().into(), reason: reason() }
}

async fn submitted(store: &Store, opened: Opened) -> Result<Intent, IntentStoreError> {
    store.submit(opened.0, opened.1, None).await.map(Submitted::into_intent)
}

fn code(result: Result<Intent, IntentStoreError>) -> DenialCode {
    match result {
        Err(IntentStoreError::Refused(denial)) => denial.code(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_refusal_is_on_record_for_operators_and_in_the_log(engine: impl Engine) {
    let store = counting(&engine, PaceSettings::default()).await;
    let answer = told(&store, "w/one", DenialCode::AgentNotAllowed, 1).await;
    let id = answer.record().unwrap().clone();
    engine.clock().advance(Duration::from_secs(1));
    told(&store, "w/two", DenialCode::TicketMissing, 2).await;
    let found = store.denial(id.clone()).await.unwrap().unwrap();
    assert_eq!((&found.id, &found.agent), (&id, &agent("w/one")));
    assert_eq!((found.denial.expected(), found.denial.actual()), (Some("yes"), Some("no")));
    let list = |filter| async { store.denials(filter).await.unwrap() };
    assert_eq!(list(DenialFilter::default()).await.len(), 2);
    let of_two = DenialFilter { agent: Some(agent("w/two")), ..DenialFilter::default() };
    assert_eq!(list(of_two).await.len(), 1);
    let missing = DenialFilter { code: Some(DenialCode::TicketMissing), ..DenialFilter::default() };
    assert_eq!(list(missing).await.len(), 1);
    let none = DenialFilter { since: Some(after(1)), ..DenialFilter::default() };
    assert_eq!(list(none).await.len(), 0);
    let first = leaves(&store).await.into_iter().next().unwrap();
    assert_eq!(first.event().kind, EventKind::IntentDenied);
    assert_eq!(first.event().detail["request_id"], id.as_str());
}

pub(crate) async fn a_person_s_refusal_is_repeated_over_a_restart_and_to_siblings(
    engine: impl Engine,
) {
    let store = counting(&engine, PaceSettings::default()).await;
    let intent = submitted(&store, pending(agent("w/one"))).await.unwrap();
    let denied = store.change(intent.id().clone(), one(), START).await.unwrap();
    let record = denied.denial().unwrap().record().unwrap().clone();
    assert_eq!(record, DenialId::of_intent(intent.id()));
    assert_eq!(store.denial(record).await.unwrap().unwrap().intent.as_ref(), Some(intent.id()));
    drop(store);
    let store = counting(&engine, PaceSettings::default()).await;
    for name in ["w/one", "w/two"] {
        assert_eq!(code(submitted(&store, pending(agent(name))).await), DenialCode::ApprovalDenied);
    }
    let preview = Asked::of_intent(&pending(agent("w/two")).0).unwrap();
    let seen = store.pace(preview, START).await.unwrap();
    assert_eq!(seen.counts.denials, 0, "that is another agent's");
    assert!(seen.rows.iter().count() >= 2, "{seen:?}");
    engine.clock().advance(Duration::from_secs(10 * 60));
    submitted(&store, pending(agent("w/one"))).await.unwrap();
}

pub(crate) async fn what_is_asked_for_another_costs_whoever_asked(engine: impl Engine) {
    let settings =
        PaceSettings { budgets: [(DenialClass::Intent, 1)].into(), ..PaceSettings::default() };
    let store = counting(&engine, settings).await;
    let parent = submitted(&store, approved(agent("v/asker"), 9)).await.unwrap();
    let (held, asker) = (Family::of(&agent("w/one")), Family::of(parent.agent()));
    let below = |number: u32| {
        let mut terms = pending(agent("w/one")).0.grant().terms().clone();
        terms.parent = Some(ParentIntent::of(parent.grant()));
        terms.task = Some(format!("task-{number}").parse().unwrap());
        terms.parameters.insert("number".to_owned(), number.into());
        let refused = Ruling::refused(DenialCode::DataClassDenied);
        Intent::open(Grant::seal(terms).unwrap(), None, refused, START)
    };
    let mut last = None;
    for number in 0..3 {
        last = Some(submitted(&store, below(number)).await.unwrap());
    }
    let last = last.unwrap();
    assert!(last.denial().unwrap().retry().after.is_some(), "whoever asked is told to wait");
    let standings = store.standings().await.unwrap();
    let of = |family: &Family| standings.iter().find(|(one, _)| one == family);
    assert_eq!(of(&asker).unwrap().1.cooldowns.len(), 1, "{standings:?}");
    assert!(of(&held).is_none(), "{standings:?}");
    // It is remembered for both that this was refused.
    let asked = Asked::of_intent(&last).unwrap();
    let turn = |asked: Asked| {
        let store = &store;
        async move {
            let rows = store.pace(asked.clone(), START).await.unwrap().rows;
            let settings = PaceSettings::default();
            Turn { asked: &asked, rows: &rows, settings: &settings, now: START }.check()
        }
    };
    let again = turn(asked).await.unwrap_err();
    assert_eq!(again.code(), DenialCode::DataClassDenied);
    let elsewhere = |terms: &mut GrantTerms| {
        terms.audiences = vec!["https://vault.example.org".to_owned()];
    };
    submitted(&store, opened("w/one", 1, elsewhere)).await.unwrap();
}

pub(crate) async fn one_person_has_one_hourly_limit_whichever_door_they_come_through(
    engine: impl Engine,
) {
    let store = engine.open().await;
    store.limit_approvals(ApprovalLimits { max_per_hour: 1, ..ApprovalLimits::default() });
    let local = Decider::from(alice());
    let login = Approver::Person(Person::new("https://idp.example.org", "alice").unwrap());
    let linked = ["uid:1000", "user:alice"].map(|name| name.parse().unwrap()).into();
    let linked = Decider { known_as: linked, ..Decider::from(login.clone()) };
    let approve = async |decider: Decider| {
        let intent = submit(&store, pending(agent("a"))).await;
        let approval = Approval::by(decider, *intent.grant().digest(), START);
        store.change(intent.id().clone(), IntentChange::Approve { approval }, START).await
    };
    approve(local).await.unwrap();
    let refused = approve(linked).await;
    let Err(ChangeError::Refused(denial)) = refused else { panic!("{refused:?}") };
    assert_eq!(denial.code(), DenialCode::ApproverQueueFull);
    // Somebody of whom the document says nothing is somebody else.
    approve(login.into()).await.unwrap();
    let known: Vec<String> =
        store.approver_decisions(START).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(known, ["person:https://idp.example.org#alice", "uid:1000"]);
}

pub(crate) async fn of_64_at_once_an_agent_asks_twenty_times(engine: impl Engine) {
    let settings = PaceSettings { open_per_playbook: 1000, ..PaceSettings::default() };
    let store = counting(&engine, settings).await;
    let all = join_all((0..64).map(|number| {
        let mut terms = approved(agent("w/one"), 1).0.grant().terms().clone();
        terms.task = Some(format!("task-{number}").parse().unwrap());
        submitted(&store, of_terms(terms))
    }))
    .await;
    let kept = all.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(kept, 20);
    assert!(all.into_iter().filter(Result::is_err).all(|one| code(one) == DenialCode::RateLimited));
}

pub(crate) async fn of_64_at_once_the_same_grant_is_given_once(engine: impl Engine) {
    let settings = PaceSettings { per_minute: 1000, ..PaceSettings::default() };
    let store = counting(&engine, settings).await;
    let all = join_all((0..64).map(|_| submitted(&store, approved(agent("w/one"), 1)))).await;
    let (kept, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    let kept: Vec<Intent> = kept.into_iter().map(Result::unwrap).collect();
    assert_eq!((kept.len(), refused.len()), (1, 63));
    for one in refused {
        let Err(IntentStoreError::Refused(denial)) = one else { panic!("{one:?}") };
        assert_eq!(denial.code(), DenialCode::DuplicateGrant);
        assert_eq!(denial.subject(), Some(kept[0].id()));
    }
    // Once it has ended there may be another.
    let cancel = IntentChange::Cancel { by: agent("w/one") };
    store.change(kept[0].id().clone(), cancel, START).await.unwrap();
    submitted(&store, approved(agent("w/one"), 1)).await.unwrap();
}

pub(crate) async fn of_64_at_once_there_are_so_many_open_of_one_playbook(engine: impl Engine) {
    let settings =
        PaceSettings { per_minute: 1000, open_per_playbook: 5, ..PaceSettings::default() };
    let store = counting(&engine, settings).await;
    let all = join_all((0..64).map(|number| {
        let mut terms = approved(agent("w/one"), 1).0.grant().terms().clone();
        terms.task = Some(format!("task-{number}").parse().unwrap());
        submitted(&store, of_terms(terms))
    }))
    .await;
    assert_eq!(all.iter().filter(|answer| answer.is_ok()).count(), 5);
}

pub(crate) async fn of_64_refusals_at_once_one_cooldown_comes(engine: impl Engine) {
    let settings = PaceSettings { per_minute: 1000, ..PaceSettings::default() };
    let store = counting(&engine, settings).await;
    join_all((0..64).map(|number| told(&store, "w/one", DenialCode::AgentNotAllowed, number)))
        .await;
    assert_eq!(count(&store, EventKind::CooldownBegan).await, 1);
    let family = Family::of(&agent("w/one"));
    let standings = store.standings().await.unwrap();
    assert_eq!(standings.len(), 1);
    assert_eq!((&standings[0].0, standings[0].1.cooldowns.len()), (&family, 1));
    engine.clock().advance(Duration::from_secs(61));
    store.prune(engine.clock().now(), 1000).await.unwrap();
    let told = sums(&store, EventKind::IntentDenied).await;
    let each: u64 = told.iter().map(|sum| sum.unwrap_or(1)).sum();
    assert_eq!(each, 64, "each is in the log, by itself or in a count: {told:?}");
}

pub(crate) async fn quarantine_outlives_a_restart_and_ends_by_a_person_alone(engine: impl Engine) {
    let store = counting(&engine, PaceSettings::default()).await;
    let mut other = approved(agent("w/two"), 3);
    let intent = submitted(&store, other.clone()).await.unwrap();
    other.0 = intent.clone();
    cool_down(&engine, &store, 3).await;
    assert_eq!(count(&store, EventKind::QuarantineBegan).await, 1);
    drop(store);
    let store = counting(&engine, PaceSettings::default()).await;
    engine.clock().advance(DAY * 400);
    store.prune(engine.clock().now(), 1000).await.unwrap();
    let held = told(&store, "w/two", DenialCode::UnknownPlaybook, 1).await;
    assert_eq!(held.code(), DenialCode::Quarantined);
    // Its baseline identity gives no token, though the grant stands.
    let redeemed = store.redeem(redemption(&intent, START)).await;
    let Err(RedeemError::Refused(denial)) = redeemed else { panic!("{redeemed:?}") };
    assert_eq!(denial.code(), DenialCode::Quarantined);
    let answers = join_all((0..8).map(|_| store.release(release("w/one")))).await;
    let released = answers.into_iter().filter(|answer| *answer.as_ref().unwrap()).count();
    assert_eq!(released, 1, "whoever comes second is told that there is nothing to release");
    assert_eq!(count(&store, EventKind::QuarantineReleased).await, 1);
    let told = told(&store, "w/two", DenialCode::UnknownPlaybook, 2).await;
    assert_eq!(told.code(), DenialCode::UnknownPlaybook);
}

pub(crate) async fn what_is_counted_is_forgotten_when_it_says_nothing_any_more(
    engine: impl Engine,
) {
    let store = counting(&engine, PaceSettings::default()).await;
    submitted(&store, approved(agent("w/one"), 1)).await.unwrap();
    told(&store, "w/one", DenialCode::TicketMissing, 1).await;
    cool_down(&engine, &store, 1).await;
    assert!(engine.number("SELECT count(*) FROM pace").await >= 3);
    let now = || engine.clock().now();
    store.prune(now(), 1000).await.unwrap();
    assert!(engine.number("SELECT count(*) FROM pace").await >= 3, "the cooldown counts for a day");
    engine.clock().advance(DAY * 31);
    store.prune(now(), 1000).await.unwrap();
    assert_eq!(engine.number("SELECT count(*) FROM pace").await, 0);
    assert_eq!(engine.number("SELECT count(*) FROM denials").await, 0);
}

/// The details of the leaves of a kind, in order: how many more each stands for.
async fn sums(store: &Store, kind: EventKind) -> Vec<Option<u64>> {
    let of_kind = leaves(store).await.into_iter().filter(|leaf| leaf.event().kind == kind);
    of_kind
        .map(|leaf| leaf.event().detail.get("repeated").and_then(serde_json::Value::as_u64))
        .collect()
}

pub(crate) async fn m_46_an_agent_that_hammers_is_on_record_in_sums(engine: impl Engine) {
    let store = counting(&engine, PaceSettings::default()).await;
    cool_down(&engine, &store, 3).await;
    let before = sums(&store, EventKind::IntentDenied).await.len();
    let records = engine.number("SELECT count(*) FROM denials").await;
    let hammer = async |from: u64, times: u64| {
        for number in from..from + times {
            let now = engine.clock().now();
            let request = refused("w/one", DenialCode::UnknownPlaybook, number, now);
            let answer = store.record_denial(request).await.unwrap();
            assert_eq!(answer.code(), DenialCode::Quarantined);
        }
    };
    hammer(5000, 50).await;
    let told = sums(&store, EventKind::IntentDenied).await;
    assert_eq!(told[before..], [None], "one leaf for the first");
    assert_eq!(engine.number("SELECT count(*) FROM denials").await, records + 1);
    // The next window tells of those before, and of its own first.
    engine.clock().advance(Duration::from_secs(60));
    hammer(6000, 3).await;
    let told = sums(&store, EventKind::IntentDenied).await;
    assert_eq!(told[before..], [None, Some(49), None]);
    // Where nobody asks any more, upkeep tells of the rest before it forgets it.
    engine.clock().advance(Duration::from_secs(60));
    store.prune(engine.clock().now(), 1000).await.unwrap();
    let told = sums(&store, EventKind::IntentDenied).await;
    assert_eq!(told[before..], [None, Some(49), None, Some(2)]);
    store.prune(engine.clock().now(), 1000).await.unwrap();
    assert_eq!(sums(&store, EventKind::IntentDenied).await.len(), before + 4, "told once");
    // The same at the token endpoint.
    let no_token = marque_audit::Event::new(EventKind::TokenRefused, engine.clock().now())
        .with_agent(agent("w/one"))
        .with_denial("quarantined", "pace");
    for _ in 0..9 {
        store.record_refusal(no_token.clone()).await.unwrap();
    }
    assert_eq!(sums(&store, EventKind::TokenRefused).await, [None]);
}

pub(crate) async fn words_about_an_intent_that_ended_are_on_record_in_sums(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let cancel = IntentChange::Cancel { by: intent.agent().clone() };
    store.change(intent.id().clone(), cancel, START).await.unwrap();
    for _ in 0..40 {
        let heard = IntentChange::Heard { by: Some(intent.agent().clone()) };
        let refused = store.change(intent.id().clone(), heard, START).await;
        assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
    }
    assert_eq!(sums(&store, EventKind::ChangeRefused).await, [None]);
    engine.clock().advance(Duration::from_secs(61));
    store.prune(engine.clock().now(), 1000).await.unwrap();
    assert_eq!(sums(&store, EventKind::ChangeRefused).await, [None, Some(39)]);
}

pub(crate) async fn a_change_with_the_same_key_is_made_once(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let revoke =
        || IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason: reason() };
    let key =
        |body: &[u8]| Some(IdempotencyKey::of_caller("operator:alice(1000)", "k", body).unwrap());
    let change = |key| store.change_once(intent.id().clone(), revoke(), key, START);
    let first = change(key(b"revoke")).await.unwrap();
    // Without its key a second revocation is refused.
    assert!(matches!(change(None).await, Err(ChangeError::Refused(_))));
    assert_eq!(change(key(b"revoke")).await.unwrap(), first);
    assert_eq!(count(&store, EventKind::IntentRevoked).await, 1);
    let conflict = change(key(b"another")).await;
    let Err(ChangeError::Refused(denial)) = conflict else { panic!("{conflict:?}") };
    assert_eq!(denial.code(), DenialCode::IdempotencyConflict);
    engine.clock().advance(DAY);
    assert!(matches!(change(key(b"revoke")).await, Err(ChangeError::Refused(_))));
}

pub(crate) async fn many_at_once_with_one_key_complete_once(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    store.redeem(redemption(&intent, START)).await.unwrap();
    let key = IdempotencyKey::new(agent("a"), "k", b"complete").unwrap();
    let complete =
        || IntentChange::Complete { by: agent("a"), outcome: Outcome::Success, report: None };
    let all = join_all(
        (0..32)
            .map(|_| store.change_once(intent.id().clone(), complete(), Some(key.clone()), START)),
    )
    .await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(count(&store, EventKind::IntentCompleted).await, 1);
    let again = store.answered(key, START).await.unwrap().unwrap();
    assert_eq!(again.id(), intent.id());
}

pub(crate) async fn a_grant_after_a_refusal_is_counted_against_no_budget(engine: impl Engine) {
    let settings =
        PaceSettings { budgets: [(DenialClass::Approval, 100)].into(), ..PaceSettings::default() };
    let store = counting(&engine, settings).await;
    let intent = submitted(&store, pending(agent("w/one"))).await.unwrap();
    store.change(intent.id().clone(), one(), START).await.unwrap();
    let mut terms = pending(agent("w/one")).0.grant().terms().clone();
    terms.playbook.id = "another-way".parse().unwrap();
    let other = submitted(&store, of_terms(terms)).await.unwrap();
    store.change(other.id().clone(), approval(&other), START).await.unwrap();
    let preview = Asked::of_intent(&other).unwrap();
    let seen = store.pace(preview, START).await.unwrap();
    assert_eq!(seen.counts.denials, 1);
    assert_eq!(seen.counts.open_grants, 1);
}
