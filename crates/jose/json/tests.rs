use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Limits, StrictJsonError, parse, parse_object};

const LIMITS: Limits = Limits { max_bytes: 64, max_depth: 3 };

#[test]
fn a_duplicate_member_is_refused_at_every_depth() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"x":{"a":1,"b":2,"a":3}}"#,
        r#"[{"a":[]},{"a":1,"a":2}]"#,
    ] {
        let error = parse(text.as_bytes(), &LIMITS).unwrap_err();
        assert!(
            matches!(&error, StrictJsonError::DuplicateMember { name } if name == "a"),
            "{text}: {error}"
        );
    }
    assert!(parse(br#"{"a":{"a":{}}}"#, &LIMITS).is_ok());
}

#[test]
fn one_level_too_deep_is_refused() {
    assert!(parse(br#"[[{}]]"#, &LIMITS).is_ok());
    assert!(matches!(parse(b"[[[[]]]]", &LIMITS), Err(StrictJsonError::TooDeep { limit: 3 })));
    assert!(matches!(
        parse(br#"{"a":{"a":{"a":{}}}}"#, &LIMITS),
        Err(StrictJsonError::TooDeep { limit: 3 })
    ));
}

#[test]
fn one_byte_too_long_is_refused() {
    let text = format!("\"{}\"", "x".repeat(62));
    assert!(parse(text.as_bytes(), &LIMITS).is_ok());
    let text = format!("\"{}\"", "x".repeat(63));
    assert!(matches!(parse(text.as_bytes(), &LIMITS), Err(StrictJsonError::TooLong { limit: 64 })));
}

#[test]
fn what_is_not_exactly_one_json_value_is_refused() {
    for bytes in [
        &b""[..],
        b"{} {}",
        b"{},",
        b"{'a':1}",
        b"{\"a\":1,}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\\ud800\"}",
        b"{\"a\":1e400}",
        b"{\"a\":01}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\n\"}",
        b"// comment\n{}",
    ] {
        assert!(
            matches!(parse(bytes, &LIMITS), Err(StrictJsonError::Syntax(_))),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn an_object_is_demanded_where_one_is_due() {
    assert!(parse_object(b"{}", &LIMITS).unwrap().is_empty());
    for bytes in [&b"[]"[..], b"\"{}\"", b"null", b"1"] {
        assert!(matches!(parse_object(bytes, &LIMITS), Err(StrictJsonError::NotAnObject)));
    }
}

#[test]
fn the_name_in_an_error_is_bounded_and_escaped() {
    let name = format!("\\n{}", "x".repeat(500));
    let text = format!(r#"{{"{name}":1,"{name}":1}}"#);
    let error = parse(text.as_bytes(), &Limits::TOKEN).unwrap_err().to_string();
    assert!(error.len() < 120 && !error.contains('\n'), "{error}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_reads_back(value in any_value()) {
        let limits = Limits { max_bytes: usize::MAX, max_depth: 8 };
        prop_assert_eq!(parse(value.to_string().as_bytes(), &limits).unwrap(), value);
    }

    #[test]
    fn it_agrees_with_serde_json_unless_it_refuses(text in r#"[\[\]{}:,"a0-9e. -]{0,24}"#) {
        let ours = parse(text.as_bytes(), &Limits::TOKEN);
        match (ours, serde_json::from_str::<Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Ok(ours), Err(error)) => prop_assert!(false, "{} accepted though {}", ours, error),
            (Err(StrictJsonError::Syntax(_)), Ok(theirs)) => prop_assert!(false, "{} refused", theirs),
            (Err(_), _) => {}
        }
    }
}

#[test]
fn numbers_keep_their_kind() {
    let value = parse(b"[1,-1,1.0,18446744073709551615]", &LIMITS).unwrap();
    assert_eq!(value, json!([1, -1, 1.0, u64::MAX]));
    assert!(value[2].is_f64() && value[3].is_u64());
}
