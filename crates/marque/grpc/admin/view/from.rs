//! From the admin API's messages to what is shown. An answer that does not read is the daemon's fault and says so.

use serde::de::DeserializeOwned;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::{from_duration, from_timestamp};
use super::{
    DenialView, EntryView, GrantView, IntentView, IrrevocableView, KillScopeView, KillStateView,
    KillView, LeafView, LiftAskView, LogInfoView, PlaybookView, ReasonView, ReportView, StatusView,
    UseView,
};

impl TryFrom<proto::GetStatusResponse> for StatusView {
    type Error = CallError;

    fn try_from(message: proto::GetStatusResponse) -> Result<Self, CallError> {
        let proto::GetStatusResponse {
            trust_domain,
            environment,
            version,
            started_at,
            kill_epoch,
            registry_revision,
            bundle_sequence,
            entries,
            playbooks,
            log_size,
            unreadable_rows,
            not_ready,
            folder,
            upstream,
        } = message;
        let environment = match proto::Environment::try_from(environment) {
            Ok(proto::Environment::Production) => "production",
            Ok(proto::Environment::NonProduction) => "non-production",
            Ok(proto::Environment::Unspecified) | Err(_) => {
                return Err(CallError::Malformed("environment"));
            }
        };
        Ok(Self {
            trust_domain,
            environment,
            version,
            started_at: started_at.and_then(from_timestamp),
            kill_epoch,
            registry_revision,
            bundle_sequence,
            entries,
            playbooks,
            log_size,
            unreadable_rows,
            folder: folder.map(Into::into),
            upstream: upstream.map(Into::into),
            ready: not_ready.is_empty(),
            not_ready: not_ready
                .into_iter()
                .map(|proto::NotReady { code, detail }| ReasonView { code, detail })
                .collect(),
        })
    }
}

impl TryFrom<proto::Entry> for EntryView {
    type Error = CallError;

    fn try_from(message: proto::Entry) -> Result<Self, CallError> {
        let proto::Entry { id, spec, source } = message;
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
        } = spec.ok_or(CallError::Malformed("spec"))?;
        let role = match proto::EntryRole::try_from(role) {
            Ok(proto::EntryRole::Agent) => "agent",
            Ok(proto::EntryRole::Service) => "service",
            Ok(proto::EntryRole::Unspecified) | Err(_) => return Err(CallError::Malformed("role")),
        };
        Ok(Self {
            id,
            spiffe_id,
            selectors,
            role,
            owner,
            hint,
            dns_names,
            federates_with,
            x509_svid_lifetime_s: seconds(x509_svid_lifetime),
            jwt_svid_lifetime_s: seconds(jwt_svid_lifetime),
            repository,
            audiences,
            may_delegate: !never_delegates,
            may_act_for_others: !never_acts_for_others,
            expires_at: expires_at.and_then(from_timestamp),
            source,
        })
    }
}

impl TryFrom<proto::Playbook> for PlaybookView {
    type Error = CallError;

    fn try_from(message: proto::Playbook) -> Result<Self, CallError> {
        let proto::Playbook {
            id,
            version,
            digest,
            title,
            owner,
            status,
            agents,
            purpose,
            parameters_schema_json,
            approval_mode,
            approvals,
            approver_groups,
            uses,
            token_lifetime,
            review_by,
            ticket_pattern,
            ticket_required,
        } = message;
        Ok(Self {
            id,
            version,
            digest,
            title,
            owner,
            status,
            agents,
            purpose,
            parameters: json("parameters_schema_json", &parameters_schema_json)?,
            approval_mode,
            approvals,
            approver_groups,
            uses,
            token_lifetime_s: seconds(token_lifetime),
            review_by,
            ticket_pattern,
            ticket_required,
        })
    }
}

impl TryFrom<proto::Intent> for IntentView {
    type Error = CallError;

