//! Tools, constraints, numbers and delegation in the file format.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Playbook;
use crate::fixtures::{REVIEW, REVIEWER, circumstances, request, requester, review};
use crate::rights::{ConstraintValue, Dimension};

/// The playbook with one place changed is refused for this.
fn refused(from: &str, to: &str, because: &str) {
    assert!(REVIEW.contains(from), "`{from}` is not in the playbook");
    let found: Vec<String> = match Playbook::parse(&REVIEW.replacen(from, to, 1)) {
        Ok(_) => panic!("`{to}` was accepted"),
        Err(errors) => errors.iter().map(|error| error.message().to_owned()).collect(),
    };
    assert!(found.iter().any(|message| message.contains(because)), "`{to}`: {found:?}");
}

#[test]
fn the_tools_constraints_and_numbers_of_a_playbook_are_in_its_grant() {
    let grant = review();
    let tools: Vec<String> = grant.tools.keys().map(ToString::to_string).collect();
    assert_eq!(tools, ["classification.return", "contracts.read", "crm.read", "tickets.create"]);
    let read = &grant.tools[&"contracts.read".parse().unwrap()];
    assert_eq!(read.arguments[0]["properties"]["contract_id"], json!({"const": "contract_7781"}));
    assert_eq!((read.sensitive, read.max_calls), (false, Some(10)));
    let create = &grant.tools[&"tickets.create".parse().unwrap()];
    assert!(create.sensitive && create.destructive);
    let constraints: BTreeMap<&str, Value> = grant
        .constraints
        .iter()
        .map(|(name, value)| (name, serde_json::to_value(value).unwrap()))
        .collect();
    let expected =
        [("contract_ids", json!(["contract_7781"])), ("customer_id", json!("cust_example_1042"))];
    assert_eq!(constraints, BTreeMap::from(expected));
    assert_eq!(grant.limits.max_records, Some(25));
    assert_eq!(grant.limits.min_interval_s, Some(1));
    let behalf = grant.on_behalf.as_ref().unwrap();
    assert_eq!((behalf.max_depth, behalf.agents.len(), behalf.equal.len()), (3, 4, 0));
}

#[test]
fn a_tool_is_named_whole_and_once() {
    refused("server = \"crm\"", "server = \"*\"", "a tool's server");
    refused("server = \"crm\"", "server = \"crm.prod\"", "a tool's server");
    refused("server = \"crm\"", "server = \"\"", "a tool's server");
    refused("name = \"create\"", "name = \"*\"", "no wildcard");
    refused("name = \"create\"", "name = \"create all\"", "no wildcard");
    refused("server = \"crm\"", "server = \"contracts\"", "listed twice");
    refused("server = \"crm\"", "server = \"crm\"\nowner = \"x\"", "owner");
    refused("max_calls = 10", "max_calls = 0", "positive");
    let none = REVIEW.split("[[tools]]").next().unwrap().replace("[risk]", "tools = []\n[risk]");
    let errors = Playbook::parse(&none).unwrap_err();
    assert!(errors.iter().any(|error| error.message().contains("missing field")), "{errors:?}");
}

#[test]
fn an_empty_list_of_tools_is_refused() {
    let text = crate::fixtures::PLAYBOOK.replace("delivery =", "tools = []\ndelivery =");
    let errors = Playbook::parse(&text).unwrap_err();
    assert!(errors[0].message().contains("at least one tool"), "{errors:?}");
}

#[test]
fn the_arguments_of_a_tool_are_bounded() {
    let section = "type = \"string\"\nmaxLength = 64";
    refused(section, "type = \"string\"", "`maxLength`");
    refused(section, "type = \"string\"\nformat = \"uri\"", "`format`");
    refused(section, "type = \"string\"\npattern = \"a\"", "anchored");
    refused("const = \"{{params.contract_id}}\"", "const = \"{{params.other}}\"", "not declared");
    refused("const = \"{{params.contract_id}}\"", "const = \"{{env.HOME}}\"", "asks for");
    refused(
        "required = [\"customer_id\", \"contract_id\"]",
        "required = [\"customer_id\"]",
        "is optional",
    );
    let open = "[tools.arguments]\ntype = \"object\"\nadditionalProperties = true";
    refused(
        "[tools.arguments]\ntype = \"object\"\nadditionalProperties = false",
        open,
        "additionalProperties",
    );
}

