//! Playbooks, what they grant, when, and what stops it.

use std::str::from_utf8;

use jiff::Timestamp;
use marque_intent::{
    Calendar, Circumstances, Digest, Evidence, Exception, ExceptionStanding, Grant, IntentRequest,
    KillRecord, KillScope, MAX_ARGUMENT_SCHEMAS, MAX_CALENDAR_BYTES, MAX_EXCEPTION,
    MAX_EXCEPTION_RUNS, MAX_GRANT_BYTES, MAX_PLAYBOOK_BYTES, MAX_TOKEN_LIFETIME, MAX_USES,
    Playbook, Requester, Rights, Schedule, Severity, Standing, Wanted, Window, lint, playbook_diff,
    resolve,
};
use marque_spiffe::Environment;
use serde_json::Value;

/// The playbook that the checks below change.
const PLAYBOOK: &str =
    include_str!("../../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml");

/// A playbook that is accepted reads the same again, differs in nothing from itself, and can be said something about.
pub(crate) fn playbook(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let said = lint(text, Environment::NonProduction, now);
    let Ok(playbook) = Playbook::parse(text) else {
        assert!(said.iter().any(|finding| finding.severity == Severity::Error));
        return;
    };
    assert!(text.len() <= MAX_PLAYBOOK_BYTES);
    assert!(said.iter().all(|finding| finding.severity == Severity::Warning));
    let again = Playbook::parse(&format!("{text}\n# the same\n"));
    // One more comment may be one byte too many.
    let again = again.map_or_else(|_| *playbook.digest(), |again| *again.digest());
    assert_eq!(again, *playbook.digest());
    assert_eq!(playbook_diff(text, text), Ok(Vec::new()));
    assert!((1..=MAX_USES).contains(&playbook.times().uses));
    assert!(playbook.times().token_lifetime() <= MAX_TOKEN_LIFETIME);
    assert!(!playbook.scopes().iter().any(|scope| scope.as_str().contains('*')));
}

/// The shipped playbook with these parameters and one resource, and nothing else that takes a value.
fn playbook_with(properties: toml::Table, required: Vec<toml::Value>, resource: &str) -> String {
    let mut table: toml::Table = toml::from_str(PLAYBOOK).expect("the shipped playbook");
    let mut parameters = toml::Table::new();
    parameters.insert("type".to_owned(), "object".into());
    parameters.insert("additionalProperties".to_owned(), false.into());
    parameters.insert("required".to_owned(), required.into());
    parameters.insert("properties".to_owned(), properties.into());
    let mut permit = toml::Table::new();
    permit.insert("audience".to_owned(), "https://ingress.prod.example.org".into());
    permit.insert("scopes".to_owned(), vec!["secrets.update"].into());
    table.insert("parameters".to_owned(), parameters.into());
    table.insert("permits".to_owned(), vec![toml::Value::from(permit)].into());
    table.insert("resources".to_owned(), vec![resource].into());
    table.to_string()
}

