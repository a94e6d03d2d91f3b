//! What counts as the same request and as the same target, however it is written (specs/intents.md 6).

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::Family;
use crate::denial::{Denial, DenialCode};
use crate::digest::Digest;
use crate::grant::GrantTerms;
use crate::id::IntentId;
use crate::lifecycle::Intent;
use crate::playbook::PlaybookId;
use crate::provisions::PromptKept;
use crate::request::IntentRequest;
use crate::rights::Label;
use crate::text::Justification;

/// How many targets of one request are looked at.
const MAX_TARGETS: usize = 8;

/// What may happen to a target; whatever is refused below is refused above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is looked at.
    Read,
    /// It is changed.
    Write,
    /// It may be gone.
    Destroy,
}

impl Effect {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Destroy];
    /// Actions and last parts of scopes that change nothing.
    const READS: [&str; 9] =
        ["describe", "get", "head", "list", "query", "read", "search", "view", "watch"];

    /// The worst that a grant lets happen.
    fn of(terms: &GrantTerms) -> Self {
        if terms.tools.values().any(|tool| tool.destructive) {
            return Self::Destroy;
        }
        let scopes = terms.scopes.iter().map(|scope| scope.as_str());
        let actions =
            terms.authorization_details.iter().flat_map(|one| one.actions.iter().map(|a| &**a));
        let mut words = scopes.chain(actions).peekable();
        let reads = |word: &str| {
            let last = word.rsplit(['.', ':', '/']).next().unwrap_or(word);
            Self::READS.contains(&last.to_ascii_lowercase().as_str())
        };
        if words.peek().is_some() && words.all(reads) { Self::Read } else { Self::Write }
    }
}

/// Everything about a request that is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Who asks.
    pub agent: SpiffeId,
    /// Whose like it is.
    pub family: Family,
    /// The playbook, where there is one of that name.
    pub playbook: Option<PlaybookId>,
    /// The task that it says it works on.
    pub task: Option<Label>,
    /// What it comes to, where that could be resolved.
    pub resolved: Option<Resolved>,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The intent that it is, or would be.
    pub intent: IntentId,
    /// K1: the same family, playbook, parameters and resources.
    pub request: Digest,
    /// By which playbook and policies it is decided: another answer may come of others.
    pub basis: Digest,
    /// K2 of each target with its effect: the same family, target and effect, by whatever playbook.
    pub targets: Vec<Digest>,
    /// K2 of each target with every lesser effect, and with this one.
    pub within: Vec<Digest>,
    /// The same grant in everything but its time.
    pub scope: Digest,
    /// What the agent says about it.
    pub justification: Option<Justification>,
    /// The end of everything that may come of it.
    pub ends: Timestamp,
    /// Whether it is break-glass.
    pub emergency: bool,
}

impl Asked {
    /// A request of which nothing could be resolved.
    #[must_use]
    pub fn by(agent: &SpiffeId, request: Option<&IntentRequest>) -> Self {
        Self {
            agent: agent.clone(),
            family: Family::of(agent),
            playbook: request.map(|request| request.playbook().clone()),
            task: request.and_then(|request| request.task().cloned()),
            resolved: None,
        }
    }

    /// A request that comes to these terms.
    ///
    /// # Errors
    /// `invalid_request` where the terms have no canonical form, which a sealed grant has.
    pub fn of(terms: &GrantTerms, justification: Option<&Justification>) -> Result<Self, Denial> {
        // What is sealed beside the log is not kept in clear text with the family.
        let is_sealed = terms.conditions.provisions.logging.prompt == PromptKept::Sealed;
        let justification = justification.filter(|_| !is_sealed);
        let resolved = Resolved::of(terms, justification).map_err(|error| {
            Denial::new(DenialCode::InvalidRequest, format!("the request has no key: {error}"))
        })?;
        Ok(Self {
            agent: terms.agent.clone(),
            family: Family::of(&terms.agent),
            playbook: Some(terms.playbook.id.clone()),
            task: terms.task.clone(),
            resolved: Some(resolved),
        })
    }

    /// The same request as one of the agent that asked for it on the other's behalf: a no to it is a no to both.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_asker(
        terms: &GrantTerms,
        asker: &SpiffeId,
        justification: Option<&Justification>,
    ) -> Result<Self, Denial> {
        Self::of(&GrantTerms { agent: asker.clone(), ..terms.clone() }, justification)
    }

    /// The request that an intent came of.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_intent(intent: &Intent) -> Result<Self, Denial> {
        Self::of(intent.grant().terms(), intent.justification())
    }
}

