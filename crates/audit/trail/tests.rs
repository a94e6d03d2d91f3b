use serde_json::json;

use super::*;
use crate::PlaybookPin;
use crate::testing::{agent, at, event, seal};

fn asked(intent: &str, parent: Option<&str>) -> Event {
    let event = event(EventKind::IntentRequested, intent, 0).with_ticket(format!("CHG-{intent}"));
    match parent {
        Some(parent) => event.with_detail(PARENT_INTENT, parent),
        None => event,
    }
}

fn token(kind: EventKind, intent: &str, id: &str, parent: Option<&str>) -> Event {
    let event = event(kind, intent, 0).with_token_id(id);
    match parent {
        Some(parent) => event.with_detail("parent", parent),
        None => event,
    }
}

fn kill(kill: Value) -> Event {
    Event::new(EventKind::Kill, at(0)).with_detail("kill", kill)
}

/// Two grants, one under the other; tokens one, two of one, three of two, four beside them; another grant between.
fn story() -> Vec<Event> {
    use EventKind::{IntentApproved, IntentCompleted, TokenDerived, TokenIssued, TokenRevoked};
    let playbook = PlaybookPin { id: "rotate".to_owned(), version: 1, digest: "d".to_owned() };
    vec![
        kill(json!({ "scope": "trust_domain" })),
        asked("a", None).with_playbook(playbook),
        asked("x", None).with_agent("spiffe://prod.example.org/agent/other".parse().unwrap()),
        event(IntentApproved, "a", 0),
        token(TokenIssued, "a", "one", None),
        asked("b", Some("a")).with_agent("spiffe://prod.example.org/agent/helper".parse().unwrap()),
        token(TokenDerived, "a", "two", Some("one")),
        token(TokenIssued, "a", "four", None),
        token(TokenDerived, "a", "three", Some("two")),
        token(TokenIssued, "b", "five", None)
            .with_agent("spiffe://prod.example.org/agent/helper".parse().unwrap()),
        kill(json!({ "scope": "playbook", "selector": "rotate" })),
        kill(json!({ "scope": "playbook", "selector": "restart" })),
        token(TokenRevoked, "a", "two", None),
        event(IntentCompleted, "a", 0),
        kill(json!({ "scope": "all" })),
    ]
}

fn trail(subject: Subject) -> Vec<(u64, usize)> {
    let leaves = seal(story());
    let mut trail = Trail::new(subject);
    while trail.has_to_look() {
        if !leaves.iter().any(|leaf| trail.look(leaf)) {
            trail.looked();
        }
    }
    let steps = leaves.iter().filter_map(|leaf| trail.follow(leaf));
    steps.map(|step| (step.leaf.seq(), step.depth)).collect()
}

#[test]
fn the_trail_of_a_grant_has_all_that_came_of_it_and_what_stopped_it() {
    let grant = trail(Subject::Grant("a".to_owned()));
    let expected = [
        (1, 0),
        (3, 0),
        (4, 1),
        (5, 1),
        (6, 2),
        (7, 1),
        (8, 3),
        (9, 2),
        (10, 0),
        (12, 2),
        (13, 0),
        (14, 0),
    ];
    assert_eq!(grant, expected);
    assert_eq!(trail(Subject::Grant("b".to_owned())), [(5, 0), (9, 1), (14, 0)]);
    assert_eq!(trail(Subject::Grant("unheard".to_owned())), []);
}

#[test]
fn the_trail_of_a_token_has_its_line_and_its_grant_and_not_its_siblings() {
    let two = trail(Subject::Token("two".to_owned()));
    let expected = [(1, 0), (3, 0), (4, 1), (6, 2), (8, 3), (10, 0), (12, 2), (13, 0), (14, 0)];
    assert_eq!(two, expected);
    let four = trail(Subject::Token("four".to_owned()));
    assert_eq!(four, [(1, 0), (3, 0), (7, 1), (10, 0), (13, 0), (14, 0)]);
    assert_eq!(trail(Subject::Token("unheard".to_owned())), []);
}