#[test]
fn a_parameter_never_becomes_a_keyword_of_a_schema() {
    refused("maxLength = 64", "pattern = \"^{{params.contract_id}}$\"", "`pattern`");
}

#[test]
fn calls_are_never_without_number() {
    refused("max_calls = 40\n", "", "`limits.max_calls`");
    refused("max_destructive = 1\n", "", "`limits.max_destructive`");
    refused("max_records = 25", "max_records = 0", "`limits.max_records`");
    refused("max_records = 25", "max_records = \"unlimited\"", "");
    refused("max_records = 25", "max_rows = 25", "max_rows");
    refused("min_interval = \"1s\"", "min_interval = \"soon\"", "`limits.min_interval`");
    refused("max_bytes_out = 1048576", "max_bytes_out = 9007199254740992", "max_bytes_out");
}

#[test]
fn a_constraint_has_a_name_and_a_value_of_its_own() {
    let customer = "customer_id = \"{{params.customer_id}}\"\ncontract";
    let with = |line: &str| format!("{line}\ncontract");
    refused(customer, &with("max_records = 7"), "no constraints of a playbook's own");
    refused(customer, &with("data_classes = [\"a\"]"), "no constraints of a playbook's own");
    refused(customer, &with("\"Customer\" = \"a\""), "a letter first");
    refused(customer, &with("customer = {}"), "a constraint is");
    refused(customer, &with("customer = []"), "a constraint is");
    refused(customer, &with("customer = \"\""), "a constraint is");
    refused(customer, &with("customer = -1"), "a constraint is");
    refused(customer, &with("customer = {min = 2, max = 1}"), "a constraint is");
    refused(customer, &with("customer = {min = 1, max = 2, step = 1}"), "a constraint is");
    refused(customer, &with("customer = \"{{params.nobody}}\""), "not declared");
    refused(customer, &with("customer = \"{{grant.id}}\""), "asks for");
}

#[test]
fn a_list_of_a_parameters_becomes_a_list_of_a_constraint() {
    let text = REVIEW
        .replace(
            "contract_ids = [\"{{params.contract_id}}\"]",
            "contract_ids = \"{{params.more}}\"",
        )
        .replacen("\"contract_id\"]", "\"contract_id\", \"more\"]", 1)
        .replacen(
            "[[permits]]",
            "[parameters.properties.more]\ntype = \"array\"\nmaxItems = 3\n\
             items = {type = \"string\", maxLength = 20}\n\n[[permits]]",
            1,
        );
    let playbook = Playbook::parse(&text).unwrap();
    let with = |more: Value| crate::fixtures::review_of(&playbook, &json!({"more": more}));
    let grant = with(json!(["contract_1", "contract_2"])).unwrap();
    let expected = ["contract_1", "contract_2"].map(str::to_owned).into_iter().collect();
    assert_eq!(grant.constraints.value("contract_ids"), Some(&ConstraintValue::Among(expected)));
    assert!(with(json!([])).is_err(), "no contract is not every contract");
    assert!(with(json!([""])).is_err());
}

#[test]
fn delegation_is_bounded_and_within_the_trust_domain() {
    refused("max_depth = 3", "max_depth = 0", "`on_behalf` out");
    refused("max_depth = 3", "max_depth = 9", "is 1 to 8");
    refused("max_depth = 3\n", "", "max_depth");
    refused("prod.example.org/agent/risk", "dev.example.org/agent/risk", "another trust domain");
    refused("prod.example.org/agent/risk", "prod.example.org/*", "names everybody");
    refused("max_depth = 3", "max_depth = 3\nequal = [\"tenant\"]", "is none of");
    refused("max_depth = 3", "max_depth = 3\nequal = [\"*\"]", "is none of");
    refused("max_depth = 3", "max_depth = 3\nequal = [\"scopes\", \"scopes\"]", "listed twice");
    refused("max_depth = 3", "max_depth = 3\nallowed = true", "allowed");
    let text = REVIEW.replace("max_depth = 3", "max_depth = 3\nequal = [\"audiences\"]");
    let playbook = Playbook::parse(&text).unwrap();
    assert!(playbook.on_behalf().unwrap().equal.contains(&Dimension::Audiences));
}

