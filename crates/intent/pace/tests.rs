use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::keys::fold;
use super::*;
use crate::fixtures::{AGENT, at, circumstances, good_request, playbook, request, requester};
use crate::{
    Denial, DenialClass, DenialCode, GrantTerms, History, IntentId, Justification, resolve,
};

const SIBLING: &str = "spiffe://prod.example.org/agent/cert-rotator/two";

/// The rows of one store, and the numbers.
#[derive(Default)]
struct World {
    rows: PaceRows,
    settings: PaceSettings,
    open: Vec<IntentId>,
    events: Vec<marque_audit::EventKind>,
}

fn terms_of(agent: &str, body: &Value) -> GrantTerms {
    let who = requester(agent);
    resolve(&playbook(), &request(body), &who, circumstances()).unwrap().terms().clone()
}

fn asked_of(terms: &GrantTerms) -> Asked {
    Asked::of(terms, Some(&Justification::new("the certificate ends in six days").unwrap()))
        .unwrap()
}

fn asked(agent: &str) -> Asked {
    asked_of(&terms_of(agent, &good_request()))
}

fn parameters(service: &str) -> Value {
    let mut body = good_request();
    body["parameters"]["service"] = json!(service);
    body
}

fn no(code: DenialCode) -> Denial {
    Denial::new(code, "no")
}

impl World {
    fn turn<'a>(&'a self, asked: &'a Asked, now: Timestamp) -> Turn<'a> {
        Turn { asked, rows: &self.rows, settings: &self.settings, now }
    }

    fn write(&mut self, rows: Counted) {
        rows.into_iter().for_each(|(key, row)| self.rows.insert(key, row));
    }

    fn check(&self, asked: &Asked, seconds: i64) -> Result<(), Denial> {
        self.turn(asked, at(seconds)).check()
    }

    /// What the desk does with a request that nobody refuses.
    fn ask(&mut self, asked: &Asked, seconds: i64) -> Result<Option<DenialCode>, Denial> {
        let open = self.open.clone();
        let is_open = move |id: &IntentId| open.contains(id);
        let turn = self.turn(asked, at(seconds));
        if let Err(denial) = turn.admit(&is_open) {
            return Err(self.refuse(asked, denial, seconds));
        }
        let kept = self.turn(asked, at(seconds)).keep(true, &is_open);
        self.write(kept.rows);
        Ok(kept.after)
    }

    fn refuse(&mut self, asked: &Asked, denial: Denial, seconds: i64) -> Denial {
        let refused = self.turn(asked, at(seconds)).refuse(denial, None);
        self.write(refused.rows);
        self.events.extend(refused.events.iter().map(|event| event.kind));
        refused.told
    }

    fn deny(&mut self, asked: &Asked, code: DenialCode, seconds: i64) -> Denial {
        let refused = self.turn(asked, at(seconds)).deny(&no(code));
        self.write(refused.rows);
        self.events.extend(refused.events.iter().map(|event| event.kind));
        refused.told
    }

    fn standing(&self, agent: &str) -> Standing {
        self.rows.standing(&Family::of(&agent.parse().unwrap()))
    }
}

fn code(result: Result<(), Denial>) -> DenialCode {
    result.unwrap_err().code()
}

#[test]
fn a_family_is_an_id_without_its_instance_and_never_everybody() {
    let family = |id: &str| Family::of(&id.parse().unwrap()).to_string();
    let rotators = "spiffe://prod.example.org/agent/cert-rotator";
    assert_eq!(family(AGENT), rotators);
    assert_eq!(family(SIBLING), rotators);
    assert_eq!(family(rotators), rotators);
    assert_eq!(family("spiffe://prod.example.org/solo"), "spiffe://prod.example.org/solo");
    let pattern = format!("{rotators}/*").parse::<Family>().unwrap();
    assert_eq!(pattern.to_string(), rotators);
    assert!(pattern.has(&SIBLING.parse().unwrap()));
}

