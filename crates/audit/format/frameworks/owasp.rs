//! OWASP's lists about agents and non-human identities, and CSA MAESTRO.

use super::Control;
use crate::EventKind as Kind;

/// OWASP Top 10 for Agentic Applications 2026.
pub(super) const AGENTIC: [Control; 10] = [
    Control {
        tag: "owasp-asi:ASI01",
        title: "Agent Goal Hijack",
        how: "Does not keep an agent's goal. What a hijacked agent gets is bounded: an intent names a reviewed playbook, is \
              resolved to exact values and pinned by a digest; whatever lies outside is refused.",
        kinds: &[Kind::IntentRequested],
        classes: &["intent", "attenuation"],
    },
    Control {
        tag: "owasp-asi:ASI02",
        title: "Tool Misuse and Exploitation",
        how: "A token carries the rights of one approved intent for named audiences, and the verifier for resource servers \
              refuses the rest.",
        kinds: &[Kind::TokenRefused, Kind::ApprovalNarrowed],
        classes: &["intent"],
    },
    Control {
        tag: "owasp-asi:ASI03",
        title: "Identity and Privilege Abuse",
        how: "Every agent process is attested and has its own short-lived identity; privilege is given per intent, is bound to \
              that identity's key and ends by itself.",
        kinds: &[
            Kind::SvidIssued,
            Kind::SvidBrokered,
            Kind::IntentApproved,
            Kind::TokenIssued,
            Kind::TokenDerived,
            Kind::IdentityShared,
            Kind::EntryCreated,
            Kind::BreakGlassActivated,
            Kind::BreakGlassUsed,
            Kind::SigningRefused,
        ],
        classes: &["identity", "attenuation", "grant"],
    },
    Control {
        tag: "owasp-asi:ASI04",
        title: "Agentic Supply Chain Vulnerabilities",
        how: "Identities can be bound to the digest of the executable or container image and to the repository it was built \
              from; a changed program earns another identity or none. Dependencies inside a program are not looked at.",
        kinds: &[Kind::EntryCreated, Kind::EntryDeleted],
        classes: &["identity"],
    },
    Control {
        tag: "owasp-asi:ASI05",
        title: "Unexpected Code Execution (RCE)",
        how: "Not a sandbox. Another program that an agent starts is attested as itself and does not inherit the identity.",
        kinds: &[],
        classes: &[],
    },
    Control {
        tag: "owasp-asi:ASI06",
        title: "Memory & Context Poisoning",
        how: "Nothing is done about an agent's memory. What it asks for is judged by playbook and policy, never by its reasons.",
        kinds: &[],
        classes: &[],
    },
    Control {
        tag: "owasp-asi:ASI07",
        title: "Insecure Inter-Agent Communication",
        how: "Agents authenticate each other with SVIDs; a derived token names the whole chain and carries no more than its \
              parent.",
        kinds: &[Kind::SvidIssued, Kind::TokenDerived],
        classes: &["attenuation"],
    },
    Control {
        tag: "owasp-asi:ASI08",
        title: "Cascading Failures",
        how: "Rates, caps and budgets of refusals slow an agent and its family down; a kill ends grants and everything derived \
              from them.",
        kinds: &[Kind::Kill, Kind::CooldownBegan, Kind::QuarantineBegan],
        classes: &["pace", "stop", "system"],
    },
    Control {
        tag: "owasp-asi:ASI09",
        title: "Human-Agent Trust Exploitation",
        how: "Approvers are shown the resolved grant and approve its digest, not the agent's words. Queues and rates of approvals \
              are limited.",
        kinds: &[
            Kind::IntentPending,
            Kind::ApprovalRecorded,
            Kind::ApprovalObjected,
            Kind::ApprovalNarrowed,
            Kind::ApprovalRefused,
        ],
        classes: &["approval"],
    },
    Control {
        tag: "owasp-asi:ASI10",
        title: "Rogue Agents",
        how: "Kill switch by agent, playbook, trust domain or all; quarantine of a family; two programs with one identity are \
              found.",
        kinds: &[
            Kind::Kill,
            Kind::QuarantineBegan,
            Kind::QuarantineReleased,
            Kind::IdentityShared,
            Kind::IntentRevoked,
            Kind::TokenRevoked,
        ],
        classes: &["stop"],
    },
];

