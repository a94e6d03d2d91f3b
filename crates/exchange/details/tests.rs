use marque_intent::DenialCode;
use proptest::prelude::*;

use super::*;

const ID: &str = "int_00000000000000000000000000";

fn inline(text: &str) -> InlineRequest {
    match parse_intent_reference(text).unwrap() {
        IntentReference::Inline(inline) => inline,
        other => panic!("{other:?}"),
    }
}

#[test]
fn oauth_8_the_reference_form_names_the_intent() {
    let text = format!(" [ {{\"type\":\"marque_intent\",\n\"intent_id\":\"{ID}\"}} ]");
    let expected = IntentReference::Approved(ID.parse().unwrap());
    assert_eq!(parse_intent_reference(&text).unwrap(), expected);
}

#[test]
fn oauth_8_the_inline_form_is_a_request_for_an_intent() {
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
fn oauth_8_every_other_shape_is_refused() {
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
        let error = parse_intent_reference(text).unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails, "{name}");
    }
}

#[test]
fn oauth_8_an_inline_request_is_judged_like_one_for_an_intent() {
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
        drop(parse_intent_reference(&text));
    }

    #[test]
    fn what_is_accepted_is_of_our_type_and_of_one_form(
        members in proptest::collection::btree_map("(type|intent_id|playbook|x)", "(marque_intent|p|int_00000000000000000000000000)", 0..4),
    ) {
        let text = serde_json::json!([members]).to_string();
        if let Ok(reference) = parse_intent_reference(&text) {
            prop_assert_eq!(members.get("type").map(String::as_str), Some(INTENT_DETAIL_TYPE));
            let named = members.contains_key("intent_id");
            prop_assert_eq!(named, matches!(reference, IntentReference::Approved(_)));
        }
    }
}
