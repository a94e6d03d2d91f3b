//! From messages of the admin API to the domain's types. What does not parse is refused with the field's name.

use marque_exchange::TokenId;
use marque_intent::kill::{KillMode, KillScope};
use marque_intent::pace::Family;
use marque_intent::{
    DenialFilter, DenialId, DenyReason, Digest, IntentFilter, IntentId, ListOrder, OpenBy,
    PlaybookId, PostureScope, Reason, State,
};
use marque_registry::{DelegateRights, EntryId, EntryRole, NewEntry};
use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use tonic::Status;

use super::super::proto::admin as proto;
use super::super::time::{from_duration, from_timestamp};
use super::door::{NewKillOrder, NewPosture};
use crate::error;

pub(super) fn intent_id(id: &str) -> Result<IntentId, Status> {
    parse("id", id)
}

pub(super) fn token_id(id: &str) -> Result<TokenId, Status> {
    parse("id", id)
}

pub(super) fn entry_id(id: &str) -> Result<EntryId, Status> {
    parse("id", id)
}

pub(super) fn trust_domain(name: &str) -> Result<TrustDomain, Status> {
    parse("trust_domain", name)
}

pub(super) fn spiffe_id(id: &str) -> Result<SpiffeId, Status> {
    parse("spiffe_id", id)
}

pub(super) fn environment(environment: i32) -> Result<Environment, Status> {
    match proto::Environment::try_from(environment) {
        Ok(proto::Environment::Production) => Ok(Environment::Production),
        Ok(proto::Environment::NonProduction) => Ok(Environment::NonProduction),
        Ok(proto::Environment::Unspecified) | Err(_) => Err(error::missing_field("environment")),
    }
}

pub(super) fn playbook_id(id: &str) -> Result<PlaybookId, Status> {
    parse("id", id)
}

pub(super) fn digest(digest: &str) -> Result<Digest, Status> {
    parse("grant_digest", digest)
}

/// Each of a list, once.
pub(super) fn all<T: std::str::FromStr<Err: std::error::Error + 'static> + Ord>(
    field: &'static str,
    texts: &[String],
) -> Result<std::collections::BTreeSet<T>, Status> {
    texts.iter().map(|text| parse(field, text)).collect()
}

/// A refusal has one of the preset reasons, and perhaps a remark.
pub(super) fn deny_reason(reason: &str, remark: &str) -> Result<Reason, Status> {
    let reason: DenyReason =
        reason.parse().map_err(|error| error::malformed_field("reason", &error))?;
    reason.with(remark).map_err(|error| error::malformed_field("text", &error))
}

/// Whatever ends something says why.
pub(super) fn reason(reason: &str) -> Result<Reason, Status> {
    if reason.trim().is_empty() {
        return Err(error::missing_field("reason"));
    }
    Reason::new(reason).map_err(|error| error::malformed_field("reason", &error))
}

pub(super) fn new_entry(spec: Option<proto::EntrySpec>) -> Result<NewEntry, Status> {
    let proto::EntrySpec {
        spiffe_id,
        selectors,
        role,
        owner,
        hint,
        dns_names,
        x509_svid_lifetime,
        jwt_svid_lifetime,
        expires_at,
        federates_with,
        repository,
        audiences,
        never_delegates,
        never_acts_for_others,
    } = spec.ok_or_else(|| error::missing_field("spec"))?;
    let role = match proto::EntryRole::try_from(role) {
        Ok(proto::EntryRole::Agent) => EntryRole::Agent,
        Ok(proto::EntryRole::Service) => EntryRole::Service,
        Ok(proto::EntryRole::Unspecified) | Err(_) => return Err(error::missing_field("role")),
    };
    Ok(NewEntry {
        spiffe_id: parse("spiffe_id", &spiffe_id)?,
        selectors: selectors
            .iter()
            .map(|selector| parse("selectors", selector))
            .collect::<Result<_, _>>()?,
        role,
        owner: parse("owner", &owner)?,
        hint: optional("hint", &hint)?,
        x509_lifetime: lifetime("x509_svid_lifetime", x509_svid_lifetime)?,
        jwt_lifetime: lifetime("jwt_svid_lifetime", jwt_svid_lifetime)?,
        dns_names: dns_names
            .iter()
            .map(|name| parse("dns_names", name))
            .collect::<Result<_, _>>()?,
        federates_with: federates_with
            .iter()
            .map(|name| parse("federates_with", name))
            .collect::<Result<_, _>>()?,
        repository: optional("repository", &repository)?,
        audiences: audiences
            .iter()
            .map(|audience| parse("audiences", audience))
            .collect::<Result<_, _>>()?,
        delegation: DelegateRights {
            may_delegate: !never_delegates,
            may_act_for_others: !never_acts_for_others,
        },
        expires_at: expires_at
            .map(|at| from_timestamp(at).ok_or_else(|| error::missing_field("expires_at")))
            .transpose()?,
    })
}

