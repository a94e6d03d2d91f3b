use serde_json::json;

use super::*;
use crate::fixtures::{
    REVIEW, REVIEWER, approval, ask, at, circumstances, request, requester, start,
};
use crate::{Circumstances, Playbook, resolve};

const ENRICH: &str = "spiffe://prod.example.org/agent/enrich";

/// The live intent of a renewal review.
fn parent() -> Intent {
    let intent = Intent::open(crate::fixtures::review(), None, ask(), start()).0;
    intent.approve(&approval(&intent, 1000, at(1)), at(1)).unwrap().0
}

/// What the review's own playbook would give this agent, in another text.
fn child_of(agent: &str, change: impl Fn(String) -> String) -> Grant {
    let text = REVIEW
        .replace(
            "agents = [\"spiffe://prod.example.org/agent/renewal-review\"]",
            &format!("agents = [\"{agent}\"]"),
        )
        .replace("id = \"contract-renewal-review\"", "id = \"contract-excerpt\"");
    let playbook = Playbook::parse(&change(text)).unwrap();
    let asked = json!({
        "playbook": "contract-excerpt",
        "parameters": {"customer_id": "cust_example_1042", "contract_id": "contract_7781"},
        "session": "s",
        "task": "t",
    });
    let circumstances = Circumstances {
        intent_id: "int_1123456789abcdefghjkmnpqrs".parse().unwrap(),
        ..circumstances()
    };
    resolve(&playbook, &request(&asked), &requester(agent), circumstances).unwrap()
}

/// What an excerpt takes: one scope, one detail, one resource, one tool, one class of data.
fn excerpt() -> Wanted {
    serde_json::from_value(json!({
        "scopes": ["contracts.read"],
        "authorization_details": [{
            "type": "contract",
            "actions": ["read"],
            "datatypes": ["terms"],
            "identifier": "customers/cust_example_1042/contracts/contract_7781",
        }],
        "resources": ["contracts://prod/cust_example_1042/contract_7781"],
        "tools": {"contracts.read": {"max_calls": 2}},
        "data_classes": ["renewal_terms"],
        "limits": {"max_calls": 4, "max_records": 1, "max_destructive": 0},
    }))
    .unwrap()
}

fn code(outcome: Result<Grant, Denial>) -> DenialCode {
    outcome.unwrap_err().code()
}

#[test]
fn m_23_the_child_is_less_than_its_parent_and_names_it() {
    let parent = parent();
    let child = delegated(child_of(ENRICH, |text| text), &parent, &excerpt()).unwrap();
    assert_eq!(child.scope(), "contracts.read");
    assert_eq!(child.limits.max_calls, Some(4));
    assert_eq!(child.limits.max_bytes_out, Some(1_048_576));
    assert!(child.not_after <= parent.grant().not_after);
    assert_eq!(child.delegators, parent.grant().delegators);
    assert_eq!(child.on_behalf.as_ref().unwrap().max_depth, 2);
    let link = child.parent.as_ref().unwrap();
    assert_eq!((&link.id, &link.digest), (parent.id(), parent.grant().digest()));
    assert_eq!(link.agent.as_str(), REVIEWER);
    Rights::of(parent.grant()).covers(&Rights::of(&child)).unwrap();
    // The chain is part of what is approved.
    assert_ne!(child_of(ENRICH, |text| text).digest(), child.digest());
}

#[test]
fn what_the_parent_does_not_have_is_refused() {
    let parent = parent();
    let wider = |from: &'static str, to: &'static str| {
        let child = child_of(ENRICH, |text| text.replacen(from, to, 1));
        code(delegated(child, &parent, &Wanted::default()))
    };
    assert_eq!(
        wider("\"contracts.read\", \"crm.read\"", "\"contracts.delete\", \"crm.read\""),
        DenialCode::ExceedsParentScope
    );
    assert_eq!(
        wider("https://tools.prod.example.org", "https://elsewhere.example.org"),
        DenialCode::ExceedsParentScope
    );
    assert_eq!(
        wider(
            "groups = [\"operators\", \"customer-success\"]",
            "groups = [\"operators\", \"strangers\"]"
        ),
        DenialCode::ExceedsParentScope
    );
    // What is passed on unchanged is refused, unless the playbook lets it be equal (M 22).
    let same = child_of(ENRICH, |text| text);
    assert_eq!(
        code(delegated(same, &parent, &Wanted::default())),
        DenialCode::CannotCompareAttenuation
    );
}

#[test]
fn what_the_childs_playbook_does_not_give_is_refused() {
    let wanted = Wanted { scopes: Some(["iam.everything".parse().unwrap()].into()), ..excerpt() };
    let outcome = delegated(child_of(ENRICH, |text| text), &parent(), &wanted);
    assert_eq!(code(outcome), DenialCode::ExceedsPlaybookCeiling);
}

#[test]
fn only_whom_the_playbook_names_and_nobody_twice() {
    let parent = parent();
    let stranger = child_of("spiffe://prod.example.org/agent/stranger", |text| text);
    assert_eq!(code(delegated(stranger, &parent, &excerpt())), DenialCode::AgentNotAllowed);
    let itself = child_of(REVIEWER, |text| text);
    assert_eq!(code(delegated(itself, &parent, &excerpt())), DenialCode::ChainInvalid);
    let usual = crate::fixtures::approved(1);
    let outcome = delegated(child_of(ENRICH, |text| text), &usual, &excerpt());
    assert_eq!(code(outcome), DenialCode::ChainTooDeep);
}

#[test]
fn on_whose_behalf_never_widens() {
    let rule = parent().grant().delegators.clone().unwrap();
    let other = Delegators { required: false, ..rule.clone() };
    let of = |child: Option<&Delegators>, above: Option<&Delegators>| {
        delegators(child, above).map_err(|denial| denial.code())
    };
    assert_eq!(of(None, None), Ok(None));
    assert_eq!(of(None, Some(&rule)), Ok(Some(rule.clone())));
    assert_eq!(of(None, Some(&other)), Ok(None));
    assert_eq!(of(Some(&rule), Some(&rule)), Ok(Some(rule.clone())));
    assert_eq!(of(Some(&other), Some(&rule)), Err(DenialCode::CannotCompareAttenuation));
    assert_eq!(of(Some(&rule), None), Err(DenialCode::ExceedsDelegatorRights));
}

#[test]
fn a_request_for_another_names_it_and_its_own_intent() {
    let asked = |more: serde_json::Value| {
        let mut body = json!({"playbook": "contract-excerpt"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        crate::IntentRequest::parse(&serde_json::to_vec(&body).unwrap())
    };
    let parent = "int_0123456789abcdefghjkmnpqrs";
    let request = asked(json!({"for_agent": ENRICH, "parent": parent})).unwrap();
    let for_agent = request.for_agent().unwrap();
    assert_eq!((for_agent.agent.as_str(), for_agent.parent.as_str()), (ENRICH, parent));
    assert!(asked(json!({})).unwrap().for_agent().is_none());
    for half in [
        json!({"for_agent": ENRICH}),
        json!({"parent": parent}),
        json!({"narrow": {}}),
        json!({"for_agent": "enrich", "parent": parent}),
        json!({"for_agent": ENRICH, "parent": "x"}),
        json!({"for_agent": ENRICH, "parent": parent, "narrow": {"everything": true}}),
    ] {
        assert_eq!(asked(half).unwrap_err().code(), DenialCode::InvalidRequest);
    }
}
