//! Who uses the admin socket, and who is refused there.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};

use jiff::Timestamp;
use marque_intent::{Approver, Decider, DenialCode, GroupName, IntentId, MfaEvidence, Principal};
use marque_spiffe::SpiffeId;

/// A local user who may use the admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    approver: Approver,
    groups: BTreeSet<GroupName>,
    known_as: BTreeSet<Principal>,
    has_mfa: bool,
}

impl Operator {
    /// Only the gate makes one, after it looked at the process.
    pub(in crate::grpc::admin) const fn new(
        approver: Approver,
        groups: BTreeSet<GroupName>,
        known_as: BTreeSet<Principal>,
        has_mfa: bool,
    ) -> Self {
        Self { approver, groups, known_as, has_mfa }
    }

    /// The approver groups that the operator is in now, by the document and the rosters.
    #[cfg(test)]
    pub(in crate::grpc::admin) const fn groups(&self) -> &BTreeSet<GroupName> {
        &self.groups
    }

    /// The operator as the one who decides, with all that is known of them.
    #[must_use]
    pub fn decider(&self, now: Timestamp) -> Decider {
        Decider {
            groups: self.groups.clone(),
            known_as: self.known_as.clone(),
            mfa: self.has_mfa.then(|| MfaEvidence::of_host(now)),
            client: Some("admin socket".to_owned()),
            ..Decider::from(self.approver())
        }
    }

    /// The operator as the one who approves or denies.
    #[must_use]
    pub fn approver(&self) -> Approver {
        self.approver.clone()
    }
}

/// The form in audit records.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.approver(), f)
    }
}

/// An agent was refused at the operators' socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it called.
    pub method: &'static str,
    /// The local user it ran as.
    pub user: Approver,
    /// The agents that the process, or one of its ancestors, attests as; never empty.
    pub agents: Vec<SpiffeId>,
    /// The intent that the call was about.
    pub intent: Option<IntentId>,
    /// The code that it was told.
    pub code: DenialCode,
}
