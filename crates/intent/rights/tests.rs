//! The comparison of rights: a table of widenings, and the stories of delegation (M 14, M 15, M 19–M 22, M 24, M 25).

mod chain;
mod details;
mod model;

use serde_json::{Value, json};

use super::*;
use crate::fixtures::review;

/// The rights of a renewal review.
pub(super) fn rights() -> Rights {
    Rights::of(&review())
}

pub(super) fn wanted(value: Value) -> Wanted {
    serde_json::from_value(value).unwrap()
}

/// The rights with one member replaced, as nobody could have got them.
fn with(member: &str, value: Value) -> Rights {
    let mut json = serde_json::to_value(rights()).unwrap();
    json[member] = value;
    serde_json::from_value(json).unwrap()
}

#[test]
fn every_widening_is_refused_in_its_dimension() {
    use DenialCode::{
        CannotCompareAttenuation as Incomparable, ChainTooDeep, ExceedsParentScope as Exceeds,
        TenantMismatch, TrustDomainMismatch,
    };
    let tool = |bounds: Value| {
        let mut tools = serde_json::to_value(rights().tools).unwrap();
        tools["tickets.create"] = bounds;
        tools
    };
    let agents = json!(["spiffe://prod.example.org/agent/stranger"]);
    let arguments = json!({"contracts.read": {"max_calls": 10, "arguments": [{"type": "object"}]}});
    let table = [
        ("trust_domain", json!("dev.example.org"), Dimension::TrustDomain, TrustDomainMismatch),
        ("tenant", json!("other"), Dimension::Tenant, TenantMismatch),
        (
            "audiences",
            json!(["https://tools.prod.example.org", "x:y"]),
            Dimension::Audiences,
            Exceeds,
        ),
        ("audiences", json!([]), Dimension::Audiences, Exceeds),
        ("scopes", json!(["crm.read", "crm.write"]), Dimension::Scopes, Exceeds),
        ("scopes", json!(["CRM.read"]), Dimension::Scopes, Exceeds),
        ("authorization_details", json!([]), Dimension::AuthorizationDetails, Exceeds),
        ("resources", json!([]), Dimension::Resources, Exceeds),
        ("resources", json!(["crm://prod/cust_other"]), Dimension::Resources, Exceeds),
        ("tools", json!({"payments.pay": {}}), Dimension::Tools, Exceeds),
        ("tools", json!({"crm-dev.read": {}}), Dimension::Tools, Exceeds),
        ("tools", tool(json!({"sensitive": true, "destructive": true})), Dimension::Tools, Exceeds),
        (
            "tools",
            tool(json!({"sensitive": true, "destructive": true, "max_calls": 2})),
            Dimension::Tools,
            Exceeds,
        ),
        ("tools", tool(json!({"sensitive": true, "max_calls": 1})), Dimension::Tools, Exceeds),
        ("tools", tool(json!({"destructive": true, "max_calls": 1})), Dimension::Tools, Exceeds),
        ("tools", json!({"contracts.read": {"max_calls": 10}}), Dimension::ToolArguments, Exceeds),
        ("tools", arguments, Dimension::ToolArguments, Exceeds),
        ("constraints", json!({}), Dimension::Constraints, Exceeds),
        (
            "constraints",
            json!({"customer_id": "cust_example_1042"}),
            Dimension::Constraints,
            Exceeds,
        ),
        (
            "constraints",
            json!({"customer_id": "cust_other", "contract_ids": ["contract_7781"]}),
            Dimension::Constraints,
            Exceeds,
        ),
        (
            "constraints",
            json!({"customer_id": ["cust_example_1042"], "contract_ids": ["contract_7781"]}),
            Dimension::Constraints,
            Incomparable,
        ),
        (
            "constraints",
            json!({"customer_id": "cust_example_1042", "contract_ids": ["contract_7781"], "region": "eu"}),
            Dimension::Constraints,
            Incomparable,
        ),
        ("data_classes", json!([]), Dimension::DataClasses, Exceeds),
        ("data_classes", json!(["payment_history"]), Dimension::DataClasses, Exceeds),
        (
            "limits",
            json!({"max_records": 26, "max_calls": 40, "max_destructive": 1, "max_bytes_out": 1, "min_interval_s": 1}),
            Dimension::MaxRecords,
            Exceeds,
        ),
        (
            "limits",
            json!({"max_records": 25, "max_destructive": 1, "max_bytes_out": 1, "min_interval_s": 1}),
            Dimension::MaxCalls,
            Exceeds,
        ),
        (
            "limits",
            json!({"max_records": 25, "max_calls": 40, "max_destructive": 2, "max_bytes_out": 1, "min_interval_s": 1}),
            Dimension::MaxDestructive,
            Exceeds,
        ),
        (
            "limits",
            json!({"max_records": 25, "max_calls": 40, "max_destructive": 1, "max_bytes_out": 1_048_577, "min_interval_s": 1}),
            Dimension::MaxBytesOut,
            Exceeds,
        ),
        (
            "limits",
            json!({"max_records": 25, "max_calls": 40, "max_destructive": 1, "max_bytes_out": 1, "min_interval_s": 0}),
            Dimension::MinInterval,
            Exceeds,
        ),
        ("uses", json!(2), Dimension::Uses, Exceeds),
        ("purpose", json!(null), Dimension::Purpose, Exceeds),
        ("purpose", json!("bulk_export_of_all_contracts"), Dimension::Purpose, Exceeds),
        (
            "purpose",
            json!("review_customer_contract_for_renewal_risks"),
            Dimension::Purpose,
            Exceeds,
        ),
        (
            "purpose",
            json!("review_customer_contract_for_renewal_risk."),
            Dimension::Purpose,
            Incomparable,
        ),
        (
            "purpose",
            json!("review_customer_contract_for_renewal_risk..x"),
            Dimension::Purpose,
            Incomparable,
        ),
        (
            "purpose",
            json!("review_customer_contract_for_renewal_risk.*"),
            Dimension::Purpose,
            Incomparable,
        ),
        ("not_before", json!("2026-03-10T08:59:59Z"), Dimension::NotBefore, Exceeds),
        ("not_after", json!("2027-03-10T09:00:00Z"), Dimension::NotAfter, Exceeds),
        (
            "on_behalf",
            json!({"max_depth": 4, "agents": ["spiffe://prod.example.org/agent/risk"]}),
            Dimension::Depth,
            ChainTooDeep,
        ),
        ("on_behalf", json!({"max_depth": 1, "agents": agents}), Dimension::Depth, ChainTooDeep),
        (
            "on_behalf",
            json!({"max_depth": 1, "agents": [], "equal": ["scopes"]}),
            Dimension::Depth,
            ChainTooDeep,
        ),
        ("approval", json!(null), Dimension::Approval, Exceeds),
        ("approval", json!({"approve": 1, "groups": []}), Dimension::Approval, Exceeds),
        ("approval", json!({"approve": 1, "groups": ["everybody"]}), Dimension::Approval, Exceeds),
    ];
    for (member, value, dimension, code) in table {
        let widening = rights().covers(&with(member, value.clone())).unwrap_err();
        assert_eq!((widening.dimension, widening.code), (dimension, code), "{member}: {value}");
    }
}

