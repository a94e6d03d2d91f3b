//! Whose streams they are: a caller of the socket, or whom somebody else names.

use std::future::Future;
use std::sync::Arc;

use marque_attest::{Attestors, Peer};
use marque_spiffe::SelectorSet;
use marque_workload::{IdentityUser, Workload, WorkloadError, X509Identity};
use tonic::Status;

use super::super::super::offer::LiveOffer;
use super::super::{Asked, WorkloadDoor};
use crate::error;
use crate::identities::{SharedIdentities, user_of};

/// Whose state a stream tells, and what ends it beside the entitlement.
pub(in crate::grpc) trait Subject: Send + Sync + 'static {
    /// What is known of the subject's entitlement.
    fn workload(&self) -> &Workload;

    /// What is served at all.
    fn offer(&self) -> &LiveOffer;

    /// Who attests the subject.
    fn attestors(&self) -> &Attestors;

    /// What the subject attests as right now.
    fn attest(&self) -> impl Future<Output = Result<SelectorSet, Status>> + Send;

    /// The same, and nothing that was gathered before counts: what precedes every update but the first.
    fn attest_anew(&self) -> impl Future<Output = Result<SelectorSet, Status>> + Send {
        self.attest()
    }

    /// Completes when nothing more may be sent, whatever the entitlement says, with the reason.
    fn ended(&self) -> impl Future<Output = Status> + Send;

    /// The user of what the stream hands out, as long as it attests as these selectors.
    fn user(&self, selectors: &SelectorSet) -> IdentityUser;

    /// What every SVID passes on its way out.
    fn sharing(&self) -> &Arc<SharedIdentities>;

    /// How its client is told that there is nothing for it.
    fn refusal(&self, refusal: Refusal<'_>) -> Status;

    /// Told of SVIDs before they leave; what it refuses stays here.
    fn release(&self, _svids: &[X509Identity]) -> impl Future<Output = Result<(), Status>> + Send {
        std::future::ready(Ok(()))
    }
}

/// Why there is nothing for a subject.
#[derive(Debug)]
pub(in crate::grpc) struct Refusal<'a> {
    /// What was asked for.
    pub(in crate::grpc) method: &'static str,
    /// What the subject attests as.
    pub(in crate::grpc) selectors: &'a SelectorSet,
    /// What failed; `None` when somebody else holds every identity.
    pub(in crate::grpc) error: Option<WorkloadError>,
}

/// The caller of the Workload API: the process that connected.
#[derive(Debug)]
pub(in crate::grpc) struct Caller {
    pub(in crate::grpc) door: WorkloadDoor,
    pub(in crate::grpc) peer: Arc<Peer>,
}

impl Subject for Caller {
    fn workload(&self) -> &Workload {
        &self.door.workload
    }

    fn offer(&self) -> &LiveOffer {
        &self.door.offer
    }

    fn attestors(&self) -> &Attestors {
        &self.door.attestors
    }

    async fn attest(&self) -> Result<SelectorSet, Status> {
        let attestation = self.door.attestors.attest(&self.peer).await.map_err(error::attest)?;
        Ok(attestation.selectors)
    }

    async fn attest_anew(&self) -> Result<SelectorSet, Status> {
        let attested = self.door.attestors.attest_anew(&self.peer).await;
        Ok(attested.map_err(error::attest)?.selectors)
    }

    async fn ended(&self) -> Status {
        self.peer.exited().await;
        error::peer_exited()
    }

    fn user(&self, selectors: &SelectorSet) -> IdentityUser {
        user_of(self.peer.process(), selectors)
    }

    fn sharing(&self) -> &Arc<SharedIdentities> {
        &self.door.sharing
    }

    fn refusal(&self, refusal: Refusal<'_>) -> Status {
        let Refusal { method, selectors, error } = refusal;
        let asked = Asked { door: &self.door, method, peer: &self.peer, selectors };
        match error {
            Some(error) => asked.failed(error),
            None => asked.shared(),
        }
    }
}
