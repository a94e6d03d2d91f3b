//! The question as Cedar sees it, built natively: parsing JSON for each decision would take ten times as long.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
    Schema,
};
use marque_spiffe::SpiffeId;

use crate::decision::{PolicyError, Question};

type Attributes = HashMap<String, RestrictedExpression>;

/// The request and the entities that it speaks of, both checked against the schema.
pub(super) fn build(
    question: &Question<'_>,
    schema: &Schema,
) -> Result<(Request, Entities), PolicyError> {
    let principal = uid("Agent", question.grant.agent.as_str())?;
    let resource = uid("Playbook", question.playbook.id().as_str())?;
    let action = uid("Action", "request")?;
    let agent = Entity::new(principal.clone(), agent(&question.grant.agent), HashSet::new())
        .map_err(failed)?;
    let playbook =
        Entity::new(resource.clone(), playbook(question), HashSet::new()).map_err(failed)?;
    let entities = Entities::from_entities([agent, playbook], Some(schema)).map_err(failed)?;
    let context = Context::from_pairs(context(question)).map_err(failed)?;
    let request =
        Request::new(principal, action, resource, context, Some(schema)).map_err(failed)?;
    Ok((request, entities))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> PolicyError {
    PolicyError::Request(Box::new(error))
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, PolicyError> {
    let kind: EntityTypeName = format!("Marque::{kind}").parse().map_err(failed)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn agent(id: &SpiffeId) -> Attributes {
    [("trust_domain", text(id.trust_domain().as_str())), ("path", text(id.path()))]
        .map(named)
        .into()
}

fn playbook(question: &Question<'_>) -> Attributes {
    let playbook = question.playbook;
    [
        ("trust_domain", text(playbook.trust_domain().as_str())),
        ("tenant", text(playbook.tenant())),
        ("version", number(playbook.version())),
        ("owner", text(playbook.owner())),
        ("approval_mode", text(playbook.approval_mode().as_str())),
        ("data_classes", set(playbook.data_classes())),
    ]
    .map(named)
    .into()
}

fn context(question: &Question<'_>) -> impl IntoIterator<Item = (String, RestrictedExpression)> {
    let grant = question.grant;
    let details = &grant.authorization_details;
    let scopes: Vec<&str> = grant.scopes.iter().map(marque_intent::Scope::as_str).collect();
    let types: Vec<&str> = details.iter().map(|detail| detail.kind.as_str()).collect();
    let actions: Vec<&String> = details.iter().flat_map(|detail| &detail.actions).collect();
    let ticket = grant.ticket.as_ref();
    [
        ("environment", text(question.environment.as_str())),
        (
            "now",
            RestrictedExpression::new_datetime(
                question.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ),
        ),
        ("has_ticket", RestrictedExpression::new_bool(ticket.is_some())),
        ("ticket", text(ticket.map_or("", marque_intent::TicketRef::as_str))),
        ("risk", number(u64::from(grant.risk))),
        ("uses", number(u64::from(grant.uses))),
        ("token_lifetime_seconds", number(grant.token_lifetime.as_secs())),
        ("max_duration_seconds", number(grant.max_duration.as_secs())),
        ("audiences", set(&grant.audiences)),
        ("scopes", set(&scopes)),
        ("resources", set(&grant.resources)),
        ("detail_types", set(&types)),
        ("actions", set(&actions)),
        (
            "approvals_needed",
            number(grant.approval.as_ref().map_or(0, |plan| u64::from(plan.approvals_needed()))),
        ),
    ]
    .map(named)
}

fn named((name, value): (&str, RestrictedExpression)) -> (String, RestrictedExpression) {
    (name.to_owned(), value)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

/// Cedar's integers are signed; a number beyond them counts as the greatest, which no ceiling admits.
fn number(value: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}

fn set<T: AsRef<str>>(values: &[T]) -> RestrictedExpression {
    RestrictedExpression::new_set(values.iter().map(|value| text(value.as_ref())))
}
