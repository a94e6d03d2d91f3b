//! OCSF, pinned to the version below: Authentication (3002), Authorize Session (3003), Entity Management (3004), User Access
//! Management (3005) and API Activity (6003), each with the profile `security_control`.
//!
//! This version has no object for an AI agent and no profile for the integrity of records: the agent is a user of the type
//! service, and number, hash and everything that OCSF has no place for are in `unmapped`.

use serde_json::{Map, Value, json};

use super::meaning::{
    Done, Outcome, Severity, ended_ungranted, outcome, sentence, severity, short,
};
use super::{envelope, frameworks, told, trust_domain, workload_named};
use crate::{Event, EventKind, Leaf};

/// The version of the schema that records are of.
pub const VERSION: &str = "1.8.0";

const PROFILES: [&str; 1] = ["security_control"];

/// A class of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Authentication,
    AuthorizeSession,
    EntityManagement,
    UserAccess,
    ApiActivity,
}

impl Class {
    const fn uid(self) -> u32 {
        match self {
            Self::Authentication => 3002,
            Self::AuthorizeSession => 3003,
            Self::EntityManagement => 3004,
            Self::UserAccess => 3005,
            Self::ApiActivity => 6003,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "Authentication",
            Self::AuthorizeSession => "Authorize Session",
            Self::EntityManagement => "Entity Management",
            Self::UserAccess => "User Access Management",
            Self::ApiActivity => "API Activity",
        }
    }

    const fn category(self) -> (u32, &'static str) {
        match self {
            Self::Authentication
            | Self::AuthorizeSession
            | Self::EntityManagement
            | Self::UserAccess => (3, "Identity & Access Management"),
            Self::ApiActivity => (6, "Application Activity"),
        }
    }
}

/// The class of a kind, and the number and name of its activity there.
const fn class(kind: EventKind) -> (Class, u32, &'static str) {
    match kind {
        EventKind::ApproverLoggedIn | EventKind::ApproverLoginRefused => {
            (Class::Authentication, 1, "Logon")
        }
        EventKind::SvidIssued | EventKind::SvidBrokered => {
            (Class::Authentication, 3, "Authentication Ticket")
        }
        EventKind::IdentityShared => (Class::Authentication, 99, "Shared Identity"),
        EventKind::IntentApproved
        | EventKind::BreakGlassActivated
        | EventKind::BreakGlassUsed
        | EventKind::TokenIssued
        | EventKind::TokenDerived => (Class::AuthorizeSession, 1, "Assign Privileges"),
        EventKind::IntentCancelled
        | EventKind::IntentCompleted
        | EventKind::IntentClosedUnreported
        | EventKind::IntentExpired
        | EventKind::IntentRevoked
        | EventKind::BreakGlassEnded
        | EventKind::TokenRevoked => (Class::UserAccess, 2, "Revoke Privileges"),
        EventKind::EntryCreated
        | EventKind::FederationAdded
        | EventKind::AuthorityCreated
        | EventKind::AuthorityPrepared
        | EventKind::AuthoritySignedDownstream
        | EventKind::PayloadSealed => (Class::EntityManagement, 1, "Create"),
        EventKind::PayloadRead => (Class::EntityManagement, 2, "Read"),
        EventKind::PostureSet
        | EventKind::FolderReloaded
        | EventKind::FolderReloadRefused
        | EventKind::AuthorityFollowed
        | EventKind::BundleSet
        | EventKind::Restored => (Class::EntityManagement, 3, "Update"),
        EventKind::EntryDeleted
        | EventKind::FederationRemoved
        | EventKind::AuthorityPruned
        | EventKind::PayloadErased => (Class::EntityManagement, 4, "Delete"),
        EventKind::Kill | EventKind::AuthorityRevoked | EventKind::AuthorityRetired => {
            (Class::EntityManagement, 9, "Disable")
        }
        EventKind::KillLifted | EventKind::AuthorityActivated => {
            (Class::EntityManagement, 8, "Enable")
        }
        EventKind::CooldownBegan | EventKind::QuarantineBegan | EventKind::AuthorityTainted => {
            (Class::EntityManagement, 12, "Suspend")
        }
        EventKind::QuarantineReleased => (Class::EntityManagement, 13, "Resume"),
        EventKind::IntentRequested
        | EventKind::IntentDenied
        | EventKind::BreakGlassRequested
        | EventKind::EntryRefused
        | EventKind::TokenRefused => (Class::ApiActivity, 1, "Create"),
        EventKind::IntentPending
        | EventKind::IntentPostChecked
        | EventKind::IntentHeard
        | EventKind::ApprovalRecorded
        | EventKind::ApprovalObjected
        | EventKind::ApprovalNarrowed
        | EventKind::ApprovalRefused
        | EventKind::ChangeRefused
        | EventKind::KillLiftAsked
        | EventKind::SsfReceived
        | EventKind::WitnessRefused
        | EventKind::BreakGlassReviewed => (Class::ApiActivity, 3, "Update"),
        EventKind::SigningRefused => (Class::EntityManagement, 99, "Refuse To Sign"),
        EventKind::TokenUsed => (Class::ApiActivity, 99, "Use"),
        EventKind::PolicyObserved => (Class::ApiActivity, 99, "Observe"),
    }
}

