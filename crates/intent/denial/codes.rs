//! The table of codes (specs/intents.md 5). A code is never renamed and never reused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Remediation, Retry};

/// The class of a code: what kind of thing failed, and so how often asking again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenialClass {
    /// The request is not one that we understand.
    Malformed,
    /// The caller is not who it must be.
    Identity,
    /// The request crosses a boundary.
    Boundary,
    /// The request widens what it derives from.
    Attenuation,
    /// The call is outside the intent.
    Intent,
    /// The change ticket or window does not fit.
    Change,
    /// Too risky.
    Risk,
    /// Approval is missing or refused.
    Approval,
    /// The grant does not stand.
    Grant,
    /// Somebody pulled the kill switch.
    Stop,
    /// Too much or too soon.
    Pace,
    /// We cannot decide, so we refuse.
    System,
}

impl DenialClass {
    /// Every class.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Identity,
        Self::Boundary,
        Self::Attenuation,
        Self::Intent,
        Self::Change,
        Self::Risk,
        Self::Approval,
        Self::Grant,
        Self::Stop,
        Self::Pace,
        Self::System,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Identity => "identity",
            Self::Boundary => "boundary",
            Self::Attenuation => "attenuation",
            Self::Intent => "intent",
            Self::Change => "change",
            Self::Risk => "risk",
            Self::Approval => "approval",
            Self::Grant => "grant",
            Self::Stop => "stop",
            Self::Pace => "pace",
            Self::System => "system",
        }
    }

    /// How many further tries an agent has after a refusal of this class.
    #[must_use]
    pub const fn budget(self) -> u32 {
        match self {
            Self::Malformed | Self::System => 3,
            Self::Change => 5,
            Self::Risk | Self::Pace => 1,
            Self::Identity
            | Self::Boundary
            | Self::Attenuation
            | Self::Intent
            | Self::Approval
            | Self::Grant
            | Self::Stop => 0,
        }
    }

    /// The least time to wait before trying again, where trying again can help.
    #[must_use]
    pub const fn backoff(self) -> Option<Duration> {
        match self {
            Self::Change | Self::Pace => Some(Duration::from_secs(60)),
            Self::Risk => Some(Duration::from_secs(300)),
            Self::System => Some(Duration::from_secs(1)),
            Self::Malformed
            | Self::Identity
            | Self::Boundary
            | Self::Attenuation
            | Self::Intent
            | Self::Approval
            | Self::Grant
            | Self::Stop => None,
        }
    }
}

impl fmt::Display for DenialClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a denial code")]
pub struct UnknownDenialCode;