#[test]
fn the_trail_of_a_ticket_is_that_of_its_grants() {
    let ticket = trail(Subject::Ticket("CHG-a".to_owned()));
    assert_eq!(ticket, trail(Subject::Grant("a".to_owned())));
}

#[test]
fn the_trail_of_an_agent_has_what_was_asked_for_under_its_grants() {
    let all = trail(Subject::Agent(agent()));
    // Every kill of everything hits an agent, also before it did anything.
    let mut expected = trail(Subject::Grant("a".to_owned()));
    expected.insert(0, (0, 0));
    assert_eq!(all, expected);
    let helper = "spiffe://prod.example.org/agent/helper".parse().unwrap();
    assert_eq!(trail(Subject::Agent(helper)), [(0, 0), (5, 0), (9, 1), (14, 0)]);
    let nobody = "spiffe://prod.example.org/agent/nobody".parse().unwrap();
    assert_eq!(trail(Subject::Agent(nobody)), [(0, 0), (14, 0)]);
}

/// What of a story is in the trail of grant `a`, whose agent is the one of all tests.
fn of_grant_a(more: Vec<Event>) -> Vec<u64> {
    let playbook = PlaybookPin { id: "rotate".to_owned(), version: 3, digest: "d".to_owned() };
    let request = asked("a", None)
        .with_playbook(playbook)
        .with_detail("task", "task-1")
        .with_detail("session", "session-1")
        .with_detail("sponsor", "team-a");
    let issued = token(EventKind::TokenIssued, "a", "one", None)
        .with_detail("delegator", "https://idp.example.org:alice");
    let derived = token(EventKind::TokenDerived, "a", "two", Some("one"))
        .with_actor("spiffe://prod.example.org/agent/second");
    let leaves = seal([vec![request, issued, derived], more].concat());
    let mut trail = Trail::new(Subject::Grant("a".to_owned()));
    leaves.iter().filter_map(|leaf| trail.follow(leaf)).map(|step| step.leaf.seq()).collect()
}

#[test]
fn kills_of_every_scope_that_leaves_tell_are_of_the_trail_and_no_others() {
    let agent = agent().to_string();
    for (scope, own, other) in [
        ("grant", "a", "b"),
        ("credential", "two", "three"),
        ("agent", agent.as_str(), "spiffe://prod.example.org/agent/other"),
        ("agent", "spiffe://prod.example.org/agent/second", "rotate"),
        ("playbook", "rotate", "restart"),
        ("playbook_version", "rotate@3", "rotate@2"),
        ("task", "task-1", "session-1"),
        ("session", "session-1", "task-1"),
        ("delegator", "https://idp.example.org:alice", "https://idp.example.org:bob"),
        ("sponsor", "team-a", "team-b"),
    ] {
        let named = |name: &str| kill(json!({ "scope": scope, "selector": name }));
        assert_eq!(of_grant_a(vec![named(other), named(own)]), [0, 1, 2, 4], "{scope}");
    }
    // What is no text does not mean all.
    let strange = kill(json!({ "scope": "playbook", "selector": { "id": "rotate" } }));
    assert_eq!(of_grant_a(vec![strange]), [0, 1, 2]);
}

#[test]
fn the_lift_of_a_kill_of_the_trail_is_part_of_it() {
    let named = |id: &str, task: &str| {
        kill(json!({ "scope": "task", "selector": task })).with_detail("id", id)
    };
    let about = |kind: EventKind, id: &str| Event::new(kind, at(0)).with_detail("lifts", id);
    let unnamed = kill(json!({ "scope": "all" })).with_epoch(7);
    let story = vec![
        named("kill_own", "task-1"),
        named("kill_other", "task-2"),
        about(EventKind::KillLiftAsked, "kill_own"),
        about(EventKind::KillLifted, "kill_other"),
        about(EventKind::KillLifted, "kill_own"),
        unnamed,
        about(EventKind::KillLifted, "kill_third").with_detail("kill_epoch", 7),
    ];
    assert_eq!(of_grant_a(story), [0, 1, 2, 3, 5, 7, 8, 9]);
}
