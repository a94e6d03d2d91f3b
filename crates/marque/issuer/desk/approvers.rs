//! Who could approve, as far as this trust domain knows.

use marque_intent::{
    Approver, Decider, Denial, Grant, GroupName, KnownApprovers, Principal, PrincipalKind, Ruling,
};
use marque_registry::OperatorPrincipal;
use nix::unistd::Uid;

use super::IntentDesk;
use crate::grpc::admin::{names_of, written_groups};

impl IntentDesk {
    /// Whether a person could approve what policy wants a person for: nobody waits for people who do not exist.
    ///
    /// # Errors
    /// [`marque_intent::DenialCode::QuorumUnreachable`].
    pub(super) fn must_be_approvable(&self, grant: &Grant, ruling: &Ruling) -> Result<(), Denial> {
        match (ruling, &grant.approval) {
            (Ruling::AskApproval { .. }, Some(plan)) => plan.is_reachable(&self.known_approvers()),
            _ => Ok(()),
        }
    }

    /// The groups in which somebody who logs in is ever on duty.
    fn groups_by_duty(&self) -> impl Iterator<Item = GroupName> {
        let logs_in =
            |name: &&Principal| matches!(name.kind(), PrincipalKind::Person | PrincipalKind::Email);
        self.rosters
            .iter()
            .filter(move |roster| roster.everybody().iter().any(logs_in))
            .map(|roster| roster.group().clone())
    }

    /// The operators, in every group that they are ever in, and the groups that people who log in may be in.
    fn known_approvers(&self) -> KnownApprovers {
        let document = self.registry.document();
        let own = Uid::effective().as_raw();
        let mut people: Vec<Decider> = document
            .operators()
            .iter()
            .map(|rule| {
                let (uid, user) = match rule.principal() {
                    OperatorPrincipal::Uid(uid) => (*uid, uid.to_string()),
                    // Nobody has this number: two rules of users are two people.
                    OperatorPrincipal::User(user) => (u32::MAX, user.clone()),
                };
                let known_as = match rule.principal() {
                    OperatorPrincipal::Uid(_) => names_of([rule]),
                    OperatorPrincipal::User(user) => {
                        let own = format!("user:{user}").parse().ok();
                        names_of([rule]).into_iter().chain(own).collect()
                    }
                };
                let groups = written_groups([rule]);
                let approver = Approver::Operator { uid, user };
                let mut known = Decider { groups, known_as, ..Decider::from(approver) };
                known.groups.extend(self.rosters.ever_groups_of(&known.names()));
                known
            })
            .collect();
        if !people
            .iter()
            .any(|one| matches!(one.approver, Approver::Operator { uid, .. } if uid == own))
        {
            people.push(Decider::from(Approver::Operator { uid: own, user: own.to_string() }));
        }
        let login = document.approver_login();
        KnownApprovers {
            people,
            open_groups: login
                .into_iter()
                .flat_map(|login| login.groups().values())
                .filter_map(|group| group.parse().ok())
                .chain(login.into_iter().flat_map(|_offered| self.groups_by_duty()))
                .collect(),
            open: login.is_some(),
        }
    }
}
