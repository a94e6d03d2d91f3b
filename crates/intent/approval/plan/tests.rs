use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::super::{Approval, Approver, KnownApprovers, MfaEvidence, Objection, Person};
use super::*;
use crate::digest::Digest;
use crate::fixtures::{at, start};
use crate::text::Reason;

fn plan(value: Value) -> ApprovalPlan {
    serde_json::from_value(value).unwrap()
}

fn operator(uid: u32, groups: &[&str]) -> Decider {
    Decider {
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        ..Decider::from(Approver::Operator { uid, user: format!("user{uid}") })
    }
}

fn person(subject: &str, groups: &[&str]) -> Decider {
    let approver = Approver::Person(Person::new("https://idp.example.org", subject).unwrap());
    Decider { approver, ..operator(0, groups) }
}

/// Approvals of these, in this order, at these levels.
fn given(who: &[(usize, Decider)]) -> Vec<Approval> {
    let digest = Digest::of(b"grant");
    let one = |(level, who): &(usize, Decider)| {
        Approval::by(who.clone(), digest, start()).at_level(*level)
    };
    who.iter().map(one).collect()
}

fn code(plan: &ApprovalPlan, level: usize, who: &Decider) -> Option<DenialCode> {
    plan.admits(level, who, start()).err().map(|denial| denial.code())
}

fn known(people: Vec<Decider>) -> KnownApprovers {
    KnownApprovers { people, ..KnownApprovers::default() }
}

fn reach(plan: &ApprovalPlan, known: &KnownApprovers) -> Option<DenialCode> {
    plan.is_reachable(known).err().map(|denial| denial.code())
}