#[test]
fn m_111_a_refused_request_is_refused_again_without_asking_anybody_and_however_it_is_written() {
    let mut world = World::default();
    let first = asked(AGENT);
    world.ask(&first, 0).unwrap();
    world.deny(&first, DenialCode::ApprovalDenied, 10);
    let resolved = first.resolved.as_ref().unwrap();
    let again = world.check(&first, 20).unwrap_err();
    assert_eq!(
        (again.code(), again.subject()),
        (DenialCode::ApprovalDenied, Some(&resolved.intent))
    );
    // A sibling's request, and one with other words for it, are the same.
    assert_eq!(code(world.check(&asked(SIBLING), 20)), DenialCode::ApprovalDenied);
    let terms = terms_of(AGENT, &good_request());
    for near in ["Checkout", " checkout ", "checkout/", "check\u{200b}out"] {
        let mut near_terms = terms.clone();
        near_terms.parameters.insert("service".to_owned(), json!(near));
        assert_eq!(
            code(world.check(&asked_of(&near_terms), 20)),
            DenialCode::ApprovalDenied,
            "{near}"
        );
    }
    // Another one is not.
    world.check(&asked_of(&terms_of(AGENT, &parameters("payments"))), 20).unwrap();
    // Nor is it for ever, and nobody stretches it by asking.
    world.refuse(&first, no(DenialCode::ApprovalDenied), 300);
    let mut later = world;
    later.settings.budgets.insert(DenialClass::Approval, 100);
    later
        .write(vec![(PaceKey::Family(first.family.clone()), PaceRow::Family(Standing::default()))]);
    assert_eq!(code(later.check(&first, 609)), DenialCode::ApprovalDenied);
    later.check(&first, 610).unwrap();
}

#[test]
fn what_the_agent_or_an_operator_puts_right_is_looked_at_anew() {
    for put_right in [
        DenialCode::ParamsSchemaInvalid,
        DenialCode::TicketMissing,
        DenialCode::PolicyUnavailable,
        DenialCode::AgentNotAllowed,
    ] {
        let mut world = World::default();
        world.refuse(&asked(AGENT), no(put_right), 0);
        world.check(&asked(AGENT), 1).unwrap();
    }
    // Another version of the playbook, or other policies, may say yes.
    let mut world = World::default();
    world.deny(&asked(AGENT), DenialCode::RiskTooHigh, 0);
    let mut terms = terms_of(AGENT, &good_request());
    assert_eq!(code(world.check(&asked_of(&terms), 1)), DenialCode::RiskTooHigh);
    terms.policy_set_digest = crate::Digest::of(b"repaired");
    world.check(&asked_of(&terms), 1).unwrap();
    // What may be tried again after a while is not repeated for longer.
    world.check(&asked(AGENT), 300).unwrap();
}

#[test]
fn a_family_cools_down_longer_each_time_and_then_waits_for_a_person() {
    let mut world = World::default();
    let agent = Asked::by(&AGENT.parse().unwrap(), None);
    let sibling = Asked::by(&SIBLING.parse().unwrap(), None);
    let mut now = 0;
    for (round, length) in [60, 300, 1800].into_iter().enumerate() {
        let first = world.refuse(&agent, no(DenialCode::AgentNotAllowed), now);
        assert!(!first.retry().allowed, "{first:?}");
        world.check(&agent, now).unwrap();
        let second = world.refuse(&agent, no(DenialCode::AgentNotAllowed), now + 1);
        assert_eq!(second.retry().after, Some(Duration::from_secs(length)), "round {round}");
        if round < 2 {
            let cooling = world.check(&sibling, now + 2).unwrap_err();
            assert_eq!(cooling.code(), DenialCode::CooldownAfterDenial);
            assert_eq!(cooling.retry().after, Some(Duration::from_secs(length - 1)));
        }
        now += i64::try_from(length).unwrap() + 1;
    }
    // It does not end by itself.
    for seconds in [now, now + 60 * 60 * 24 * 365] {
        let held = world.check(&sibling, seconds).unwrap_err();
        assert_eq!(held.code(), DenialCode::Quarantined);
        assert_eq!((held.retry().allowed, held.retry().after), (false, None));
    }
    assert_eq!(
        world.standing(AGENT).may_exchange(&agent.family).unwrap_err().code(),
        DenialCode::Quarantined
    );
    let kept_until = |world: &World| {
        world.rows.get(&PaceKey::Family(agent.family.clone())).unwrap().kept_until()
    };
    assert_eq!(kept_until(&world), Timestamp::MAX);
    let released = world.standing(AGENT).released(at(now)).unwrap();
    world.write(vec![(PaceKey::Family(agent.family.clone()), PaceRow::Family(released))]);
    world.check(&sibling, now).unwrap();
    assert_eq!(world.standing(AGENT).released(at(now)), None, "there is nothing to release");
    use marque_audit::EventKind::{CooldownBegan, QuarantineBegan};
    assert_eq!(world.events, [CooldownBegan, CooldownBegan, CooldownBegan, QuarantineBegan]);
}

#[test]
fn what_fails_on_our_side_never_leads_to_quarantine() {
    let mut world = World::default();
    let agent = Asked::by(&AGENT.parse().unwrap(), None);
    let mut now = 0;
    for _round in 0..6 {
        for _try in 0..5 {
            world.refuse(&agent, no(DenialCode::PolicyUnavailable), now);
            now += 1;
        }
        now += 1800;
    }
    assert!(world.events.iter().all(|kind| *kind == marque_audit::EventKind::CooldownBegan));
    assert!(world.events.len() >= 3, "{:?}", world.events);
    world.check(&agent, now).unwrap();
}

