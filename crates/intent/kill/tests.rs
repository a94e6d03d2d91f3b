use super::*;
use crate::text::Reason;

fn order(scope: KillScope, mode: KillMode) -> NewKill {
    let reason = Reason::new("drill").unwrap();
    NewKill {
        scope,
        mode,
        reason,
        actor: "operator:alice(1000)".to_owned(),
        expires_at: None,
        origin: None,
        hits: Default::default(),
    }
}

fn state(scopes: &[KillScope]) -> KillState {
    in_mode(scopes, KillMode::Stop)
}

fn in_mode(scopes: &[KillScope], mode: KillMode) -> KillState {
    scopes.iter().fold(KillState::default(), |state, scope| {
        state.after(order(scope.clone(), mode), Timestamp::UNIX_EPOCH)
    })
}

fn agent(name: &str) -> SpiffeId {
    format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
}

fn scope(kind: &str, selector: &str) -> KillScope {
    KillScope::parse(kind, Some(selector)).unwrap()
}

fn lift(kill: &Kill, to: Option<KillMode>) -> KillOrder {
    KillOrder::Lift(NewLift {
        lifts: kill.id(),
        to,
        reason: Reason::new("repaired").unwrap(),
        actor: "operator:alice(1000)".to_owned(),
        confirmed_by: Some("operator:bob(1001)".to_owned()),
    })
}

/// A grant with everything that a kill may go by.
fn grant() -> Grant {
    let mut terms = crate::fixtures::grant().terms().clone();
    terms.session = Some("s-7".parse().unwrap());
    terms.task = Some("t-9".parse().unwrap());
    terms.tools = [("crm.read".parse().unwrap(), Default::default())].into();
    Grant::seal(terms).unwrap()
}

/// One that was asked for under it, and shares nothing with it.
fn below(above: &Grant) -> Grant {
    let mut terms = above.terms().clone();
    terms.intent_id = "int_00000000000000000000000009".parse().unwrap();
    terms.agent = agent("below");
    terms.playbook.id = "other".parse().unwrap();
    terms.session = None;
    terms.task = None;
    terms.tools = Default::default();
    terms.parent = Some(ParentIntent::of(above));
    Grant::seal(terms).unwrap()
}

/// Alice answers for every agent, and each is of one build.
#[derive(Debug)]
struct Registry;

impl Agents for Registry {
    fn has_sponsor(&self, _: &SpiffeId, sponsor: &str) -> bool {
        sponsor == "alice@example.org"
    }

    fn is_of_build(&self, _: &SpiffeId, build: &Digest) -> bool {
        *build == Digest::of(b"build")
    }

    fn within(&self, _: &KillScope) -> BTreeSet<SpiffeId> {
        BTreeSet::new()
    }
}

#[test]
fn a_killed_agent_is_stopped_and_its_neighbour_is_not() {
    let kills = state(&[KillScope::Agent(agent("one"))]);
    for point in [StopPoint::Ask, StopPoint::Issue, StopPoint::Use] {
        assert_eq!(kills.stops_agent(&agent("one"), point), Some(DenialCode::KillSwitchAgent));
        assert_eq!(kills.stops_agent(&agent("one-more"), point), None);
    }
}

#[test]
fn every_scope_that_goes_by_a_grant_stops_it_and_what_descends_from_it_and_nothing_else() {
    let above = grant();
    let below = below(&above);
    let version = above.playbook.version;
    let playbook = above.playbook.id.to_string();
    let build = Digest::of(b"build").to_string();
    let hits = [
        ("grant", above.intent_id.to_string(), DenialCode::KillSwitchGrant),
        ("task", "t-9".to_owned(), DenialCode::KillSwitchTask),
        ("session", "s-7".to_owned(), DenialCode::KillSwitchSession),
        ("agent", above.agent.to_string(), DenialCode::KillSwitchAgent),
        ("build", build, DenialCode::KillSwitchBuild),
        ("playbook_version", format!("{playbook}@{version}"), DenialCode::KillSwitchPlaybook),
        ("playbook", playbook.clone(), DenialCode::KillSwitchPlaybook),
        ("tool", "crm.read".to_owned(), DenialCode::KillSwitchTool),
        ("tool", "crm".to_owned(), DenialCode::KillSwitchTool),
        ("sponsor", "alice@example.org".to_owned(), DenialCode::KillSwitchSponsor),
        ("tenant", above.tenant.clone(), DenialCode::KillSwitchTenant),
    ];
    for (kind, selector, code) in hits {
        let kills = state(&[scope(kind, &selector)]).with_agents(Some(Arc::new(Registry)));
        for grant in [&above, &below] {
            assert_eq!(kills.stops_grant(grant, StopPoint::Use), Some(code), "{kind} {selector}");
        }
    }
    let misses = [
        ("grant", "int_00000000000000000000000008".to_owned()),
        ("task", "t-8".to_owned()),
        ("session", "t-9".to_owned()),
        ("agent", agent("another").to_string()),
        ("build", Digest::of(b"other").to_string()),
        ("playbook_version", format!("{playbook}@{}", version + 1)),
        ("playbook", "another".to_owned()),
        ("tool", "crm.write".to_owned()),
        ("tool", "crm2".to_owned()),
        ("sponsor", "bob@example.org".to_owned()),
        ("tenant", format!("{}x", above.tenant)),
        ("delegator", "corp:alice".to_owned()),
        ("credential", "tok_1".to_owned()),
        ("key", "k".to_owned()),
    ];
    for (kind, selector) in misses {
        let kills = state(&[scope(kind, &selector)]).with_agents(Some(Arc::new(Registry)));
        assert_eq!(kills.stops_grant(&above, StopPoint::Use), None, "{kind} {selector}");
    }
}