macro_rules! codes {
    ($($variant:ident $text:literal $class:ident $title:literal;)+) => {
        /// A stable code. Its title says what it means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum DenialCode {
            $(#[doc = $title] #[serde(rename = $text)] $variant,)+
        }

        impl DenialCode {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The class.
            #[must_use]
            pub const fn class(self) -> DenialClass {
                match self { $(Self::$variant => DenialClass::$class,)+ }
            }

            /// One sentence without a full stop.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid_request" Malformed "The request is not well formed";
    UnknownPlaybook "unknown_playbook" Malformed "There is no such playbook for this agent";
    PlaybookVersionStale "playbook_version_stale" Malformed "The playbook has another version now";
    ParamsSchemaInvalid "params_schema_invalid" Malformed "The parameters do not fit the playbook";
    UnrecognisedField "unrecognised_field" Malformed "The request has a member that is not part of it";
    RawPermissionsNotRequestable "raw_permissions_not_requestable" Malformed "Permissions cannot be asked for, only playbooks";
    IdempotencyConflict "idempotency_conflict" Malformed "The same idempotency key came with another request";
    AgentNotAttested "agent_not_attested" Identity "The agent is not attested";
    AttestationStale "attestation_stale" Identity "The agent's attestation is too old";
    AttestationMismatch "attestation_mismatch" Identity "The agent's attestation is not the one that was approved";
    AgentNotAllowed "agent_not_allowed" Identity "This agent may not run this playbook";
    SharedIdentityDetected "shared_identity_detected" Identity "More than one program uses this identity";
    DelegatorMissing "delegator_missing" Identity "The playbook needs a delegating person";
    DelegatorNotAllowed "delegator_not_allowed" Identity "The delegating person may not delegate this";
    DelegatorSessionEnded "delegator_session_ended" Identity "The delegating person's session has ended";
    ChainTooDeep "chain_too_deep" Identity "The delegation chain is too deep";
    ChainInvalid "chain_invalid" Identity "The delegation chain does not hold";
    SponsorMissing "sponsor_missing" Identity "Nobody is accountable for this agent";
    TrustDomainMismatch "trust_domain_mismatch" Boundary "The request is for another trust domain";
    TenantMismatch "tenant_mismatch" Boundary "The request is for another tenant";
    EnvironmentBoundary "environment_boundary" Boundary "The identity belongs to the other environment";
    AudienceNotAllowed "audience_not_allowed" Boundary "The audience is not part of the grant";
    RepositoryNotAllowed "repository_not_allowed" Boundary "The agent was built from another source";
    ExceedsParentScope "exceeds_parent_scope" Attenuation "The request exceeds its parent";
    ExceedsDelegatorRights "exceeds_delegator_rights" Attenuation "The request exceeds the rights of the delegating person";
    ExceedsPlaybookCeiling "exceeds_playbook_ceiling" Attenuation "The request exceeds what the playbook permits";
    CannotCompareAttenuation "cannot_compare_attenuation" Attenuation "It cannot be shown that the request is narrower";
    PurposeMismatch "purpose_mismatch" Intent "The call does not serve the purpose of the intent";
    DriftDetected "drift_detected" Intent "The agent has drifted from its intent";
    ToolNotInGrant "tool_not_in_grant" Intent "The tool is not part of the grant";
    ToolDefinitionChanged "tool_definition_changed" Intent "The tool is not what it was when it was approved";
    ToolAmbiguous "tool_ambiguous" Intent "The tool's name means more than one tool";
    CallHeaderBodyMismatch "call_header_body_mismatch" Intent "The call says two different things";
    ToolArgumentDenied "tool_argument_denied" Intent "An argument of the tool is not permitted";
    ResourceNotInGrant "resource_not_in_grant" Intent "The resource is not part of the grant";
    DataClassDenied "data_class_denied" Intent "The class of data is not part of the grant";
    RecordLimit "record_limit" Intent "The call touches too many records";
    WorkflowMismatch "workflow_mismatch" Intent "The grant belongs to another workflow";
    PhaseOrder "phase_order" Intent "The phases of the playbook come in another order";
    TicketMissing "ticket_missing" Change "The playbook needs a change ticket";
    TicketFormat "ticket_format" Change "The change ticket is not written as the playbook demands";
    TicketState "ticket_state" Change "The change ticket is not in a state that permits the change";
    TicketNotBound "ticket_not_bound" Change "The change ticket is for another change";
    TicketClosed "ticket_closed" Change "The change ticket is closed";
    TicketSystemUnavailable "ticket_system_unavailable" Change "The ticket system does not answer";
    OutsideChangeWindow "outside_change_window" Change "The change window is not open";
    Blackout "blackout" Change "Changes are frozen";
    RiskTooHigh "risk_too_high" Risk "The risk is too high";
    ConfidenceTooLow "confidence_too_low" Risk "The confidence is too low";
    PostureChanged "posture_changed" Risk "The posture has changed";
    ApprovalRequired "approval_required" Approval "The request needs an approver";
    ApprovalPending "approval_pending" Approval "The request waits for an approver";
    ApprovalDenied "approval_denied" Approval "An approver refused the request";
    ApprovalExpired "approval_expired" Approval "Nobody approved the request in time";
    ApprovalDigestMismatch "approval_digest_mismatch" Approval "What was approved is not what is asked for";
    SelfApprovalForbidden "self_approval_forbidden" Approval "Nobody approves an own request";
    ApproverNotEligible "approver_not_eligible" Approval "This person may not approve this request";
    QuorumUnreachable "quorum_unreachable" Approval "The approvals that are needed cannot be reached";
    GrantNotStarted "grant_not_started" Grant "The grant has not begun";
    GrantExpired "grant_expired" Grant "The grant has ended";
    GrantConsumed "grant_consumed" Grant "Every use of the grant is spent";
    GrantRevoked "grant_revoked" Grant "The grant was revoked";
    GrantCompleted "grant_completed" Grant "The intent is complete";
    GrantNotBoundToSession "grant_not_bound_to_session" Grant "The grant belongs to another session";
    ConcurrentGrantLimit "concurrent_grant_limit" Grant "Too many grants are open";
    DuplicateGrant "duplicate_grant" Grant "The same grant is open already";
    SenderConstraintFailed "sender_constraint_failed" Grant "The token is bound to another key";
    TokenReusedElsewhere "token_reused_elsewhere" Grant "The token was used somewhere else";
    KillSwitchCredential "kill_switch_credential" Stop "The token is stopped";
    KillSwitchKey "kill_switch_key" Stop "The key that the token is bound to is stopped";
    KillSwitchGrant "kill_switch_grant" Stop "The grant is stopped";
    KillSwitchTask "kill_switch_task" Stop "The task is stopped";
    KillSwitchSession "kill_switch_session" Stop "The session is stopped";
    KillSwitchAgent "kill_switch_agent" Stop "The agent is stopped";
    KillSwitchBuild "kill_switch_build" Stop "The agent's build is stopped";
    KillSwitchPlaybook "kill_switch_playbook" Stop "The playbook is stopped";
    KillSwitchDelegator "kill_switch_delegator" Stop "The delegating person is stopped";
    KillSwitchSponsor "kill_switch_sponsor" Stop "The agent's sponsor is stopped";
    KillSwitchTenant "kill_switch_tenant" Stop "The tenant is stopped";
    KillSwitchTrustDomain "kill_switch_trust_domain" Stop "The trust domain is stopped";
    KillSwitchTool "kill_switch_tool" Stop "The tool is stopped";
    KillSwitchGlobal "kill_switch_global" Stop "Everything is stopped";
    RateLimited "rate_limited" Pace "Too many requests";
    CooldownAfterDenial "cooldown_after_denial" Pace "Too many refusals; the agent has to wait";
    RephraseSuspected "rephrase_suspected" Pace "The request repeats one that was refused";
    DestructiveLimit "destructive_limit" Pace "Too many destructive calls";
    MinInterval "min_interval" Pace "The calls come too fast";
    Quarantined "quarantined" Pace "The agent is in quarantine";
    ApproverQueueFull "approver_queue_full" Pace "The approvers have too much to decide";
    PolicyUnavailable "policy_unavailable" System "Policy cannot be asked";
    PolicyError "policy_error" System "Policy could not be evaluated";
    VaultUnavailable "vault_unavailable" System "The credential vault does not answer";
    AuditUnavailable "audit_unavailable" System "The audit log cannot be written";
    ClockUnsafe "clock_unsafe" System "The clock cannot be trusted";
    UpstreamUnreachable "upstream_unreachable" System "The upstream does not answer";
    OutcomeAmbiguous "outcome_ambiguous" System "The outcome of the call is not known";
}

impl DenialCode {
    /// Whether and when to try again: the class's rule, except where the code knows better.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            // Waiting for an approver is not asking anew: the agent reads its own intent again.
            Self::ApprovalPending => {
                Retry { allowed: true, after: Some(Duration::from_secs(5)), max: None }
            }
            // A person has to act first.
            Self::Quarantined | Self::OutcomeAmbiguous => {
                Retry { allowed: false, after: None, max: Some(0) }
            }
            other => {
                let max = other.class().budget();
                Retry { allowed: max > 0, after: other.class().backoff(), max: Some(max) }
            }
        }
    }

    /// Who can repair this, and how.
    #[must_use]
    pub const fn remediation(self) -> Remediation {
        match self {
            Self::RawPermissionsNotRequestable
            | Self::InvalidRequest
            | Self::UnknownPlaybook
            | Self::PlaybookVersionStale
            | Self::ParamsSchemaInvalid
            | Self::UnrecognisedField
            | Self::IdempotencyConflict => Remediation::FixRequest,
            Self::ApprovalExpired
            | Self::GrantExpired
            | Self::GrantConsumed
            | Self::ApprovalDigestMismatch => Remediation::RequestNewIntent,
            Self::GrantNotStarted | Self::OutsideChangeWindow | Self::Blackout => Remediation::Wait,
            Self::ApprovalRequired | Self::ApprovalPending => Remediation::AskApprover,
            Self::AgentNotAttested | Self::AttestationStale | Self::AttestationMismatch => {
                Remediation::RepairAttestation
            }
            Self::Quarantined | Self::OutcomeAmbiguous | Self::QuorumUnreachable => {
                Remediation::ContactOperator
            }
            Self::ApprovalDenied
            | Self::SelfApprovalForbidden
            | Self::GrantRevoked
            | Self::GrantCompleted => Remediation::None,
            other => match other.class() {
                DenialClass::Malformed => Remediation::FixRequest,
                DenialClass::Change => Remediation::ProvideTicket,
                DenialClass::Pace | DenialClass::System | DenialClass::Risk => Remediation::Wait,
                DenialClass::Boundary
                | DenialClass::Attenuation
                | DenialClass::Intent
                | DenialClass::Identity
                | DenialClass::Grant => Remediation::ContactOwner,
                DenialClass::Approval | DenialClass::Stop => Remediation::ContactOperator,
            },
        }
    }

    /// The HTTP status that fits, as a number.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::IdempotencyConflict | Self::DuplicateGrant => 409,
            other => match other.class() {
                DenialClass::Malformed => 400,
                DenialClass::Pace => 429,
                DenialClass::System => 503,
                DenialClass::Identity
                | DenialClass::Boundary
                | DenialClass::Attenuation
                | DenialClass::Intent
                | DenialClass::Change
                | DenialClass::Risk
                | DenialClass::Approval
                | DenialClass::Grant
                | DenialClass::Stop => 403,
            },
        }
    }
}