#[test]
fn what_is_narrower_in_one_dimension_is_within() {
    for (member, value) in [
        ("scopes", json!([])),
        ("scopes", json!(["crm.read"])),
        ("tools", json!({})),
        ("tools", json!({"crm.read": {"sensitive": true, "destructive": true, "max_calls": 1}})),
        ("data_classes", json!(["renewal_terms"])),
        ("resources", json!(["crm://prod/cust_example_1042"])),
        ("uses", json!(0)),
        ("purpose", json!("review_customer_contract_for_renewal_risk.clauses.one")),
        ("not_after", json!("2026-03-10T09:30:00Z")),
        ("on_behalf", json!(null)),
        ("approval", json!({"approve": 2, "groups": ["operators"]})),
        ("risk_ceiling", json!(10)),
        ("confidence_floor", json!(90)),
    ] {
        let child = with(member, value.clone());
        assert_eq!(rights().covers(&child), Ok(()), "{member}: {value}");
        if !["uses", "not_after", "approval", "on_behalf"].contains(&member) {
            assert!(child.covers(&rights()).is_err(), "{member}: {value}");
        }
    }
}

#[test]
fn a_ceiling_and_a_floor_are_never_left_out() {
    let parent = with("risk_ceiling", json!(40));
    for (child, within) in
        [(json!(40), true), (json!(39), true), (json!(41), false), (json!(null), false)]
    {
        assert_eq!(parent.covers(&with("risk_ceiling", child.clone())).is_ok(), within, "{child}");
    }
    let parent = with("confidence_floor", json!(60));
    for (child, within) in
        [(json!(60), true), (json!(61), true), (json!(59), false), (json!(null), false)]
    {
        assert_eq!(
            parent.covers(&with("confidence_floor", child.clone())).is_ok(),
            within,
            "{child}"
        );
    }
}

