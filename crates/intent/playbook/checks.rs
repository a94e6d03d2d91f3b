//! From the file to a playbook: every section is read, and then what one demands of another is checked.

use std::num::NonZeroU64;

use marque_spiffe::TrustDomain;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::document::Document;
use super::lines::{Lines, line_at};
use super::parameters::{MAX_SAFE_INTEGER, Parameters, check_numbers};
use super::report::Report;
use super::sections::{
    approval, change, concurrency, constraints, delegators, delivery, demands, emergency, ends,
    head, limits, logging, on_behalf, on_complete, permits, risk, staged, time, tools, who,
    workflow,
};
use super::template::Shape;
use super::{DOCUMENT_TAG, MAX_PLAYBOOK_BYTES, Playbook, PlaybookError, unsupported};
use crate::digest::Digest;

pub(super) fn parse(text: &str) -> Result<Playbook, Vec<PlaybookError>> {
    if text.len() > MAX_PLAYBOOK_BYTES {
        let message = format!("has more than {MAX_PLAYBOOK_BYTES} bytes");
        return Err(vec![PlaybookError::new(None, message)]);
    }
    read(text, unsupported::check, build)
}

/// Reads a document: as `D`, and as the JSON that its digest is over.
pub(super) fn read<D: DeserializeOwned, T>(
    text: &str,
    refused: fn(&Lines<'_>) -> Vec<PlaybookError>,
    build: fn(D, &Value, &mut Report<'_>) -> Option<T>,
) -> Result<T, Vec<PlaybookError>> {
    let syntax = |error: toml::de::Error| {
        let line = error.span().map(|span| line_at(text, span.start));
        vec![PlaybookError::new(line, error.message().to_owned())]
    };
    let lines = Lines::parse(text).map_err(syntax)?;
    let refused = refused(&lines);
    if !refused.is_empty() {
        return Err(refused);
    }
    let document: D = toml::from_str(text).map_err(syntax)?;
    let table: toml::Table = toml::from_str(text).map_err(syntax)?;
    let mut report = Report { lines, errors: Vec::new() };
    let built =
        json_document(table, &mut report).and_then(|json| build(document, &json, &mut report));
    match built {
        Some(built) if report.errors.is_empty() => Ok(built),
        _ => Err(report.errors),
    }
}

/// The document as JSON: what the digest is over.
fn json_document(table: toml::Table, report: &mut Report<'_>) -> Option<Value> {
    let mut members = Map::new();
    for (name, value) in table {
        match to_json(value) {
            Ok(value) => {
                members.insert(name, value);
            }
            Err(why) => report.refuse(&name, why),
        }
    }
    let document = Value::Object(members);
    if let Err(path) = check_numbers(&document) {
        let path = path.trim_start_matches('/').replace('/', ".");
        report.refuse(&path, "numbers are integers of at most 2^53 - 1");
    }
    report.errors.is_empty().then_some(document)
}

fn to_json(value: toml::Value) -> Result<Value, &'static str> {
    match value {
        toml::Value::String(text) => Ok(Value::String(text)),
        toml::Value::Integer(number) => Ok(number.into()),
        toml::Value::Boolean(value) => Ok(value.into()),
        toml::Value::Float(_) => Err("numbers are integers"),
        toml::Value::Datetime(_) => Err("dates are written as strings"),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(name, value)| Ok((name, to_json(value)?))).collect()
        }
    }
}

fn build(document: Document, json: &Value, report: &mut Report<'_>) -> Option<Playbook> {
    head::describe(&document, report);
    let logging = logging::read(&document, report);
    let id = report.parse("id", &document.id);
    let version = report.keep(
        "version",
        NonZeroU64::new(document.version)
            .filter(|version| version.get() <= MAX_SAFE_INTEGER)
            .ok_or("a version is a positive integer"),
    );
    let review_by = report.parse("review_by", &document.review_by);
    let trust_domain: Option<TrustDomain> = report.parse("trust_domain", &document.trust_domain);
    let own = trust_domain.as_ref();
    let classes = document.data_classes.as_deref().unwrap_or_default();
    let risk = risk::read(&document.risk, classes, report);
    let demands = demands::read(&document, report);
    let agents = who::agents("who.agents", &document.who.agents, own, report);
    let delegators = delegators::read(document.who.delegators.as_ref(), report);
    let parameters = parameters(json, report);
    let declared = parameters.as_ref();
    let resources =
        permits::templates("resources", &document.resources, Shape::Uri, declared, report);
    report.require(!resources.is_empty(), "resources", "names at least one resource");
    let object = document.object.as_slice();
    let object = permits::templates("object", object, Shape::Uri, declared, report).pop();
    let permit = permits::read(document.permits, declared, report);
    let delivery = delivery::read(&document.delivery, report);
    let time = time::read(&document.time, report);
    let (windows, blackouts) = time::read_windows(&document.time, report);
    let ticket = document.change.and_then(|section| change::read(section, declared, report));
    let approval = approval::read(&document.approval, report);
    let tools = tools::read(document.tools.as_deref(), json, declared, report);
    let constraints = constraints::read(json, declared, report);
    let limits = limits::read(document.limits.as_ref(), report);
    limits::check_tools(&limits, &tools, report);
    let on_behalf = on_behalf::read(document.on_behalf.as_ref(), own, report);
    let mut workflow = workflow::read(document.workflow.as_ref(), report);
    workflow.extend(logging::labels(&logging));
    let (liveness, on_complete) = (document.liveness.as_ref(), document.on_complete.as_ref());
    let ends = ends::read(&document.time, liveness, on_complete, report);
    let caps = concurrency::read(document.concurrency.as_ref(), report);
    let (notified, post_check) = on_complete::read(on_complete, report);
    let emergency = emergency::read(document.emergency.as_ref(), report);
    let mode = document.approval.mode;
    emergency::check(emergency.as_ref(), mode, approval.as_ref(), time.as_ref(), report);
    let digest = report.keep("id", Digest::of_document(DOCUMENT_TAG, json));
    let (audience, scopes, details) = permit?;
    let mut playbook = Playbook {
        id: id?,
        version: version?,
        digest: digest?,
        title: document.title,
        owner: document.owner,
        author: document.author,
        review_by: review_by?,
        tenant: document.tenant,
        trust_domain: trust_domain?,
        status: document.status,
        purpose: document.purpose,
        data_classes: document.data_classes.unwrap_or_default(),
        risk,
        agents,
        parameters: parameters?,
        resources,
        audience,
        scopes,
        details,
        delivery: delivery?,
        time: time?,
        ticket,
        windows,
        blackouts,
        approval_mode: document.approval.mode,
        approval,
        tools,
        constraints,
        limits,
        on_behalf,
        delegators,
        workflow,
        ends,
        caps,
        notified,
        post_check,
        emergency,
        logging,
        phases: Vec::new(),
        phase: None,
        exception: None,
        demands,
        enforcement: document.enforcement.unwrap_or_default(),
        object,
    };
    if let Some(sections) = &document.staged {
        playbook.phases = staged::read(sections, &playbook, report);
    }
    Some(playbook)
}

fn parameters(json: &Value, report: &mut Report<'_>) -> Option<Parameters> {
    match Parameters::parse(json.get("parameters").cloned().unwrap_or_default()) {
        Ok(parameters) => Some(parameters),
        Err(faults) => {
            for fault in faults {
                let path = if fault.path.is_empty() {
                    "parameters".to_owned()
                } else {
                    format!("parameters.{}", fault.path)
                };
                report.refuse(&path, fault.message);
            }
            None
        }
    }
}
