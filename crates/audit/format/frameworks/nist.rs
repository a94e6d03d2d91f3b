//! NIST's frameworks: AI risk management, cybersecurity, zero trust. Of the first two, what the product bears on.

use super::Control;
use crate::EventKind as Kind;

/// NIST AI RMF 1.0.
pub(super) const AI_RMF: [Control; 6] = [
    Control {
        tag: "nist-ai-rmf:GOVERN-2.1",
        title: "Roles, responsibilities and lines of communication are documented and clear",
        how: "Every entry and playbook has an owner, every grant its approvers, and a break-glass grant its responder and its \
              reviewer.",
        kinds: &[Kind::EntryCreated, Kind::ApprovalRecorded, Kind::BreakGlassReviewed],
        classes: &["approval"],
    },
    Control {
        tag: "nist-ai-rmf:MAP-3.5",
        title: "Processes for human oversight are defined, assessed and documented",
        how: "A playbook says who approves, how many and how soon; what they saw and decided is in the log.",
        kinds: &[
            Kind::IntentPending,
            Kind::ApprovalRecorded,
            Kind::ApprovalObjected,
            Kind::ApprovalNarrowed,
            Kind::ApprovalRefused,
            Kind::BreakGlassReviewed,
        ],
        classes: &["approval"],
    },
    Control {
        tag: "nist-ai-rmf:MEASURE-2.4",
        title: "Functionality and behaviour of the AI system are monitored in production",
        how: "What agents asked for, were refused, did and reported is recorded, and reported work can be checked.",
        kinds: &[
            Kind::IntentRequested,
            Kind::IntentDenied,
            Kind::IntentCompleted,
            Kind::IntentPostChecked,
            Kind::IntentHeard,
            Kind::PolicyObserved,
        ],
        classes: &[],
    },
    Control {
        tag: "nist-ai-rmf:MANAGE-2.4",
        title: "Mechanisms are in place to supersede, disengage or deactivate AI systems",
        how: "Revocation, quarantine and the kill switch, which hold while the database cannot be written.",
        kinds: &[
            Kind::Kill,
            Kind::QuarantineBegan,
            Kind::IntentRevoked,
            Kind::TokenRevoked,
            Kind::EntryDeleted,
        ],
        classes: &["stop"],
    },
    Control {
        tag: "nist-ai-rmf:MEASURE-2.10",
        title: "Privacy risk of the AI system is examined and documented",
        how: "The log has digests of what agents wrote; the words can be sealed beside it and taken away, and the log says who \
              read and who took them.",
        kinds: &[Kind::PayloadSealed, Kind::PayloadRead, Kind::PayloadErased],
        classes: &[],
    },
    Control {
        tag: "nist-ai-rmf:MANAGE-4.1",
        title: "Post-deployment monitoring plans are implemented, with override, incident response and change management",
        how: "Posture signals change decisions at once; break-glass is the override, with alert and review; changes hang on \
              their ticket.",
        kinds: &[
            Kind::PostureSet,
            Kind::FolderReloaded,
            Kind::FolderReloadRefused,
            Kind::BreakGlassRequested,
            Kind::BreakGlassActivated,
            Kind::BreakGlassUsed,
            Kind::BreakGlassEnded,
        ],
        classes: &["change", "risk"],
    },
];