#[test]
fn m_17_what_looks_like_a_secret_is_refused_where_a_token_would_show_it() {
    let key = concat!("AKIA", "IOSFODNN7EXAMPLE");
    refused("purpose = \"review", &format!("purpose = \"{key} review"), "looks like a secret");
    refused("\"contract_metadata\"", &format!("\"{key}\""), "looks like a secret");
    refused("tenant = \"tenant_example\"", &format!("tenant = \"{key}\""), "looks like a secret");
    let customer = "customer_id = \"{{params.customer_id}}\"\ncontract";
    refused(customer, &format!("customer = \"{key}\"\ncontract"), "looks like a secret");
    refused(customer, "api_key = \"{{params.customer_id}}\"\ncontract", "looks like a secret");
    refused(
        "const = \"{{params.contract_id}}\"",
        &format!("enum = [\"a\", \"{key}\"]"),
        "looks like a secret",
    );
    let named = REVIEW.replace("contract_id", "password");
    let errors = Playbook::parse(&named).unwrap_err();
    assert!(
        errors.iter().any(|error| error.message().contains("no place for a secret")),
        "{errors:?}"
    );
}

#[test]
fn m_12_who_may_be_a_delegator_is_read_strictly_and_is_in_the_grant() {
    let grant = review();
    let rule = grant.delegators.as_ref().unwrap();
    assert!(rule.required);
    assert_eq!(rule.lines(), ["corp: user_7f3a91; whoever is in customer-success"]);

    let line = REVIEW.lines().find(|line| line.starts_with("persons = ")).unwrap();
    let with = |persons: &str, because: &str| refused(line, persons, because);
    with("", "missing field `persons`");
    with("persons = []", "at least one issuer");
    with("persons = [{ issuer = \"corp\" }]", "names `subjects` or `groups`");
    with("persons = [{ issuer = \"corp\", everybody = false }]", "names `subjects` or `groups`");
    with("persons = [{ issuer = \"corp\", everybody = true, groups = [\"a\"] }]", "names nobody");
    with("persons = [{ everybody = true }]", "missing field `issuer`");
    for issuer in ["", "Corp", "https://corp.example.org", "a:b", &"a".repeat(33)] {
        let persons = format!("persons = [{{ issuer = \"{issuer}\", everybody = true }}]");
        with(&persons, "is the name of an issuer");
    }
    for name in ["", "*", "sre-*", "a\\nb", &"a".repeat(256)] {
        let persons = format!("persons = [{{ issuer = \"corp\", groups = [\"{name}\"] }}]");
        with(&persons, "it names one");
        with(&persons.replace("groups", "subjects"), "it names one");
    }
    let many: Vec<String> = (0..65).map(|number| format!("\"g{number}\"")).collect();
    let listed = format!("persons = [{{ issuer = \"corp\", groups = [{}] }}]", many.join(","));
    with(&listed, "at most 64");
    let issuers: Vec<String> =
        (0..65).map(|number| format!("{{ issuer = \"i{number}\", everybody = true }}")).collect();
    with(&format!("persons = [{}]", issuers.join(",")), "at most 64");
    with("persons = [{ issuer = \"corp\", groups = [\"a\", \"a\"] }]", "listed twice");
    let twice = "{ issuer = \"corp\", everybody = true }";
    with(&format!("persons = [{twice}, {twice}]"), "listed twice");
    with("persons = [{ issuer = \"corp\", everybody = true, tenant = \"x\" }]", "tenant");
    refused("required = true\npersons", "persons", "missing field `required`");
}

#[test]
fn m_12_a_playbook_that_wants_the_workflow_gets_no_request_without_it() {
    let playbook = Playbook::parse(REVIEW).unwrap();
    for (absent, session, task) in
        [("session", None, Some("t-1")), ("task", Some("s-1"), None), ("both", None, None)]
    {
        let asked = json!({
            "playbook": "contract-renewal-review",
            "parameters": {"customer_id": "cust_example_1042", "contract_id": "contract_7781"},
            "session": session,
            "task": task,
        });
        let asked: serde_json::Map<_, _> = asked
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let asked = request(&Value::Object(asked));
        let denial =
            crate::resolve(&playbook, &asked, &requester(REVIEWER), circumstances()).unwrap_err();
        assert_eq!(denial.code(), crate::DenialCode::WorkflowMismatch, "{absent}");
    }
    refused("required = [\"session\", \"task\"]", "required = []", "names `session` or `task`");
    refused("required = [\"session\", \"task\"]", "required = [\"purpose\"]", "unknown variant");
    refused(
        "required = [\"session\", \"task\"]",
        "required = [\"task\", \"task\"]",
        "listed twice",
    );
}
