//! Delegation: what a sub-agent gets, and what is left at the end of a chain (M 14, M 15, M 19–M 22, M 24).

use serde_json::json;

use super::super::{Dimension, OnBehalf, Rights, ToolId, Wanted};
use super::{rights, wanted};
use crate::denial::DenialCode;

/// What a clause-classification agent needs: one excerpt, and the right to return a classification.
fn classification() -> Wanted {
    wanted(json!({
        "scopes": ["classification.return"],
        "authorization_details": [{
            "type": "contract",
            "actions": ["read"],
            "datatypes": ["terms"],
            "identifier": "customers/cust_example_1042/contracts/contract_7781/clauses/12",
        }],
        "resources": ["contracts://prod/cust_example_1042/contract_7781"],
        "tools": {"classification.return": {"max_calls": 1}},
        "data_classes": ["renewal_terms"],
        "limits": {"max_records": 1, "max_calls": 1, "max_destructive": 0},
        "purpose": "review_customer_contract_for_renewal_risk.clause_classification",
        "depth": 0,
    }))
}

fn with_equal(dimensions: &[Dimension]) -> Rights {
    let mut rights = rights();
    let behalf = rights.on_behalf.take().unwrap();
    let equal = dimensions.iter().copied().collect();
    rights.on_behalf = Some(OnBehalf { equal, ..behalf });
    rights
}

#[test]
fn m_21_a_clause_classification_agent_gets_the_excerpt_and_nothing_of_crm_or_tickets() {
    let child = rights().delegated(&classification()).unwrap();
    let tools: Vec<String> = child.tools.keys().map(ToString::to_string).collect();
    assert_eq!(tools, ["classification.return"]);
    let everything = serde_json::to_string(&child).unwrap();
    for foreign in ["crm", "ticket", "support_summary", "contract_metadata", "metadata"] {
        assert!(!everything.contains(foreign), "{foreign}: {everything}");
    }
    assert_eq!(child.authorization_details.len(), 1);
    assert!(child.on_behalf.is_none(), "it hands nothing on");
    let more = wanted(json!({"scopes": ["crm.read"]}));
    assert_eq!(child.narrowed(&more).unwrap_err().dimension, Dimension::Scopes);
    let tool: ToolId = "crm.read".parse().unwrap();
    assert!(!child.tools.contains_key(&tool));
    assert_eq!(child.delegated(&Wanted::default()).unwrap_err().dimension, Dimension::Depth);
}

#[test]
fn m_22_at_the_end_of_a_chain_of_four_agents_there_is_no_more_than_at_its_beginning() {
    let enrich = rights();
    let classify = enrich
        .delegated(&wanted(json!({
            "scopes": ["contracts.read", "tickets.create", "classification.return"],
            "authorization_details": [
                {"type": "contract", "actions": ["read"], "datatypes": ["terms"], "identifier": "customers/cust_example_1042/contracts/contract_7781"},
                {"type": "ticket", "actions": ["create"], "identifier": "customers/cust_example_1042"},
            ],
            "resources": ["contracts://prod/cust_example_1042/contract_7781", "tickets://prod/cust_example_1042"],
            "tools": {"contracts.read": {"max_calls": 4}, "tickets.create": {}, "classification.return": {}},
            "data_classes": ["renewal_terms", "support_summary"],
            "limits": {"max_records": 10},
        })))
        .unwrap();
    let risk = classify
        .delegated(&wanted(json!({
            "scopes": ["contracts.read", "tickets.create"],
            "authorization_details": [
                {"type": "ticket", "actions": ["create"], "identifier": "customers/cust_example_1042"},
            ],
            "resources": ["tickets://prod/cust_example_1042"],
            "tools": {"contracts.read": {}, "tickets.create": {}},
            "data_classes": ["support_summary"],
            "limits": {"max_calls": 5},
        })))
        .unwrap();
    let write = risk
        .delegated(&wanted(json!({
            "scopes": ["tickets.create"],
            "tools": {"tickets.create": {}},
            "purpose": "review_customer_contract_for_renewal_risk.ticket",
        })))
        .unwrap();
    let chain = [&enrich, &classify, &risk, &write];
    for (hop, earlier) in chain.iter().enumerate() {
        for later in &chain[hop..] {
            assert_eq!(earlier.covers(later), Ok(()), "hop {hop}");
        }
        for later in &chain[hop + 1..] {
            assert!(later.covers(earlier).is_err(), "hop {hop}");
        }
    }
    let depths: Vec<u8> =
        chain.iter().map(|rights| rights.on_behalf.as_ref().map_or(0, |b| b.max_depth)).collect();
    assert_eq!(depths, [3, 2, 1, 0]);
    let fifth = write.delegated(&wanted(json!({"limits": {"max_calls": 1}}))).unwrap_err();
    assert_eq!((fifth.dimension, fifth.code), (Dimension::Depth, DenialCode::ChainTooDeep));
    assert_eq!(write.limits.max_records, Some(10), "what an earlier hop narrowed stays so");
    assert_eq!(write.tools[&"tickets.create".parse().unwrap()].max_calls, Some(1));
}