pub(super) fn filter(request: proto::ListIntentsRequest) -> Result<IntentFilter, Status> {
    let proto::ListIntentsRequest { state, agent, limit } = request;
    let state = match proto::IntentState::try_from(state) {
        Ok(proto::IntentState::Unspecified) => None,
        Ok(proto::IntentState::Pending) => Some(State::Pending),
        Ok(proto::IntentState::Approved) => Some(State::Approved),
        Ok(proto::IntentState::Active) => Some(State::Active),
        Ok(proto::IntentState::Consumed) => Some(State::Consumed),
        Ok(proto::IntentState::Denied) => Some(State::Denied),
        Ok(proto::IntentState::Cancelled) => Some(State::Cancelled),
        Ok(proto::IntentState::Expired) => Some(State::Expired),
        Ok(proto::IntentState::Completed) => Some(State::Completed),
        Ok(proto::IntentState::ClosedUnreported) => Some(State::ClosedUnreported),
        Ok(proto::IntentState::Revoked) => Some(State::Revoked),
        Err(unknown) => return Err(error::malformed_field("state", &unknown)),
    };
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    let order = match state {
        // What waits is a queue, of which the limit leaves out the end.
        Some(State::Pending) => ListOrder::Queue,
        Some(_) | None => ListOrder::NewestFirst,
    };
    Ok(IntentFilter { state, agent: optional("agent", &agent)?, limit, order })
}

pub(super) fn open_by(text: &str) -> Result<OpenBy, Status> {
    text.parse().map_err(|unknown| error::malformed_field("by", &unknown))
}

pub(super) fn denial_id(id: &str) -> Result<DenialId, Status> {
    parse("id", id)
}

pub(super) fn refusals(request: proto::FindRefusalsRequest) -> Result<DenialFilter, Status> {
    let proto::FindRefusalsRequest { id: _, agent, code, since, limit } = request;
    let since = since
        .map(|at| from_timestamp(at).ok_or_else(|| error::missing_field("since")))
        .transpose()?;
    Ok(DenialFilter {
        agent: optional("agent", &agent)?,
        code: optional("code", &code)?,
        since,
        limit: usize::try_from(limit).ok().filter(|limit| *limit > 0),
    })
}

/// The family that is named with `/*` behind it, or that of the agent that is named.
pub(super) fn family(agent: &str) -> Result<Family, Status> {
    if agent.ends_with("/*") {
        parse("agent", agent)
    } else {
        parse::<SpiffeId>("agent", agent).map(|agent| Family::of(&agent))
    }
}

pub(super) fn kill_scope(scope: Option<proto::KillScope>) -> Result<KillScope, Status> {
    use proto::kill_scope::Scope;
    let proto::KillScope { scope } = scope.ok_or_else(|| error::missing_field("scope"))?;
    match scope.ok_or_else(|| error::missing_field("scope"))? {
        Scope::Agent(agent) => parse("agent", &agent).map(KillScope::Agent),
        Scope::Playbook(playbook) => parse("playbook", &playbook).map(KillScope::Playbook),
        Scope::TrustDomain(proto::TrustDomainScope {}) => Ok(KillScope::TrustDomain),
        Scope::All(proto::AllScope {}) => Ok(KillScope::All),
        Scope::Selected(proto::SelectedScope { kind, selector }) => {
            KillScope::parse(&kind, Some(&selector))
                .map_err(|error| error::malformed_field("scope", &error))
        }
    }
}

/// An order to stop somebody.
pub(super) fn kill(request: proto::KillRequest) -> Result<NewKillOrder, Status> {
    let proto::KillRequest { scope, reason: why, mode, expires_at } = request;
    Ok(NewKillOrder {
        scope: kill_scope(scope)?,
        mode: kill_mode(&mode)?.unwrap_or_default(),
        reason: reason(&why)?,
        expires_at: expires_at
            .map(|at| from_timestamp(at).ok_or_else(|| error::missing_field("expires_at")))
            .transpose()?,
    })
}

/// A mode; none where the text is empty.
pub(super) fn kill_mode(mode: &str) -> Result<Option<KillMode>, Status> {
    if mode.is_empty() { Ok(None) } else { parse("mode", mode).map(Some) }
}

/// A posture to set: about what, which, why, and until when.
pub(super) fn posture(request: proto::SetPostureRequest) -> Result<NewPosture, Status> {
    let proto::SetPostureRequest { scope, posture, reason: why, expires_at } = request;
    let scope = match kill_scope(scope)? {
        KillScope::Agent(agent) => PostureScope::Agent(agent),
        KillScope::Playbook(playbook) => PostureScope::Playbook(playbook),
        KillScope::TrustDomain => PostureScope::TrustDomain,
        _ => return Err(error::missing_field("scope")),
    };
    let expires_at = expires_at
        .map(|at| from_timestamp(at).ok_or_else(|| error::missing_field("expires_at")))
        .transpose()?;
    Ok(NewPosture {
        scope,
        posture: parse("posture", &posture)?,
        reason: reason(&why)?,
        expires_at,
    })
}

fn lifetime(
    field: &'static str,
    length: Option<prost_types::Duration>,
) -> Result<Option<marque_registry::Lifetime>, Status> {
    let Some(length) = length else { return Ok(None) };
    let length = from_duration(length).ok_or_else(|| error::missing_field(field))?;
    length.try_into().map(Some).map_err(|error| error::malformed_field(field, &error))
}

fn optional<T>(field: &'static str, text: &str) -> Result<Option<T>, Status>
where
    T: std::str::FromStr<Err: std::error::Error + 'static>,
{
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

fn parse<T>(field: &'static str, text: &str) -> Result<T, Status>
where
    T: std::str::FromStr<Err: std::error::Error + 'static>,
{
    if text.is_empty() {
        return Err(error::missing_field(field));
    }
    text.parse().map_err(|error| error::malformed_field(field, &error))
}
