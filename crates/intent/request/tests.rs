use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(value: &Value) -> Result<IntentRequest, Denial> {
    IntentRequest::parse(&serde_json::to_vec(value).unwrap())
}

fn code(value: &Value) -> DenialCode {
    parse(value).unwrap_err().code()
}

#[test]
fn a_whole_request_reads_back() {
    let request = parse(&json!({
        "playbook": "ingress-cert-rotation",
        "version": 7,
        "parameters": {"service": "shop", "region": "eu-west-1"},
        "ticket": "CHG-1842",
        "justification": "expires\u{202e} soon",
    }))
    .unwrap();
    assert_eq!(request.playbook().as_str(), "ingress-cert-rotation");
    assert_eq!(request.version(), Some(7));
    assert_eq!(request.parameters().len(), 2);
    assert_eq!(request.ticket().unwrap().as_str(), "CHG-1842");
    assert_eq!(request.justification().unwrap().as_str(), "expires soon");
}

#[test]
fn the_labels_of_session_and_task_are_short_printable_and_no_secrets() {
    let with = |name: &str, value: Value| parse(&json!({"playbook": "p", name: value}));
    for name in ["session", "task"] {
        assert!(with(name, json!("sess_2026_05_12_001")).is_ok());
        assert!(with(name, json!("x".repeat(128))).is_ok());
        for bad in [
            json!(""),
            json!("x".repeat(129)),
            json!("two words"),
            json!("li\nne"),
            json!("ü"),
            json!(7),
            json!(null),
            json!(["a"]),
            json!("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"),
        ] {
            let refused = with(name, bad.clone()).unwrap_err();
            assert_eq!(refused.code(), DenialCode::InvalidRequest, "{name}: {bad}");
            assert!(!refused.to_string().contains("eyJ"), "{refused}");
        }
    }
    let request = parse(&json!({"playbook": "p", "session": "s-1", "task": "t-1"})).unwrap();
    assert_eq!(request.session().unwrap().as_str(), "s-1");
    assert_eq!(request.task().unwrap().as_str(), "t-1");
}

#[test]
fn m_28_a_request_for_raw_permissions_is_refused_by_name() {
    for member in [
        "scope",
        "scopes",
        "permissions",
        "Permissions",
        "iam-actions",
        "iam_actions",
        "IAMActions",
        "roles",
        "role_arn",
        "actions",
        "authorization_details",
        "audience",
        "resources",
        "policy",
        "privileges",
        "duration",
        "ttl",
        "expires_in",
        "uses",
        "tools",
    ] {
        let mut request = json!({"playbook": "ingress-cert-rotation"});
        request[member] = json!("secrets.update");
        assert_eq!(code(&request), DenialCode::RawPermissionsNotRequestable, "{member}");
    }
    // With nothing else, too: the answer says what is wrong and not that something is missing.
    assert_eq!(
        code(&json!({"scope": "networking.write"})),
        DenialCode::RawPermissionsNotRequestable
    );
}

#[test]
fn m_31_the_bad_request_is_not_representable() {
    let request = json!({"access": "write", "target": "networking", "environment": "production", "duration": "60m"});
    assert_eq!(code(&request), DenialCode::RawPermissionsNotRequestable);
}

#[test]
fn an_unknown_member_is_refused() {
    let denial = parse(&json!({"playbook": "p", "colour": "red"})).unwrap_err();
    assert_eq!(denial.code(), DenialCode::UnrecognisedField);
    assert!(denial.detail().contains("`colour`"), "{denial}");
}

#[test]
fn members_of_the_wrong_type_are_refused() {
    for request in [
        json!({}),
        json!({"playbook": 7}),
        json!({"playbook": "No Such Name"}),
        json!({"playbook": "p", "version": 0}),
        json!({"playbook": "p", "version": "7"}),
        json!({"playbook": "p", "version": 7.5}),
        json!({"playbook": "p", "parameters": []}),
        json!({"playbook": "p", "ticket": 1842}),
        json!({"playbook": "p", "justification": ["a"]}),
        json!({"playbook": "p", "justification": "a".repeat(1025)}),
        json!([]),
    ] {
        assert_eq!(code(&request), DenialCode::InvalidRequest, "{request}");
    }
    assert_eq!(code(&json!({"playbook": "p", "ticket": "CHG 1"})), DenialCode::TicketFormat);
    assert_eq!(code(&json!({"playbook": "p", "ticket": "C".repeat(65)})), DenialCode::TicketFormat);
}

#[test]
fn a_request_has_its_limits() {
    let with = |count: usize| {
        let parameters: Map<String, Value> =
            (0..count).map(|n| (format!("p{n}"), json!(1))).collect();
        json!({"playbook": "p", "parameters": parameters})
    };
    assert!(parse(&with(MAX_PARAMETERS)).is_ok());
    assert_eq!(code(&with(MAX_PARAMETERS + 1)), DenialCode::InvalidRequest);

    let long = |len: usize| json!({"playbook": "p", "parameters": {"a": "x".repeat(len)}});
    let overhead = serde_json::to_vec(&long(0)).unwrap().len();
    assert!(parse(&long(MAX_REQUEST_BYTES - overhead)).is_ok());
    assert_eq!(code(&long(MAX_REQUEST_BYTES - overhead + 1)), DenialCode::InvalidRequest);

    let deep = (0..MAX_REQUEST_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(
        code(&json!({"playbook": "p", "parameters": {"a": deep}})),
        DenialCode::InvalidRequest
    );
}

#[test]
fn a_duplicate_member_is_refused() {
    let denial = IntentRequest::parse(br#"{"playbook":"p","playbook":"q"}"#).unwrap_err();
    assert_eq!(denial.code(), DenialCode::InvalidRequest);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(body in any::<Vec<u8>>()) {
        let _outcome = IntentRequest::parse(&body);
    }

    #[test]
    fn only_the_seven_members_are_ever_accepted(name in "[a-zA-Z_-]{1,20}") {
        prop_assume!(!["playbook", "version", "parameters", "ticket", "justification", "session", "task"].contains(&name.as_str()));
        let mut request = json!({"playbook": "p"});
        request[&name] = json!("x");
        let code = code(&request);
        prop_assert!(matches!(code, DenialCode::UnrecognisedField | DenialCode::RawPermissionsNotRequestable));
    }
}
