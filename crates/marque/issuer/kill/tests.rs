use std::time::Duration;

use marque_intent::{Approver, Decider};
use marque_registry::TrustDomainDocument;
use marque_store::SqliteStore;
use marque_testkit::FixedClock;

use super::*;

const DOCUMENT: &str = include_str!("../../../registry/folder/tests/trust-domain.toml");

/// A switch over a store of its own, and the clock that it goes by.
struct Scene {
    switch: Arc<KillSwitch>,
    clock: FixedClock,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), FixedClock::default());
        let document = TrustDomainDocument::parse("t".as_ref(), DOCUMENT).unwrap();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let file = folder.path().join("marque.sqlite");
        let store = SqliteStore::open(&file, document.name(), Arc::clone(&shared)).await.unwrap();
        let registry = Arc::new(Registry::new(Arc::new(document), Vec::new()).unwrap());
        let switch = Arc::new(KillSwitch::new(Arc::new(store), registry, shared));
        Self { switch, clock, _folder: folder }
    }

    async fn kill(&self, expires_at: Option<Timestamp>) -> Result<Arc<KillState>, KillError> {
        let order = NewKillOrder {
            scope: KillScope::All,
            mode: KillMode::Stop,
            reason: reason(),
            expires_at,
        };
        self.switch.kill(order, "operator:alice(1000)".to_owned()).await
    }

    async fn ask(&self, kill: &str, to: Option<KillMode>, uid: u32) -> Result<LiftAsk, KillError> {
        self.switch.ask_lift(kill, to, reason(), &person(uid)).await
    }

    async fn code_of_confirming(&self, ask: &str, uid: u32) -> &'static str {
        self.switch
            .confirm_lift(ask, &person(uid))
            .await
            .map_or_else(|error| error.code(), |_| "ok")
    }
}

fn reason() -> Reason {
    Reason::new("drill").unwrap()
}

fn person(uid: u32) -> Decider {
    Decider::from(Approver::Operator { uid, user: format!("user{uid}") })
}

#[tokio::test]
async fn a_kill_is_lifted_by_two_people_and_never_by_one() {
    let scene = Scene::new().await;
    let kill = scene.kill(None).await.unwrap().kills[0].id();
    let ask = scene.ask(kill.as_str(), None, 1000).await.unwrap();
    assert_eq!(scene.switch.lift_asks().await.unwrap(), std::slice::from_ref(&ask));
    assert_eq!(scene.code_of_confirming(&ask.id(), 1000).await, "lift_needs_another_person");
    assert_eq!(scene.switch.state().kills.len(), 1, "who asked has not lifted it");
    let state = scene.switch.confirm_lift(&ask.id(), &person(1001)).await.unwrap();
    assert_eq!((state.epoch, state.kills.len()), (2, 0));
    assert_eq!(scene.code_of_confirming(&ask.id(), 1002).await, "lift_not_asked", "it is used up");
    assert_eq!(scene.switch.lift_asks().await.unwrap(), []);
    let KillRecord::Lift(lift) = &state.history()[1] else { panic!("{state:?}") };
    let (asked, confirmed) = ("operator:user1000(1000)", "operator:user1001(1001)");
    assert_eq!((lift.actor.as_str(), lift.confirmed_by.as_deref()), (asked, Some(confirmed)));
}

#[tokio::test]
async fn a_recovery_goes_by_steps_and_what_is_confirmed_is_what_was_asked() {
    let scene = Scene::new().await;
    let kill = scene.kill(None).await.unwrap().kills[0].id();
    let first = scene.ask("1", Some(KillMode::Drain), 1000).await.unwrap();
    assert_eq!(first.kill, kill, "the epoch names it as well");
    // Another wish takes its place: the first one cannot be confirmed any more.
    let second = scene.ask("1", None, 1000).await.unwrap();
    assert_eq!(scene.code_of_confirming(&first.id(), 1001).await, "lift_not_asked");
    let third = scene.ask("1", Some(KillMode::Drain), 1000).await.unwrap();
    assert_eq!(scene.code_of_confirming(&second.id(), 1001).await, "lift_not_asked");
    let state = scene.switch.confirm_lift(&third.id(), &person(1001)).await.unwrap();
    assert_eq!((state.epoch, state.kills[0].mode), (2, KillMode::Drain));
    for to in [KillMode::Drain, KillMode::StopUse, KillMode::Stop] {
        let wider = scene.ask(kill.as_str(), Some(to), 1000).await.unwrap_err();
        assert_eq!(wider.code(), "lift_no_step");
    }
    for stranger in ["7", "kill_000000000000000000000000", "x"] {
        let stranger = scene.ask(stranger, None, 1000).await.unwrap_err();
        assert_eq!(stranger.code(), "kill_not_standing");
    }
}