/// NIST CSF 2.0.
pub(super) const CSF: [Control; 8] = [
    Control {
        tag: "nist-csf:PR.AA-01",
        title: "Identities and credentials for authorized users, services and hardware are managed",
        how: "Registration entries, federation and authorities, with every change in the log.",
        kinds: &[
            Kind::EntryCreated,
            Kind::EntryDeleted,
            Kind::FederationAdded,
            Kind::FederationRemoved,
            Kind::BundleSet,
            Kind::EntryRefused,
            Kind::Restored,
            Kind::AuthorityCreated,
            Kind::AuthorityPrepared,
            Kind::AuthoritySignedDownstream,
            Kind::AuthorityFollowed,
            Kind::AuthorityActivated,
            Kind::AuthorityTainted,
            Kind::AuthorityRevoked,
            Kind::AuthorityRetired,
            Kind::AuthorityPruned,
            Kind::SvidIssued,
            Kind::SvidBrokered,
        ],
        classes: &[],
    },
    Control {
        tag: "nist-csf:PR.AA-02",
        title: "Identities are proofed and bound to credentials based on the context of interactions",
        how: "Attestation of the process at the other end of the socket; the identity is bound to a key made for it.",
        kinds: &[Kind::SvidIssued, Kind::IdentityShared],
        classes: &["identity"],
    },
    Control {
        tag: "nist-csf:PR.AA-03",
        title: "Users, services and hardware are authenticated",
        how: "SVIDs for workloads, OpenID Connect for approvers, the kernel's word for operators.",
        kinds: &[Kind::ApproverLoggedIn, Kind::ApproverLoginRefused, Kind::TokenRefused],
        classes: &["identity"],
    },
    Control {
        tag: "nist-csf:PR.AA-05",
        title: "Access permissions are managed, with least privilege and separation of duties",
        how: "Rights per intent, narrowed and never widened; approvals by others than who asked.",
        kinds: &[
            Kind::IntentApproved,
            Kind::IntentRevoked,
            Kind::IntentExpired,
            Kind::IntentCancelled,
            Kind::IntentCompleted,
            Kind::ApprovalRecorded,
            Kind::ApprovalNarrowed,
            Kind::TokenIssued,
            Kind::TokenDerived,
            Kind::TokenUsed,
        ],
        classes: &["attenuation", "approval", "grant"],
    },
    Control {
        tag: "nist-csf:PR.PS-04",
        title: "Log records are generated and made available for continuous monitoring",
        how: "Every event is a leaf of a verifiable log, which is exported and pushed; so no event is tagged with it alone.",
        kinds: &[],
        classes: &[],
    },
    Control {
        tag: "nist-csf:DE.CM-03",
        title: "Personnel activity and technology usage are monitored to find potentially adverse events",
        how: "Shared identities, refusals by class and their budgets, observed policies, keys that were asked for too much.",
        kinds: &[
            Kind::IdentityShared,
            Kind::SigningRefused,
            Kind::CooldownBegan,
            Kind::QuarantineBegan,
            Kind::PolicyObserved,
        ],
        classes: &["pace", "risk"],
    },
    Control {
        tag: "nist-csf:RS.AN-07",
        title: "Incident data and metadata are collected, and their integrity and provenance are preserved",
        how: "Merkle tree with signed checkpoints, pushed off the host and cosigned by witnesses; when one refuses the log, \
              that is tagged.",
        kinds: &[Kind::WitnessRefused],
        classes: &[],
    },
    Control {
        tag: "nist-csf:RS.MI-01",
        title: "Incidents are contained",
        how: "Kill and its lift, quarantine, revocation, and what a transmitter of shared signals says.",
        kinds: &[
            Kind::Kill,
            Kind::KillLiftAsked,
            Kind::KillLifted,
            Kind::SsfReceived,
            Kind::QuarantineBegan,
            Kind::QuarantineReleased,
            Kind::IntentRevoked,
            Kind::TokenRevoked,
        ],
        classes: &["stop"],
    },
];

/// NIST SP 800-207, section 2.1.
pub(super) const ZERO_TRUST: [Control; 7] = [
    Control {
        tag: "nist-sp-800-207:T1",
        title: "All data sources and computing services are considered resources",
        how: "Resource servers are named in the trust domain's document; others are not known.",
        kinds: &[],
        classes: &[],
    },
    Control {
        tag: "nist-sp-800-207:T2",
        title: "All communication is secured regardless of network location",
        how: "The HTTPS edge speaks TLS alone, and what is called outside is https; SVIDs let workloads do the same among \
              themselves.",
        kinds: &[Kind::SvidIssued],
        classes: &[],
    },
    Control {
        tag: "nist-sp-800-207:T3",
        title: "Access to individual enterprise resources is granted on a per-session basis",
        how: "One intent, one grant, counted uses, an end.",
        kinds: &[
            Kind::IntentRequested,
            Kind::IntentApproved,
            Kind::IntentExpired,
            Kind::TokenIssued,
            Kind::TokenUsed,
        ],
        classes: &["grant"],
    },
    Control {
        tag: "nist-sp-800-207:T4",
        title: "Access to resources is determined by dynamic policy",
        how: "Cedar policies over identity, parameters, ticket, window, posture and risk, at approval and at every use.",
        kinds: &[
            Kind::IntentDenied,
            Kind::IntentPending,
            Kind::PolicyObserved,
            Kind::PostureSet,
            Kind::ChangeRefused,
        ],
        classes: &["change", "risk", "boundary"],
    },
    Control {
        tag: "nist-sp-800-207:T5",
        title: "The enterprise monitors and measures the integrity and security posture of all assets",
        how: "Attestation of agents and posture signals set by others; hosts are not scanned.",
        kinds: &[Kind::PostureSet, Kind::IdentityShared],
        classes: &["identity"],
    },
    Control {
        tag: "nist-sp-800-207:T6",
        title: "All resource authentication and authorization are dynamic and strictly enforced before access is allowed",
        how: "Every use is decided anew and recorded before its token is answered.",
        kinds: &[
            Kind::SvidIssued,
            Kind::TokenIssued,
            Kind::TokenDerived,
            Kind::TokenRefused,
            Kind::BreakGlassUsed,
        ],
        classes: &["identity", "stop"],
    },
    Control {
        tag: "nist-sp-800-207:T7",
        title: "The enterprise collects as much information as possible about assets, infrastructure and communications",
        how: "What it decides about is recorded, and reported work is checked; traffic is not collected.",
        kinds: &[Kind::IntentPostChecked, Kind::IntentHeard],
        classes: &[],
    },
];
