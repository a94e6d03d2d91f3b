//! What policies may know of a question, whatever language they are in: one list, for Cedar, Rego and AuthZEN alike.

use jiff::Timestamp;
use marque_intent::{Approver, Delivery, Scope};
use serde_json::{Map, Value, json};

use crate::decision::{Act, Question};
use crate::judge::score;

/// One fact's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    Text(String),
    Number(u64),
    Bool(bool),
    Set(Vec<String>),
    Tools(Vec<String>),
    Instant(Timestamp),
    Thing(String),
    Human(Somebody),
}

/// A person with their groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Somebody {
    pub(crate) id: String,
    pub(crate) groups: Vec<String>,
}

impl Somebody {
    pub(crate) fn approver(approver: &Approver, groups: impl Iterator<Item = String>) -> Self {
        Self { id: approver.to_string(), groups: groups.collect() }
    }
}

/// Everything that is known, by name; what is not known is not there.
pub(crate) fn facts(question: &Question<'_>) -> Vec<(&'static str, Fact)> {
    let mut facts = of_grant(question);
    facts.extend(of_evidence(question));
    facts.extend(of_act(question));
    facts
}

fn of_grant(question: &Question<'_>) -> Vec<(&'static str, Fact)> {
    let grant = question.grant;
    let details = &grant.authorization_details;
    let texts = |texts: &mut dyn Iterator<Item = &str>| -> Fact {
        Fact::Set(texts.map(str::to_owned).collect())
    };
    let count = |count: usize| Fact::Number(u64::try_from(count).unwrap_or(u64::MAX));
    let ticket = grant.ticket.as_ref();
    let approvals_needed =
        grant.approval.as_ref().map_or(0, |plan| u64::from(plan.approvals_needed()));
    let mut facts = vec![
        ("environment", Fact::Text(question.environment.as_str().to_owned())),
        ("now", Fact::Instant(question.now)),
        ("has_ticket", Fact::Bool(ticket.is_some())),
        ("ticket", Fact::Text(ticket.map_or("", marque_intent::TicketRef::as_str).to_owned())),
        ("uses", Fact::Number(u64::from(grant.uses))),
        ("token_lifetime_seconds", Fact::Number(grant.token_lifetime.as_secs())),
        ("max_duration_seconds", Fact::Number(grant.max_duration.as_secs())),
        ("delivery", Fact::Text(delivery(grant.delivery))),
        ("audiences", texts(&mut grant.audiences.iter().map(String::as_str))),
        ("scopes", texts(&mut grant.scopes.iter().map(Scope::as_str))),
        ("resources", texts(&mut grant.resources.iter().map(String::as_str))),
        ("detail_types", texts(&mut details.iter().map(|detail| detail.kind.as_str()))),
        (
            "actions",
            texts(&mut details.iter().flat_map(|detail| &detail.actions).map(String::as_str)),
        ),
        ("tools", Fact::Tools(grant.tools.keys().map(ToString::to_string).collect())),
        ("sensitive_tools", count(grant.tools.values().filter(|tool| tool.sensitive).count())),
        ("destructive_tools", count(grant.tools.values().filter(|tool| tool.destructive).count())),
        ("approvals_needed", Fact::Number(approvals_needed)),
    ];
    if let Some(purpose) = &grant.playbook.purpose {
        facts.push(("purpose", Fact::Text(purpose.clone())));
    }
    facts
}

fn delivery(delivery: Delivery) -> String {
    match serde_json::to_value(delivery) {
        Ok(Value::String(name)) => name,
        Ok(_) | Err(_) => String::new(),
    }
}

