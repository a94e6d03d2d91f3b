//! RFC 9396 details: every way to widen one (specs/oauth.md 8).

use serde_json::{Value, json};

use super::super::details::covers;
use super::super::{MAX_DETAILS, Widening};
use crate::denial::DenialCode;
use crate::grant::AuthorizationDetail;

fn details(value: Value) -> Vec<AuthorizationDetail> {
    serde_json::from_value(value).unwrap()
}

fn parent() -> Value {
    json!([
        {
            "type": "k8s_object",
            "locations": ["https://k8s.example.org", "https://k8s-2.example.org"],
            "actions": ["get", "patch"],
            "identifier": "ns/ingress",
        },
        {"type": "k8s_object", "actions": ["list"], "identifier": "ns/web"},
        {"type": "bucket", "actions": ["read"], "datatypes": ["invoice"], "privileges": ["reader"]},
        {"type": "query", "actions": ["run"], "identifier": "https://db.example.org/q?table=a"},
    ])
}

fn compare(child: Value) -> Result<(), Widening> {
    covers(&details(parent()), &details(child))
}

#[test]
fn oauth_8_3_each_entry_is_within_one_entry_of_its_parent() {
    for narrower in [
        parent(),
        json!([{"type": "k8s_object", "locations": ["https://k8s.example.org"], "actions": ["get"], "identifier": "ns/ingress/secret/a-tls"}]),
        json!([{"type": "k8s_object", "actions": ["list"], "identifier": "ns/web"}]),
        json!([{"type": "query", "actions": ["run"], "identifier": "https://db.example.org/q?table=a"}]),
    ] {
        assert_eq!(compare(narrower.clone()), Ok(()), "{narrower}");
    }
}

#[test]
fn oauth_8_4_a_detail_that_is_wider_is_refused() {
    let object = |member: &str, value: Value| {
        let mut entry = parent()[0].clone();
        entry[member] = value;
        json!([entry])
    };
    let without = |member: &str| {
        let mut entry = parent()[0].clone();
        entry.as_object_mut().unwrap().remove(member);
        json!([entry])
    };
    let exceeds = DenialCode::ExceedsParentScope;
    let unclear = DenialCode::CannotCompareAttenuation;
    for (name, child, code) in [
        ("nothing at all", json!([]), exceeds),
        ("left out actions", without("actions"), exceeds),
        ("left out locations", without("locations"), exceeds),
        ("left out identifier", without("identifier"), exceeds),
        ("another action", object("actions", json!(["get", "delete"])), exceeds),
        ("an action in capitals", object("actions", json!(["GET"])), exceeds),
        ("a wildcard for an action", object("actions", json!(["*"])), exceeds),
        (
            "another location",
            object("locations", json!(["https://k8s.example.org", "https://x.example.org"])),
            exceeds,
        ),
        (
            "a location as prefix",
            object("locations", json!(["https://k8s.example.org/api"])),
            exceeds,
        ),
        ("a wildcard for an identifier", object("identifier", json!("*")), unclear),
        ("a wildcard below", object("identifier", json!("ns/ingress/*")), unclear),
        ("the parent above", object("identifier", json!("ns")), exceeds),
        ("nothing for an identifier", object("identifier", json!("")), unclear),
        ("a sibling that begins alike", object("identifier", json!("ns/ingress2")), exceeds),
        ("a climb", object("identifier", json!("ns/ingress/../web")), unclear),
        ("a climb at the end", object("identifier", json!("ns/ingress/..")), unclear),
        ("a dot", object("identifier", json!("ns/ingress/./x")), unclear),
        ("an empty segment", object("identifier", json!("ns/ingress//x")), unclear),
        ("an empty segment at the end", object("identifier", json!("ns/ingress/")), unclear),
        (
            "a climb in percent-encoding",
            object("identifier", json!("ns/ingress/%2e%2e/web")),
            unclear,
        ),
        (
            "a slash in percent-encoding",
            object("identifier", json!("ns/ingress/..%2fweb")),
            unclear,
        ),
        ("a backslash", object("identifier", json!("ns/ingress/..\\web")), unclear),
        ("a query", object("identifier", json!("ns/ingress/x?all=true")), unclear),
        ("a fragment", object("identifier", json!("ns/ingress/x#y")), unclear),
        ("a control character", object("identifier", json!("ns/ingress/x\u{0}")), unclear),
        ("an invisible character", object("identifier", json!("ns/ingress/x\u{200b}")), unclear),
        ("more datatypes", object("datatypes", json!(["tls"])), unclear),
        ("more privileges", object("privileges", json!(["admin"])), unclear),
        ("another type", json!([{"type": "k8s_secret", "actions": ["get"]}]), exceeds),
        ("the type in capitals", json!([{"type": "K8S_OBJECT", "actions": ["get"]}]), exceeds),
        ("a type of our own", json!([{"type": "marque_intent", "identifier": "int_x"}]), unclear),
        (
            "a type that would be our own",
            json!([{"type": "marque_admin", "actions": ["all"]}]),
            unclear,
        ),
        (
            "two entries put together",
            json!([{"type": "k8s_object", "actions": ["list"], "identifier": "ns/ingress"}]),
            exceeds,
        ),
        (
            "one entry too many",
            json!([parent()[0], {"type": "k8s_object", "actions": ["delete"], "identifier": "ns/web"}]),
            exceeds,
        ),
        (
            "below a query",
            json!([{"type": "query", "actions": ["run"], "identifier": "https://db.example.org/q?table=a/b"}]),
            unclear,
        ),
    ] {
        let widening = compare(child.clone()).unwrap_err();
        assert_eq!(widening.code, code, "{name}: {child}");
    }
}

#[test]
fn oauth_8_1_what_is_no_detail_is_never_compared() {
    let read = |text: &str| {
        let limits = marque_jose::json::Limits { max_bytes: 64 * 1024, max_depth: 8 };
        let value = marque_jose::json::parse(text.as_bytes(), &limits).ok()?;
        serde_json::from_value::<Vec<AuthorizationDetail>>(value).ok()
    };
    assert!(read(r#"[{"type": "a", "actions": ["x"]}]"#).is_some());
    let deep = format!(r#"[{{"type": "a", "actions": {}{}}}]"#, "[".repeat(50), "]".repeat(50));
    for text in [
        r#"[{"type": "a", "actions": ["x"], "actions": ["y"]}]"#,
        r#"[{"type": "a", "type": "b"}]"#,
        r#"[{"type": "a", "namespace": "x"}]"#,
        r#"[{"type": "a", "Actions": ["x"]}]"#,
        r#"[{"type": "a", "actions": "x"}]"#,
        r#"[{"type": "a", "actions": [["x"]]}]"#,
        r#"[{"type": "a", "actions": null}]"#,
        r#"[{"type": "a", "identifier": ["x"]}]"#,
        r#"[{"type": ["a"]}]"#,
        r#"[{"actions": ["x"]}]"#,
        r#"{"type": "a"}"#,
        deep.as_str(),
    ] {
        assert!(read(text).is_none(), "{text}");
    }
}

#[test]
fn oauth_8_3_details_have_a_greatest_number() {
    let entry = |at: usize| json!({"type": "a", "identifier": format!("x/{at}")});
    let many = |count: usize| details((0..count).map(entry).collect());
    let parent = details(json!([{"type": "a", "identifier": "x"}]));
    assert_eq!(covers(&parent, &many(MAX_DETAILS)), Ok(()));
    assert!(covers(&parent, &many(MAX_DETAILS + 1)).is_err());
}
