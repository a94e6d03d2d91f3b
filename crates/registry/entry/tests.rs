use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Entry, EntryId, EntryRole, EntrySource, MAX_DNS_NAMES, MAX_SELECTORS, NewEntry, Owner,
};
use crate::RegistryError;

fn new_entry() -> Value {
    json!({
        "spiffe_id": "spiffe://example.org/agent/x",
        "selectors": ["unix:uid:1000"],
        "role": "agent",
        "owner": "group:tests",
    })
}

fn with(field: &str, value: Value) -> Result<NewEntry, serde_json::Error> {
    let mut entry = new_entry();
    entry[field] = value;
    serde_json::from_value(entry)
}

fn into_entry(new: NewEntry) -> Result<Entry, RegistryError> {
    new.into_entry("x".parse().unwrap(), EntrySource::Admin)
}

#[test]
fn an_entry_is_stored_and_read_back_whole() {
    let full = json!({
        "id": "x",
        "source": "admin",
        "entry": {
            "spiffe_id": "spiffe://example.org/agent/x",
            "selectors": ["unix:path:/x", "unix:uid:1000"],
            "role": "service",
            "owner": "group:tests",
            "hint": "main",
            "x509_lifetime": "30m",
            "jwt_lifetime": "90s",
            "dns_names": ["x.example.org"],
            "repository": "github.com/example/agents@refs/heads/main",
            "expires_at": "2031-01-01T00:00:00Z",
        },
    });
    let entry: Entry = serde_json::from_value(full.clone()).unwrap();
    assert_eq!(serde_json::to_value(&entry).unwrap(), full);
    let least = into_entry(serde_json::from_value(new_entry()).unwrap()).unwrap();
    let stored = serde_json::to_string(&least).unwrap();
    assert_eq!(serde_json::from_str::<Entry>(&stored).unwrap(), least);
}

#[test]
fn an_entry_from_a_file_keeps_its_place() {
    let source = EntrySource::File { path: "entries/a.toml".into(), line: 7 };
    let new: NewEntry = serde_json::from_value(new_entry()).unwrap();
    let entry = new.into_entry("x".parse().unwrap(), source.clone()).unwrap();
    let stored = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<Entry>(&stored).unwrap().source(), &source);
}

#[test]
fn a_stored_entry_is_checked_again() {
    for entry in [
        json!({"id": "x", "source": "admin", "entry": with_raw("spiffe_id", json!("spiffe://example.org"))}),
        json!({"id": "x", "source": "admin", "entry": with_raw("selectors", json!([]))}),
        json!({"id": "X", "source": "admin", "entry": new_entry()}),
        json!({"id": "x", "source": "admin", "entry": new_entry(), "more": 1}),
    ] {
        assert!(serde_json::from_value::<Entry>(entry.clone()).is_err(), "{entry}");
    }
}

fn with_raw(field: &str, value: Value) -> Value {
    let mut entry = new_entry();
    entry[field] = value;
    entry
}

#[test]
fn unknown_and_mistyped_fields_are_refused() {
    for (field, value) in [
        ("admin", json!(true)),
        ("role", json!("admin")),
        ("owner", json!("")),
        ("selectors", json!(["unix"])),
        ("x509_lifetime", json!(60)),
        ("repository", json!("github.com/example/agents")),
        ("expires_at", json!("soon")),
    ] {
        assert!(with(field, value).is_err(), "{field}");
    }
    for field in ["spiffe_id", "selectors", "role", "owner"] {
        let mut entry = new_entry();
        entry.as_object_mut().unwrap().remove(field);
        assert!(serde_json::from_value::<NewEntry>(entry).is_err(), "{field}");
    }
}

#[test]
fn an_identity_needs_a_path_and_a_selector() {
    let error = into_entry(with("spiffe_id", json!("spiffe://example.org")).unwrap()).unwrap_err();
    assert!(matches!(error, RegistryError::NoPath(_)), "{error}");
    let error = into_entry(with("selectors", json!([])).unwrap()).unwrap_err();
    assert_eq!(error, RegistryError::NoSelectors);
}

#[test]
fn lists_end_at_their_limits() {
    let selectors = |count| (0..count).map(|n| format!("unix:uid:{n}")).collect::<Vec<_>>();
    let names = |count| (0..count).map(|n| format!("x{n}.example.org")).collect::<Vec<_>>();
    into_entry(with("selectors", json!(selectors(MAX_SELECTORS))).unwrap()).unwrap();
    into_entry(with("dns_names", json!(names(MAX_DNS_NAMES))).unwrap()).unwrap();
    let error = into_entry(with("selectors", json!(selectors(MAX_SELECTORS + 1))).unwrap());
    assert!(matches!(error, Err(RegistryError::TooManySelectors { .. })), "{error:?}");
    let error = into_entry(with("dns_names", json!(names(MAX_DNS_NAMES + 1))).unwrap());
    assert!(matches!(error, Err(RegistryError::TooManyDnsNames { .. })), "{error:?}");
}

#[test]
fn an_entry_ends_at_its_very_end() {
    let end: Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
    let entry = into_entry(with("expires_at", json!(end.to_string())).unwrap()).unwrap();
    assert!(!entry.has_expired("2030-12-31T23:59:59.999999999Z".parse().unwrap()));
    assert!(entry.has_expired(end));
    assert!(!into_entry(serde_json::from_value(new_entry()).unwrap()).unwrap().has_expired(end));
}

#[test]
fn an_entry_id_is_short_and_plain() {
    for text in ["a", "cert-rotator", "0.x_y", &"x".repeat(128)] {
        assert_eq!(text.parse::<EntryId>().unwrap().as_str(), text);
    }
    for text in ["", "A", "a b", "a/b", "\u{e9}", &"x".repeat(129)] {
        assert!(text.parse::<EntryId>().is_err(), "{text}");
    }
}

#[test]
fn made_ids_sort_by_the_time_of_their_making() {
    let at = |second| EntryId::generate(Timestamp::from_second(second).unwrap(), &[0xff; 10]);
    let (first, second) = (at(1_900_000_000), at(1_900_000_001));
    assert!(first < second);
    assert_eq!(first.as_str().parse::<EntryId>().unwrap(), first);
    assert_eq!(first.as_str().chars().nth(14), Some('7'), "{first}");
    let other = EntryId::generate(Timestamp::from_second(1_900_000_000).unwrap(), &[0; 10]);
    assert_ne!(first, other);
}

#[test]
fn an_owner_is_one_line_of_text() {
    for text in ["x", "group:platform-sre", "Ops (Berlin)", &"\u{e9}".repeat(256)] {
        assert_eq!(text.parse::<Owner>().unwrap().as_str(), text);
    }
    for text in ["", " x", "x ", "a\nb", &"x".repeat(257)] {
        assert!(text.parse::<Owner>().is_err(), "{text:?}");
    }
}

#[test]
fn a_role_reads_back_and_nothing_else_reads() {
    for role in [EntryRole::Agent, EntryRole::Service] {
        assert_eq!(role.to_string().parse::<EntryRole>().unwrap(), role);
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
    for text in ["", "Agent", "operator"] {
        assert!(text.parse::<EntryRole>().is_err(), "{text}");
    }
}
