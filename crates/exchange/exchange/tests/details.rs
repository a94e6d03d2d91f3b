//! Details in a request that ask for less than was granted (RFC 9396 §6, specs/intents.md 9), and those that ask for more.

mod room;

use serde_json::{from_value, json};

use super::*;
use crate::{OAuthErrorCode, TOKEN_TYPE_TXN_TOKEN};

/// A grant with something to leave out in every dimension that a detail speaks of.
fn rich(terms: &mut GrantTerms) {
    terms.authorization_details = from_value(json!([
        {"type": "k8s_object", "actions": ["get", "patch"], "identifier": "ns/ingress"},
        {"type": "ticket", "actions": ["create"], "datatypes": ["comment", "summary"]},
    ]))
    .unwrap();
    terms.tools = from_value(json!({
        "crm.read": {"max_calls": 10},
        "tickets.create": {"sensitive": true},
    }))
    .unwrap();
    terms.constraints =
        from_value(json!({"region": ["eu-west-1", "eu-west-2"], "max_amount": 100})).unwrap();
    terms.limits = from_value(json!({"max_records": 100, "max_calls": 50})).unwrap();
    terms.playbook.data_classes = vec!["contact".to_owned(), "tls_material".to_owned()];
    terms.playbook.purpose = Some("rotation".to_owned());
}

fn rich_team() -> Team {
    team_with(|_| {}, rich)
}

impl Team {
    fn reference(&self) -> Value {
        json!({"type": "marque_intent", "intent_id": self.rig.intent})
    }

    /// The request for the first token, with these details beside the one that names the intent.
    fn detailed(&self, details: &Value) -> Fields {
        let mut all = vec![self.reference()];
        all.extend(details.as_array().unwrap().iter().cloned());
        with(self.rig.fields(), &json!(all))
    }

    /// A request of `b` for what `token` can be handed on as: less in every dimension.
    fn handed_to_b(&self, token: &str) -> Fields {
        with(self.narrower(&self.b, token, &[AUDIENCE], "secrets.read"), &less())
    }
}

fn with(fields: Fields, details: &Value) -> Fields {
    fields.set("authorization_details", &details.to_string())
}

/// Less of everything that can be divided.
fn less() -> Value {
    json!([
        {"type": "k8s_object", "actions": ["get"], "identifier": "ns/ingress/secret/web-tls"},
        {"type": "marque_rights", "tools": {"crm.read": {"max_calls": 3}}, "data_classes": ["contact"],
            "constraints": {"region": ["eu-west-1"], "max_amount": 10}},
    ])
}

fn rights(members: &Value) -> Value {
    let mut detail = members.clone();
    detail["type"] = "marque_rights".into();
    json!([detail])
}

/// Details that ask for less, and what the token then says.
fn narrower_details() -> Vec<(Value, &'static str, Value)> {
    let k8s = |member: &str, value: Value| {
        let mut detail =
            json!({"type": "k8s_object", "actions": ["get", "patch"], "identifier": "ns/ingress"});
        detail[member] = value;
        json!([detail])
    };
    vec![
        (
            k8s("actions", json!(["get"])),
            "/authorization_details/1",
            k8s("actions", json!(["get"]))[0].clone(),
        ),
        (
            k8s("identifier", json!("ns/ingress/secret/web-tls")),
            "/authorization_details/1/identifier",
            json!("ns/ingress/secret/web-tls"),
        ),
        (
            json!([{"type": "ticket", "actions": ["create"], "datatypes": ["comment"]}]),
            "/authorization_details/1/datatypes",
            json!(["comment"]),
        ),
        (rights(&json!({"tools": {"crm.read": {}}})), "/allowed_tools", json!(["crm.read"])),
        (
            rights(&json!({"tools": {"crm.read": {"max_calls": 3, "sensitive": true}}})),
            "/rights/tools/crm.read",
            json!({"max_calls": 3, "sensitive": true}),
        ),
        (
            rights(&json!({"tools": {"tickets.create": {"arguments": {"type": "object",
                "additionalProperties": false, "properties": {"queue": {"const": "tls"}}}}}})),
            "/rights/tools/tickets.create/arguments/0/properties/queue/const",
            json!("tls"),
        ),
        (rights(&json!({"tools": {}})), "/allowed_tools", Value::Null),
        (
            rights(&json!({"data_classes": ["contact"]})),
            "/resource_constraints/data_classes",
            json!(["contact"]),
        ),
        (
            rights(&json!({"constraints": {"region": ["eu-west-1"]}})),
            "/resource_constraints/region",
            json!(["eu-west-1"]),
        ),
        (
            rights(&json!({"constraints": {"max_amount": 1}})),
            "/resource_constraints/max_amount",
            json!(1),
        ),
        (
            rights(&json!({"limits": {"max_records": 5}})),
            "/resource_constraints/max_records",
            json!(5),
        ),
        (
            rights(&json!({"limits": {"max_bytes_out": 9, "min_interval_s": 2}})),
            "/rights/limits",
            json!({"max_calls": 50, "max_bytes_out": 9, "min_interval_s": 2}),
        ),
        (rights(&json!({"purpose": "rotation.ingress"})), "/purpose", json!("rotation.ingress")),
        (rights(&json!({"depth": 1})), "/rights/on_behalf/max_depth", json!(1)),
        (rights(&json!({"depth": 0})), "/rights/on_behalf", Value::Null),
    ]
}