#[test]
fn m_22_an_envelope_is_not_passed_on_unchanged() {
    let refused = rights().delegated(&Wanted::default()).unwrap_err();
    assert_eq!(refused.code, DenialCode::CannotCompareAttenuation);
    // One dimension after the other is narrowed; as long as one with several elements is not, it is refused for that one.
    let mut asked = json!({});
    for (dimension, narrower) in [
        (Dimension::Scopes, ("scopes", json!(["crm.read"]))),
        (
            Dimension::AuthorizationDetails,
            (
                "authorization_details",
                json!([{"type": "crm_record", "actions": ["read"], "identifier": "customers/cust_example_1042"}]),
            ),
        ),
        (Dimension::Resources, ("resources", json!(["crm://prod/cust_example_1042"]))),
        (Dimension::Tools, ("tools", json!({"crm.read": {}}))),
        (Dimension::DataClasses, ("data_classes", json!(["support_summary"]))),
    ] {
        let refused = rights().delegated(&wanted(asked.clone())).unwrap_err();
        assert_eq!(refused.dimension, dimension, "{asked}");
        assert_eq!(refused.code, DenialCode::CannotCompareAttenuation);
        asked[narrower.0] = narrower.1;
    }
    let child = rights().delegated(&wanted(asked)).unwrap();
    assert_eq!(rights().covers(&child), Ok(()));
}

#[test]
fn m_22_a_playbook_may_let_a_dimension_pass_unchanged_by_its_name() {
    let narrowed = json!({
        "authorization_details": [{"type": "crm_record", "actions": ["read"], "identifier": "customers/cust_example_1042"}],
        "resources": ["crm://prod/cust_example_1042"],
        "tools": {"crm.read": {}},
        "data_classes": ["support_summary"],
    });
    assert!(rights().delegated(&wanted(narrowed.clone())).is_err());
    assert!(with_equal(&[Dimension::Tools]).delegated(&wanted(narrowed.clone())).is_err());
    let child = with_equal(&[Dimension::Scopes]).delegated(&wanted(narrowed)).unwrap();
    assert_eq!(child.scopes, rights().scopes);
    // All of it passes unchanged only where each dimension that holds something is named.
    let all = Dimension::NARROWED_BY_DELEGATION;
    assert!(with_equal(&all).delegated(&Wanted::default()).is_ok());
    for left_out in all {
        let named: Vec<Dimension> = all.into_iter().filter(|named| *named != left_out).collect();
        let refused = with_equal(&named).delegated(&Wanted::default()).unwrap_err();
        assert_eq!(refused.dimension, left_out);
    }
}

#[test]
fn m_22_what_cannot_be_divided_may_stay_if_something_else_is_less() {
    let single = rights()
        .narrowed(&wanted(json!({
            "scopes": ["crm.read"],
            "authorization_details": [{"type": "crm_record", "actions": ["read"], "identifier": "customers/cust_example_1042"}],
            "resources": ["crm://prod/cust_example_1042"],
            "tools": {"crm.read": {}},
            "data_classes": ["support_summary"],
        })))
        .unwrap();
    assert!(single.delegated(&Wanted::default()).is_err(), "nothing at all is less");
    for less in [
        json!({"limits": {"max_calls": 1}}),
        json!({"purpose": "review_customer_contract_for_renewal_risk.crm"}),
        json!({"tools": {"crm.read": {"max_calls": 1}}}),
        json!({"tools": {}}),
        json!({"scopes": []}),
    ] {
        assert!(single.delegated(&wanted(less.clone())).is_ok(), "{less}");
    }
}

