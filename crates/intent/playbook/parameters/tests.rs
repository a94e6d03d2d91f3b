use proptest::prelude::*;
use serde_json::json;

use super::*;

fn with(property: &Value) -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["a"], "properties": {"a": property},
    })
}

fn faults(schema: Value) -> Vec<String> {
    let faults = Parameters::parse(schema).unwrap_err();
    faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
}

fn values(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn every_parameter_is_bounded() {
    for bounded in [
        json!({"type": "string", "pattern": "^[a-z]{1,4}$"}),
        json!({"type": "string", "maxLength": 4}),
        json!({"type": "string", "enum": ["a"]}),
        json!({"enum": ["a", 1, true]}),
        json!({"const": "a"}),
        json!({"type": "boolean"}),
        json!({"type": "integer", "minimum": 0, "maximum": 9}),
        json!({"type": "array", "maxItems": 2, "items": {"type": "boolean"}}),
        json!({"type": "object", "additionalProperties": false, "properties": {}}),
    ] {
        assert!(Parameters::parse(with(&bounded)).is_ok(), "{bounded}");
    }
    for open in [
        json!({"type": "string"}),
        json!({"type": "string", "minLength": 1}),
        json!({"type": "string", "pattern": "[a-z]+"}),
        json!({"type": "string", "pattern": "^(?=a)a$"}),
        json!({"type": "string", "pattern": 7}),
        json!({"type": "integer"}),
        json!({"type": "integer", "minimum": 0}),
        json!({"type": "number", "minimum": 0, "maximum": 1}),
        json!({"type": ["string", "null"], "maxLength": 3}),
        json!({"type": "array", "items": {"type": "boolean"}}),
        json!({"type": "array", "maxItems": 2}),
        json!({"type": "array", "maxItems": 2, "items": {"type": "string"}}),
        json!({"type": "object", "properties": {}}),
        json!({"type": "object", "additionalProperties": true, "properties": {}}),
        json!({"enum": [["a"]]}),
        json!({}),
        json!(true),
    ] {
        assert!(Parameters::parse(with(&open)).is_err(), "{open}");
    }
}

#[test]
fn a_pattern_that_takes_too_much_memory_is_refused() {
    let pattern = |text: &str| Parameters::parse(with(&json!({"type": "string", "pattern": text})));
    assert!(pattern("^(a{20}){20}$").is_ok());
    assert!(pattern("^(a{200}){200}$").is_err());
}

#[test]
fn a_keyword_that_would_not_be_enforced_is_refused() {
    for keyword in ["format", "default", "$ref", "patern", "oneOf", "$id", "contentEncoding"] {
        let mut property = json!({"type": "string", "maxLength": 4});
        property[keyword] = json!("x");
        let found = faults(with(&property));
        assert!(found.iter().any(|fault| fault.contains(&format!("`{keyword}`"))), "{found:?}");
    }
}

#[test]
fn undeclared_parameters_and_open_schemas_are_refused() {
    assert!(Parameters::parse(json!({"type": "object", "properties": {}})).is_err());
    assert!(Parameters::parse(json!({"type": "string", "maxLength": 1})).is_err());
    let missing = json!({
        "type": "object", "additionalProperties": false, "required": ["b"], "properties": {},
    });
    assert_eq!(faults(missing), ["required: `b` is required and not declared"]);
}

#[test]
fn values_are_checked_and_never_repeated_in_the_message() {
    let parameters =
        Parameters::parse(with(&json!({"type": "string", "pattern": "^[a-z]{1,4}$"}))).unwrap();
    assert_eq!(parameters.check(&values(&json!({"a": "abcd"}))), Ok(()));
    for bad in [
        json!({}),
        json!({"a": "abcde"}),
        json!({"a": "s3cr3t"}),
        json!({"a": "ab", "b": 1}),
        json!({"a": 1}),
    ] {
        let message = parameters.check(&values(&bad)).unwrap_err();
        assert!(!message.contains("s3cr3t"), "{bad}: {message}");
    }
}

#[test]
fn numbers_that_two_digests_could_not_tell_apart_are_refused() {
    let schema = with(&json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}));
    let parameters = Parameters::parse(schema).unwrap();
    assert!(parameters.check(&values(&json!({"a": MAX_SAFE_INTEGER}))).is_ok());
    for bad in [json!(MAX_SAFE_INTEGER + 1), json!(1.0), json!(-0.0), json!(u64::MAX)] {
        assert!(parameters.check(&values(&json!({"a": bad}))).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_schema_makes_the_parser_panic(key in "[a-zA-Z$]{1,12}", text in any::<String>()) {
        let mut property = json!({"type": "string"});
        property[key] = json!(text);
        let _outcome = Parameters::parse(with(&property));
    }
}
