//! The document is well-formed, and says what is served: no path and no method more or less.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use super::*;
use crate::http::{
    HttpLimits, routes as served,
    tests::{
        Server,
        door::{FakeDoor, INTENT, NOTHING},
    },
};

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

fn operations(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| {
        let members = item.as_object().unwrap().keys();
        members.filter(|member| METHODS.contains(&member.as_str())).cloned().collect()
    };
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

fn issuer(text: &str) -> IssuerUrl {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_document_has_each_path_and_method_that_is_served_and_no_other() {
    for (url, offers) in [
        ("https://localhost:8443", Offers::ALL),
        ("https://localhost:8443", NOTHING),
        ("https://localhost:8443/prod/a", Offers::ALL),
    ] {
        let door = FakeDoor { offers, ..FakeDoor::at(url) };
        let state = HttpState { issuer: Arc::new(FakeDoor { offers, ..FakeDoor::at(url) }) };
        let server = Server::with(door, HttpLimits::default()).await;
        let issuer = issuer(url);
        let document = document(&issuer, &offers);
        let mut described = BTreeMap::new();
        for (path, methods) in operations(&document) {
            let of_host =
                document["paths"][&path].get("servers").is_some() || issuer.path().is_empty();
            let path = if of_host { path } else { format!("{}{path}", issuer.path()) };
            described.insert(path, methods);
        }
        let routes: BTreeSet<String> = served(&state).paths().iter().cloned().collect();
        assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), routes);
        for (path, methods) in described {
            let request = format!(
                "TRACE {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
                path.replace("{id}", INTENT).replace("{name}", "ops-chat").replace(['{', '}'], "")
            );
            let answer = server.ask(request.as_bytes()).await;
            assert_eq!(answer.status, 405, "{path}");
            let allowed = answer.header("allow").unwrap_or_default().to_ascii_lowercase();
            let allowed = allowed.split(',').map(str::trim).filter(|method| *method != "head");
            let allowed: BTreeSet<String> = allowed.map(ToOwned::to_owned).collect();
            assert_eq!(allowed, methods, "{path}");
        }
    }
}

#[tokio::test]
async fn the_document_that_is_served_is_the_one_in_the_documentation() {
    let served = Server::start().await.get(PATH, "").await;
    assert_eq!((served.status, served.header("cache-control")), (200, Some("public, max-age=300")));
    assert_eq!(served.json(), document(&issuer("https://localhost:8443"), &Offers::ALL));

    let page = document(&issuer("https://issuer.example.org"), &Offers::ALL);
    let page = format!("{}\n", serde_json::to_string_pretty(&page).unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    #[expect(clippy::disallowed_methods, reason = "how a person asks for the page to be written")]
    if std::env::var_os("MARQUE_WRITE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap_or_default() == page,
        "docs/openapi.json is stale: run `MARQUE_WRITE_DOCS=1 cargo test -p marque --lib openapi`"
    );
}

#[test]
fn each_part_of_the_document_is_what_the_specification_calls_it() {
    use utoipa::openapi::{OpenApi, PathItem, RefOr, Schema, security::SecurityScheme};
    let document = document(&issuer("https://issuer.example.org"), &Offers::ALL);
    let parts =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_object).unwrap().clone();
    for (name, schema) in parts("/components/schemas") {
        serde_json::from_value::<RefOr<Schema>>(schema).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    for (name, scheme) in parts("/components/securitySchemes") {
        serde_json::from_value::<SecurityScheme>(scheme).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    for (path, item) in parts("/paths") {
        serde_json::from_value::<PathItem>(item).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    serde_json::from_value::<OpenApi>(document).unwrap();
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    for offers in [Offers::ALL, NOTHING] {
        let document = document(&issuer("https://issuer.example.org"), &offers);
        let mut references = BTreeSet::new();
        collect(&document, &mut references);
        for reference in &references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for schema in document["components"]["schemas"].as_object().unwrap().keys() {
            let reference = format!("#/components/schemas/{schema}");
            assert!(references.contains(&reference), "{schema} is used nowhere");
        }
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                references.insert(reference.clone());
            }
            members.values().for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[test]
fn every_operation_says_what_it_is_who_may_call_it_and_how_it_refuses() {
    let document = document(&issuer("https://issuer.example.org"), &Offers::ALL);
    let tags: Vec<&Value> =
        document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (path, methods) in operations(&document) {
        for method in methods {
            let operation = &document["paths"][&path][&method];
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(operation["summary"].is_string(), "{id}");
            assert!(tags.contains(&&operation["tags"][0]), "{id}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{id}");
            assert!(responses.contains_key("405") && responses.contains_key("500"), "{id}");
            for scheme in operation["security"].as_array().into_iter().flatten() {
                for name in scheme.as_object().unwrap().keys() {
                    assert!(
                        document["components"]["securitySchemes"].get(name).is_some(),
                        "{name}"
                    );
                }
            }
            let secured = operation.get("security").is_some();
            assert_eq!(secured, operation["tags"][0] != "discovery", "{id}");
        }
    }
}

#[test]
fn the_examples_fit_their_schemas() {
    let document = document(&issuer("https://issuer.example.org"), &Offers::ALL);
    let mut seen = 0;
    let mut media_types = Vec::new();
    collect_media_types(&document, &mut media_types);
    for media_type in media_types {
        let Some(example) = media_type.get("example") else { continue };
        let mut schema = media_type["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(example).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{example}: {errors:?}");
        seen += 1;
    }
    assert!(seen >= 5, "{seen} examples");
}

fn collect_media_types<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(content)) = members.get("content") {
                found.extend(content.values());
            }
            members.values().for_each(|value| collect_media_types(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_media_types(value, found)),
        _ => {}
    }
}
