//! The schemas against the readers, key by key: an unknown field is put into each table, and the reader's answer names the
//! fields that it knows there.

mod readers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::readers::said;
use super::{SCHEMAS, Schema};

/// One document of each kind, or several, that have every field between them.
const COMPLETE: &[(&str, &[&str])] = &[
    (
        "trust-domain",
        &[include_str!("tests/trust-domain-1.toml"), include_str!("tests/trust-domain-2.toml")],
    ),
    ("entries", &[include_str!("tests/entries.toml")]),
    (
        "playbook",
        &[include_str!("tests/playbook.toml"), include_str!("tests/playbook-emergency.toml")],
    ),
    ("playbook-tests", &[include_str!("tests/playbook-tests.toml")]),
    ("exception", &[include_str!("tests/exception.toml")]),
    ("calendar", &[include_str!("tests/calendar.toml")]),
    ("roster", &[include_str!("tests/roster.toml")]),
    ("role", &[include_str!("tests/role.toml")]),
    ("policy-tests", &[include_str!("tests/policy-tests.toml")]),
    ("relations", &[include_str!("tests/relations.toml")]),
];

/// Kinds whose complete documents are sound by themselves; cases name playbooks that are not there.
const SOUND_ALONE: [&str; 7] =
    ["trust-domain", "playbook", "exception", "calendar", "roster", "role", "relations"];

const UNKNOWN: &str = "zz_unknown";

fn json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

fn validator(name: &str) -> (Value, jsonschema::Validator) {
    let schema: Value = serde_json::from_str(Schema::find(name).unwrap().text).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    (schema, validator)
}

fn complete(name: &str) -> Vec<Value> {
    let (_, texts) = COMPLETE.iter().find(|(kind, _)| *kind == name).unwrap();
    texts.iter().map(|text| json(text)).collect()
}

