use std::collections::BTreeSet;

use super::*;

#[test]
fn every_code_of_the_specification_is_here_once() {
    let names: BTreeSet<&str> = DenialCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), DenialCode::ALL.len());
    assert_eq!(DenialCode::ALL.len(), 89);
    let per_class: Vec<(DenialClass, usize)> = DenialClass::ALL
        .iter()
        .map(|class| (*class, DenialCode::ALL.iter().filter(|code| code.class() == *class).count()))
        .collect();
    let counts: Vec<usize> = per_class.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [7, 11, 5, 4, 12, 8, 3, 8, 10, 7, 7, 7]);
}

#[test]
fn a_code_reads_back_its_own_name_and_serde_agrees() {
    for code in DenialCode::ALL {
        assert_eq!(code.as_str().parse::<DenialCode>().unwrap(), *code);
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
    for class in DenialClass::ALL {
        assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
    }
    assert!("because".parse::<DenialCode>().is_err());
}

#[test]
fn budgets_are_those_of_the_table() {
    let budget = |class: DenialClass| class.budget();
    assert_eq!(budget(DenialClass::Malformed), 3);
    assert_eq!(budget(DenialClass::Change), 5);
    assert_eq!(budget(DenialClass::Risk), 1);
    assert_eq!(budget(DenialClass::System), 3);
    for class in [
        DenialClass::Identity,
        DenialClass::Boundary,
        DenialClass::Attenuation,
        DenialClass::Intent,
        DenialClass::Approval,
        DenialClass::Grant,
        DenialClass::Stop,
    ] {
        assert_eq!(budget(class), 0, "{class}");
    }
}

#[test]
fn a_stopped_agent_is_never_told_to_try_again() {
    for code in DenialCode::ALL.iter().filter(|code| code.class() == DenialClass::Stop) {
        assert_eq!(code.retry(), Retry { allowed: false, after: None, max: Some(0) });
        assert_eq!(code.remediation(), Remediation::ContactOperator);
    }
}

#[test]
fn a_problem_tells_the_agent_about_its_own_input_and_nothing_of_what_others_expected() {
    let own =
        Denial::new(DenialCode::ParamsSchemaInvalid, "`/region` is not one of the listed values")
            .to_problem();
    assert_eq!(own.detail.as_deref(), Some("`/region` is not one of the listed values"));
    assert_eq!((own.status, own.kind.as_str()), (400, "urn:marque:problem:params_schema_invalid"));

    let others =
        Denial::new(DenialCode::ApproverNotEligible, "needs a member of `sre-leads`").to_problem();
    assert_eq!(others.detail, None);
    assert_eq!(others.status, 403);
}

#[test]
fn a_problem_has_the_members_of_the_specification() {
    let denial = Denial::new(DenialCode::TicketMissing, "no ticket")
        .by_policy(Digest::of(b"set"), vec!["prod-needs-a-ticket".to_owned()]);
    insta::assert_json_snapshot!(denial.to_problem());
}

#[test]
fn the_detail_is_bounded() {
    let denial = Denial::new(DenialCode::InvalidRequest, "x".repeat(MAX_DETAIL_CHARS + 1));
    assert_eq!(denial.detail().chars().count(), MAX_DETAIL_CHARS);
}
