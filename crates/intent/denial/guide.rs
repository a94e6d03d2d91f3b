//! What an operator does about a refusal, by its code (M 112). Agents are told [`super::Remediation`] instead.

use super::{DenialClass, DenialCode};

impl DenialCode {
    /// What an operator does about it, in a sentence or two.
    #[must_use]
    pub const fn guide(self) -> &'static str {
        match self {
            Self::UnknownPlaybook => {
                "Look whether the playbook is in the trust domain's folder, is active, and names the agent: `marque playbook list`."
            }
            Self::PlaybookVersionStale => {
                "Nothing, unless the agent keeps asking for the old version: then it has to read `/v1/playbooks` again."
            }
            Self::ParamsSchemaInvalid => {
                "Compare what was sent with the playbook's parameters: `marque playbook show`. Loosen them only in a new version."
            }
            Self::RawPermissionsNotRequestable => {
                "Write a playbook for the work, and have the agent name it; permissions are never asked for."
            }
            Self::IdempotencyConflict => {
                "Have the agent draw a new `Idempotency-Key` for every request that is another one."
            }
            Self::AgentNotAttested => {
                "See what the process attests as (`marque explain pid`), and register it: `marque entry create`."
            }
            Self::AttestationStale => {
                "Have the agent fetch a fresh SVID; look whether its node is reachable."
            }
            Self::AttestationMismatch => {
                "The program is not the one that was approved: look what was deployed (`marque explain pid`), then approve anew."
            }
            Self::AgentNotAllowed => {
                "Add the agent to the playbook's `agents`, if it should run it. A service never asks for intents."
            }
            Self::SharedIdentityDetected => {
                "Give each program an entry of its own: `marque report shared-identities`."
            }
            Self::DelegatorMissing | Self::DelegatorNotAllowed => {
                "See whom the playbook lets delegate (`marque playbook show`); the agent has to come with that person's token."
            }
            Self::DelegatorSessionEnded => "The person logs in again.",
            Self::ChainTooDeep | Self::ChainInvalid => {
                "See the chain in the log (`marque audit tail`); let fewer agents hand the work on."
            }
            Self::SponsorMissing => "Name an owner in the agent's entry.",
            Self::EnvironmentBoundary => {
                "The identity is of the other environment: point the agent to the issuer of its own."
            }
            Self::RepositoryNotAllowed => {
                "Build the agent from a repository that the playbook names, or add the one it is from."
            }
            Self::TicketMissing | Self::TicketFormat => {
                "See which tickets the playbook wants (`marque playbook show`), and have the agent name one."
            }
            Self::TicketState | Self::TicketClosed => {
                "Bring the ticket into a state that the playbook accepts, in the ticket system."
            }
            Self::TicketNotBound => {
                "The ticket is about something else: correct the ticket's fields or the request's parameters."
            }
            Self::TicketSystemUnavailable => {
                "Look whether the ticket system answers from this host; nothing is assumed while it does not."
            }
            Self::OutsideChangeWindow => {
                "Wait for the next window; `marque playbook show` says when it opens."
            }
            Self::Blackout => {
                "Wait for the end of the freeze; nothing but break-glass goes before."
            }
            Self::RiskTooHigh => {
                "See what the score is made of (`marque intent show`), and repair what can be."
            }
            Self::ConfidenceTooLow => "Have the agent ask with a narrower task.",
            Self::PostureChanged => {
                "Bring the host or the agent back to the posture that the playbook wants."
            }
            Self::ApprovalRequired | Self::ApprovalPending => {
                "An approver decides: `marque intent list --state pending`."
            }
            Self::ApprovalDenied => {
                "Ask the approver who refused; the same request is answered with this refusal for a while."
            }
            Self::ApprovalExpired => {
                "Look why nobody decided in time: whether approvers are told, and whether the time is enough."
            }
            Self::ApprovalDigestMismatch => {
                "Look at the intent again and approve what is shown now."
            }
            Self::SelfApprovalForbidden | Self::ApproverNotEligible => {
                "Another person approves; `marque intent show` says who may."
            }
            Self::QuorumUnreachable => {
                "Name more approvers, or ask for fewer: the rule cannot be met as it stands."
            }
            Self::ConcurrentGrantLimit => {
                "Have the agents complete or cancel what they do not use, or raise the limit."
            }
            Self::DuplicateGrant => {
                "Nothing: the agent uses the intent that it is told. Agents that lose answers send an `Idempotency-Key`."
            }
            Self::SenderConstraintFailed | Self::TokenReusedElsewhere => {
                "Somebody else may have the token: see the log (`marque audit tail`), and revoke it (`marque token revoke`)."
            }
            Self::RateLimited => {
                "Look whether the agent runs in circles; `[denials]` in trust-domain.toml has the limits."
            }
            Self::CooldownAfterDenial => {
                "See what was refused (`marque denials list --agent`), and repair that; `marque quarantine release` ends the wait."
            }
            Self::RephraseSuspected => {
                "See what was refused before (`marque denials list`): the agent looks for another way to the same target."
            }
            Self::DestructiveLimit | Self::MinInterval => {
                "See how fast the agent calls; the playbook has the limits."
            }
            Self::Quarantined => {
                "See why (`marque quarantine list`, `marque denials list`), repair it, then `marque quarantine release`."
            }
            Self::ApproverQueueFull => "Have more people approve, or agents ask for less.",
            Self::PolicyUnavailable | Self::PolicyError => {
                "Check the policies (`marque check`) and the daemon's log; nothing is granted meanwhile."
            }
            Self::VaultUnavailable => "Look whether the credential vault answers.",
            Self::AuditUnavailable => {
                "Look whether the database takes writes; nothing is done that cannot be recorded."
            }
            Self::ClockUnsafe => "Set the host's clock right.",
            Self::UpstreamUnreachable => "Look whether the upstream answers from this host.",
            Self::OutcomeAmbiguous => {
                "Look at the target whether the call took effect; it is never repeated blindly."
            }
            other => match other.class() {
                DenialClass::Malformed => {
                    "Correct what the agent sends; the detail says what is wrong with it."
                }
                DenialClass::Identity => {
                    "Look who asks and as what it attests: `marque explain pid`."
                }
                DenialClass::Boundary => "Nothing: the boundary is meant to be there.",
                DenialClass::Attenuation => {
                    "Have the agent ask for less; what is handed on is never more than what there was."
                }
                DenialClass::Intent => {
                    "Have the agent stay within its intent, or write what it needs into a new version of the playbook."
                }
                DenialClass::Change => "Repair the change ticket, or wait for the window.",
                DenialClass::Risk => "See what the score is made of: `marque intent show`.",
                DenialClass::Approval => "See who may approve: `marque intent show`.",
                DenialClass::Grant => {
                    "The grant does not stand any more: the agent asks for a new intent."
                }
                DenialClass::Stop => {
                    "Somebody stopped it: `marque kill list` says who, when and why."
                }
                DenialClass::Pace => "Have the agent ask less often.",
                DenialClass::System => "See the daemon's log.",
            },
        }
    }
}