#[tokio::test]
async fn a_mode_that_would_stop_nothing_is_refused_and_nothing_is_stopped() {
    let scene = Scene::new().await;
    for (kind, selector) in [("credential", "tok_1"), ("key", "k"), ("delegator", "corp:alice")] {
        let order = |mode| NewKillOrder {
            scope: KillScope::parse(kind, Some(selector)).unwrap(),
            mode,
            reason: reason(),
            expires_at: None,
        };
        let actor = "operator:alice(1000)".to_owned();
        let refused = scene.switch.kill(order(KillMode::Drain), actor.clone()).await.unwrap_err();
        assert_eq!(refused.code(), "kill_mode_without_effect");
        let state = scene.switch.kill(order(KillMode::StopIssuance), actor).await.unwrap();
        let epoch = state.epoch.to_string();
        let relaxed = scene.ask(&epoch, Some(KillMode::Drain), 1000).await.unwrap_err();
        assert_eq!(relaxed.code(), "kill_mode_without_effect");
    }
    assert_eq!(scene.switch.state().epoch, 3);
}

#[tokio::test]
async fn a_wish_ends_after_an_hour() {
    let scene = Scene::new().await;
    scene.kill(None).await.unwrap();
    let ask = scene.ask("1", None, 1000).await.unwrap();
    scene.clock.advance(LIFT_ASK_LASTS);
    assert_eq!(scene.code_of_confirming(&ask.id(), 1001).await, "lift_not_asked");
    let ask = scene.ask("1", None, 1000).await.unwrap();
    scene.clock.advance(LIFT_ASK_LASTS - Duration::from_secs(1));
    assert_eq!(scene.code_of_confirming(&ask.id(), 1001).await, "ok");
}

#[tokio::test]
async fn a_kill_with_an_end_ends_by_the_clock_and_begins_an_epoch() {
    let scene = Scene::new().await;
    let stop = CancellationToken::new();
    let ending = tokio::spawn(Arc::clone(&scene.switch).end_by_the_clock(stop.clone()));
    let end = scene.clock.now().saturating_add(Duration::from_secs(60)).unwrap();
    assert_eq!(scene.kill(Some(scene.clock.now())).await.unwrap_err().code(), "kill_ends_before");
    let standing = scene.kill(Some(end)).await.unwrap();
    let mut kills = kill_watch(&scene.switch.store);
    scene.clock.advance(Duration::from_secs(59));
    assert_eq!(scene.switch.state().kills, standing.kills);
    scene.clock.advance(Duration::from_secs(1));
    kills.wait_for(|state| state.kills.is_empty()).await.unwrap();
    let state = scene.switch.state();
    let KillRecord::Lift(lift) = &state.history()[1] else { panic!("{state:?}") };
    assert_eq!((state.epoch, lift.actor.as_str(), lift.at), (2, "clock", end));
    stop.cancel();
    ending.await.unwrap();
}

#[tokio::test]
async fn an_agent_stops_itself_once_however_often_it_says_so() {
    let scene = Scene::new().await;
    let agent: SpiffeId = "spiffe://example.org/agent/a".parse().unwrap();
    let first = scene.switch.stop_self(&agent, reason()).await.unwrap();
    assert_eq!(
        (&first.scope, &first.actor),
        (&KillScope::Agent(agent.clone()), &agent.to_string())
    );
    assert_eq!(scene.switch.stop_self(&agent, reason()).await.unwrap(), first);
    assert_eq!(scene.switch.state().epoch, 1);
}