/// Every closed table of a schema by its path, `*` standing for a place in a list.
fn tables(path: &str, schema: &Value, found: &mut BTreeMap<String, Map<String, Value>>) {
    for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        tables(path, choice, found);
    }
    if let Some(items) = schema.get("items") {
        tables(&below(path, "*"), items, found);
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    assert_eq!(schema["additionalProperties"], false, "{path} takes anything");
    found.insert(path.to_owned(), schema.as_object().unwrap().clone());
    for (name, property) in properties {
        let described = property.get("description").and_then(Value::as_str);
        assert!(described.is_some_and(|text| text.len() > 3), "{path}.{name} is not described");
        tables(&below(path, name), property, found);
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The places of a document that a path means, as JSON pointers.
fn places(document: &Value, path: &str) -> Vec<String> {
    let mut places = vec![String::new()];
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let next = |place: &String| -> Vec<String> {
            match (step, document.pointer(place)) {
                ("*", Some(Value::Array(items))) => {
                    (0..items.len()).map(|index| format!("{place}/{index}")).collect()
                }
                (_, Some(Value::Object(members))) if members.contains_key(step) => {
                    vec![format!("{place}/{}", step.replace('~', "~0").replace('/', "~1"))]
                }
                _ => Vec::new(),
            }
        };
        places = places.iter().flat_map(next).collect();
    }
    places.retain(|place| document.pointer(place).is_some_and(Value::is_object));
    places
}

fn changed(document: &Value, place: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Value {
    let mut document = document.clone();
    change(document.pointer_mut(place).unwrap().as_object_mut().unwrap());
    document
}

/// The fields that a reader says it knows, beside the unknown one.
fn expected(said: &[String]) -> Option<BTreeSet<String>> {
    let unknown = format!("unknown field `{UNKNOWN}`");
    let message = said.iter().find(|message| message.contains(&unknown))?;
    let (_, known) =
        message.split_once("expected ").or_else(|| message.split_once("there are no"))?;
    Some(known.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect())
}

#[test]
fn each_schema_is_one_and_is_listed_with_its_files() {
    for schema in SCHEMAS {
        let (document, _) = validator(schema.name);
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(document["title"].as_str().is_some_and(|title| title.contains(".toml")));
        assert!(jsonschema::draft202012::meta::is_valid(&document), "{}", schema.name);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, SCHEMAS.len(), "a file in schemas/ that nobody is shown");
}

#[test]
fn the_complete_documents_are_valid_and_read() {
    for schema in SCHEMAS {
        let (_, validator) = validator(schema.name);
        for document in complete(schema.name) {
            let errors: Vec<String> =
                validator.iter_errors(&document).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", schema.name);
            if SOUND_ALONE.contains(&schema.name) {
                let said = said(schema.name, &document);
                assert!(said.is_empty(), "{}: {said:#?}", schema.name);
            }
        }
    }
}

/// Fails when a reader gains a field that its schema has not, or the other way round.
#[test]
fn schema_and_reader_know_the_same_fields_of_every_table() {
    for schema in SCHEMAS {
        let (document, validator) = validator(schema.name);
        let mut all = BTreeMap::new();
        tables("", &document, &mut all);
        let complete = complete(schema.name);
        for (path, table) in all {
            let known: BTreeSet<String> =
                table["properties"].as_object().unwrap().keys().cloned().collect();
            let mut seen = BTreeSet::new();
            for document in &complete {
                for place in places(document, &path) {
                    let here = document.pointer(&place).unwrap().as_object().unwrap();
                    seen.extend(here.keys().cloned());
                    let unknown = changed(document, &place, |table| {
                        table.insert(UNKNOWN.to_owned(), Value::Bool(true));
                    });
                    assert!(!validator.is_valid(&unknown), "{}: {place}", schema.name);
                    let said = said(schema.name, &unknown);
                    let found = expected(&said);
                    assert_eq!(
                        found,
                        Some(known.clone()),
                        "{} at `{path}`: {said:#?}",
                        schema.name
                    );
                }
            }
            let unseen: Vec<_> = known.difference(&seen).collect();
            assert!(
                unseen.is_empty(),
                "{} at `{path}`: no complete document has {unseen:?}",
                schema.name
            );
        }
    }
}

#[test]
fn schema_and_reader_demand_the_same_fields_and_take_the_same_kinds() {
    for schema in SCHEMAS {
        let (document, validator) = validator(schema.name);
        let mut all = BTreeMap::new();
        tables("", &document, &mut all);
        for document in complete(schema.name) {
            for (path, table) in &all {
                let required: BTreeSet<&str> = table
                    .get("required")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                for place in places(&document, path) {
                    let here = document.pointer(&place).unwrap().as_object().unwrap();
                    for name in here.keys() {
                        let context = format!("{} at {place}: {name}", schema.name);
                        let without = changed(&document, &place, |table| drop(table.remove(name)));
                        let said_without = said(schema.name, &without);
                        let missing = said_without.iter().any(|message| {
                            message.contains(&format!("missing field `{name}`"))
                                || (message.contains(&format!("`{name}`"))
                                    && (message.ends_with("is missing")
                                        || message.contains("is missing: say")))
                        });
                        let demanded = required.contains(name.as_str());
                        assert_eq!(missing, demanded, "{context}: {said_without:#?}");
                        assert_eq!(validator.is_valid(&without), !demanded, "{context}");
                        let other = changed(&document, &place, |table| {
                            let wrong = match table.get(name) {
                                Some(Value::Number(_) | Value::Bool(_)) => Value::from("zz"),
                                _ => Value::from(7),
                            };
                            table.insert(name.clone(), wrong);
                        });
                        assert!(!validator.is_valid(&other), "{context} takes another kind");
                        assert!(!said(schema.name, &other).is_empty(), "{context} is read");
                    }
                }
            }
        }
    }
}

/// The files of a folder that are of a kind.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let pattern = Schema::find(kind).unwrap().files;
    let Some((place, _)) = pattern.rsplit_once('/') else { return vec![folder.join(pattern)] };
    let listed = std::fs::read_dir(folder.join(place)).into_iter().flatten().flatten();
    let files = listed.map(|item| item.path());
    files.filter(|file| file.extension().is_some_and(|ending| ending == "toml")).collect()
}

#[test]
fn everything_that_ships_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = Vec::new();
    for parent in ["trust-domains", "examples/policy"] {
        let listed = std::fs::read_dir(root.join(parent)).unwrap();
        folders.extend(listed.map(|item| item.unwrap().path()));
    }
    let mut seen = 0;
    for schema in SCHEMAS {
        let (_, validator) = validator(schema.name);
        let mut all: Vec<PathBuf> =
            folders.iter().flat_map(|folder| files(folder, schema.name)).collect();
        let templates = root.join("crates/marque/templates");
        let more: &[&str] = match schema.name {
            "playbook" => &["", "../../intent/testdata"],
            "playbook-tests" => &["tests"],
            _ => &[],
        };
        for place in more {
            let listed = std::fs::read_dir(templates.join(place)).unwrap();
            let files = listed.map(|item| item.unwrap().path());
            all.extend(files.filter(|file| file.extension().is_some_and(|end| end == "toml")));
        }
        for file in all {
            let document = json(&std::fs::read_to_string(&file).unwrap());
            let errors: Vec<String> =
                validator.iter_errors(&document).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} files were looked at");
}
