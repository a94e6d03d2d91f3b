//! From a request to a grant: exact audience, scopes, details, resources, uses and times (M 30).
//!
//! The translation is ours alone; nothing in it is text of the agent's but checked parameters. Absent: policy, which sees
//! the result.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde_json::{Map, Value};

use crate::conditions::Conditions;
use crate::denial::{Denial, DenialCode};
use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::grant::{AuthorizationDetail, Grant, GrantTerms};
use crate::id::IntentId;
use crate::lifecycle::plus;
use crate::playbook::{
    DetailTemplate, Phase, Playbook, Template, ValueTemplate, Variable, WorkflowLabel,
    is_bounded_schema,
};
use crate::provisions::{LogField, Provisions};
use crate::request::{IntentRequest, TicketRef, is_raw_permission, raw_permissions};
use crate::rights::{ConstraintValue, Constraints, ToolBounds, ToolId};
use crate::secrets::secret_in;
use crate::text::bounded;

/// Who asks, as authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The agent.
    pub agent: SpiffeId,
    /// The digest of what it attested as, where the edge knows it.
    pub attestation: Option<Digest>,
    /// Who answers for the agent, by its registration entry, where the edge knows it.
    pub owner: Option<String>,
}

/// What a grant records beside the request and the playbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The id that the intent will have.
    pub intent_id: IntentId,
    /// The digest of the policy set that will decide.
    pub policy_set_digest: Digest,
    /// What was found out about the request.
    pub evidence: Evidence,
    /// Now.
    pub now: Timestamp,
}

/// Resolves a request against a playbook.
///
/// # Errors
/// The playbook is not for this agent or not in use, has another version, or the parameters or the ticket do not fit.
pub fn resolve(
    playbook: &Playbook,
    request: &IntentRequest,
    requester: &Requester,
    circumstances: Circumstances,
) -> Result<Grant, Denial> {
    let ticket = check_request(playbook, request, &requester.agent)?.cloned();
    let conditions = Conditions {
        windows: playbook.windows().to_vec(),
        blackouts: playbook.blackouts().clone(),
        provisions: provisions(playbook, request, requester)?,
        ticket: ticket.is_some().then(|| playbook.ticket_condition().cloned()).flatten(),
        ends: *playbook.ends(),
    };
    let filled = Filled { playbook, parameters: request.parameters(), agent: &requester.agent };
    let times = playbook.times();
    let Circumstances { intent_id, policy_set_digest, mut evidence, now } = circumstances;
    evidence.confidence = request.confidence();
    evidence.category = request.category().cloned();
    evidence.object = playbook.object.as_ref().map(|object| filled.text(object)).transpose()?;
    let risk = match evidence.risk.is_empty() {
        true => playbook.risk(),
        false => evidence.risk.score,
    };
    let not_after =
        plus(plus(plus(now, times.request_ttl), times.start_within), times.max_duration);
    // An exception ends with everything that it gave.
    let not_after =
        playbook.exception().map_or(not_after, |exception| not_after.min(exception.expires_at));
    let approval = playbook.approval().cloned();
    let approval = approval
        .map(|plan| plan.pinned(requester.owner.as_deref(), playbook.author()))
        .transpose()?;
    let terms = GrantTerms {
        intent_id,
        trust_domain: playbook.trust_domain().clone(),
        tenant: playbook.tenant().to_owned(),
        agent: requester.agent.clone(),
        attestation: requester.attestation,
        playbook: playbook.pin(),
        parameters: request.parameters().clone(),
        audiences: vec![filled.text(&playbook.audience)?],
        scopes: playbook.scopes.clone(),
        authorization_details: playbook
            .details
            .iter()
            .map(|detail| filled.detail(detail))
            .collect::<Result<_, _>>()?,
        resources: filled.texts(&playbook.resources)?,
        tools: filled.tools()?,
        constraints: filled.constraints()?,
        limits: *playbook.limits(),
        on_behalf: playbook.on_behalf().cloned(),
        delegators: playbook.delegators().cloned(),
        parent: None,
        emergency: playbook.emergency().cloned(),
        session: request.session().cloned(),
        task: request.task().cloned(),
        delivery: playbook.delivery(),
        uses: times.uses,
        single_use_tokens: times.single_use_tokens,
        token_lifetime: times.token_lifetime(),
        request_ttl: times.request_ttl,
        start_within: times.start_within,
        max_duration: times.max_duration,
        not_before: now,
        not_after,
        ticket,
        approval,
        policy_set_digest,
        risk,
        evidence,
        conditions,
    };
    Grant::seal(terms).map_err(|error| Denial::new(DenialCode::InvalidRequest, error.to_string()))
}