impl Resolved {
    fn of(
        terms: &GrantTerms,
        justification: Option<&Justification>,
    ) -> Result<Self, crate::CanonicalError> {
        let family = Family::of(&terms.agent);
        let resources: Vec<String> = terms.resources.iter().map(|one| fold(one)).collect();
        let request = serde_json::json!({
            "family": family,
            "playbook": terms.playbook.id,
            "parameters": folded(&terms.parameters),
            "resources": resources,
        });
        let basis = (&terms.playbook.digest, &terms.policy_set_digest);
        let effect = Effect::of(terms);
        let key = |target: &String, effect: Effect| {
            let key = serde_json::json!({"family": family, "target": target, "effect": effect});
            Digest::of_document("marque/pace/target/v1", &key)
        };
        let names = targets(terms, resources);
        let lesser = || Effect::ALL.into_iter().filter(move |one| *one <= effect);
        Ok(Self {
            intent: terms.intent_id.clone(),
            request: Digest::of_document("marque/pace/request/v1", &request)?,
            basis: Digest::of_document("marque/pace/basis/v1", &basis)?,
            targets: names.iter().map(|name| key(name, effect)).collect::<Result<_, _>>()?,
            within: names
                .iter()
                .flat_map(|name| lesser().map(move |effect| (name, effect)))
                .map(|(name, effect)| key(name, effect))
                .collect::<Result<_, _>>()?,
            scope: scope(terms)?,
            justification: justification.cloned(),
            ends: terms.not_after,
            emergency: terms.emergency.is_some(),
        })
    }
}

/// What the work is done to: the resources, or else where and on what the details say.
fn targets(terms: &GrantTerms, resources: Vec<String>) -> Vec<String> {
    let mut names = resources;
    if names.is_empty() {
        let details = terms.authorization_details.iter();
        names.extend(details.filter_map(|detail| {
            let place = detail.locations.first().map(String::as_str).unwrap_or_default();
            detail.identifier.as_ref().map(|id| fold(&format!("{place} {id}")))
        }));
    }
    if names.is_empty() {
        names.extend(terms.audiences.iter().map(|one| fold(one)));
    }
    names.sort();
    names.dedup();
    names.truncate(MAX_TARGETS);
    names
}

/// Everything that a grant lets happen, for which work; without its id, its clocks and what was found out about it.
fn scope(terms: &GrantTerms) -> Result<Digest, crate::CanonicalError> {
    let scope = serde_json::json!({
        "agent": terms.agent, "playbook": terms.playbook.id,
        "audiences": terms.audiences, "scopes": terms.scopes,
        "details": terms.authorization_details, "resources": terms.resources,
        "tools": terms.tools, "constraints": terms.constraints, "limits": terms.limits,
        "on_behalf": terms.on_behalf, "delegators": terms.delegators,
        "session": terms.session, "task": terms.task, "ticket": terms.ticket,
    });
    Digest::of_document("marque/pace/scope/v1", &scope)
}

/// Parameters without what does not matter to a reader: case, spaces, a slash at the end, the form of a number.
fn folded(parameters: &Map<String, Value>) -> Map<String, Value> {
    parameters.iter().map(|(name, value)| (name.clone(), folded_value(value))).collect()
}

fn folded_value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(fold(text)),
        // A number and its digits are the same.
        Value::Number(number) => Value::String(number_text(number)),
        Value::Array(items) => Value::Array(items.iter().map(folded_value).collect()),
        Value::Object(members) => Value::Object(folded(members)),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

fn number_text(number: &Number) -> String {
    fold(&number.to_string())
}

/// Text in small letters, with single spaces and without slashes at the end; digits as the number that they are.
pub(super) fn fold(text: &str) -> String {
    let visible: String =
        text.chars().filter(|c| !crate::text::is_hidden(*c) || c.is_whitespace()).collect();
    let words: Vec<String> = visible.split_whitespace().map(str::to_lowercase).collect();
    let joined = words.join(" ");
    let bare = joined.trim_end_matches(['/', ' ']);
    as_number(bare).unwrap_or_else(|| bare.to_owned())
}

/// `007`, `+7`, `7.0` and `7e0` are all `7`.
fn as_number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | 'e' | '+');
    if digits.len() > 64
        || !digits.chars().all(plain)
        || !digits.contains(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    if let Ok(whole) = digits.parse::<i128>() {
        return Some(whole.to_string());
    }
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(if number == 0.0 { "0".to_owned() } else { number.to_string() })
}