#[test]
fn a_budget_is_counted_down_and_told() {
    let mut world = World::default();
    let agent = Asked::by(&AGENT.parse().unwrap(), None);
    let mut left = Vec::new();
    for second in 0..4 {
        let told = world.refuse(&agent, no(DenialCode::ParamsSchemaInvalid), second);
        left.push((told.retry().max, told.retry().allowed));
    }
    let max = [3, 2, 1, 0].map(|left| (Some(left), left > 0));
    assert_eq!(left, max);
    assert!(world.events.is_empty());
    world.refuse(&agent, no(DenialCode::UnknownPlaybook), 4);
    assert_eq!(world.events, [marque_audit::EventKind::CooldownBegan]);
    // Another class has a budget of its own, and an old refusal does not count.
    let mut world = World::default();
    for round in 0..20 {
        world.refuse(&agent, no(DenialCode::ParamsSchemaInvalid), round * 601);
        world.refuse(&agent, no(DenialCode::TicketFormat), round * 601);
    }
    assert!(world.events.is_empty());
}

#[test]
fn an_agent_asks_twenty_times_a_minute_and_fifty_times_for_a_task() {
    let mut world = World::default();
    world.settings.open_per_playbook = 1000;
    let agent = Asked::by(&AGENT.parse().unwrap(), None);
    for second in 0..20 {
        world.ask(&agent, second).unwrap();
    }
    let limited = world.ask(&agent, 20).unwrap_err();
    assert_eq!(limited.code(), DenialCode::RateLimited);
    assert_eq!(limited.retry().after, Some(Duration::from_secs(40)));
    world.ask(&agent, 59).unwrap_err();
    world.ask(&agent, 60).unwrap();
    let mut body = good_request();
    body["task"] = json!("task-1");
    let with_task = Asked::by(&AGENT.parse().unwrap(), Some(&request(&body)));
    for round in 0..50 {
        world.ask(&with_task, 1000 + round * 10).unwrap();
    }
    assert_eq!(world.ask(&with_task, 1500).unwrap_err().code(), DenialCode::RateLimited);
    world.ask(&agent, 1500).unwrap();
}

#[test]
fn the_same_grant_is_open_once_and_so_many_of_one_playbook() {
    let mut world = World::default();
    let first = asked(AGENT);
    let id = first.resolved.as_ref().unwrap().intent.clone();
    world.ask(&first, 0).unwrap();
    world.open.push(id.clone());
    let twice = world.ask(&first, 1).unwrap_err();
    assert_eq!((twice.code(), twice.subject()), (DenialCode::DuplicateGrant, Some(&id)));
    let mut lenient = World { settings: PaceSettings::default(), ..World::default() };
    lenient.settings.duplicates = true;
    lenient.open.push(id.clone());
    lenient.ask(&first, 0).unwrap();
    lenient.ask(&first, 1).unwrap();
    // For a sibling, for another task, and after its end it is another one.
    world.ask(&asked(SIBLING), 2).unwrap();
    let mut other = terms_of(AGENT, &good_request());
    other.task = Some("another".parse().unwrap());
    world.ask(&asked_of(&other), 3).unwrap();
    world.open.clear();
    world.ask(&first, 4).unwrap();
    let mut world = World::default();
    world.settings.open_per_playbook = 3;
    world.open.push(id);
    for number in 0..3 {
        let terms = terms_of(AGENT, &parameters(&format!("service-{number}")));
        world.ask(&asked_of(&terms), number).unwrap();
    }
    let fourth = terms_of(AGENT, &parameters("service-4"));
    assert_eq!(world.ask(&asked_of(&fourth), 5).unwrap_err().code(), DenialCode::RateLimited);
}

/// The same target by another playbook.
fn by_playbook(agent: &str, name: &str) -> Asked {
    let mut terms = terms_of(agent, &good_request());
    terms.playbook.id = name.parse().unwrap();
    asked_of(&terms)
}