/// Whether a request fits its playbook, as far as the two of them tell, and the ticket that it may name: before anybody else is
/// asked about it.
///
/// # Errors
/// As [`resolve`].
pub fn check_request<'a>(
    playbook: &Playbook,
    request: &'a IntentRequest,
    agent: &SpiffeId,
) -> Result<Option<&'a TicketRef>, Denial> {
    check_who(playbook, request, agent)?;
    check_phase(playbook, request)?;
    check_workflow(playbook, request)?;
    check_parameters(playbook, request.parameters())?;
    ticket(playbook, request.ticket())
}

fn check_who(playbook: &Playbook, request: &IntentRequest, agent: &SpiffeId) -> Result<(), Denial> {
    if request.playbook() != playbook.id() || !playbook.status().is_requestable() {
        let detail = format!("no playbook `{}` is in use", request.playbook());
        return Err(Denial::new(DenialCode::UnknownPlaybook, detail));
    }
    if agent.trust_domain() != playbook.trust_domain() {
        let detail = format!("`{agent}` is not of `{}`", playbook.trust_domain());
        let (own, other) = (playbook.trust_domain().as_str(), agent.trust_domain().as_str());
        return Err(Denial::new(DenialCode::TrustDomainMismatch, detail).expecting(own, other));
    }
    if !playbook.is_for(agent) {
        let detail = format!("`{agent}` matches none of the playbook's agents");
        return Err(Denial::new(DenialCode::AgentNotAllowed, detail));
    }
    match request.version() {
        Some(version) if version != playbook.version() => {
            let detail = format!("asked for version {version}, current is {}", playbook.version());
            let (current, asked) = (playbook.version().to_string(), version.to_string());
            Err(Denial::new(DenialCode::PlaybookVersionStale, detail).expecting(&current, &asked))
        }
        Some(_) | None => Ok(()),
    }
}

/// A staged playbook gives grants of its phases alone, and each of the phase that was asked for.
fn check_phase(playbook: &Playbook, request: &IntentRequest) -> Result<(), Denial> {
    let narrowed = playbook.in_phase(None).is_ok();
    if narrowed && playbook.phase().map(Phase::name) == request.phase() {
        return Ok(());
    }
    Err(Denial::new(DenialCode::PhaseOrder, "the playbook is not in the phase that is asked for"))
}

/// What the log must know is known, or there is no grant.
fn provisions(
    playbook: &Playbook,
    request: &IntentRequest,
    requester: &Requester,
) -> Result<Provisions, Denial> {
    let logging = playbook.logging().clone();
    let sponsor = match (&requester.owner, logging.require.contains(&LogField::Sponsor)) {
        (Some(sponsor), true) => Some(sponsor.clone()),
        (None, true) => {
            let detail = "the log has to say who answers for the agent, and nobody is known to";
            return Err(Denial::new(DenialCode::SponsorMissing, detail));
        }
        (_, false) => None,
    };
    if logging.require.contains(&LogField::Justification) && request.justification().is_none() {
        let detail = "the playbook wants a `justification`, and the request has none";
        return Err(Denial::new(DenialCode::InvalidRequest, detail));
    }
    let phase = playbook.phase().map(|phase| phase.name().clone());
    let (exception, post_check) = (playbook.exception().cloned(), playbook.post_check().cloned());
    Ok(Provisions { phase, exception, logging, sponsor, post_check })
}

/// In which session and task: what the playbook wants to know is said (M 12).
fn check_workflow(playbook: &Playbook, request: &IntentRequest) -> Result<(), Denial> {
    let said = |label: &WorkflowLabel| match label {
        WorkflowLabel::Session => request.session().is_some(),
        WorkflowLabel::Task => request.task().is_some(),
    };
    match playbook.workflow().iter().find(|label| !said(label)) {
        None => Ok(()),
        Some(label) => {
            let detail = format!("the playbook wants a `{}`", label.as_str());
            Err(Denial::new(DenialCode::WorkflowMismatch, detail))
        }
    }
}

fn check_parameters(playbook: &Playbook, parameters: &Map<String, Value>) -> Result<(), Denial> {
    let undeclared = parameters.keys().filter(|name| !playbook.parameters.declares(name));
    if let Some(raw) = undeclared.clone().find(|name| is_raw_permission(name)) {
        return Err(raw_permissions(raw));
    }
    if let Some(name) = undeclared.clone().next() {
        let detail = format!("the playbook has no parameter `{}`", bounded(name, 64));
        return Err(Denial::new(DenialCode::ParamsSchemaInvalid, detail));
    }
    playbook
        .parameters
        .check(parameters)
        .map_err(|why| Denial::new(DenialCode::ParamsSchemaInvalid, why))?;
    match secret_in(parameters) {
        None => Ok(()),
        Some(place) => {
            let detail = format!("`{}` looks like a secret; name it instead", bounded(&place, 64));
            Err(Denial::new(DenialCode::ParamsSchemaInvalid, detail))
        }
    }
}