impl DenialCode {
    /// The OAuth error that fits (RFC 6749 §5.2, RFC 8628 §3.5, RFC 9396 §5): what is wrong with the request itself is an
    /// invalid detail, what a token in hand does not cover wants more details, what fails on our side may be tried again,
    /// and everything else is somebody's or some policy's no.
    #[must_use]
    pub const fn oauth_error(self) -> &'static str {
        match self {
            Self::IdempotencyConflict => "invalid_request",
            Self::ApprovalPending => "authorization_pending",
            Self::ApprovalExpired => "expired_token",
            other => match other.class() {
                DenialClass::Malformed => "invalid_authorization_details",
                DenialClass::Intent => "insufficient_authorization_details",
                DenialClass::System => "temporarily_unavailable",
                DenialClass::Identity
                | DenialClass::Boundary
                | DenialClass::Attenuation
                | DenialClass::Change
                | DenialClass::Risk
                | DenialClass::Approval
                | DenialClass::Grant
                | DenialClass::Stop
                | DenialClass::Pace => "access_denied",
            },
        }
    }

    /// The gRPC status that fits, by its name in the specification of gRPC.
    #[must_use]
    pub const fn grpc_status(self) -> &'static str {
        match self {
            Self::DuplicateGrant | Self::IdempotencyConflict => "ALREADY_EXISTS",
            Self::SelfApprovalForbidden | Self::ApproverNotEligible => "PERMISSION_DENIED",
            other => match other.class() {
                DenialClass::Identity | DenialClass::Boundary | DenialClass::Stop => {
                    "PERMISSION_DENIED"
                }
                DenialClass::Pace => "RESOURCE_EXHAUSTED",
                DenialClass::System => "UNAVAILABLE",
                DenialClass::Malformed
                | DenialClass::Attenuation
                | DenialClass::Intent
                | DenialClass::Change
                | DenialClass::Risk
                | DenialClass::Approval
                | DenialClass::Grant => "FAILED_PRECONDITION",
            },
        }
    }
}

impl fmt::Display for DenialCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DenialCode {
    type Err = UnknownDenialCode;

    fn from_str(text: &str) -> Result<Self, UnknownDenialCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownDenialCode)
    }
}
