use marque_intent::DenialCode;
use proptest::prelude::*;

use super::*;

const ID: &str = "int_00000000000000000000000000";

fn inline(text: &str) -> InlineRequest {
    match RequestDetails::parse(text).unwrap().intent {
        IntentReference::Inline(inline) => inline,
        other => panic!("{other:?}"),
    }
}

#[test]
fn oauth_8_1_the_reference_form_names_the_intent() {
    let text = format!(" [ {{\"type\":\"marque_intent\",\n\"intent_id\":\"{ID}\"}} ]");
    let expected = IntentReference::Approved(ID.parse().unwrap());
    let read = RequestDetails::parse(&text).unwrap();
    assert_eq!(read, RequestDetails { intent: expected, ..RequestDetails::default() });
}

#[test]
fn oauth_8_1_the_inline_form_is_a_request_for_an_intent() {
    let request = inline(
        "[{\"type\":\"marque_intent\",\"playbook\":\"p\",\"version\":1,\"parameters\":{\"a\":[1]},
           \"ticket\":\"CHG-1\",\"justification\":\"why\"}]",
    );
    let request = request.read().unwrap();
    assert_eq!((request.playbook().as_str(), request.version()), ("p", Some(1)));
    assert_eq!(request.parameters()["a"], serde_json::json!([1]));
    assert_eq!(request.ticket().unwrap().as_str(), "CHG-1");
    assert_eq!(request.justification().unwrap().as_str(), "why");
}

#[test]
fn oauth_8_1_details_that_ask_for_less_stand_beside_the_intent_in_any_order() {
    let named = format!("{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\"}}");
    let object = r#"{"type":"k8s_object","actions":["get"],"identifier":"ns/a"}"#;
    let rights = r#"{"type":"marque_rights","tools":{"crm.read":{"max_calls":2}},"depth":0}"#;
    for text in [
        format!("[{named},{object},{rights},{object}]"),
        format!("[{object},{rights},{object},{named}]"),
    ] {
        let read = RequestDetails::parse(&text).unwrap();
        assert_eq!(read.intent, IntentReference::Approved(ID.parse().unwrap()));
        assert_eq!(read.narrower.unwrap().len(), 2);
        let rights = read.rights.unwrap();
        assert_eq!(rights.depth, Some(0));
        assert_eq!(rights.tools.unwrap()[&"crm.read".parse().unwrap()].max_calls, Some(2));
    }
    let alone = RequestDetails::parse(&format!("[{object}]")).unwrap();
    assert_eq!((alone.intent, alone.rights), (IntentReference::Absent, None));
}