#[test]
fn a_rule_that_was_pinned_alone_reads_as_a_plan_and_writes_as_it_was() {
    for old in [json!({"approve": 1}), json!({"approve": 2, "groups": ["sre"]})] {
        let read = plan(old.clone());
        assert_eq!(read.levels().len(), 1);
        assert_eq!(serde_json::to_value(&read).unwrap(), old);
    }
    let whole = json!({
        "levels": [
            {"any": [{"approve": 2, "groups": ["a", "b"], "deny": 2, "distinct_groups": true}]},
            {"any": [{"approve": 1}, {"approve": 3, "groups": ["c"]}]},
        ],
        "exclude": ["delegation_chain", "agent_owner", "playbook_author"],
        "excluded": ["group:owners", "user:carol"],
        "mfa": true,
    });
    assert_eq!(serde_json::to_value(plan(whole.clone())).unwrap(), whole);
    for bad in [
        json!({"levels": []}),
        json!({"levels": [{"any": []}]}),
        json!({"levels": [{"any": [{"approve": 0}]}]}),
        json!({"levels": [{"any": [{"approve": 2, "groups": ["a"], "distinct_groups": true}]}]}),
        json!({"approve": 1, "levels": []}),
        json!({"levels": [{"any": [{"approve": 1}]}], "quorum": 2}),
    ] {
        assert!(serde_json::from_value::<ApprovalPlan>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn a_rule_counts_only_its_groups() {
    let of = |groups: &[&str]| plan(json!({"approve": 1, "groups": groups}));
    let not_eligible = Some(DenialCode::ApproverNotEligible);
    assert_eq!(code(&of(&[]), 0, &person("1", &[])), None);
    assert_eq!(code(&of(&["sre"]), 0, &person("1", &[])), not_eligible);
    assert_eq!(code(&of(&["sre"]), 0, &person("1", &["sre"])), None);
    // Whoever logs in is no local operator, whatever their identity provider calls them.
    assert_eq!(code(&of(&["operators"]), 0, &person("1", &[])), not_eligible);
    assert_eq!(code(&of(&["operators"]), 0, &operator(1, &[])), None);
    assert_eq!(code(&of(&["sre"]), 0, &operator(1, &[])), not_eligible);
    assert_eq!(code(&of(&["sre"]), 1, &operator(1, &["sre"])), not_eligible);
}

#[test]
fn levels_are_one_after_the_other_and_any_rule_of_one_is_enough() {
    let plan = plan(json!({"levels": [
        {"any": [{"approve": 2, "groups": ["dev"]}, {"approve": 1, "groups": ["lead"]}]},
        {"any": [{"approve": 1, "groups": ["sec"]}]},
    ]}));
    let (dev, other, lead, sec) = (
        operator(1, &["dev"]),
        operator(2, &["dev"]),
        operator(3, &["lead"]),
        operator(4, &["sec"]),
    );
    assert_eq!((plan.approvals_needed(), plan.missing(&[]), plan.open_level(&[])), (2, 2, Some(0)));
    let one = given(&[(0, dev.clone())]);
    assert_eq!((plan.open_level(&one), plan.missing(&one)), (Some(0), 2));
    let both = given(&[(0, dev.clone()), (0, other)]);
    assert_eq!((plan.open_level(&both), plan.missing(&both)), (Some(1), 1));
    let led = given(&[(0, dev), (0, lead.clone())]);
    assert_eq!(plan.open_level(&led), Some(1));
    assert_eq!(plan.open_level(&given(&[(0, lead.clone()), (1, sec.clone())])), None);
    // Nobody of the second level counts at the first, nor the other way round.
    assert_eq!(code(&plan, 0, &sec), Some(DenialCode::ApproverNotEligible));
    assert_eq!(code(&plan, 1, &lead), Some(DenialCode::ApproverNotEligible));
}

#[test]
fn distinct_groups_want_somebody_for_each_group() {
    let plan = plan(json!({"levels": [
        {"any": [{"approve": 2, "groups": ["a", "b"], "distinct_groups": true}]},
    ]}));
    let (a, both, second) = (operator(1, &["a"]), operator(2, &["a", "b"]), operator(3, &["a"]));
    assert_eq!(plan.missing(&given(&[(0, a.clone()), (0, second)])), 1);
    assert_eq!(plan.missing(&given(&[(0, a.clone()), (0, both.clone())])), 0);
    // Whoever came first for `a` moves on to `b` where they can.
    assert_eq!(plan.missing(&given(&[(0, both.clone()), (0, a)])), 0);
    assert_eq!(plan.missing(&given(&[(0, both)])), 1);
}

#[test]
fn refusals_are_counted_by_each_rule() {
    let plan = plan(json!({"levels": [
        {"any": [{"approve": 1, "groups": ["a"], "deny": 2}]},
        {"any": [{"approve": 1, "groups": ["b"]}]},
    ]}));
    let refused = |who: &[Decider]| {
        let objections: Vec<Objection> = who
            .iter()
            .map(|decider| Objection {
                decider: decider.clone(),
                reason: Reason::new("no").unwrap(),
                digest: Digest::of(b"grant"),
                at: start(),
            })
            .collect();
        plan.is_refused(&objections)
    };
    assert!(!refused(&[]) && !refused(&[operator(1, &["a"])]));
    assert!(refused(&[operator(1, &["a"]), operator(2, &["a"])]));
    // Whoever will be asked later may say no now.
    assert!(refused(&[operator(3, &["b"])]));
    assert!(plan.hears(&operator(4, &["c"])).is_err() && plan.hears(&operator(3, &["b"])).is_ok());
}

#[test]
fn owners_and_authors_never_approve_whatever_they_are_called() {
    let rule = json!({"levels": [{"any": [{"approve": 1}]}], "exclude": ["agent_owner", "playbook_author"]});
    let pinned = plan(rule.clone()).pinned(Some("group:owners"), "user:user7").unwrap();
    let forbidden = Some(DenialCode::SelfApprovalForbidden);
    assert_eq!(code(&pinned, 0, &operator(1, &["owners"])), forbidden);
    assert_eq!(code(&pinned, 0, &operator(7, &[])), forbidden);
    assert_eq!(code(&pinned, 0, &operator(8, &["sre"])), None);
    let linked = Decider { known_as: ["user:user7".parse().unwrap()].into(), ..person("1", &[]) };
    assert_eq!(code(&pinned, 0, &linked), forbidden);
    // A name that nobody could be held against would exclude nobody.
    for (owner, author) in
        [(None, "user:a"), (Some("the platform team"), "user:a"), (Some("user:a"), "team")]
    {
        let denial = plan(rule.clone()).pinned(owner, author).unwrap_err();
        assert_eq!(denial.code(), DenialCode::SponsorMissing, "{owner:?} {author}");
    }
}

#[test]
fn one_human_being_is_one_approver_through_whichever_door() {
    let corp: Principal = "person:corp:1".parse().unwrap();
    let local = Decider { known_as: [corp.clone()].into(), ..operator(1, &[]) };
    let logged_in = Decider { known_as: [corp].into(), ..person("1", &[]) };
    assert!(local.is(&logged_in) && logged_in.is(&local));
    assert!(!operator(1, &[]).is(&logged_in));
}

#[test]
fn a_demand_for_factors_is_met_by_a_fresh_login_alone() {
    let plan = plan(json!({"levels": [{"any": [{"approve": 1}]}], "mfa": true}));
    let not_eligible = Some(DenialCode::ApproverNotEligible);
    assert_eq!(code(&plan, 0, &operator(1, &[])), not_eligible);
    let shown =
        |seconds| Decider { mfa: Some(MfaEvidence::of_host(at(seconds))), ..operator(1, &[]) };
    assert_eq!(code(&plan, 0, &shown(0)), None);
    assert_eq!(code(&plan, 0, &shown(-900)), not_eligible);
}

#[test]
fn a_quorum_that_nobody_can_make_is_known_before_anybody_waits() {
    let unreachable = Some(DenialCode::QuorumUnreachable);
    let two = plan(json!({"approve": 2, "groups": ["sre"]}));
    let (alice, bob) = (operator(1, &["sre"]), operator(2, &["sre"]));
    assert_eq!(reach(&two, &known(vec![alice.clone()])), unreachable);
    assert_eq!(reach(&two, &known(vec![alice.clone(), operator(3, &[])])), unreachable);
    assert_eq!(reach(&two, &known(vec![alice.clone(), bob.clone()])), None);
    let open = KnownApprovers { open_groups: ["sre".parse().unwrap()].into(), ..known(vec![]) };
    assert_eq!(reach(&two, &open), None);
    // Excluded people are nobody.
    let owned = plan(json!({"levels": [{"any": [{"approve": 1}]}], "excluded": ["uid:1"]}));
    assert_eq!(reach(&owned, &known(vec![alice.clone()])), unreachable);
    assert_eq!(reach(&owned, &known(vec![alice.clone(), bob.clone()])), None);
    // One voice at two levels is no quorum.
    let levels = plan(
        json!({"levels": [{"any": [{"approve": 1}]}, {"any": [{"approve": 1, "groups": ["sre"]}]}]}),
    );
    assert_eq!(reach(&levels, &known(vec![alice.clone()])), unreachable);
    assert_eq!(reach(&levels, &known(vec![alice, operator(3, &[])])), None);
    let ways = plan(json!({"levels": [
        {"any": [{"approve": 2, "groups": ["sre"]}, {"approve": 1, "groups": ["lead"]}]},
        {"any": [{"approve": 2, "groups": ["sre"]}]},
    ]}));
    let people = vec![bob.clone(), operator(4, &["sre"]), operator(5, &["lead"])];
    assert_eq!(reach(&ways, &known(people)), None);
    assert_eq!(reach(&ways, &known(vec![bob, operator(4, &["sre"])])), unreachable);
}

#[test]
fn a_plan_is_narrower_than_another_when_it_asks_for_all_of_it() {
    let least = json!({"levels": [{"any": [{"approve": 1, "groups": ["a", "b"], "deny": 2}]}], "exclude": ["agent_owner"]});
    let mut stricter = vec![least.clone()];
    for (pointer, value) in [
        ("/levels/0/any/0/approve", json!(2)),
        ("/levels/0/any/0/groups", json!(["a"])),
        ("/levels/0/any/0/deny", json!(1)),
        ("/exclude", json!(["agent_owner", "delegation_chain"])),
        ("/levels", json!([{"any": [{"approve": 1}]}, {"any": [{"approve": 1, "groups": ["b"]}]}])),
    ] {
        let mut changed = least.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        stricter.push(changed);
    }
    for narrow in &stricter {
        assert!(plan(narrow.clone()).is_at_least(&plan(least.clone())), "{narrow}");
    }
    for wide in [
        json!({"approve": 1, "groups": ["a"]}),
        json!({"levels": [{"any": [{"approve": 1}]}], "exclude": ["agent_owner"]}),
        json!({"levels": [{"any": [{"approve": 1, "groups": ["a"], "deny": 3}]}], "exclude": ["agent_owner"]}),
        json!({"levels": [{"any": [{"approve": 1, "groups": ["a"]}, {"approve": 1, "groups": ["c"]}]}], "exclude": ["agent_owner"]}),
    ] {
        assert!(!plan(wide.clone()).is_at_least(&plan(least.clone())), "{wide}");
    }
    let with_mfa = plan(least.clone()).with_mfa(true);
    assert!(with_mfa.is_at_least(&plan(least.clone())) && !plan(least).is_at_least(&with_mfa));
    assert_eq!(NonZeroU32::MIN.get(), plan(json!({"approve": 1})).approvals_needed());
}
