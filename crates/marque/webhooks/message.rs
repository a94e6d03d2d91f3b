//! What a receiver is told of one leaf of the log: Standard Webhooks' `type`, `timestamp` and `data`.
//!
//! Members are named one by one. Absent: `detail`, where a room may put what is for operators alone.

use jiff::Timestamp;
use marque_audit::{Event, EventKind, Leaf};
use marque_intent::{AlertSink, PlaybookId, PlaybookSet};
use serde_json::{Map, Value, json};

use super::{Hook, Webhooks};

/// A message, and the id that it keeps however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

impl Webhooks {
    /// What this webhook is told of a leaf; `None` where it is told nothing.
    pub(super) fn message(&self, hook: &Hook, leaf: &Leaf) -> Option<Message> {
        let event = leaf.event();
        let wanted = hook.wanted.contains(&event.kind);
        if !wanted && !self.is_notified(hook, event) && !is_alerted(hook, event) {
            return None;
        }
        let mut data = self.data(event);
        data.insert("leaf".to_owned(), leaf.seq().into());
        // The leaf's own hash: one message of one event, for every webhook and every replica.
        let id =
            format!("msg_{}", hex::encode(leaf.hash().as_bytes().get(..16).unwrap_or_default()));
        Some(Message { id, body: body(name(event.kind), event.time, &data) })
    }

    /// A message that says that messages arrive.
    pub(super) fn test_message(&self, id: String) -> Message {
        let data = self.place();
        Message { id, body: body("webhook.test", self.clock.now(), &data) }
    }

    /// Whether the playbook of work that was reported as done names this webhook.
    fn is_notified(&self, hook: &Hook, event: &Event) -> bool {
        matches!(event.kind, EventKind::IntentCompleted | EventKind::IntentPostChecked)
            && event.playbook.as_ref().is_some_and(|pin| {
                let id = pin.id.parse().ok();
                let playbook = id.and_then(|id: PlaybookId| self.playbooks.find(&id));
                playbook.is_some_and(|playbook| playbook.notified().contains(&hook.name))
            })
    }

    fn place(&self) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("trust_domain".to_owned(), self.document.name().as_str().into());
        data.insert("environment".to_owned(), self.document.environment().to_string().into());
        data
    }

    fn data(&self, event: &Event) -> Map<String, Value> {
        let mut data = self.place();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(name.to_owned(), value);
            }
        };
        put("agent", event.agent.as_ref().map(|agent| agent.as_str().into()));
        put("intent", event.intent.clone().map(Value::from));
        put("url", event.intent.as_ref().map(|id| self.link(id).into()));
        put("grant_digest", event.grant_digest.clone().map(Value::from));
        put("ticket", event.ticket.clone().map(Value::from));
        put("actor", event.actor.clone().map(Value::from));
        put("code", event.code.clone().map(Value::from));
        put("class", event.class.clone().map(Value::from));
        put("expires_at", event.expires_at.map(|at| at.to_string().into()));
        let playbook = event.playbook.as_ref().map(|pin| {
            let title = title(&self.playbooks, &pin.id, pin.version);
            json!({ "id": pin.id, "version": pin.version, "title": title })
        });
        put("playbook", playbook);
        if event.kind == EventKind::IntentPostChecked {
            for name in ["post_check", "outcome", "reported_outcome"] {
                put(name, event.detail.get(name).cloned());
            }
        }
        data
    }

    /// Where an approver who is logged in reads of it.
    fn link(&self, intent: &str) -> String {
        self.issuer.join(&format!("/v1/approvals/intents/{intent}"))
    }
}

/// Whether a broken glass is told here: what the grant pinned says, whatever its playbook says now.
fn is_alerted(hook: &Hook, event: &Event) -> bool {
    let alert = break_glass_alert(event).and_then(|alert| alert.parse().ok());
    matches!(alert, Some(AlertSink::Webhook(name)) if name.as_str() == hook.name)
}

/// Where the alerts of a step of break-glass go.
fn break_glass_alert(event: &Event) -> Option<&str> {
    let is_step = matches!(
        event.kind,
        EventKind::BreakGlassRequested
            | EventKind::BreakGlassActivated
            | EventKind::BreakGlassUsed
            | EventKind::BreakGlassEnded
            | EventKind::BreakGlassReviewed
    );
    is_step.then(|| event.detail.get("break_glass")?.get("alert")?.as_str()).flatten()
}

/// The title, if the playbook is still the one that the event is about.
fn title(playbooks: &PlaybookSet, id: &str, version: u64) -> Option<String> {
    let playbook = playbooks.find(&id.parse().ok()?)?;
    (playbook.version() == version).then(|| playbook.title().to_owned())
}

fn name(kind: EventKind) -> &'static str {
    kind.as_str().strip_prefix("org.marque.").unwrap_or_default()
}

fn body(name: &str, at: Timestamp, data: &Map<String, Value>) -> Vec<u8> {
    json!({ "type": name, "timestamp": at.to_string(), "data": data }).to_string().into_bytes()
}