fn ticket<'a>(
    playbook: &Playbook,
    ticket: Option<&'a TicketRef>,
) -> Result<Option<&'a TicketRef>, Denial> {
    match (&playbook.ticket, ticket) {
        (Some(demand), Some(ticket)) if demand.pattern.is_match(ticket.as_str()) => {
            Ok(Some(ticket))
        }
        (Some(demand), Some(ticket)) => {
            let pattern = demand.pattern.as_str();
            let detail = format!("the ticket does not fit `{pattern}`");
            Err(Denial::new(DenialCode::TicketFormat, detail).expecting(pattern, ticket.as_str()))
        }
        (Some(demand), None) if demand.required => {
            Err(Denial::new(DenialCode::TicketMissing, "the request names no ticket"))
        }
        (Some(_) | None, None) => Ok(None),
        // Nothing would check it, and policy would take it for one that somebody did.
        (None, Some(_)) => {
            Err(Denial::new(DenialCode::TicketFormat, "this playbook takes no ticket"))
        }
    }
}

/// The values for the templates.
struct Filled<'a> {
    playbook: &'a Playbook,
    parameters: &'a Map<String, Value>,
    agent: &'a SpiffeId,
}

impl Filled<'_> {
    fn text(&self, template: &Template) -> Result<String, Denial> {
        template.render(|variable| self.value(variable)).map_err(|error| {
            Denial::new(
                DenialCode::ParamsSchemaInvalid,
                format!("the parameters name no resource: {error}"),
            )
        })
    }

    /// A template's value as it is, not as text.
    fn given(&self, template: &ValueTemplate) -> Result<Value, Denial> {
        let whole = |variable: &Variable| match variable {
            Variable::Parameter(name) => self.parameters.get(name).cloned(),
            other => self.value(other).map(Value::String),
        };
        template.render(&whole, &|variable| self.value(variable)).map_err(|error| {
            Denial::new(
                DenialCode::ParamsSchemaInvalid,
                format!("the parameters do not fit: {error}"),
            )
        })
    }

    fn tools(&self) -> Result<BTreeMap<ToolId, ToolBounds>, Denial> {
        let tools = self.playbook.tools.iter();
        tools
            .map(|(tool, template)| {
                let arguments = template.arguments.as_ref().map(|schema| self.given(schema));
                let arguments = arguments.transpose()?;
                if arguments.as_ref().is_some_and(|schema| !is_bounded_schema(schema)) {
                    let detail = format!("the parameters make no schema for `{tool}`");
                    return Err(Denial::new(DenialCode::ParamsSchemaInvalid, detail));
                }
                let bounds = ToolBounds {
                    sensitive: template.sensitive,
                    destructive: template.destructive,
                    max_calls: template.max_calls,
                    arguments: arguments.into_iter().collect(),
                };
                Ok((tool.clone(), bounds))
            })
            .collect()
    }

    fn constraints(&self) -> Result<Constraints, Denial> {
        let invalid = |name: &str| {
            let detail = format!("the parameters make no constraint `{name}`");
            Denial::new(DenialCode::ParamsSchemaInvalid, detail)
        };
        let mut values = BTreeMap::new();
        for (name, template) in &self.playbook.constraints {
            let value: ConstraintValue =
                serde_json::from_value(self.given(template)?).map_err(|_source| invalid(name))?;
            values.insert(name.clone(), value);
        }
        Constraints::new(values).map_err(|error| {
            Denial::new(DenialCode::ParamsSchemaInvalid, format!("the constraints: {error}"))
        })
    }

    fn texts<T: FromIterator<String>>(&self, templates: &[Template]) -> Result<T, Denial> {
        templates.iter().map(|template| self.text(template)).collect()
    }

    fn value(&self, variable: &Variable) -> Option<String> {
        match variable {
            Variable::Parameter(name) => match self.parameters.get(name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(value) => Some(value.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            },
            Variable::AgentId => Some(self.agent.to_string()),
            Variable::AgentTrustDomain => Some(self.agent.trust_domain().to_string()),
            Variable::Tenant => Some(self.playbook.tenant().to_owned()),
        }
    }

    fn detail(&self, template: &DetailTemplate) -> Result<AuthorizationDetail, Denial> {
        let words = |words: &[String]| words.iter().cloned().collect::<BTreeSet<_>>();
        Ok(AuthorizationDetail {
            kind: template.kind.clone(),
            locations: self.texts(&template.locations)?,
            actions: words(&template.actions),
            datatypes: words(&template.datatypes),
            identifier: template
                .identifier
                .as_ref()
                .map(|identifier| self.text(identifier))
                .transpose()?,
            privileges: words(&template.privileges),
        })
    }
}

#[cfg(test)]
mod tests;