    fn try_from(message: proto::Intent) -> Result<Self, CallError> {
        let proto::Intent {
            id,
            state,
            agent,
            agent_owner,
            grant,
            justification,
            created_at,
            changed_at,
            expires_at,
            approvals,
            approvals_missing,
            uses_left,
            uses,
            denial,
            ended_by,
            reason,
            outcome,
            reported_outcome,
            post_check,
            asked_of,
            binding_message,
            ended_for,
            report,
            heard_at,
            open_level,
            objections,
            narrowed,
            you,
            held,
            irrevocable,
        } = message;
        Ok(Self {
            id,
            state: state_name(state)?.to_owned(),
            agent,
            agent_owner,
            grant: grant.ok_or(CallError::Malformed("grant"))?.try_into()?,
            justification,
            created_at: created_at.and_then(from_timestamp),
            changed_at: changed_at.and_then(from_timestamp),
            expires_at: expires_at.and_then(from_timestamp),
            approvals: approvals.into_iter().map(Into::into).collect(),
            approvals_missing,
            uses_left,
            uses: uses.into_iter().map(Into::into).collect(),
            denial: denial.map(|proto::Denial { code, class, detail }| DenialView {
                code,
                class,
                detail,
            }),
            ended_by,
            reason,
            outcome,
            reported_outcome,
            post_check,
            asked_of,
            binding_message,
            ended_for,
            report,
            heard_at: heard_at.and_then(from_timestamp),
            open_level,
            objections: objections.into_iter().map(Into::into).collect(),
            narrowed: narrowed.into_iter().map(Into::into).collect(),
            you: you.map(Into::into),
            held: held.map(Into::into),
            revocable: irrevocable.is_none(),
            irrevocable: irrevocable.map(Into::into),
        })
    }
}

impl TryFrom<proto::Grant> for GrantView {
    type Error = CallError;

    fn try_from(message: proto::Grant) -> Result<Self, CallError> {
        let proto::Grant {
            digest,
            playbook_id,
            playbook_version,
            playbook_digest,
            title,
            parameters_json,
            ticket,
            audiences,
            scopes,
            authorization_details_json,
            resources,
            uses,
            token_lifetime,
            not_before,
            not_after,
            risk,
            approvals,
            approver_groups,
            purpose,
            start_within,
            max_duration,
            single_use_tokens,
            tenant,
            playbook_owner,
            data_classes,
            tools_json,
            constraints_json,
            limits_json,
            on_behalf_json,
            delegators_json,
            parent_json,
            emergency_json,
            session,
            task,
            delivery,
            attestation,
            policy_set_digest,
            evidence_json,
            conditions_json,
            approval_json,
        } = message;
        Ok(Self {
            digest,
            playbook: playbook_id,
            playbook_version,
            playbook_digest,
            title,
            purpose,
            parameters: json("parameters_json", &parameters_json)?,
            ticket,
            audiences,
            scopes,
            authorization_details: json("authorization_details_json", &authorization_details_json)?,
            resources,
            uses,
            single_use_tokens,
            token_lifetime_s: seconds(token_lifetime),
            start_within_s: seconds(start_within),
            max_duration_s: seconds(max_duration),
            not_before: not_before.and_then(from_timestamp),
            not_after: not_after.and_then(from_timestamp),
            risk,
            approvals,
            approver_groups,
            tenant,
            playbook_owner,
            data_classes,
            tools: json("tools_json", &tools_json)?,
            constraints: json("constraints_json", &constraints_json)?,
            limits: json("limits_json", &limits_json)?,
            on_behalf: json("on_behalf_json", &on_behalf_json)?,
            delegators: json("delegators_json", &delegators_json)?,
            parent: json("parent_json", &parent_json)?,
            emergency: json("emergency_json", &emergency_json)?,
            session,
            task,
            delivery,
            attestation,
            policy_set_digest,
            evidence: json("evidence_json", &evidence_json)?,
            conditions: json("conditions_json", &conditions_json)?,
            approval: json("approval_json", &approval_json)?,
        })
    }
}

impl From<proto::Use> for UseView {
    fn from(message: proto::Use) -> Self {
        let proto::Use { token_id, at, token_expires_at } = message;
        Self {
            token_id,
            at: at.and_then(from_timestamp),
            token_expires_at: token_expires_at.and_then(from_timestamp),
        }
    }
}

impl TryFrom<proto::KillState> for KillStateView {
    type Error = CallError;