/// Details that ask for more, or for what cannot be compared.
fn wider_details() -> Vec<(&'static str, Value)> {
    let k8s = |member: &str, value: Value| {
        let mut detail =
            json!({"type": "k8s_object", "actions": ["get"], "identifier": "ns/ingress"});
        match value {
            Value::Null => drop(detail.as_object_mut().unwrap().remove(member)),
            value => detail[member] = value,
        }
        json!([detail])
    };
    let tool = |bounds: Value| rights(&json!({"tools": {"crm.read": bounds}}));
    vec![
        ("another action", k8s("actions", json!(["get", "delete"]))),
        ("every action", k8s("actions", json!(["*"]))),
        ("actions left out", k8s("actions", Value::Null)),
        ("no actions", k8s("actions", json!([]))),
        ("the identifier left out", k8s("identifier", Value::Null)),
        ("an identifier above", k8s("identifier", json!("ns"))),
        ("an identifier beside", k8s("identifier", json!("ns/ingress-2"))),
        ("every identifier", k8s("identifier", json!("ns/ingress/*"))),
        ("an identifier that climbs", k8s("identifier", json!("ns/ingress/../kube-system"))),
        ("an identifier that climbs by code", k8s("identifier", json!("ns/ingress/%2e%2e/x"))),
        ("locations that nobody named", k8s("locations", json!(["https://k8s.example.org"]))),
        ("privileges that nobody named", k8s("privileges", json!(["admin"]))),
        ("a secret for a name", k8s("identifier", json!("ns/ingress/AKIAIOSFODNN7EXAMPLE"))),
        ("a type of nobody", json!([{"type": "payment_initiation", "actions": ["get"]}])),
        ("the type in capitals", json!([{"type": "K8S_OBJECT", "actions": ["get"]}])),
        (
            "two entries put together",
            json!([{"type": "ticket", "actions": ["get"], "datatypes": ["comment"]}]),
        ),
        (
            "one entry that is within and one that is not",
            json!([k8s("actions", json!(["get"]))[0], {"type": "ticket", "actions": ["close"]}]),
        ),
        ("a tool of nobody", rights(&json!({"tools": {"crm.write": {}}}))),
        ("more calls of a tool", tool(json!({"max_calls": 11}))),
        ("arguments that bound nothing", tool(json!({"arguments": {"$ref": "#"}}))),
        ("arguments that are no schema", tool(json!({"arguments": true}))),
        ("a class of nobody", rights(&json!({"data_classes": ["contact", "payroll"]}))),
        ("no classes", rights(&json!({"data_classes": []}))),
        ("a constraint of nobody", rights(&json!({"constraints": {"tenant": "other"}}))),
        ("a looser constraint", rights(&json!({"constraints": {"max_amount": 101}}))),
        ("another kind of constraint", rights(&json!({"constraints": {"max_amount": [1]}}))),
        ("another region", rights(&json!({"constraints": {"region": ["us-east-1"]}}))),
        ("a higher limit", rights(&json!({"limits": {"max_records": 101}}))),
        ("another purpose", rights(&json!({"purpose": "export"}))),
        ("the purpose with another end", rights(&json!({"purpose": "rotation2"}))),
        ("to be handed on once more", rights(&json!({"depth": 4}))),
    ]
}