#[test]
fn oauth_8_1_details_that_say_less_in_another_shape_are_refused() {
    let rights = |members: &str| format!(r#"[{{"type":"marque_rights",{members}}}]"#);
    for text in [
        r#"[{"type":"marque_rights"}]"#.to_owned(),
        r#"[{"type":"marque_rights","depth":0},{"type":"marque_rights","depth":0}]"#.to_owned(),
        r#"[{"type":"marque_admin","actions":["get"]}]"#.to_owned(),
        r#"[{"type":""}, 7]"#.to_owned(),
        r#"[{"type":"a","namespace":"x"}]"#.to_owned(),
        r#"[{"type":"a","actions":"get"}]"#.to_owned(),
        r#"[{"type":"a","actions":null}]"#.to_owned(),
        r#"[{"type":"a","identifier":null}]"#.to_owned(),
        r#"[{"type":"a","actions":[["get"]]}]"#.to_owned(),
        r#"[{"actions":["get"]}]"#.to_owned(),
        rights(r#""scopes":["a"]"#),
        rights(r#""audiences":["a"]"#),
        rights(r#""authorization_details":[]"#),
        rights(r#""uses":0"#),
        rights(r#""not_after":"2026-03-10T09:00:00Z""#),
        rights(r#""tools":null"#),
        rights(r#""tools":["crm.read"]"#),
        rights(r#""tools":{"crm":{}}"#),
        rights(r#""tools":{"crm.*":{}}"#),
        rights(r#""tools":{"crm.read":{"server":"x"}}"#),
        rights(r#""tools":{"crm.read":{"max_calls":-1}}"#),
        rights(r#""tools":{"crm.read":{"max_calls":null}}"#),
        rights(r#""limits":{"max_records":null}"#),
        rights(r#""limits":{"max_rows":1}"#),
        rights(r#""limits":{}"#),
        rights(r#""constraints":{"max_records":1}"#),
        rights(r#""constraints":{"Region":"a"}"#),
        rights(r#""constraints":{"region":[]}"#),
        rights(r#""depth":256"#),
        rights(r#""depth":1,"depth":2"#),
        rights(r#""purpose":"a AKIAIOSFODNN7EXAMPLE""#),
        rights(r#""data_classes":["-----BEGIN X-----"]"#),
    ] {
        let error = RequestDetails::parse(&text).unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails, "{text}");
    }
}

#[test]
fn oauth_8_1_a_request_has_as_many_details_as_a_grant_may_have_and_no_more() {
    let many = |count: usize| {
        let detail = r#"{"type":"a","actions":["b"]}"#;
        RequestDetails::parse(&format!("[{}]", vec![detail; count].join(",")))
    };
    assert_eq!(many(MAX_DETAILS).unwrap().narrower.unwrap().len(), MAX_DETAILS);
    assert!(many(MAX_DETAILS + 1).is_err());
}

#[test]
fn oauth_8_1_what_is_asked_for_less_of_is_short_and_has_few_patterns() {
    let arguments = |count: usize, description: &str| {
        let property = |name: usize| {
            (format!("a{name}"), serde_json::json!({"type": "string", "pattern": r"^\w{9}$"}))
        };
        let properties: Map<String, Value> = (0..count).map(property).collect();
        serde_json::json!({"tools": {"crm.read": {"arguments": {"type": "object",
            "description": description, "additionalProperties": false, "properties": properties}}}})
    };
    let read = |mut members: Value| {
        members["type"] = RIGHTS_DETAIL_TYPE.into();
        RequestDetails::parse(&serde_json::json!([members]).to_string())
    };
    let rest = MAX_RIGHTS_DETAIL_BYTES - arguments(0, "").to_string().len();
    read(arguments(MAX_RIGHTS_PATTERNS, "")).unwrap();
    read(arguments(0, &"x".repeat(rest))).unwrap();
    for members in [arguments(MAX_RIGHTS_PATTERNS + 1, ""), arguments(0, &"x".repeat(rest + 1))] {
        let error = read(members).unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails);
    }
}

#[test]
fn oauth_8_1_every_other_shape_is_refused() {
    let deep = format!("{}{}", "[".repeat(50), "]".repeat(50));
    let deep_parameters = format!(
        "[{{\"type\":\"marque_intent\",\"playbook\":\"p\",\"parameters\":{{\"a\":{}{}}}}}]",
        "[".repeat(MAX_DETAILS_DEPTH),
        "]".repeat(MAX_DETAILS_DEPTH)
    );
    let detail = format!("{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\"}}");
    let long = format!("[{detail}{}]", " ".repeat(MAX_DETAILS_BYTES));
    for (name, text) in [
        ("empty", ""),
        ("null", "null"),
        ("object", "{}"),
        ("empty_array", "[]"),
        ("array_of_null", "[null]"),
        ("array_of_array", "[[]]"),
        ("nested_50_deep", &*deep),
        ("parameters_too_deep", &*deep_parameters),
        ("too_long", &*long),
        ("no_array", &*detail),
        ("two_details", &*format!("[{detail},{detail}]")),
        ("trailing_text", &*format!("[{detail}] x")),
        ("unknown_type", &*format!("[{{\"type\":\"other\",\"intent_id\":\"{ID}\"}}]")),
        ("type_is_no_text", &*format!("[{{\"type\":[\"marque_intent\"],\"intent_id\":\"{ID}\"}}]")),
        ("type_missing", &*format!("[{{\"intent_id\":\"{ID}\"}}]")),
        ("nothing_but_the_type", "[{\"type\":\"marque_intent\"}]"),
        ("intent_id_is_no_text", "[{\"type\":\"marque_intent\",\"intent_id\":7}]"),
        ("intent_id_is_null", "[{\"type\":\"marque_intent\",\"intent_id\":null}]"),
        ("intent_id_with_a_wildcard", "[{\"type\":\"marque_intent\",\"intent_id\":\"int_*\"}]"),
        (
            "actions_beside_the_id",
            &*format!(
                "[{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\",\"actions\":[\"*\"]}}]"
            ),
        ),
        (
            "playbook_beside_the_id",
            &*format!("[{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\",\"playbook\":\"p\"}}]"),
        ),
        (
            "duplicate_member",
            &*format!(
                "[{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\",\"intent_id\":\"{ID}\"}}]"
            ),
        ),
        (
            "duplicate_playbook",
            "[{\"type\":\"marque_intent\",\"playbook\":\"p\",\"playbook\":\"q\"}]",
        ),
        (
            "duplicate_parameter",
            "[{\"type\":\"marque_intent\",\"playbook\":\"p\",\"parameters\":{\"a\":1,\"a\":2}}]",
        ),
    ] {
        let error = RequestDetails::parse(text).unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails, "{name}");
    }
}

#[test]
fn oauth_8_1_an_inline_request_is_judged_like_one_for_an_intent() {
    for (name, members, code) in [
        (
            "actions",
            "\"playbook\":\"p\",\"actions\":[\"*\"]",
            DenialCode::RawPermissionsNotRequestable,
        ),
        ("scopes", "\"playbook\":\"p\",\"scopes\":[]", DenialCode::RawPermissionsNotRequestable),
        ("resources", "\"resources\":[\"*\"]", DenialCode::RawPermissionsNotRequestable),
        (
            "privileges",
            "\"playbook\":\"p\",\"privileges\":[]",
            DenialCode::RawPermissionsNotRequestable,
        ),
        (
            "nested_details",
            "\"playbook\":\"p\",\"authorization_details\":[]",
            DenialCode::RawPermissionsNotRequestable,
        ),
        ("unknown_member", "\"playbook\":\"p\",\"hurry\":true", DenialCode::UnrecognisedField),
        ("no_playbook", "\"ticket\":\"CHG-1\"", DenialCode::InvalidRequest),
        ("playbook_is_no_text", "\"playbook\":[\"p\"]", DenialCode::InvalidRequest),
        ("playbook_with_a_path", "\"playbook\":\"../p\"", DenialCode::InvalidRequest),
        (
            "version_is_no_number",
            "\"playbook\":\"p\",\"version\":\"1\"",
            DenialCode::InvalidRequest,
        ),
        (
            "parameters_no_object",
            "\"playbook\":\"p\",\"parameters\":[]",
            DenialCode::InvalidRequest,
        ),
        ("ticket_with_a_space", "\"playbook\":\"p\",\"ticket\":\"a b\"", DenialCode::TicketFormat),
    ] {
        let request = inline(&format!("[{{\"type\":\"marque_intent\",{members}}}]"));
        assert_eq!(request.read().unwrap_err().code(), code, "{name}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        drop(RequestDetails::parse(&text));
    }

    #[test]
    fn what_names_an_intent_is_of_our_type_and_of_one_form(
        members in proptest::collection::btree_map("(type|intent_id|playbook|x)", "(marque_intent|p|int_00000000000000000000000000)", 0..4),
    ) {
        let text = serde_json::json!([members]).to_string();
        if let Ok(read) = RequestDetails::parse(&text) {
            let ours = members.get("type").map(String::as_str) == Some(INTENT_DETAIL_TYPE);
            prop_assert_eq!(ours, read.intent != IntentReference::Absent);
            prop_assert_eq!(!ours, read.narrower.is_some());
            let named = ours && members.contains_key("intent_id");
            prop_assert_eq!(named, matches!(read.intent, IntentReference::Approved(_)));
        }
    }
}