#[test]
fn m_113_other_ways_to_a_target_that_was_refused_are_counted_over_all_playbooks() {
    let mut world = World::default();
    world.ask(&asked(AGENT), 0).unwrap();
    world.deny(&asked(AGENT), DenialCode::ApprovalDenied, 1);
    world.settings.budgets.insert(DenialClass::Approval, 100);
    world.ask(&by_playbook(AGENT, "by-hand"), 2).unwrap();
    world.ask(&by_playbook(SIBLING, "in-bulk"), 3).unwrap();
    let third = by_playbook(AGENT, "some-other-way");
    let suspected = world.ask(&third, 4).unwrap_err();
    assert_eq!(suspected.code(), DenialCode::RephraseSuspected);
    // The way that was tried before is no new one, another target is none, and after an hour it is over.
    world.check(&by_playbook(AGENT, "by-hand"), 5).unwrap();
    world.check(&asked_of(&terms_of(AGENT, &parameters("payments"))), 5).unwrap();
    world.check(&third, 3601).unwrap();
    // A family of its own has refusals of its own.
    let other = "spiffe://prod.example.org/agent/janitor/one";
    let mut terms = terms_of(AGENT, &good_request());
    terms.agent = other.parse().unwrap();
    terms.playbook.id = "yet-another".parse().unwrap();
    world.check(&asked_of(&terms), 5).unwrap();
}

#[test]
fn more_effect_on_a_refused_target_is_another_way_to_it_and_less_is_not() {
    let mut reads = terms_of(AGENT, &good_request());
    reads.scopes = vec!["secrets.get".parse().unwrap()];
    reads.authorization_details.clear();
    reads.tools.clear();
    let (reads, writes) = (asked_of(&reads), by_playbook(AGENT, "by-hand"));
    let mut world = World::default();
    world.settings.other_paths = 0;
    world.deny(&reads, DenialCode::RiskTooHigh, 0);
    assert_eq!(code(world.check(&writes, 1)), DenialCode::RephraseSuspected);
    let mut world = World::default();
    world.settings.other_paths = 0;
    world.deny(&writes, DenialCode::RiskTooHigh, 0);
    world.check(&reads, 1).unwrap();
}

#[test]
fn a_grant_soon_after_a_refusal_of_its_target_is_told_once() {
    let mut world = World::default();
    world.deny(&asked(AGENT), DenialCode::RiskTooHigh, 0);
    assert_eq!(world.ask(&by_playbook(AGENT, "by-hand"), 60), Ok(Some(DenialCode::RiskTooHigh)));
    assert_eq!(world.ask(&by_playbook(AGENT, "in-bulk"), 61), Ok(None));
    let mut world = World::default();
    world.deny(&asked(AGENT), DenialCode::RiskTooHigh, 0);
    assert_eq!(world.ask(&by_playbook(AGENT, "by-hand"), 3600), Ok(None));
}

#[test]
fn what_came_before_is_there_for_approvers_to_see() {
    let mut world = World::default();
    world.settings.open_per_playbook = 100;
    let terms = terms_of(AGENT, &good_request());
    for second in 0..3 {
        world.ask(&asked(AGENT), second).unwrap();
    }
    world.ask(&by_playbook(AGENT, "by-hand"), 4).unwrap();
    world.deny(&by_playbook(AGENT, "by-hand"), DenialCode::ApprovalDenied, 5);
    let counts = History { denials: 7, open_grants: 2, ..History::default() };
    let history = History::of(&asked_of(&terms), &world.rows, &counts, at(6));
    assert_eq!((history.denials, history.open_grants), (7, 2));
    assert_eq!((history.same_request, history.same_target), (3, 5));
    assert!(history.target_denied && history.justification_repeated);
    // The same words for the same request are no repetition, and in 30 days all of it is over.
    let same = History::of(&by_playbook(AGENT, "by-hand"), &world.rows, &counts, at(6));
    assert!(!same.justification_repeated);
    let month = 60 * 60 * 24 * 30 + 5;
    let later = History::of(&asked_of(&terms), &world.rows, &History::default(), at(month));
    assert!(later.is_empty(), "{later:?}");
}

#[test]
fn justifications_are_alike_by_their_words_and_not_by_their_case() {
    let one = "Rotate the certificate of checkout, because it ends on Friday!";
    assert!(says_the_same(one, "rotate the certificate of checkout because it ends on friday"));
    assert!(says_the_same(one, "Rotate the certificate of checkout, because it ends on Saturday"));
    assert!(!says_the_same(one, "A customer asked for an export of all contracts"));
    assert!(!says_the_same("", "") && !says_the_same(one, ""));
    assert!(says_the_same("yes", "Yes."));
}

#[test]
fn numbers_are_the_same_in_whatever_form() {
    for seven in ["7", "007", "+7", "7.0", "7e0", " 7 ", "7/"] {
        assert_eq!(fold(seven), "7", "{seven}");
    }
    assert_eq!(fold("-0.0"), "0");
    assert_ne!(fold("7a"), "7");
    assert_eq!(fold("EU-West-1 / "), "eu-west-1");
}

proptest! {
    #[test]
    fn folding_twice_is_folding_once_and_case_and_spaces_do_not_matter(text in any::<String>()) {
        let once = fold(&text);
        prop_assert_eq!(&fold(&once), &once);
        prop_assert_eq!(fold(&format!(" {text}\t")), once);
    }
}