    fn try_from(message: proto::KillState) -> Result<Self, CallError> {
        let proto::KillState { epoch, kills, kept_here_only } = message;
        Ok(Self {
            epoch,
            kills: kills.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            asks: Vec::new(),
            asks_unknown: String::new(),
            kept_here_only,
        })
    }
}

impl From<proto::Irrevocable> for IrrevocableView {
    fn from(message: proto::Irrevocable) -> Self {
        let proto::Irrevocable { audiences, until } = message;
        Self { audiences, until: until.and_then(from_timestamp) }
    }
}

impl From<proto::LiftAsk> for LiftAskView {
    fn from(message: proto::LiftAsk) -> Self {
        let proto::LiftAsk { id, kill, mode, reason, actor, at, until } = message;
        let (at, until) = (at.and_then(from_timestamp), until.and_then(from_timestamp));
        Self { id, kill, mode, reason, actor, at, until }
    }
}

impl TryFrom<proto::KillRecord> for KillView {
    type Error = CallError;

    fn try_from(message: proto::KillRecord) -> Result<Self, CallError> {
        use proto::kill_scope::Scope;
        let proto::KillRecord { scope, reason, actor, at, epoch, id, mode, expires_at } = message;
        let proto::KillScope { scope } = scope.ok_or(CallError::Malformed("scope"))?;
        let (kind, selector) = match scope.ok_or(CallError::Malformed("scope"))? {
            Scope::Agent(agent) => ("agent".to_owned(), Some(agent)),
            Scope::Playbook(playbook) => ("playbook".to_owned(), Some(playbook)),
            Scope::TrustDomain(proto::TrustDomainScope {}) => ("trust_domain".to_owned(), None),
            Scope::All(proto::AllScope {}) => ("all".to_owned(), None),
            Scope::Selected(proto::SelectedScope { kind, selector }) => (kind, Some(selector)),
        };
        let scope = KillScopeView { scope: kind, selector };
        let (at, expires_at) = (at.and_then(from_timestamp), expires_at.and_then(from_timestamp));
        Ok(Self { scope, reason, actor, at, epoch, id, mode, expires_at })
    }
}

impl From<proto::GetLogInfoResponse> for LogInfoView {
    fn from(message: proto::GetLogInfoResponse) -> Self {
        let proto::GetLogInfoResponse { size, checkpoint, verifier_key, cosigned_checkpoint } =
            message;
        Self { size, checkpoint, verifier_key, cosigned_checkpoint }
    }
}

impl From<proto::StreamLeavesResponse> for LeafView {
    fn from(message: proto::StreamLeavesResponse) -> Self {
        let proto::StreamLeavesResponse { seq, leaf } = message;
        Self { seq, bytes: leaf }
    }
}

impl TryFrom<proto::ReportFinding> for ReportView {
    type Error = CallError;

    fn try_from(message: proto::ReportFinding) -> Result<Self, CallError> {
        let proto::ReportFinding { report, subject, owner, summary, act, facts_json } = message;
        Ok(Self { report, subject, owner, summary, act, facts: json("facts_json", &facts_json)? })
    }
}

fn state_name(state: i32) -> Result<&'static str, CallError> {
    match proto::IntentState::try_from(state) {
        Ok(proto::IntentState::Pending) => Ok("pending"),
        Ok(proto::IntentState::Approved) => Ok("approved"),
        Ok(proto::IntentState::Active) => Ok("active"),
        Ok(proto::IntentState::Consumed) => Ok("consumed"),
        Ok(proto::IntentState::Denied) => Ok("denied"),
        Ok(proto::IntentState::Cancelled) => Ok("cancelled"),
        Ok(proto::IntentState::Expired) => Ok("expired"),
        Ok(proto::IntentState::Completed) => Ok("completed"),
        Ok(proto::IntentState::ClosedUnreported) => Ok("closed_unreported"),
        Ok(proto::IntentState::Revoked) => Ok("revoked"),
        Ok(proto::IntentState::Unspecified) | Err(_) => Err(CallError::Malformed("state")),
    }
}

fn seconds(length: Option<prost_types::Duration>) -> Option<u64> {
    length.and_then(from_duration).map(|length| length.as_secs())
}

fn json<T: DeserializeOwned>(field: &'static str, text: &str) -> Result<T, CallError> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(_) => Err(CallError::Malformed(field)),
    }
}