#[test]
fn a_token_is_stopped_by_its_id_its_ancestors_its_key_its_person_and_its_holders() {
    let (holder, id) = (agent("a"), ["tok_2", "tok_1"]);
    let facts = CredentialFacts {
        ids: &id,
        keys: &["thumbprint", "above"],
        delegator: Some("corp:alice"),
        holders: &[&holder],
    };
    let hits = [
        ("credential", "tok_2", DenialCode::KillSwitchCredential),
        ("credential", "tok_1", DenialCode::KillSwitchCredential),
        ("key", "thumbprint", DenialCode::KillSwitchKey),
        ("key", "above", DenialCode::KillSwitchKey),
        ("delegator", "corp:alice", DenialCode::KillSwitchDelegator),
        ("agent", holder.as_str(), DenialCode::KillSwitchAgent),
    ];
    for (kind, selector, code) in hits {
        let kills = state(&[scope(kind, selector)]);
        assert_eq!(kills.stops_credential(&facts, StopPoint::Issue), Some(code), "{kind}");
    }
    for (kind, selector) in [("credential", "tok_3"), ("key", "k"), ("delegator", "corp:bob")] {
        let kills = state(&[scope(kind, selector)]);
        assert_eq!(kills.stops_credential(&facts, StopPoint::Issue), None, "{kind}");
    }
}

#[test]
fn whoever_was_hit_stays_stopped_whatever_the_registry_says_later() {
    for (kind, selector, code) in [
        ("sponsor", "carol@example.org".to_owned(), DenialCode::KillSwitchSponsor),
        ("build", Digest::of(b"other").to_string(), DenialCode::KillSwitchBuild),
    ] {
        let mut kill = order(scope(kind, &selector), KillMode::Stop);
        kill.hits = Arc::new([agent("one")].into());
        // The registry knows nobody of this sponsor or build any more.
        let registry: Arc<dyn Agents> = Arc::new(Registry);
        let kills = KillState::default().after(kill, Timestamp::UNIX_EPOCH);
        let kills = kills.with_agents(Some(registry));
        assert_eq!(kills.stops_agent(&agent("one"), StopPoint::Use), Some(code));
        assert_eq!(kills.stops_agent(&agent("two"), StopPoint::Use), None);
        let json = serde_json::to_string(kills.history()).unwrap();
        assert_eq!(serde_json::from_str::<Vec<KillRecord>>(&json).unwrap(), kills.history());
    }
}

#[test]
fn each_mode_stops_at_its_own_points() {
    let stopped = |mode| {
        let kills = in_mode(&[KillScope::All], mode);
        [StopPoint::Ask, StopPoint::Issue, StopPoint::Use]
            .map(|point| kills.stops_agent(&agent("a"), point).is_some())
    };
    assert_eq!(stopped(KillMode::Drain), [true, false, false]);
    assert_eq!(stopped(KillMode::StopIssuance), [true, true, false]);
    assert_eq!(stopped(KillMode::StopUse), [false, false, true]);
    assert_eq!(stopped(KillMode::Stop), [true, true, true]);
    assert_eq!(stopped(KillMode::StopAndRevokeUpstream), [true, true, true]);
}

#[test]
fn a_recovery_goes_by_steps_that_stop_less() {
    use KillMode::{Drain, Stop, StopIssuance, StopUse};
    for (to, from) in [(Drain, Stop), (StopIssuance, Stop), (StopUse, Stop), (Drain, StopIssuance)]
    {
        assert!(to.relaxes(from) && !from.relaxes(to), "{to} {from}");
    }
    for mode in KillMode::ALL {
        assert!(!mode.relaxes(mode));
        assert_eq!(mode.as_str().parse(), Ok(mode));
    }
    assert!(!Drain.relaxes(StopUse) && !StopUse.relaxes(Drain));
    assert_eq!("stop-issuance".parse(), Ok(StopIssuance));
    assert_eq!("halt".parse::<KillMode>(), Err(KillModeError));
}

