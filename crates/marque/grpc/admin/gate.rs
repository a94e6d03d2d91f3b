//! Who may use the admin socket: an operator of the trust domain who is not an agent and was not started by one.
//!
//! The file system keeps others away from the socket; this looks at the process itself, for every call. What it
//! cannot see: an agent that leaves its own ancestry (a double fork) under an operator's uid. Run agents under uids of
//! their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_attest::{Attestors, Peer};
use marque_intent::{Approver, DenialCode, GroupName, IntentId, Principal};
use marque_registry::OperatorRule;
use marque_spiffe::SpiffeId;
use nix::unistd::{Uid, User};
use tokio::sync::{Semaphore, oneshot};
use tonic::Status;

use super::door::{AdminDoor, Operator, Refusal};
use crate::error;

#[derive(Debug)]
pub(super) struct Gate {
    door: Arc<dyn AdminDoor>,
    attestors: Arc<Attestors>,
    own_uid: u32,
    /// Places for those who ask for the name of a user.
    lookups: Lookups,
}

/// Places for lookups, which all calls share.
#[derive(Debug, Clone)]
pub(super) struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

/// How many names of users are looked up at a time.
const LOOKUPS: usize = 8;

impl Gate {
    pub(super) fn new(
        door: Arc<dyn AdminDoor>,
        attestors: Arc<Attestors>,
        lookups: Lookups,
    ) -> Self {
        Self { door, attestors, own_uid: Uid::effective().as_raw(), lookups }
    }

    pub(super) fn attestors(&self) -> &Attestors {
        &self.attestors
    }

    /// The operator behind a call; `intent` is what the call is about, if it is about one.
    pub(super) async fn admit(
        &self,
        peer: &Peer,
        method: &'static str,
        intent: Option<&IntentId>,
    ) -> Result<Operator, Status> {
        let lineage = self.attestors.attest_lineage(peer).await.map_err(error::lineage)?;
        let mut agents: Vec<SpiffeId> =
            lineage.iter().flat_map(|process| self.door.agents_for(&process.selectors)).collect();
        agents.sort();
        agents.dedup();
        let user = self.user_name(peer.uid()).await;
        if !agents.is_empty() {
            return Err(self.refuse_agent(peer.uid(), user, agents, method, intent).await);
        }
        self.operator(peer.uid(), user).ok_or_else(|| error::not_an_operator(peer.uid()))
    }

    fn operator(&self, uid: u32, user: Option<String>) -> Option<Operator> {
        let document = self.door.document();
        let rules: Vec<&OperatorRule> =
            document.operators().iter().filter(|rule| rule.matches(uid, user.as_deref())).collect();
        if uid != self.own_uid && rules.is_empty() {
            return None;
        }
        let approver = Approver::Operator { uid, user: user.unwrap_or_else(|| uid.to_string()) };
        let known_as = names_of(rules.iter().copied());
        let mut groups = written_groups(rules);
        let names = approver.names().into_iter().chain(known_as.iter().cloned()).collect();
        groups.extend(self.door.rosters().groups_of(&names, self.door.now()));
        let has_mfa = document.approvals().operator_mfa;
        Some(Operator::new(approver, groups, known_as, has_mfa))
    }

