//! From the domain's types to messages of the admin API.

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_intent::kill::{Kill, KillScope, KillState};
use marque_intent::{
    ApprovalPlan, Denial, Grant, GrantTerms, GroupName, Intent, Label, PinnedPlaybook, Playbook,
    PlaybookStatus, PostureScope, PostureState, RedeemedUse, State,
};
use marque_registry::{Entry, EntryRole, EntrySource, NewEntry};
use marque_spiffe::Environment;

use super::super::proto::admin as proto;
use super::super::time::{duration, timestamp};
use super::door::{AdminDoor, DaemonStatus};
use super::{approvals, upstream};
use crate::approvers::Told;
use crate::irrevocable::Irrevocable;
use crate::issuer::kill::LiftAsk;
use crate::telemetry::health::NotReady;

pub(super) fn status(
    door: &dyn AdminDoor,
    log_size: u64,
    not_ready: &[NotReady],
) -> proto::GetStatusResponse {
    let DaemonStatus { started_at, bundle_sequence, unreadable_rows } = door.status();
    let upstream = door.upstream().map(upstream::standing);
    let (document, registry) = (door.document(), door.registry());
    let environment = match document.environment() {
        Environment::Production => proto::Environment::Production,
        Environment::NonProduction => proto::Environment::NonProduction,
    };
    proto::GetStatusResponse {
        trust_domain: document.name().to_string(),
        environment: environment.into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Some(timestamp(started_at)),
        kill_epoch: door.kill_state().epoch,
        registry_revision: registry.revision(),
        bundle_sequence,
        entries: count(registry.entries().len()),
        playbooks: count(door.playbooks().iter().count()),
        log_size,
        unreadable_rows: count(unreadable_rows),
        not_ready: not_ready.iter().copied().map(reason).collect(),
        folder: None,
        upstream,
    }
}

fn reason(reason: NotReady) -> proto::NotReady {
    proto::NotReady { code: reason.as_str().to_owned(), detail: reason.told().to_owned() }
}

pub(super) fn entry(entry: &Entry) -> proto::Entry {
    let source = match entry.source() {
        EntrySource::File { path, line } => format!("{}:{line}", path.display()),
        EntrySource::Admin => String::new(),
        EntrySource::Template { template } => format!("template {template}"),
    };
    proto::Entry { id: entry.id().to_string(), spec: Some(entry_spec(entry.content())), source }
}

/// An entry as it is asked for; the command line sends it so.
pub(super) fn entry_spec(entry: &NewEntry) -> proto::EntrySpec {
    let NewEntry {
        spiffe_id,
        selectors,
        role,
        owner,
        hint,
        x509_lifetime,
        jwt_lifetime,
        dns_names,
        federates_with,
        repository,
        audiences,
        delegation,
        expires_at,
    } = entry;
    let role = match role {
        EntryRole::Agent => proto::EntryRole::Agent,
        EntryRole::Service => proto::EntryRole::Service,
    };
    proto::EntrySpec {
        spiffe_id: spiffe_id.to_string(),
        selectors: selectors.iter().map(ToString::to_string).collect(),
        role: role.into(),
        owner: owner.to_string(),
        hint: hint.as_ref().map(ToString::to_string).unwrap_or_default(),
        dns_names: dns_names.iter().map(ToString::to_string).collect(),
        federates_with: federates_with.iter().map(ToString::to_string).collect(),
        x509_svid_lifetime: x509_lifetime.map(|lifetime| duration(lifetime.as_duration())),
        jwt_svid_lifetime: jwt_lifetime.map(|lifetime| duration(lifetime.as_duration())),
        expires_at: expires_at.map(timestamp),
        repository: repository.as_ref().map(ToString::to_string).unwrap_or_default(),
        audiences: audiences.iter().map(ToString::to_string).collect(),
        never_delegates: !delegation.may_delegate,
        never_acts_for_others: !delegation.may_act_for_others,
    }
}

pub(super) fn playbook(playbook: &Arc<Playbook>) -> proto::Playbook {
    let summary = playbook.summary();
    let (approvals, approver_groups) = approvers(playbook.approval());
    proto::Playbook {
        id: playbook.id().to_string(),
        version: playbook.version(),
        digest: playbook.digest().to_string(),
        title: playbook.title().to_owned(),
        owner: playbook.owner().to_owned(),
        status: status_name(playbook.status()).to_owned(),
        agents: playbook.agents().iter().map(ToString::to_string).collect(),
        purpose: playbook.purpose().unwrap_or_default().to_owned(),
        parameters_schema_json: summary.parameters.to_string(),
        approval_mode: playbook.approval_mode().as_str().to_owned(),
        approvals,
        approver_groups,
        uses: playbook.times().uses,
        token_lifetime: Some(duration(playbook.times().token_lifetime())),
        review_by: playbook.review_by().to_string(),
        ticket_required: summary.ticket.as_ref().is_some_and(|ticket| ticket.required),
        ticket_pattern: summary.ticket.map(|ticket| ticket.pattern).unwrap_or_default(),
    }
}