#[test]
fn each_kind_of_constraint_has_its_order() {
    let is_within = |name: &str, parent: Value, child: Value| {
        let of =
            |value: Value| serde_json::from_value::<Constraints>(json!({name: value})).unwrap();
        of(parent).covers(&of(child))
    };
    for (name, parent, child) in [
        ("region", json!("eu"), json!("eu")),
        ("max_rows", json!(10), json!(9)),
        ("min_age", json!(10), json!(11)),
        ("shard", json!(3), json!(3)),
        ("dry_run", json!(true), json!(true)),
        ("ids", json!(["a", "b"]), json!(["b"])),
        ("year", json!({"min": 2020, "max": 2026}), json!({"min": 2021, "max": 2021})),
        ("path_prefix", json!("a/b"), json!("a/b/c")),
    ] {
        assert_eq!(is_within(name, parent.clone(), child.clone()), Ok(()), "{name}: {child}");
    }
    for (name, parent, child) in [
        ("region", json!("eu"), json!("eu-west")),
        ("region", json!("eu"), json!("eu/west")),
        ("max_rows", json!(10), json!(11)),
        ("min_age", json!(10), json!(9)),
        ("shard", json!(3), json!(2)),
        ("dry_run", json!(true), json!(false)),
        ("ids", json!(["a"]), json!(["a", "b"])),
        ("ids", json!(["a"]), json!("a")),
        ("year", json!({"min": 2020, "max": 2026}), json!({"min": 2019, "max": 2021})),
        ("year", json!({"min": 2020, "max": 2026}), json!(2021)),
        ("path_prefix", json!("a/b"), json!("a/bc")),
        ("path_prefix", json!("a/b"), json!("a/b/../c")),
        ("path_prefix", json!("a/b"), json!("a/b/%2e%2e")),
        ("path_prefix", json!("a/b"), json!("a")),
    ] {
        assert!(is_within(name, parent.clone(), child.clone()).is_err(), "{name}: {child}");
    }
}

#[test]
fn a_member_that_is_not_known_is_refused_wherever_it_stands() {
    let mut json = serde_json::to_value(rights()).unwrap();
    json["everything"] = json!(true);
    assert!(serde_json::from_value::<Rights>(json).is_err());
    for unknown in [
        json!({"scope": ["a"]}),
        json!({"tools": {"crm.read": {"any": true}}}),
        json!({"limits": {"max_rows": 1}}),
        json!({"authorization_details": [{"type": "crm_record", "namespace": "x"}]}),
        json!({"constraints": {"region": {"min": 1, "max": 2, "or": 3}}}),
    ] {
        assert!(serde_json::from_value::<Wanted>(unknown.clone()).is_err(), "{unknown}");
    }
}

#[test]
fn arguments_are_narrowed_by_one_more_schema_and_never_by_another() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["contract_id", "section"],
        "properties": {"contract_id": {"const": "contract_7781"}, "section": {"const": "term"}},
    });
    let narrow = |schema: &Value| {
        rights().narrowed(&wanted(json!({"tools": {"contracts.read": {"arguments": schema}}})))
    };
    let child = narrow(&schema).unwrap();
    let arguments = &child.tools[&"contracts.read".parse().unwrap()].arguments;
    assert_eq!(arguments.len(), 2);
    assert_eq!(arguments[1], schema);
    for open in [json!({}), json!(true), json!({"type": "object"}), json!({"$ref": "http://x"})] {
        let widening = narrow(&open).unwrap_err();
        assert_eq!(widening.dimension, Dimension::ToolArguments, "{open}");
    }
}

#[test]
fn the_schemas_of_one_tool_have_a_greatest_number() {
    let mut rights = rights();
    let narrow = |rights: &Rights, at: usize| {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {"section": {"const": format!("s{at}")}},
        });
        rights.narrowed(&wanted(json!({"tools": {"contracts.read": {"arguments": schema}}})))
    };
    for at in 1..MAX_ARGUMENT_SCHEMAS {
        rights = narrow(&rights, at).unwrap();
    }
    let widening = narrow(&rights, MAX_ARGUMENT_SCHEMAS).unwrap_err();
    assert_eq!(widening.dimension, Dimension::ToolArguments);
    assert!(narrow(&rights, 1).is_ok(), "the same schema again is no further one");
}

#[test]
fn m_25_nothing_is_without_an_end() {
    let Rights { not_after, uses, limits, .. } = rights();
    assert!(not_after > review().not_before && uses > 0 && limits.max_calls.is_some());
    let mut json = serde_json::to_value(rights()).unwrap();
    json.as_object_mut().unwrap().remove("not_after");
    assert!(serde_json::from_value::<Rights>(json).is_err());
}

#[test]
fn a_refusal_names_the_dimension_and_no_value() {
    let widening = rights().covers(&with("tenant", json!("canary"))).unwrap_err();
    let denial = widening.denial();
    assert_eq!(denial.code(), DenialCode::TenantMismatch);
    assert!(denial.detail().contains("tenant") && !denial.detail().contains("canary"));
}