    /// Refuses an agent and puts that on record; what cannot be recorded is refused all the same.
    async fn refuse_agent(
        &self,
        uid: u32,
        user: Option<String>,
        agents: Vec<SpiffeId>,
        method: &'static str,
        intent: Option<&IntentId>,
    ) -> Status {
        let code = self.code_for(&agents, intent).await;
        let status = error::agent_at_the_admin_socket(&agents, code);
        let user = Approver::Operator { uid, user: user.unwrap_or_else(|| uid.to_string()) };
        tracing::warn!(method, %user, ?agents, code = code.as_str(), "refused an agent at the admin socket");
        let refusal = Refusal { method, user, agents, intent: intent.cloned(), code };
        if let Err(error) = self.door.record_refusal(refusal).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot record that an agent was refused"
            );
        }
        status
    }

    /// The name service may block, so it is asked on a thread of its own: those that the runtime keeps for what blocks may
    /// all be taken by what callers of the service ask for, and whoever throws the kill switch must not wait for these.
    async fn user_name(&self, uid: u32) -> Option<String> {
        let place = Arc::clone(&self.lookups.0).acquire_owned().await.ok()?;
        let (tell, told) = oneshot::channel();
        let ask = move || {
            drop(tell.send(User::from_uid(Uid::from_raw(uid))));
            drop(place);
        };
        std::thread::Builder::new().name("user-name".to_owned()).spawn(ask).ok()?;
        told.await.ok()?.ok()?.map(|user| user.name)
    }

    async fn code_for(&self, agents: &[SpiffeId], intent: Option<&IntentId>) -> DenialCode {
        let Some(id) = intent else { return DenialCode::ApproverNotEligible };
        match self.door.intent(id.clone()).await {
            Ok(intent) if agents.contains(intent.agent()) => DenialCode::SelfApprovalForbidden,
            _ => DenialCode::ApproverNotEligible,
        }
    }
}

/// The approver groups that the trust domain's document puts somebody in.
pub(crate) fn written_groups<'a>(
    rules: impl IntoIterator<Item = &'a OperatorRule>,
) -> BTreeSet<GroupName> {
    let groups = rules.into_iter().flat_map(OperatorRule::groups);
    groups.filter_map(|name| name.parse().ok()).collect()
}

/// What else an operator is called, by the trust domain's document: where they log in, and by mail.
pub(crate) fn names_of<'a>(
    rules: impl IntoIterator<Item = &'a OperatorRule>,
) -> BTreeSet<Principal> {
    let names = rules.into_iter().flat_map(|rule| {
        let persons = rule.persons().iter().map(|person| format!("person:{person}"));
        persons.chain(rule.emails().iter().map(|email| format!("email:{email}")))
    });
    names.filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::stage::Stage;
    use super::super::tests::door::FakeDoor;
    use super::*;

    /// The user that the stage's document names as an operator.
    const OPERATOR: u32 = 4_294_967_290;

    fn gate(stage: &Stage) -> Gate {
        let door = Arc::new(FakeDoor::new(Arc::clone(&stage.registry)));
        let lookups = Lookups::default();
        Gate { door, attestors: Arc::clone(&stage.attestors), own_uid: 500, lookups }
    }

    #[test]
    fn an_operator_is_known_while_the_runtimes_threads_for_blocking_work_are_all_taken() {
        let stage = Stage::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        runtime.spawn_blocking(move || held.recv());
        let name = runtime.block_on(gate(&stage).user_name(0));
        drop(release);
        assert_eq!(name.as_deref(), Some("root"));
    }

    #[test]
    fn only_the_daemons_user_and_those_in_the_document_are_operators() {
        let stage = Stage::new();
        let gate = gate(&stage);
        assert_eq!(
            gate.operator(500, Some("marque".to_owned())).map(|who| who.approver()),
            Some(Approver::Operator { uid: 500, user: "marque".to_owned() })
        );
        assert_eq!(gate.operator(501, Some("marque".to_owned())), None);
        assert_eq!(gate.operator(0, Some("root".to_owned())), None);
    }

    #[test]
    fn an_operator_is_in_the_groups_of_the_document() {
        let stage = Stage::new();
        let operator = gate(&stage).operator(OPERATOR, None).unwrap();
        assert_eq!(
            operator.groups().iter().map(|group| group.as_str()).collect::<Vec<_>>(),
            ["sre"]
        );
        assert_eq!(operator.to_string(), format!("operator:{OPERATOR}({OPERATOR})"));
        assert!(gate(&stage).operator(500, None).unwrap().groups().is_empty());
    }
}