/// An intent, with the owner of its agent's entry as far as there still is one.
pub(super) fn intent(intent: &Intent, agent_owner: Option<&str>) -> proto::Intent {
    let reported = intent.reported_outcome().filter(|_| intent.post_check().is_some());
    proto::Intent {
        id: intent.id().to_string(),
        state: state(intent.state()).into(),
        agent: intent.agent().to_string(),
        agent_owner: agent_owner.unwrap_or_default().to_owned(),
        grant: Some(grant(intent.grant())),
        justification: intent.justification().map(ToString::to_string).unwrap_or_default(),
        created_at: Some(timestamp(intent.created_at())),
        changed_at: Some(timestamp(intent.changed_at())),
        expires_at: intent.expires_at().map(timestamp),
        approvals: intent.approvals().iter().map(approvals::approval).collect(),
        approvals_missing: intent.approvals_missing(),
        uses_left: intent.uses_left(),
        uses: intent.uses().iter().map(redeemed).collect(),
        denial: intent.denial().map(denial),
        ended_by: intent.ended_by().unwrap_or_default().to_owned(),
        reason: intent.reason().map(ToString::to_string).unwrap_or_default(),
        outcome: intent.outcome().map(|outcome| outcome.as_str().to_owned()).unwrap_or_default(),
        asked_of: intent.appeal().map(|appeal| appeal.asked.to_string()).unwrap_or_default(),
        binding_message: intent
            .appeal()
            .and_then(|appeal| appeal.message.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        ended_for: intent.ended_for().map(|why| why.as_str().to_owned()).unwrap_or_default(),
        report: intent.report().map(ToString::to_string).unwrap_or_default(),
        heard_at: intent.heard_at().map(timestamp),
        open_level: approvals::level(intent.open_level()),
        objections: intent.objections().iter().map(approvals::objection).collect(),
        narrowed: intent.narrowed().iter().map(approvals::narrowed).collect(),
        you: None,
        held: None,
        irrevocable: None,
        reported_outcome: reported.map(|outcome| outcome.as_str().to_owned()).unwrap_or_default(),
        post_check: intent.post_check().map(|said| said.as_str().to_owned()).unwrap_or_default(),
    }
}

/// An intent with what is told beside it.
pub(super) fn told(told: &Told) -> proto::Intent {
    let Told { intent: of, owner, you, held, irrevocable } = told;
    proto::Intent {
        you: you.as_ref().map(approvals::eligibility),
        held: held.as_ref().map(approvals::held),
        irrevocable: irrevocable.as_ref().map(approvals::irrevocable),
        ..intent(of, owner.as_deref())
    }
}

pub(super) fn postures(state: &PostureState) -> String {
    json(&state.signals())
}

pub(super) fn posture_scope(scope: &PostureScope) -> proto::KillScope {
    kill_scope(&match scope {
        PostureScope::Agent(agent) => KillScope::Agent(agent.clone()),
        PostureScope::Playbook(playbook) => KillScope::Playbook(playbook.clone()),
        PostureScope::TrustDomain => KillScope::TrustDomain,
    })
}

pub(super) fn kill_state(door: &dyn AdminDoor, state: &KillState) -> proto::KillState {
    kill_state_of(state, door.kills_kept_here_only())
}

/// What is answered to a kill. What one that stops use does not reach is said with it.
pub(super) fn killed(
    door: &dyn AdminDoor,
    state: &KillState,
    stops_use: bool,
) -> proto::KillResponse {
    let irrevocable =
        Irrevocable::at_most(&door.document(), &door.playbooks(), door.now()).filter(|_| stops_use);
    proto::KillResponse {
        state: Some(kill_state(door, state)),
        irrevocable_until: irrevocable.as_ref().and_then(|of| of.until.map(timestamp)),
        irrevocable_at: irrevocable.map(|of| of.audiences).unwrap_or_default(),
    }
}

pub(super) fn kill_state_of(state: &KillState, kept_here_only: bool) -> proto::KillState {
    proto::KillState {
        epoch: state.epoch,
        kills: state.kills.iter().map(kill).collect(),
        kept_here_only,
    }
}

pub(super) fn kill(kill: &Kill) -> proto::KillRecord {
    let Kill { scope, mode, reason, actor, expires_at, origin: _, hits: _, at, epoch } = kill;
    proto::KillRecord {
        scope: Some(kill_scope(scope)),
        reason: reason.to_string(),
        actor: actor.clone(),
        at: Some(timestamp(*at)),
        epoch: *epoch,
        id: kill.id().to_string(),
        mode: mode.to_string(),
        expires_at: expires_at.map(timestamp),
    }
}

pub(super) fn lift_ask(ask: &LiftAsk) -> proto::LiftAsk {
    let LiftAsk { kill, to, reason, actor, person: _, names: _, at, until } = ask;
    proto::LiftAsk {
        id: ask.id(),
        kill: kill.to_string(),
        mode: to.map(|mode| mode.to_string()).unwrap_or_default(),
        reason: reason.to_string(),
        actor: actor.clone(),
        at: Some(timestamp(*at)),
        until: Some(timestamp(*until)),
    }
}

pub(super) fn kill_scope(scope: &KillScope) -> proto::KillScope {
    use proto::kill_scope::Scope;
    let scope = match scope {
        KillScope::Agent(agent) => Scope::Agent(agent.to_string()),
        KillScope::Playbook(playbook) => Scope::Playbook(playbook.to_string()),
        KillScope::TrustDomain => Scope::TrustDomain(proto::TrustDomainScope {}),
        KillScope::All => Scope::All(proto::AllScope {}),
        other => Scope::Selected(proto::SelectedScope {
            kind: other.kind().to_owned(),
            selector: other.selector().unwrap_or_default(),
        }),
    };
    proto::KillScope { scope: Some(scope) }
}

fn grant(grant: &Grant) -> proto::Grant {
    let GrantTerms {
        intent_id: _, // The intent's own id.
        trust_domain: _,
        tenant,
        agent: _, // The intent's own agent.
        attestation,
        playbook: PinnedPlaybook { id, version, digest, title, owner, data_classes, purpose },
        parameters,
        audiences,
        scopes,
        authorization_details,
        resources,
        tools,
        constraints,
        limits,
        on_behalf,
        delegators,
        parent,
        emergency,
        session,
        task,
        delivery,
        uses,
        single_use_tokens,
        token_lifetime,
        request_ttl: _, // Shown as the instant at which it ends, in `Intent.expires_at`.
        start_within,
        max_duration,
        not_before,
        not_after,
        ticket,
        approval,
        policy_set_digest,
        risk,
        evidence,
        conditions,
    } = grant.terms();
    let label = |label: &Option<Label>| label.as_ref().map(ToString::to_string).unwrap_or_default();
    let (approvals, approver_groups) = approvers(approval.as_ref());
    proto::Grant {
        digest: grant.digest().to_string(),
        playbook_id: id.to_string(),
        playbook_version: *version,
        playbook_digest: digest.to_string(),
        title: title.clone(),
        parameters_json: json(parameters),
        ticket: ticket.as_ref().map(ToString::to_string).unwrap_or_default(),
        audiences: audiences.clone(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        authorization_details_json: json(authorization_details),
        resources: resources.clone(),
        uses: *uses,
        token_lifetime: Some(duration(*token_lifetime)),
        not_before: Some(timestamp(*not_before)),
        not_after: Some(timestamp(*not_after)),
        risk: *risk,
        approvals,
        approver_groups,
        purpose: purpose.clone().unwrap_or_default(),
        start_within: Some(duration(*start_within)),
        max_duration: Some(duration(*max_duration)),
        single_use_tokens: *single_use_tokens,
        tenant: tenant.clone(),
        playbook_owner: owner.clone(),
        data_classes: data_classes.clone(),
        tools_json: json(tools),
        constraints_json: json(constraints),
        evidence_json: json(evidence),
        conditions_json: json(conditions),
        limits_json: json(limits),
        on_behalf_json: json(on_behalf),
        delegators_json: json(delegators),
        parent_json: json(parent),
        emergency_json: json(emergency),
        approval_json: json(approval),
        session: label(session),
        task: label(task),
        delivery: delivery.to_string(),
        attestation: attestation.as_ref().map(ToString::to_string).unwrap_or_default(),
        policy_set_digest: policy_set_digest.to_string(),
    }
}

fn approvers(plan: Option<&ApprovalPlan>) -> (u32, Vec<String>) {
    let Some(plan) = plan else { return Default::default() };
    let groups: BTreeSet<&GroupName> = plan.rules().flat_map(|rule| &rule.groups).collect();
    (plan.approvals_needed(), groups.iter().map(ToString::to_string).collect())
}

fn redeemed(redeemed: &RedeemedUse) -> proto::Use {
    let RedeemedUse { token_id, at, token_expires_at } = redeemed;
    proto::Use {
        token_id: token_id.clone(),
        at: Some(timestamp(*at)),
        token_expires_at: Some(timestamp(*token_expires_at)),
    }
}

fn denial(denial: &Denial) -> proto::Denial {
    proto::Denial {
        code: denial.code().as_str().to_owned(),
        class: denial.class().as_str().to_owned(),
        detail: denial.detail().to_owned(),
    }
}

fn status_name(status: PlaybookStatus) -> &'static str {
    match status {
        PlaybookStatus::Draft => "draft",
        PlaybookStatus::Active => "active",
        PlaybookStatus::Deprecated => "deprecated",
        PlaybookStatus::Disabled => "disabled",
    }
}

pub(super) fn state(state: State) -> proto::IntentState {
    match state {
        State::Pending => proto::IntentState::Pending,
        State::Approved => proto::IntentState::Approved,
        State::Active => proto::IntentState::Active,
        State::Consumed => proto::IntentState::Consumed,
        State::Denied => proto::IntentState::Denied,
        State::Cancelled => proto::IntentState::Cancelled,
        State::Expired => proto::IntentState::Expired,
        State::Completed => proto::IntentState::Completed,
        State::ClosedUnreported => proto::IntentState::ClosedUnreported,
        State::Revoked => proto::IntentState::Revoked,
    }
}

/// Maps with text keys, and what is derived from them, always have a JSON form.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