pub(super) fn record(leaf: &Leaf) -> Result<Value, serde_json::Error> {
    let event = leaf.event();
    let (class, activity, activity_name) =
        if ended_ungranted(event) { (Class::ApiActivity, 3, "Update") } else { class(event.kind) };
    let (category, category_name) = class.category();
    let mut record = Map::new();
    let mut put = |name: &str, value: Value| drop(record.insert(name.to_owned(), value));
    put("category_uid", category.into());
    put("category_name", category_name.into());
    put("class_uid", class.uid().into());
    put("class_name", class.name().into());
    put("activity_id", activity.into());
    put("activity_name", activity_name.into());
    put("type_uid", (class.uid() * 100 + activity).into());
    put("type_name", format!("{}: {activity_name}", class.name()).into());
    put("time", event.time.as_millisecond().into());
    put("message", sentence(event).into());
    put("metadata", metadata(leaf));
    if let Some(micros) = event.latency_us {
        put("duration", (micros / 1_000).into());
    }
    put("unmapped", unmapped(leaf)?);
    let (severity_id, severity) = match severity(event.kind) {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
    };
    put("severity_id", severity_id.into());
    put("severity", severity.into());
    went(leaf, &mut put);
    match class {
        Class::Authentication => {
            put("user", subject(leaf));
            put("service", json!({ "name": "marque", "uid": leaf.source() }));
        }
        Class::AuthorizeSession => {
            put("user", subject(leaf));
            put("privileges", privileges(leaf).into());
            if let Some(session) = session(leaf) {
                put("session", session);
            }
        }
        Class::UserAccess => {
            put("user", subject(leaf));
            put("privileges", privileges(leaf).into());
        }
        Class::EntityManagement => put("entity", entity(leaf)),
        Class::ApiActivity => {
            put("api", api(leaf));
            put("src_endpoint", json!({ "uid": caller(leaf), "svc_name": caller(leaf) }));
        }
    }
    put("actor", actor(leaf));
    Ok(Value::Object(record))
}

fn metadata(leaf: &Leaf) -> Value {
    let event = leaf.event();
    let mut metadata = json!({
        "version": VERSION,
        "profiles": PROFILES,
        "product": {
            "name": "Marque",
            "vendor_name": "Marque",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "uid": format!("{}#{}", leaf.source(), leaf.seq()),
        "sequence": leaf.seq(),
        "event_code": event.kind.as_str(),
        "log_name": "audit",
        "log_provider": trust_domain(leaf),
        "logged_time": leaf.recorded().as_millisecond(),
        "original_time": event.time,
    });
    if let Some(metadata) = metadata.as_object_mut() {
        if let Some(intent) = &event.intent {
            metadata.insert("correlation_uid".to_owned(), intent.clone().into());
        }
        if let Some(tenant) = &event.tenant {
            metadata.insert("tenant_uid".to_owned(), tenant.clone().into());
        }
        let labels = frameworks::tags(event);
        if !labels.is_empty() {
            metadata.insert("labels".to_owned(), labels.into());
        }
    }
    metadata
}

fn unmapped(leaf: &Leaf) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "leaf_hash": leaf.hash().to_string(),
        "source": leaf.source(),
        "data": envelope(leaf)?.remove("data"),
        "frameworks": frameworks::tags(leaf.event()),
    }))
}