fn of_evidence(question: &Question<'_>) -> Vec<(&'static str, Fact)> {
    let evidence = question.evidence;
    let standing = &evidence.standing;
    let age = standing.attested_at.map(|at| {
        let age = question.now.as_second().saturating_sub(at.as_second());
        Fact::Number(u64::try_from(age).unwrap_or_default())
    });
    let optional = [
        ("ticket_state", evidence.ticket.as_ref().map(|ticket| Fact::Text(ticket.state.clone()))),
        ("in_window", evidence.window.as_ref().map(|window| Fact::Bool(window.open))),
        (
            "repository",
            standing.repository.as_ref().map(|repository| Fact::Text(repository.to_string())),
        ),
        ("attestation_age_seconds", age),
        ("confidence", evidence.confidence.map(|stated| Fact::Number(stated.into()))),
        ("category", evidence.category.as_ref().map(|category| Fact::Text(category.to_string()))),
        ("object", question.grant.evidence.object.clone().map(Fact::Thing)),
    ];
    let known = [
        ("risk", Fact::Number(u64::from(score(question)))),
        ("posture", Fact::Number(u64::from(evidence.posture.level()))),
        ("open_grants", Fact::Number(u64::from(evidence.history.open_grants))),
        ("recent_denials", Fact::Number(u64::from(evidence.history.denials))),
        ("new_build", Fact::Bool(evidence.new_build)),
    ];
    let there = optional.into_iter().filter_map(|(name, fact)| Some((name, fact?)));
    there.chain(known).collect()
}

fn of_act(question: &Question<'_>) -> Vec<(&'static str, Fact)> {
    let mut facts = Vec::new();
    let given = match question.act {
        Act::Request => 0,
        Act::Approve { approvals, mfa, .. } => {
            if let Some(mfa) = mfa {
                facts.push(("mfa", Fact::Bool(mfa)));
            }
            approvals
        }
        Act::Use { delegator, approvals, uses_left, by_policy: _ } => {
            if let Some(delegator) = delegator {
                let groups = delegator.groups.iter().cloned().collect();
                let human = Somebody { id: delegator.principal.clone(), groups };
                facts.push(("delegator", Fact::Human(human)));
            }
            facts.push(("uses_left", Fact::Number(u64::from(uses_left))));
            approvals
        }
    };
    facts.push(("approvals", Fact::Number(u64::from(given))));
    facts
}

impl Fact {
    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) | Self::Thing(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Bool(value) => json!(value),
            Self::Set(texts) | Self::Tools(texts) => json!(texts),
            Self::Instant(instant) => json!(instant.to_string()),
            Self::Human(Somebody { id, groups }) => json!({"id": id, "groups": groups}),
        }
    }
}

impl Question<'_> {
    /// The question as an AuthZEN evaluation request (Authorization API 1.0, section 6.1), which is Rego's `input` too.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (grant, playbook) = (self.grant, self.playbook);
        let standing = &self.evidence.standing;
        let subject = match self.act {
            Act::Request | Act::Use { .. } => json!({
                "type": "agent",
                "id": grant.agent.as_str(),
                "properties": {
                    "trust_domain": grant.agent.trust_domain().as_str(),
                    "path": grant.agent.path(),
                    "tenant": grant.tenant,
                    "owner": standing.owner,
                    "selectors": standing.selectors,
                },
            }),
            Act::Approve { approver, groups, .. } => json!({
                "type": "human",
                "id": approver.to_string(),
                "properties": {"groups": groups, "tenant": grant.tenant},
            }),
        };
        let properties = json!({
            "trust_domain": playbook.trust_domain().as_str(),
            "tenant": playbook.tenant(),
            "version": playbook.version(),
            "owner": playbook.owner(),
            "approval_mode": playbook.approval_mode().as_str(),
            "data_classes": playbook.data_classes(),
        });
        let resource = match self.act {
            Act::Request | Act::Use { .. } => {
                json!({"type": "playbook", "id": playbook.id().as_str(), "properties": properties})
            }
            Act::Approve { .. } => json!({
                "type": "grant",
                "id": grant.intent_id.as_str(),
                "properties": {
                    "agent": grant.agent.as_str(),
                    "playbook": playbook.id().as_str(),
                    "tenant": grant.tenant,
                },
            }),
        };
        let context: Map<String, Value> =
            facts(self).iter().map(|(name, fact)| ((*name).to_owned(), fact.to_json())).collect();
        json!({
            "subject": subject,
            "action": {"name": self.act.name()},
            "resource": resource,
            "context": context,
        })
    }
}
