//! CADF events (DMTF DSP0262 1.0.0): an initiator does an action to a target, seen by an observer, with an outcome.
//!
//! Actions and types of resources are of the taxonomies of its annexes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::meaning::{Done, Outcome, ended_ungranted, outcome, short};
use super::{envelope, frameworks, told, workload_named};
use crate::{Event, EventKind, Leaf};

const TYPE: &str = "http://schemas.dmtf.org/cloud/audit/1.0/event";

pub(super) fn record(leaf: &Leaf) -> Result<Value, serde_json::Error> {
    let event = leaf.event();
    let mut envelope = envelope(leaf)?;
    let action = if ended_ungranted(event) { "stop" } else { action(event.kind) };
    let mut record = json!({
        "typeURI": TYPE,
        "eventType": event_type(action),
        "id": format!("{}#{}", leaf.source(), leaf.seq()),
        "eventTime": time(event.time),
        "name": short(event.kind),
        "action": action,
        "outcome": match outcome(event) {
            Outcome::Success => "success",
            // There is no word for a part: it is not what was wanted.
            Outcome::Failure | Outcome::Work(Done::Failure | Done::Partial) => "failure",
            Outcome::Pending => "pending",
            Outcome::Work(Done::Unknown) => "unknown",
        },
        "initiator": initiator(leaf),
        "target": target(leaf),
        "observer": { "id": leaf.source(), "typeURI": "service/security", "name": "marque" },
        "attachments": [{
            "typeURI": "application/json",
            "name": "leaf",
            "content": {
                "seq": leaf.seq(),
                "leaf_hash": leaf.hash().to_string(),
                "recorded": leaf.recorded(),
                "data": envelope.remove("data"),
            },
        }],
    });
    let tags: Vec<_> =
        frameworks::tags(event).iter().map(|tag| format!("framework?value={tag}")).collect();
    if let Some(record) = record.as_object_mut() {
        if !tags.is_empty() {
            record.insert("tags".to_owned(), tags.into());
        }
        if let Some(reason) = reason(leaf, event) {
            record.insert("reason".to_owned(), reason);
        }
    }
    Ok(record)
}

/// `control` where somebody or something decided, `activity` where something was done.
fn event_type(action: &str) -> &'static str {
    match action {
        "allow" | "deny" | "evaluate" | "notify" => "control",
        _ => "activity",
    }
}

fn action(kind: EventKind) -> &'static str {
    match kind {
        EventKind::IntentRequested
        | EventKind::BreakGlassRequested
        | EventKind::SvidIssued
        | EventKind::SvidBrokered
        | EventKind::TokenIssued
        | EventKind::TokenDerived
        | EventKind::EntryCreated
        | EventKind::FederationAdded
        | EventKind::PayloadSealed
        | EventKind::AuthorityPrepared
        | EventKind::AuthoritySignedDownstream
        | EventKind::AuthorityCreated => "create",
        EventKind::IntentPending
        | EventKind::IntentPostChecked
        | EventKind::PolicyObserved
        | EventKind::KillLiftAsked
        | EventKind::BreakGlassReviewed => "evaluate",
        EventKind::IntentHeard | EventKind::IdentityShared | EventKind::SsfReceived => "notify",
        EventKind::IntentApproved
        | EventKind::ApprovalRecorded
        | EventKind::BreakGlassActivated => "allow",
        EventKind::IntentDenied
        | EventKind::ApprovalObjected
        | EventKind::ApprovalRefused
        | EventKind::ChangeRefused
        | EventKind::SigningRefused
        | EventKind::EntryRefused
        | EventKind::FolderReloadRefused
        | EventKind::TokenRefused
        | EventKind::WitnessRefused => "deny",
        EventKind::IntentCompleted
        | EventKind::IntentClosedUnreported
        | EventKind::BreakGlassEnded => "stop",
        EventKind::IntentCancelled
        | EventKind::IntentExpired
        | EventKind::IntentRevoked
        | EventKind::AuthorityRevoked
        | EventKind::TokenRevoked => "revoke",
        EventKind::ApprovalNarrowed
        | EventKind::PostureSet
        | EventKind::FolderReloaded
        | EventKind::AuthorityFollowed
        | EventKind::BundleSet => "update",
        EventKind::CooldownBegan
        | EventKind::QuarantineBegan
        | EventKind::AuthorityTainted
        | EventKind::AuthorityRetired
        | EventKind::Kill => "disable",
        EventKind::QuarantineReleased | EventKind::AuthorityActivated | EventKind::KillLifted => {
            "enable"
        }
        EventKind::Restored => "restore",
        EventKind::ApproverLoggedIn | EventKind::ApproverLoginRefused => "authenticate/login",
        EventKind::BreakGlassUsed | EventKind::TokenUsed | EventKind::PayloadRead => "read",
        EventKind::EntryDeleted
        | EventKind::FederationRemoved
        | EventKind::AuthorityPruned
        | EventKind::PayloadErased => "delete",
    }
}

/// Who did it: the person or workload that acted, else the agent, else the issuer itself.
fn initiator(leaf: &Leaf) -> Value {
    let event = leaf.event();
    match (&event.actor, &event.agent) {
        (Some(actor), _) => {
            let workload = workload_named(actor).is_some();
            let kind = if workload { "data/workload/app" } else { "data/security/account/user" };
            json!({ "id": actor, "typeURI": kind, "name": actor })
        }
        (None, Some(agent)) => {
            json!({ "id": agent, "typeURI": "data/workload/app", "name": agent })
        }
        (None, None) => json!({ "id": leaf.source(), "typeURI": "service/security" }),
    }
}

/// What it was done to: the most particular thing that the event names.
fn target(leaf: &Leaf) -> Value {
    let event = leaf.event();
    match (&event.token_id, &event.intent, &event.agent) {
        (Some(token), _, _) => json!({ "id": token, "typeURI": "data/security/credential" }),
        (None, Some(intent), _) => json!({ "id": intent, "typeURI": "data/workload/task" }),
        (None, None, Some(agent)) => json!({ "id": agent, "typeURI": "data/security/identity" }),
        (None, None, None) => json!({ "id": leaf.source(), "typeURI": "data/security/domain" }),
    }
}

fn reason(leaf: &Leaf, event: &Event) -> Option<Value> {
    let code = event.code.as_deref().or_else(|| told(leaf, "ended_for"))?;
    let mut reason = json!({ "reasonType": "urn:marque:denial", "reasonCode": code });
    if let (Some(policy), Some(reason)) = (&event.policy, reason.as_object_mut()) {
        reason.insert("policyType".to_owned(), "urn:marque:policy-set".into());
        reason.insert("policyId".to_owned(), policy.digest.clone().into());
    }
    Some(reason)
}

/// With milliseconds and an offset, as DSP0262 6.2.4 writes times.
fn time(at: Timestamp) -> String {
    format!("{}+00:00", at.strftime("%Y-%m-%dT%H:%M:%S%.3f"))
}