/// How it went, what was done about it, and by which policy.
fn went(leaf: &Leaf, put: &mut impl FnMut(&str, Value)) {
    let event = leaf.event();
    let (status, name, action, disposition) = match outcome(event) {
        Outcome::Success => (1, "Success", (1, "Allowed"), (1, "Allowed")),
        Outcome::Failure => (2, "Failure", (2, "Denied"), (2, "Blocked")),
        Outcome::Pending => (99, "Pending", (0, "Unknown"), (17, "Logged")),
        Outcome::Work(Done::Failure) => (2, "Failure", (0, "Unknown"), (17, "Logged")),
        Outcome::Work(Done::Partial) => (99, "Partial", (0, "Unknown"), (17, "Logged")),
        Outcome::Work(Done::Unknown) => (0, "Unknown", (0, "Unknown"), (17, "Logged")),
    };
    put("status_id", status.into());
    put("status", name.into());
    put("action_id", action.0.into());
    put("action", action.1.into());
    put("disposition_id", disposition.0.into());
    put("disposition", disposition.1.into());
    if let Some(code) = &event.code {
        put("status_code", code.clone().into());
    }
    if let Some(reason) = told(leaf, "reason") {
        put("status_detail", reason.into());
    }
    if let Some(policy) = &event.policy {
        let decision = if event.code.is_some() { "deny" } else { "permit" };
        let rule = |rule: &String| json!({ "decision": decision, "policy": { "name": rule, "uid": policy.digest } });
        let decided: Vec<_> = policy.rules.iter().map(rule).collect();
        if decided.is_empty() {
            let set = json!({ "decision": decision, "policy": { "uid": policy.digest } });
            put("authorizations", vec![set].into());
        } else {
            put("authorizations", decided.into());
        }
    }
}

/// A workload.
fn workload(leaf: &Leaf, id: &str) -> Value {
    json!({ "uid": id, "name": id, "type_id": 4, "type": "Service", "domain": trust_domain(leaf) })
}

/// Whoever the event names as its actor: a workload by its SPIFFE ID, else a person.
fn account(id: &str) -> Value {
    match workload_named(id) {
        Some(workload) => {
            let domain = workload.trust_domain().as_str();
            json!({ "uid": id, "name": id, "type_id": 4, "type": "Service", "domain": domain })
        }
        None => json!({ "uid": id, "name": id, "type_id": 1, "type": "User" }),
    }
}

/// Whose identity or rights it is about: the agent's; the actor's, as a person's who logs in; else the issuer's own.
fn subject(leaf: &Leaf) -> Value {
    let event = leaf.event();
    match (&event.agent, &event.actor) {
        (Some(agent), _) => workload(leaf, agent.as_str()),
        (None, Some(actor)) => account(actor),
        (None, None) => workload(leaf, leaf.source().as_str()),
    }
}

/// Who did it.
fn actor(leaf: &Leaf) -> Value {
    let event = leaf.event();
    let user = match (&event.actor, &event.agent) {
        (Some(actor), _) => account(actor),
        (None, Some(agent)) => workload(leaf, agent.as_str()),
        (None, None) => workload(leaf, leaf.source().as_str()),
    };
    let mut actor = json!({ "user": user });
    if let (Some(delegator), Some(actor)) = (told(leaf, "delegator"), actor.as_object_mut()) {
        actor.insert("invoked_by".to_owned(), delegator.into());
    }
    actor
}

/// Who called.
fn caller(leaf: &Leaf) -> &str {
    let event = leaf.event();
    let agent = event.agent.as_ref().map(|agent| agent.as_str());
    event.actor.as_deref().or(agent).unwrap_or_else(|| leaf.source().as_str())
}