#[tokio::test]
async fn oauth_8_2_what_was_granted_is_in_the_answer_in_the_token_and_in_introspection() {
    let team = rich_team();
    let answer = team.rig.exchange(&team.detailed(&less())).await.unwrap();
    let token = answer.access_token().expose_token().to_owned();
    let granted = json!([team.reference(), less()[0]]);
    assert_eq!(claims(&token)["authorization_details"], granted);
    let told = team.rig.introspect(&team.rig.svid(), &token).await.unwrap();
    assert_eq!(told["authorization_details"], granted);
    assert_eq!(told["allowed_tools"], json!(["crm.read"]));
    // The client reads no token: what the other claims say is told in the words in which it was asked for.
    let answer = answer.expose_json();
    assert_eq!(answer["authorization_details"], json!([team.reference(), less()[0], less()[1]]));
    // Nobody asked for less of a thing, and nothing is said beside what was granted.
    let team = rich_team();
    let answer = team.rig.exchange(&team.rig.fields()).await.unwrap().expose_json();
    assert_eq!(answer["authorization_details"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn oauth_8_3_details_narrow_each_dimension_of_a_grant_and_of_a_token() {
    for (details, pointer, expected) in narrower_details() {
        let team = rich_team();
        let first = team.exchange(&team.detailed(&details)).await.unwrap();
        assert_eq!(claims(&first).pointer(pointer).unwrap_or(&Value::Null), &expected, "{details}");
        // The same of a token that has all of it, with no word about the intent.
        let team = rich_team();
        let whole = team.first().await;
        let own = with(team.for_token(&team.rig.agent, &whole), &details);
        let second = team.exchange(&own).await.unwrap();
        let said = claims(&second);
        assert_eq!(said.pointer(pointer).unwrap_or(&Value::Null), &expected, "{details}");
        // What was narrowed is the parent of what comes next.
        let again = team.for_token(&team.rig.agent, &second);
        let third = claims(&team.exchange(&again).await.unwrap());
        for claim in ["authorization_details", "allowed_tools", "resource_constraints", "rights"] {
            assert_eq!(third.get(claim), said.get(claim), "{details}");
        }
    }
}

#[tokio::test]
async fn oauth_8_4_no_detail_is_wider_than_what_it_derives_from() {
    for (name, details) in wider_details() {
        let team = rich_team();
        let refused = |fields: Fields| {
            let team = &team;
            async move {
                let error = team.exchange(&fields).await.expect_err(name);
                let code = OAuthErrorCode::InvalidAuthorizationDetails;
                assert_eq!(error.code(), code, "{name}: {error:?}");
            }
        };
        refused(team.detailed(&details)).await;
        let uses = team.rig.store.kept().intents[&team.rig.intent].uses().len();
        assert_eq!(uses, 0, "{name}: no use was spent");
        let first = team.first().await;
        refused(with(team.for_token(&team.rig.agent, &first), &details)).await;
        refused(with(team.handed_to_b(&first), &details)).await;
    }
}

#[tokio::test]
async fn oauth_8_5_a_token_gives_nothing_that_only_its_grant_has() {
    let team = rich_team();
    let first = team.exchange(&team.detailed(&less())).await.unwrap();
    for details in [
        json!([{"type": "k8s_object", "actions": ["get"], "identifier": "ns/ingress"}]),
        json!([{"type": "k8s_object", "actions": ["patch"], "identifier": "ns/ingress/secret/web-tls"}]),
        json!([{"type": "ticket", "actions": ["create"], "datatypes": ["comment", "summary"]}]),
        rights(&json!({"tools": {"tickets.create": {}}})),
        rights(&json!({"tools": {"crm.read": {"max_calls": 10}}})),
        rights(&json!({"data_classes": ["tls_material"]})),
        rights(&json!({"constraints": {"max_amount": 11}})),
    ] {
        for beside in [None, Some(team.reference())] {
            let mut all: Vec<Value> = beside.into_iter().collect();
            all.extend(details.as_array().unwrap().iter().cloned());
            let fields = with(team.for_token(&team.rig.agent, &first), &json!(all));
            let error = team.exchange(&fields).await.unwrap_err();
            assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails, "{details}");
        }
    }
}

#[tokio::test]
async fn oauth_8_5_details_stay_inside_of_their_own_intent() {
    let team = rich_team();
    let first = team.first().await;
    let other = json!({"type": "marque_intent", "intent_id": "int_00000000000000000000000077"});
    for details in [json!([other]), json!([other, less()[0]]), json!([less()[0], other])] {
        let fields = with(team.for_token(&team.rig.agent, &first), &details);
        let error = team.exchange(&fields).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails, "{details}");
    }
}

#[tokio::test]
async fn oauth_8_3_what_is_handed_on_is_less_in_every_dimension_that_can_be_divided() {
    let team = rich_team();
    let first = team.first().await;
    let second = claims(&team.exchange(&team.handed_to_b(&first)).await.unwrap());
    assert_eq!(second["act"]["sub"], json!(team.b));
    assert_eq!(second["authorization_details"], json!([team.reference(), less()[0]]));
    assert_eq!(second["allowed_tools"], json!(["crm.read"]));
    let constraints = json!({"region": ["eu-west-1"], "max_amount": 10, "max_records": 100,
        "data_classes": ["contact"]});
    assert_eq!(second["resource_constraints"], constraints);
    // As soon as one of them is as it was, it is refused for that one.
    let all = less();
    for left_out in ["k8s_object", "tools", "constraints", "data_classes"] {
        let mut details = all.clone();
        if left_out == "k8s_object" {
            details.as_array_mut().unwrap().remove(0);
        } else {
            details[1].as_object_mut().unwrap().remove(left_out);
        }
        let error = team.exchange(&with(team.handed_to_b(&first), &details)).await.unwrap_err();
        let told = (error.code(), error.denial().map(|denial| denial.as_str()));
        let expected =
            (OAuthErrorCode::InvalidAuthorizationDetails, Some("cannot_compare_attenuation"));
        assert_eq!(told, expected, "{left_out}");
    }
}

#[tokio::test]
async fn a_transaction_token_is_narrowed_by_details_too() {
    let team = rich_team();
    let fields = team
        .detailed(&less())
        .set("requested_token_type", TOKEN_TYPE_TXN_TOKEN)
        .set("audience", "prod.example.org")
        .set("scope", "secrets.read");
    let answer = team.rig.exchange(&fields).await.unwrap();
    let said = claims(answer.access_token().expose_token());
    assert_eq!(said["authorization_details"], json!([team.reference(), less()[0]]));
    assert_eq!(said["allowed_tools"], json!(["crm.read"]));
    assert_eq!(answer.expose_json()["authorization_details"][2], less()[1]);
}

/// What is asked for beside a playbook.
fn beside(fields: &Fields, playbook: &str, details: &Value) -> Fields {
    let inline = json!({"type": "marque_intent", "playbook": playbook,
        "parameters": {"service": "checkout"}, "ticket": "CHG-1842"});
    let mut all = vec![inline];
    all.extend(details.as_array().unwrap().iter().cloned());
    with(fields.clone(), &json!(all))
}

#[tokio::test]
async fn what_was_asked_for_less_of_is_kept_while_an_approver_thinks() {
    let rig = Rig::new();
    let narrow = json!([
        {"type": "k8s_object", "actions": ["patch"], "identifier": "ns/ingress/secret/web-tls/data"},
        {"type": "marque_rights", "limits": {"max_calls": 1}},
    ]);
    let code = rig.defer(&beside(&rig.deferred(), crate::fixture::desk::ASKED, &narrow)).await;
    rig.approve_asked();
    let answer = rig.exchange(&rig.poll(&code)).await.unwrap();
    let said = claims(answer.access_token().expose_token());
    assert_eq!(said["authorization_details"][1], narrow[0]);
    assert_eq!(said["rights"]["limits"], json!({"max_calls": 1}));
    assert_eq!(answer.expose_json()["authorization_details"][2], narrow[1]);
}

#[tokio::test]
async fn no_approver_is_asked_for_more_than_the_playbook_permits() {
    for mode in ["deferred", "immediate"] {
        let rig = Rig::new();
        let wide =
            json!([{"type": "k8s_object", "actions": ["delete"], "identifier": "ns/ingress"}]);
        let fields = rig.deferred().set("completion_mode", mode);
        let fields = beside(&fields, crate::fixture::desk::ASKED, &wide);
        let error = rig.exchange(&fields).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails, "{mode}");
        assert_eq!(rig.asked().state(), marque_intent::State::Cancelled, "{mode}");
        assert!(rig.store.kept().deferrals.is_empty());
    }
}