/// What comes of a request for that playbook with these values.
fn granted(playbook: &str, values: &serde_json::Map<String, Value>) -> Option<Grant> {
    let playbook = Playbook::parse(playbook).ok()?;
    let request = serde_json::json!({
        "playbook": "ingress-cert-rotation", "ticket": "CHG-1842", "parameters": values,
    });
    let request = IntentRequest::from_object(request.as_object()?.clone()).ok()?;
    let requester = Requester {
        agent: "spiffe://prod.example.org/agent/cert-rotator".parse().expect("an ID"),
        attestation: None,
        owner: None,
    };
    let circumstances = Circumstances {
        intent_id: "int_00000000000000000000000000".parse().expect("an id"),
        policy_set_digest: Digest::of(b"policies"),
        evidence: Evidence::default(),
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    resolve(&playbook, &request, &requester, circumstances).ok()
}

/// Two lines: the properties of a schema, and values. What is granted has exactly these values, of declared names, and is
/// within the limits of a grant.
pub(crate) fn parameters(bytes: &[u8]) {
    let Some((schema, values)) = from_utf8(bytes).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let Ok(properties) = serde_json::from_str::<serde_json::Map<String, Value>>(schema) else {
        return;
    };
    let Ok(values) = serde_json::from_str::<serde_json::Map<String, Value>>(values) else { return };
    let Ok(table) = toml::Table::try_from(&properties) else { return };
    let playbook = playbook_with(table, Vec::new(), "k8s://prod/ns/ingress");
    let Some(grant) = granted(&playbook, &values) else { return };
    assert_eq!(grant.parameters, values);
    assert!(values.keys().all(|name| properties.contains_key(name)));
    assert!(serde_json::to_vec(&grant).expect("JSON").len() <= MAX_GRANT_BYTES);
    let again = granted(&playbook, &values).expect("the same again");
    assert_eq!(again.digest(), grant.digest());
}

/// Two lines: a template, and a value for `params.x`. Whatever the value is, it never becomes structure.
pub(crate) fn template(bytes: &[u8]) {
    let Some((template, value)) = from_utf8(bytes).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let mut property = toml::Table::new();
    property.insert("type".to_owned(), "string".into());
    property.insert("maxLength".to_owned(), 64.into());
    let mut properties = toml::Table::new();
    properties.insert("x".to_owned(), property.into());
    let playbook = playbook_with(properties, vec!["x".into()], template);
    let of = |value: &str| {
        let values = serde_json::json!({ "x": value });
        granted(&playbook, &values.as_object().cloned().unwrap_or_default())
            .and_then(|grant| grant.resources.first().cloned())
    };
    let (Some(plain), Some(resource)) = (of("plain"), of(value)) else { return };
    for structure in ['/', '?', '#', ':', '@', '&', '='] {
        let count = |text: &str| text.matches(structure).count();
        assert_eq!(count(&resource), count(&plain), "`{structure}` of `{resource}`");
    }
    assert!(resource.is_ascii() && resource.len() <= 2048);
    assert!(!resource.split(['/', '?', '#']).any(|segment| matches!(segment, "." | "..")));
}

/// Three lines of rights: each covers itself, and what is covered by what is covered is covered (specs/intents.md 9).
pub(crate) fn rights(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let read = |line: &str| serde_json::from_str::<Rights>(line).ok();
    let Some(all) = text.lines().map(read).collect::<Option<Vec<_>>>() else { return };
    for one in &all {
        let comparable =
            one.tools.values().all(|tool| tool.arguments.len() <= MAX_ARGUMENT_SCHEMAS);
        assert!(!comparable || one.covers(one).is_ok(), "{one:?} does not cover itself");
        for two in &all {
            for three in &all {
                if one.covers(two).is_ok() && two.covers(three).is_ok() {
                    assert!(one.covers(three).is_ok(), "{one:?} {two:?} {three:?}");
                }
            }
        }
    }
}

/// Two lines: rights, and what is wanted of them. What is given is within the rights, and wanted once more it is the same;
/// what is handed on is within them too, and less than them.
pub(crate) fn narrowing(bytes: &[u8]) {
    let Some((rights, wanted)) = from_utf8(bytes).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let Ok(rights) = serde_json::from_str::<Rights>(rights) else { return };
    let Ok(wanted) = serde_json::from_str::<Wanted>(wanted) else { return };
    if let Ok(less) = rights.narrowed(&wanted) {
        assert!(rights.covers(&less).is_ok(), "{less:?} is more than {rights:?}");
        assert_eq!(less.narrowed(&wanted).as_ref(), Ok(&less), "wanted once more");
        let told = serde_json::to_string(&less).expect("JSON");
        assert_eq!(serde_json::from_str::<Rights>(&told).expect("what we write we read"), less);
    }
    if let Ok(less) = rights.delegated(&wanted) {
        assert!(rights.covers(&less).is_ok() && rights.hands_on(&less).is_ok(), "{less:?}");
        assert_ne!(less, rights, "handed on as it is");
        let depth = |rights: &Rights| rights.on_behalf.as_ref().map_or(0, |one| one.max_depth);
        assert!(depth(&less) < depth(&rights), "{less:?}");
    }
}

/// An exception that is accepted ends, soon enough and for good, and a comment makes no other one of it.
pub(crate) fn exception(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(exception) = Exception::parse(text) else { return };
    assert!((1..=MAX_EXCEPTION_RUNS).contains(&exception.runs().get()));
    let end = exception.expires_at();
    assert_eq!(exception.standing(end), ExceptionStanding::Ended);
    if let Ok(before) = end.checked_sub(MAX_EXCEPTION) {
        let second = std::time::Duration::from_secs(1);
        let earlier = before.checked_sub(second).unwrap_or(Timestamp::MIN);
        assert_eq!(
            exception.standing(earlier),
            ExceptionStanding::NotBegun,
            "it holds for too long"
        );
    }
    for at in instants() {
        assert_eq!(at >= end, exception.standing(at) == ExceptionStanding::Ended);
    }
    if let Ok(again) = Exception::parse(&format!("{text}\n# the same\n")) {
        assert_eq!(again.pin(), exception.pin());
    }
}

/// A change window that is accepted is written as it was read, and its next opening is an opening, before which nothing is
/// open; whatever the rule is, that is soon known.
pub(crate) fn window(bytes: &[u8]) {
    let Ok(window) = serde_json::from_slice::<Window>(bytes) else { return };
    let written = serde_json::to_vec(&window).expect("a window can be written");
    assert_eq!(serde_json::from_slice::<Window>(&written).expect("what we write we read"), window);
    let windows = [window];
    let schedule = Schedule::new(&windows, []);
    for from in instants() {
        let Some(opening) = schedule.opening(from) else { continue };
        assert!(opening >= from, "it is not over");
        let open = match schedule.at(opening) {
            Standing::Open { until } => Some(until),
            Standing::Outside { .. } | Standing::Blackout { .. } => None,
        };
        let until = open.expect("it is open");
        assert!(until.is_none_or(|until| until > opening), "for some time");
        if opening > from {
            assert_eq!(schedule.at(from), Standing::Outside { opens_at: Some(opening) });
        }
    }
}

/// A calendar that is accepted is within its limits, says why it forbids what it forbids, and what it lets through again it
/// does not forbid.
pub(crate) fn calendar(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(calendar) = Calendar::parse(text) else { return };
    assert!(bytes.len() <= MAX_CALENDAR_BYTES && calendar.owner().contains(':'));
    let schedule = Schedule::new(&[], [&calendar]);
    for at in instants() {
        let forbidden = matches!(schedule.at(at), Standing::Blackout { .. });
        assert_eq!(forbidden, calendar.reason_at(at).is_some());
        if let Some(opening) = schedule.opening(at) {
            assert!(calendar.reason_at(opening).is_none() && (opening > at) == forbidden);
        }
    }
}

/// Around a change of clocks, in a leap year, and far away.
fn instants() -> impl Iterator<Item = Timestamp> {
    let texts = ["2026-10-25T00:30:00Z", "2028-02-28T23:59:59Z", "2099-12-31T12:00:00Z"];
    texts.into_iter().filter_map(|text| text.parse().ok())
}

/// A kill's scope, its kind and its selector on one line, reads as it is written; so does a record of a kill or a lift, which
/// comes from disk.
pub(crate) fn kill(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(record) = serde_json::from_str::<KillRecord>(text) {
        let written = serde_json::to_string(&record).expect("what was read can be written");
        assert_eq!(serde_json::from_str::<KillRecord>(&written).ok(), Some(record.clone()));
        assert!(record.is_of(&record.order(), record.at()), "a record is of its own order");
        return;
    }
    let (kind, selector) = match text.split_once(' ') {
        Some((kind, selector)) => (kind, Some(selector)),
        None => (text, None),
    };
    let Ok(scope) = KillScope::parse(kind, selector) else { return };
    assert_eq!(scope.kind(), kind);
    let again = KillScope::parse(scope.kind(), scope.selector().as_deref());
    assert_eq!(again.ok(), Some(scope.clone()), "it reads as it is written");
    assert!(scope.selector().is_none_or(|selector| selector.len() <= 2048));
}