/// What is assigned or taken away: the playbook, and the words of the scope.
fn privileges(leaf: &Leaf) -> Vec<String> {
    let event = leaf.event();
    let playbook =
        event.playbook.as_ref().map(|pin| format!("playbook:{}@{}", pin.id, pin.version));
    let scope = told(leaf, "scope").unwrap_or_default().split_whitespace();
    let mut privileges: Vec<String> =
        playbook.into_iter().chain(scope.map(str::to_owned)).collect();
    if privileges.is_empty() {
        let token = event.token_id.as_ref().map(|id| format!("token:{id}"));
        privileges.push(token.unwrap_or_else(|| short(event.kind).to_owned()));
    }
    privileges
}

fn session(leaf: &Leaf) -> Option<Value> {
    let event = leaf.event();
    let id = event.token_id.as_ref().or(event.intent.as_ref())?;
    let mut session = json!({ "uid": id, "issuer": leaf.source() });
    if let (Some(end), Some(session)) = (event.expires_at, session.as_object_mut()) {
        session.insert("expiration_time".to_owned(), end.as_millisecond().into());
    }
    Some(session)
}

/// What is managed: the registration entry, the authority, or whatever a kill or a posture is about.
fn entity(leaf: &Leaf) -> Value {
    let event = leaf.event();
    let (kind, uid) = match event.kind {
        EventKind::EntryCreated | EventKind::EntryDeleted => {
            ("Registration Entry", told(leaf, "entry"))
        }
        EventKind::AuthorityCreated
        | EventKind::AuthorityPrepared
        | EventKind::AuthoritySignedDownstream
        | EventKind::AuthorityActivated
        | EventKind::AuthorityTainted
        | EventKind::AuthorityRevoked
        | EventKind::AuthorityRetired
        | EventKind::AuthorityPruned
        | EventKind::SigningRefused => ("Signing Authority", told(leaf, "slot")),
        EventKind::AuthorityFollowed => ("Signing Authority", told(leaf, "upstream")),
        EventKind::FederationAdded | EventKind::FederationRemoved | EventKind::BundleSet => {
            ("Federation Relationship", told(leaf, "trust_domain"))
        }
        EventKind::Restored => ("Trust Domain", None),
        EventKind::PayloadSealed | EventKind::PayloadRead | EventKind::PayloadErased => {
            ("Payload", event.intent.as_deref())
        }
        EventKind::PostureSet => ("Posture", told(leaf, "scope")),
        EventKind::FolderReloaded | EventKind::FolderReloadRefused => {
            ("Configuration", told(leaf, "digest"))
        }
        EventKind::CooldownBegan | EventKind::QuarantineBegan | EventKind::QuarantineReleased => {
            ("Agent Family", told(leaf, "family"))
        }
        _ => ("Kill Switch", kill_selector(event)),
    };
    let uid = uid.or_else(|| event.agent.as_ref().map(|agent| agent.as_str()));
    json!({ "type": kind, "uid": uid.unwrap_or_else(|| leaf.source().as_str()) })
}

fn kill_selector(event: &Event) -> Option<&str> {
    let kill = event.detail.get("kill")?;
    kill.get("selector").and_then(Value::as_str).or_else(|| kill.get("scope")?.as_str())
}

fn api(leaf: &Leaf) -> Value {
    let event = leaf.event();
    let mut api = json!({
        "operation": short(event.kind),
        "service": { "name": "marque", "uid": leaf.source() },
    });
    let own = event.request_id.map(|id| id.to_string());
    let request = told(leaf, "request_id").or(own.as_deref()).or(event.intent.as_deref());
    if let (Some(id), Some(api)) = (request, api.as_object_mut()) {
        api.insert("request".to_owned(), json!({ "uid": id }));
    }
    if let (Some(code), Some(api)) = (&event.code, api.as_object_mut()) {
        let error = told(leaf, "reason").unwrap_or(code);
        api.insert("response".to_owned(), json!({ "error": code, "error_message": error }));
    }
    api
}
