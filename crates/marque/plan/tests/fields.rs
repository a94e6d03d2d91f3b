//! The tables of rules against the schemas: each field of each document has a rule, and each change of one is told both ways.

use std::collections::BTreeSet;

use marque_intent::{DocumentRules, Effect};
use serde_json::{Value, json};

use crate::plan::documents::{
    CALENDAR, ENTRY, EXCEPTION, RELATIONS, ROLE, ROSTER, TEMPLATE, TRUST_DOMAIN,
};
use crate::schema::Schema;

const TABLES: [(&str, &DocumentRules, &[&str]); 6] = [
    (
        "trust-domain",
        &TRUST_DOMAIN,
        &[
            include_str!("../../schema/tests/trust-domain-1.toml"),
            include_str!("../../schema/tests/trust-domain-2.toml"),
        ],
    ),
    ("exception", &EXCEPTION, &[include_str!("../../schema/tests/exception.toml")]),
    ("calendar", &CALENDAR, &[include_str!("../../schema/tests/calendar.toml")]),
    ("roster", &ROSTER, &[include_str!("../../schema/tests/roster.toml")]),
    ("role", &ROLE, &[include_str!("../../schema/tests/role.toml")]),
    ("relations", &RELATIONS, &[include_str!("../../schema/tests/relations.toml")]),
];

fn schema(name: &str) -> Value {
    serde_json::from_str(Schema::find(name).unwrap().text).unwrap()
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The fields of a schema that are no tables, as paths; those below a path that has a rule of its own are that rule's.
fn leaves(path: &str, schema: &Value, rules: &DocumentRules, found: &mut BTreeSet<String>) {
    let kinds = schema.get("oneOf").and_then(Value::as_array);
    if let Some(kinds) =
        kinds.filter(|kinds| kinds.iter().all(|kind| kind["properties"].is_object()))
    {
        // A table of one kind or another: the fields of each.
        return kinds.iter().for_each(|kind| leaves(path, kind, rules, found));
    }
    let closed = schema.get("properties").and_then(Value::as_object);
    let list = schema.get("items").filter(|items| items.get("properties").is_some());
    let is_list = rules.lists.contains(&path);
    match (closed, list) {
        (Some(properties), _) => {
            for (name, property) in properties {
                leaves(&below(path, name), property, rules, found);
            }
        }
        (None, Some(items)) if is_list => leaves(&below(path, "*"), items, rules, found),
        // A table whose keys are the writer's.
        (None, None) if schema.get("type") == Some(&json!("object")) => {
            found.insert(below(path, "*"));
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

#[test]
fn every_field_of_every_schema_has_a_rule_and_every_rule_a_field() {
    for (name, rules, _) in TABLES {
        let mut fields = BTreeSet::new();
        leaves("", &schema(name), rules, &mut fields);
        for field in &fields {
            assert!(
                rules.has(field),
                "{name}: `{field}` has no rule: the plan could only say that it differs"
            );
        }
        for (rule, _) in rules.rules {
            let known = fields.iter().any(|field| {
                field == rule
                    || field.starts_with(&format!("{rule}."))
                    || family(rule) == family(field)
            });
            assert!(known, "{name}: the rule for `{rule}` is for no field");
        }
    }
    let schema = schema("entries");
    let told_apart = ["id", "spiffe_id", "selectors"];
    let properties = schema["properties"]["entry"]["items"]["properties"].as_object().unwrap();
    for field in properties.keys().filter(|field| !told_apart.contains(&field.as_str())) {
        assert!(ENTRY.has(field), "entries: `{field}` has no rule");
    }
    for (rule, _) in ENTRY.rules {
        assert!(properties.contains_key(*rule), "entries: the rule for `{rule}` is for no field");
    }
    let mut fields = BTreeSet::new();
    leaves("", &schema["properties"]["template"]["items"], &TEMPLATE, &mut fields);
    let ruled: BTreeSet<String> =
        TEMPLATE.rules.iter().map(|(rule, _)| (*rule).to_owned()).collect();
    assert_eq!(fields, ruled, "templates");
}

/// The table of denial budgets is closed in the schema and open in the rules.
fn family(path: &str) -> Option<&str> {
    let (table, _) = path.rsplit_once('.')?;
    ["denials.budgets", "ssf_transmitters.*.effects"].into_iter().find(|known| *known == table)
}

/// A value of the same kind that is another.
fn another(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!(!value),
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(text) => {
            let longer = text.strip_suffix(['s', 'm', 'h', 'd']).and_then(|digits| {
                let number: u64 = digits.parse().ok()?;
                Some(text.replacen(digits, &(number + 1).to_string(), 1))
            });
            json!(longer.unwrap_or_else(|| format!("{text}x")))
        }
        Value::Array(items) => {
            let more = items.first().map_or_else(
                || json!("x"),
                |first| match first {
                    Value::Object(_) => json!({ "x": 1 }),
                    other => another(other),
                },
            );
            json!(items.iter().cloned().chain([more]).collect::<Vec<_>>())
        }
        other => panic!("no other value than {other}"),
    }
}

/// The places of a document that hold values, and no tables.
fn values(place: &str, value: &Value, found: &mut Vec<String>) {
    let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                values(&format!("{place}/{}", escape(name)), member, found);
            }
        }
        Value::Array(items) if items.first().is_some_and(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                values(&format!("{place}/{index}"), item, found);
            }
        }
        _ => found.push(place.to_owned()),
    }
}

fn turned(effect: Effect) -> Effect {
    match effect {
        Effect::Wider => Effect::Narrower,
        Effect::Narrower => Effect::Wider,
        other => other,
    }
}

#[test]
fn every_change_of_every_field_is_told_both_ways() {
    for (name, rules, documents) in TABLES {
        for text in documents {
            let document =
                serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
            let mut places = Vec::new();
            values("", &document, &mut places);
            for place in places {
                let mut other = document.clone();
                let value = other.pointer_mut(&place).unwrap();
                *value = another(value);
                let there = rules.diff(document.clone(), other.clone());
                let back = rules.diff(other, document.clone());
                assert!(!there.is_empty() && !back.is_empty(), "{name}: {place} is not told");
                let effects = |found: &[marque_intent::Difference]| -> Vec<Effect> {
                    let mut effects: Vec<Effect> = found.iter().map(|one| one.effect).collect();
                    effects.sort_unstable();
                    effects
                };
                let mut mirrored: Vec<Effect> = effects(&there).into_iter().map(turned).collect();
                mirrored.sort_unstable();
                // What names an entry of a list is one that goes and one that comes, each with an effect of its own.
                let renamed = there.len() > 1;
                assert!(
                    renamed || effects(&back) == mirrored,
                    "{name}: {place}: {there:?} {back:?}"
                );
                let gone = without(&document, &place);
                assert!(
                    !rules.diff(document.clone(), gone).is_empty(),
                    "{name}: {place} goes untold"
                );
            }
        }
    }
}

fn without(document: &Value, place: &str) -> Value {
    let (parent, name) = place.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let mut document = document.clone();
    if let Some(Value::Object(members)) = document.pointer_mut(parent) {
        members.remove(&name);
    }
    document
}