#[test]
fn the_widest_kill_gives_the_code() {
    let kills = state(&[KillScope::TrustDomain, KillScope::Agent(agent("one"))]);
    for name in ["one", "two"] {
        let code = kills.stops_agent(&agent(name), StopPoint::Use);
        assert_eq!(code, Some(DenialCode::KillSwitchTrustDomain));
    }
    for order in
        [[KillScope::All, KillScope::TrustDomain], [KillScope::TrustDomain, KillScope::All]]
    {
        let code = state(&order).stops_agent(&agent("two"), StopPoint::Use);
        assert_eq!(code, Some(DenialCode::KillSwitchGlobal));
    }
}

#[test]
fn every_kill_and_every_lift_begins_an_epoch() {
    let mut kills = state(&[KillScope::All, KillScope::TrustDomain]);
    let first = kills.kills[0].clone();
    kills.take(lift(&first, Some(KillMode::Drain)), Timestamp::UNIX_EPOCH);
    assert_eq!((kills.epoch, kills.kills.len(), kills.kills[0].mode), (3, 2, KillMode::Drain));
    assert_eq!(kills.find(&first.id()).map(Kill::id), Some(first.id()), "its id is still the same");
    kills.take(lift(&first, None), Timestamp::UNIX_EPOCH);
    assert_eq!((kills.epoch, kills.kills.len()), (4, 1));
    let epochs: Vec<u64> = kills.history().iter().map(KillRecord::epoch).collect();
    assert_eq!(epochs, [1, 2, 3, 4]);
}

#[test]
fn what_was_lifted_stays_lifted_in_whatever_order_it_is_heard() {
    let kill = state(&[KillScope::All]).kills[0].clone();
    let mut kills = KillState::default();
    kills.take(lift(&kill, None), Timestamp::UNIX_EPOCH);
    kills.take(KillOrder::Kill(order(KillScope::All, KillMode::Stop)), Timestamp::UNIX_EPOCH);
    assert_eq!((kills.epoch, kills.kills.len()), (2, 0));
}

#[test]
fn records_of_before_there_were_modes_still_read() {
    let old = r#"{"scope":{"scope":"agent","selector":"spiffe://prod.example.org/agent/one"},
        "reason":"drill","actor":"operator:alice(1000)","at":"1970-01-01T00:00:00Z","epoch":1}"#;
    let read: KillRecord = serde_json::from_str(old).unwrap();
    let kills = state(&[KillScope::Agent(agent("one"))]);
    assert_eq!(kills.history(), [read]);
    // And what they can say is still written as they read it.
    let written = serde_json::to_value(&kills.history()[0]).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(old).unwrap());
}

#[test]
fn every_record_reads_back_from_json() {
    let mut kills = in_mode(
        &[
            scope("build", &Digest::of(b"x").to_string()),
            scope("playbook_version", "p@3"),
            scope("tool", "crm"),
            scope("tool", "crm.read"),
            scope("delegator", "corp:alice"),
            KillScope::All,
        ],
        KillMode::StopUse,
    );
    let first = kills.kills[0].clone();
    kills.take(lift(&first, Some(KillMode::Drain)), Timestamp::UNIX_EPOCH);
    let json = serde_json::to_string(kills.history()).unwrap();
    assert_eq!(serde_json::from_str::<Vec<KillRecord>>(&json).unwrap(), kills.history());
    for record in kills.history() {
        assert!(record.is_of(&record.order(), record.at()));
    }
}

#[test]
fn a_mode_that_would_stop_nothing_of_a_scope_is_told_apart() {
    for (kind, selector) in [("credential", "tok_1"), ("key", "k"), ("delegator", "corp:alice")] {
        let scope = scope(kind, selector);
        let none = KillMode::ALL.into_iter().filter(|mode| !scope.can_be(*mode));
        assert_eq!(none.collect::<Vec<_>>(), [KillMode::Drain], "{kind}");
    }
    for scope in [KillScope::All, scope("tool", "crm"), scope("sponsor", "alice@example.org")] {
        assert!(KillMode::ALL.into_iter().all(|mode| scope.can_be(mode)), "{scope:?}");
    }
}

#[test]
fn a_scope_is_read_strictly() {
    for (kind, selector) in [
        ("agent", None),
        ("agent", Some("a")),
        ("all", Some("x")),
        ("trust_domain", Some("x")),
        ("playbook_version", Some("p")),
        ("playbook_version", Some("p@x")),
        ("tool", Some("")),
        ("tool", Some("A")),
        ("tool", Some("crm.*")),
        ("tenant", Some("a\u{7}")),
        ("delegator", Some("")),
        ("credential", Some("a b")),
        ("build", Some("sha256:00")),
        ("galaxy", Some("x")),
    ] {
        assert!(KillScope::parse(kind, selector).is_err(), "{kind} {selector:?}");
    }
    let long = "x".repeat(MAX_KILL_NAME);
    assert!(KillScope::parse("tenant", Some(&long)).is_ok());
    assert!(KillScope::parse("tenant", Some(&format!("{long}x"))).is_err());
    for scope in [KillScope::All, scope("tool", "crm"), scope("playbook_version", "p@3")] {
        let again = KillScope::parse(scope.kind(), scope.selector().as_deref()).unwrap();
        assert_eq!(again, scope);
    }
}