#[test]
fn m_22_a_tool_that_is_bounded_is_not_left_out() {
    let tools: Vec<String> = rights().tools.keys().map(ToString::to_string).collect();
    let mut asked = json!({
        "scopes": ["crm.read"],
        "authorization_details": [{"type": "crm_record", "actions": ["read"], "identifier": "customers/cust_example_1042"}],
        "resources": ["crm://prod/cust_example_1042"],
        "data_classes": ["support_summary"],
        "tools": tools.iter().map(|tool| (tool.clone(), json!({"max_calls": 1, "sensitive": true}))).collect::<serde_json::Map<_, _>>(),
    });
    let refused = rights().delegated(&wanted(asked.clone())).unwrap_err();
    assert_eq!(refused.dimension, Dimension::Tools);
    assert_eq!(refused.code, DenialCode::CannotCompareAttenuation);
    asked["tools"].as_object_mut().unwrap().remove(&tools[0]);
    assert!(rights().delegated(&wanted(asked)).is_ok());
}

#[test]
fn without_leave_nothing_is_delegated() {
    let mut rights = rights();
    rights.on_behalf = None;
    let refused = rights.delegated(&classification()).unwrap_err();
    assert_eq!((refused.dimension, refused.code), (Dimension::Depth, DenialCode::ChainTooDeep));
    assert!(rights.narrowed(&wanted(json!({"depth": 1}))).is_err());
    assert!(rights.narrowed(&wanted(json!({"depth": 0}))).is_ok());
}

#[test]
fn m_19_leave_to_delegate_names_the_agents_that_it_is_for() {
    let behalf = rights().on_behalf.unwrap();
    let permits = |id: &str| behalf.permits(&id.parse().unwrap());
    assert!(permits("spiffe://prod.example.org/agent/clause-classification"));
    for stranger in [
        "spiffe://prod.example.org/agent/e-mail",
        "spiffe://prod.example.org/agent/clause-classification/child",
        "spiffe://prod.example.org/agent",
        "spiffe://dev.example.org/agent/clause-classification",
    ] {
        assert!(!permits(stranger), "{stranger}");
    }
}

#[test]
fn m_15_the_same_data_class_in_another_workflow_is_refused() {
    for (other, dimension) in [
        (json!({"purpose": "bulk_export_of_contracts"}), Dimension::Purpose),
        (json!({"limits": {"max_records": 100_000}}), Dimension::MaxRecords),
        (
            json!({"constraints": {"contract_ids": ["contract_7781", "contract_7782"]}}),
            Dimension::Constraints,
        ),
        (json!({"tools": {"contracts.export": {}}}), Dimension::Tools),
    ] {
        let refused = rights().narrowed(&wanted(other.clone())).unwrap_err();
        assert_eq!(refused.dimension, dimension, "{other}");
    }
}

#[test]
fn m_14_an_agent_that_may_edit_notes_cannot_change_billing_terms() {
    let edit = wanted(json!({
        "authorization_details": [{"type": "contract", "actions": ["update"], "datatypes": ["billing_terms"], "identifier": "customers/cust_example_1042/contracts/contract_7781"}],
    }));
    let refused = rights().narrowed(&edit).unwrap_err();
    assert_eq!(refused.dimension, Dimension::AuthorizationDetails);
    assert_eq!(refused.code, DenialCode::ExceedsParentScope);
}

#[test]
fn m_24_a_concrete_call_names_less_than_the_task_that_it_is_of() {
    let call = rights()
        .narrowed(&wanted(json!({
            "tools": {"contracts.read": {"max_calls": 1, "arguments": {
                "type": "object", "additionalProperties": false, "required": ["contract_id"],
                "properties": {"contract_id": {"const": "contract_7781"}, "section": {"const": "term"}},
            }}},
            "data_classes": ["renewal_terms"],
            "limits": {"max_records": 1, "max_calls": 1},
            "uses": 0,
        })))
        .unwrap();
    assert_eq!(rights().covers(&call), Ok(()));
    assert!(call.covers(&rights()).is_err());
    assert_eq!((call.tenant.as_str(), call.limits.max_records), ("tenant_example", Some(1)));
}
