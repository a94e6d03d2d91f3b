use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn figures() -> Figures {
    Figures::new(&"prod.example.org".parse().unwrap(), Environment::Production)
}

fn event(kind: EventKind, intent: &str, seconds: i64) -> Event {
    Event::new(kind, at(seconds))
        .with_intent(intent)
        .with_agent("spiffe://prod.example.org/agent/cert-rotator/a".parse().unwrap())
}

fn counts(figures: &Figures) -> (usize, usize) {
    let known = figures.lock();
    let count = |of: fn(&Run) -> bool| known.intents.values().filter(|run| of(run)).count();
    (count(|run| run.waits), count(|run| run.in_force))
}

#[test]
fn what_waits_and_what_is_in_force_is_known_after_a_restart() {
    let figures = figures();
    for event in [
        event(EventKind::IntentRequested, "int_1", 0),
        event(EventKind::IntentPending, "int_1", 0),
        event(EventKind::IntentRequested, "int_2", 1),
        event(EventKind::IntentPending, "int_2", 1),
        event(EventKind::IntentApproved, "int_2", 9)
            .with_detail("approvers", json!(["operator:a"])),
    ] {
        figures.recall(&event);
    }
    assert_eq!(counts(&figures), (1, 1));
    figures.recall(&event(EventKind::IntentRevoked, "int_2", 20));
    figures.recall(&event(EventKind::IntentExpired, "int_1", 20));
    assert_eq!(counts(&figures), (0, 0));
}

#[test]
fn what_is_long_ago_is_forgotten() {
    let figures = figures();
    figures.recall(&event(EventKind::BreakGlassActivated, "int_1", 0));
    figures.recall(&event(EventKind::IdentityShared, "", 0));
    let day = 24 * 60 * 60;
    assert_eq!(figures.broken_lately(at(29 * day)), 1);
    assert_eq!(figures.broken_lately(at(31 * day)), 0);
    figures.measure(&Inventory::default(), at(31 * day));
    let remembered = || {
        let known = figures.lock();
        (known.broken.len(), known.shared.len())
    };
    assert_eq!(remembered(), (1, 0));
    figures.measure(&Inventory::default(), at(61 * day));
    assert_eq!(remembered(), (0, 0));
}

#[test]
fn no_more_is_remembered_than_there_is_room_for() {
    let mut kept: BTreeMap<usize, usize> = (0..MAX_REMEMBERED).map(|one| (one, one)).collect();
    remember(&mut kept, MAX_REMEMBERED, 0);
    remember(&mut kept, 0, 7);
    assert_eq!((kept.len(), kept.get(&0)), (MAX_REMEMBERED, Some(&7)));
    let figures = figures();
    for one in 0..=MEDIAN_OF {
        let end = at(i64::try_from(one).unwrap());
        figures.recall(&event(EventKind::TokenIssued, "int_1", 0).with_expires_at(end));
    }
    assert_eq!(figures.lock().lifetimes.len(), MEDIAN_OF);
}

#[test]
fn the_median_is_in_the_middle() {
    assert_eq!(median(vec![]), None);
    assert_eq!(median(vec![5.0]), Some(5.0));
    assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), Some(3.0));
}

#[test]
fn an_attempt_beyond_what_was_granted_is_told_from_other_refusals() {
    use DenialCode::{ExceedsPlaybookCeiling, GrantExpired, TicketMissing, ToolNotInGrant};
    let beyond = [ExceedsPlaybookCeiling, ToolNotInGrant, DenialCode::RawPermissionsNotRequestable];
    assert!(beyond.into_iter().all(is_beyond_scope));
    assert!(![GrantExpired, TicketMissing].into_iter().any(is_beyond_scope));
}