/// OWASP Non-Human Identities Top 10, 2025.
pub(super) const NON_HUMAN_IDENTITIES: [Control; 10] = [
    Control {
        tag: "owasp-nhi:NHI1",
        title: "Improper Offboarding",
        how: "Removing an entry ends its identity; grants end with their clock, and where a playbook says so with their ticket or \
              their agent's process.",
        kinds: &[
            Kind::EntryDeleted,
            Kind::IntentRevoked,
            Kind::IntentExpired,
            Kind::IntentClosedUnreported,
            Kind::TokenRevoked,
        ],
        classes: &["grant"],
    },
    Control {
        tag: "owasp-nhi:NHI2",
        title: "Secret Leakage",
        how: "An agent holds no secret at rest; tokens are short-lived and can be bound to the caller's key. The log has ids of \
              tokens, never tokens.",
        kinds: &[Kind::TokenIssued, Kind::TokenRevoked],
        classes: &[],
    },
    Control {
        tag: "owasp-nhi:NHI3",
        title: "Vulnerable Third-Party NHI",
        how: "Other trust domains are named one by one, within one environment, and their tokens are not taken at the token \
              endpoint. What third parties do is not watched.",
        kinds: &[],
        classes: &["boundary"],
    },
    Control {
        tag: "owasp-nhi:NHI4",
        title: "Insecure Authentication",
        how: "Workloads authenticate by attested SVIDs, tokens are bound by mutual TLS or DPoP, approvers log in with OpenID \
              Connect.",
        kinds: &[
            Kind::SvidIssued,
            Kind::ApproverLoggedIn,
            Kind::ApproverLoginRefused,
            Kind::TokenRefused,
        ],
        classes: &["identity"],
    },
    Control {
        tag: "owasp-nhi:NHI5",
        title: "Overprivileged NHI",
        how: "Nothing stands: rights come with one approved intent and are no wider than its playbook; approvers can take some \
              away, and a playbook that permits all that a role of people does is refused. Keys refuse to sign what is \
              outside of their ceiling, whoever asks.",
        kinds: &[
            Kind::IntentApproved,
            Kind::ApprovalNarrowed,
            Kind::TokenIssued,
            Kind::SigningRefused,
        ],
        classes: &["attenuation"],
    },
    Control {
        tag: "owasp-nhi:NHI6",
        title: "Insecure Cloud Deployment Configurations",
        how: "Cloud configurations are neither read nor changed.",
        kinds: &[],
        classes: &[],
    },
    Control {
        tag: "owasp-nhi:NHI7",
        title: "Long-Lived Secrets",
        how: "SVIDs live for a day at most and access tokens for an hour, by ceilings of the trust domain; every grant has an end.",
        kinds: &[
            Kind::SvidIssued,
            Kind::TokenIssued,
            Kind::IntentExpired,
            Kind::AuthorityCreated,
            Kind::AuthorityPrepared,
            Kind::AuthoritySignedDownstream,
            Kind::AuthorityActivated,
            Kind::AuthorityRetired,
        ],
        classes: &[],
    },
    Control {
        tag: "owasp-nhi:NHI8",
        title: "Environment Isolation",
        how: "Production and non-production have separate roots, stores and logs; one process serves one of the two, and a \
              credential of the other is refused.",
        kinds: &[],
        classes: &["boundary"],
    },
    Control {
        tag: "owasp-nhi:NHI9",
        title: "NHI Reuse",
        how: "One identity in two programs within a window is found, and refused where the trust domain says so.",
        kinds: &[Kind::IdentityShared],
        classes: &[],
    },
    Control {
        tag: "owasp-nhi:NHI10",
        title: "Human Use of NHI",
        how: "Approvers and operators are principals of their own; a process that attests as an agent is never one, and nobody \
              approves what is their own.",
        kinds: &[Kind::ApprovalRefused, Kind::ApproverLoggedIn],
        classes: &["approval"],
    },
];

/// CSA MAESTRO.
pub(super) const MAESTRO: [Control; 7] = [
    Control {
        tag: "csa-maestro:L1",
        title: "Foundation Models",
        how: "Not touched.",
        kinds: &[],
        classes: &[],
    },
    Control {
        tag: "csa-maestro:L2",
        title: "Data Operations",
        how: "A playbook states its classes of data and its purpose, which policy and approvers see. Data itself is not handled.",
        kinds: &[],
        classes: &[],
    },
    Control {
        tag: "csa-maestro:L3",
        title: "Agent Frameworks",
        how: "An agent asks for a playbook and is told what to do about a refusal.",
        kinds: &[
            Kind::IntentRequested,
            Kind::IntentDenied,
            Kind::IntentCompleted,
            Kind::IntentClosedUnreported,
        ],
        classes: &["intent"],
    },
    Control {
        tag: "csa-maestro:L4",
        title: "Deployment and Infrastructure",
        how: "Processes are attested on their host, in containers and pods.",
        kinds: &[Kind::SvidIssued, Kind::EntryCreated, Kind::EntryDeleted, Kind::AuthorityCreated],
        classes: &["identity"],
    },
    Control {
        tag: "csa-maestro:L5",
        title: "Evaluation and Observability",
        how: "Reported work is checked with whoever can tell; policies can be observed before they are enforced; everything is \
              in the log.",
        kinds: &[Kind::IntentPostChecked, Kind::IntentHeard, Kind::PolicyObserved],
        classes: &[],
    },
    Control {
        tag: "csa-maestro:L6",
        title: "Security and Compliance",
        how: "Policies, approvals, change control, break-glass with its review, and the kill switch.",
        kinds: &[
            Kind::ApprovalRecorded,
            Kind::ApprovalRefused,
            Kind::BreakGlassRequested,
            Kind::BreakGlassActivated,
            Kind::BreakGlassUsed,
            Kind::BreakGlassEnded,
            Kind::BreakGlassReviewed,
            Kind::Kill,
            Kind::PostureSet,
        ],
        classes: &["approval", "change", "risk", "stop"],
    },
    Control {
        tag: "csa-maestro:L7",
        title: "Agent Ecosystem",
        how: "Delegation between agents is a chain of tokens that only narrows; brokers fetch identities only of those that \
              they are listed for.",
        kinds: &[Kind::TokenDerived, Kind::SvidBrokered, Kind::IdentityShared],
        classes: &["attenuation", "boundary"],
    },
];
