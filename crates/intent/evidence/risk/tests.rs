use proptest::prelude::*;

use super::*;

fn rules(base: u32, weights: &[(RiskName, u32)]) -> RiskRules {
    RiskRules { weights: weights.iter().copied().collect(), ..RiskRules::of_base(base) }
}

fn hours() -> WorkingHours {
    WorkingHours {
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        days: ["mon", "tue"].iter().map(|day| day.parse().unwrap()).collect(),
        from: "09:00".parse().unwrap(),
        until: "17:00".parse().unwrap(),
    }
}

#[test]
fn a_score_tells_what_it_is_made_of() {
    let rules = rules(40, &[(RiskName::OffHours, 15), (RiskName::OpenGrants, 5)]);
    let inputs = [(RiskName::OffHours, 1), (RiskName::OpenGrants, 2)].into();
    let assessed = rules.assess(&inputs);
    assert_eq!(assessed.score, 65);
    assert_eq!(assessed.to_string(), "65 = 40 base + 15 off_hours + 10 open_grants (2 × 5)");
    let none = rules.assess(&RiskInputs::new());
    assert_eq!(none.to_string(), "40 = 40 base + 0 off_hours (0 × 15) + 0 open_grants (0 × 5)");
    let much = rules.assess(&[(RiskName::OpenGrants, u64::MAX)].into());
    assert_eq!(much.score, MAX_RISK);
    assert!(much.to_string().ends_with(", at most 100"), "{much}");
}

#[test]
fn an_input_that_the_playbook_does_not_weigh_adds_nothing() {
    let assessed = rules(10, &[]).assess(&[(RiskName::Posture, 3)].into());
    assert_eq!((assessed.score, assessed.factors.len()), (10, 0));
}

#[test]
fn each_threshold_begins_at_its_number() {
    let rules = RiskRules { deny_at: Some(90), approve_at: Some(50), ..RiskRules::of_base(0) };
    assert!(!rules.refuses(89) && rules.refuses(90));
    assert!(!rules.wants_a_person(49) && rules.wants_a_person(50));
    let without = RiskRules::of_base(0);
    assert!(!without.refuses(MAX_RISK) && !without.wants_a_person(MAX_RISK));
}

#[test]
fn a_factor_reads_back_by_its_name_and_nothing_else_does() {
    for factor in RiskName::ALL {
        assert_eq!(factor.to_string().parse::<RiskName>().unwrap(), factor);
        assert_eq!(serde_json::to_value(factor).unwrap(), factor.as_str());
    }
    let error = "vibes".parse::<RiskName>().unwrap_err().to_string();
    assert!(error.contains("`vibes`") && error.contains("off_hours"), "{error}");
}

#[test]
fn working_hours_are_those_of_their_zone_whatever_its_summer_time() {
    let hours = hours();
    for (instant, inside) in [
        // A Tuesday in March, before summer time: 09:00 in Berlin is 08:00 UTC.
        ("2026-03-10T07:59:59Z", false),
        ("2026-03-10T08:00:00Z", true),
        ("2026-03-10T15:59:59Z", true),
        ("2026-03-10T16:00:00Z", false),
        // A Tuesday in July: 09:00 in Berlin is 07:00 UTC.
        ("2026-07-07T06:59:59Z", false),
        ("2026-07-07T07:00:00Z", true),
        // A Wednesday.
        ("2026-03-11T10:00:00Z", false),
    ] {
        assert_eq!(hours.contain(instant.parse().unwrap()), inside, "{instant}");
    }
    assert!("montag".parse::<WorkingDay>().is_err());
}

fn factor() -> impl Strategy<Value = RiskName> {
    proptest::sample::select(RiskName::ALL.to_vec())
}

fn numbers() -> impl Strategy<Value = BTreeMap<RiskName, u64>> {
    proptest::collection::btree_map(factor(), prop_oneof![0..20u64, any::<u64>()], 0..11)
}

proptest! {
    #[test]
    fn a_score_is_the_sum_of_its_parts_cut_at_a_hundred(
        base in 0..=100u32,
        weights in proptest::collection::btree_map(factor(), 0..=100u32, 0..11),
        inputs in numbers(),
    ) {
        let assessed = RiskRules { weights: weights.clone(), ..RiskRules::of_base(base) }.assess(&inputs);
        let sum: u64 = assessed.factors.iter().map(|factor| u64::from(factor.points)).sum();
        prop_assert_eq!(u64::from(assessed.score), (u64::from(base) + sum).min(100));
        prop_assert_eq!(assessed.factors.len(), weights.len());
        for factor in &assessed.factors {
            let input: u64 = factor.input.parse().unwrap();
            let exact = u128::from(factor.weight) * u128::from(input);
            prop_assert_eq!(u128::from(factor.points), exact.min(100));
        }
    }

    #[test]
    fn more_of_anything_is_never_less_risk(
        base in 0..=100u32,
        weights in proptest::collection::btree_map(factor(), 0..=100u32, 0..11),
        inputs in numbers(),
        more in factor(),
        by in 0..1000u64,
    ) {
        let rules = RiskRules { weights, ..RiskRules::of_base(base) };
        let before = rules.assess(&inputs).score;
        let mut inputs = inputs;
        let input = inputs.entry(more).or_default();
        *input = input.saturating_add(by);
        prop_assert!(rules.assess(&inputs).score >= before);
    }

    #[test]
    fn an_assessment_reads_back(base in 0..=100u32, inputs in numbers()) {
        let weights = RiskName::ALL.into_iter().map(|factor| (factor, 7)).collect();
        let assessed = RiskRules { weights, ..RiskRules::of_base(base) }.assess(&inputs);
        let json = serde_json::to_string(&assessed).unwrap();
        prop_assert_eq!(serde_json::from_str::<RiskAssessment>(&json).unwrap(), assessed);
    }
}
