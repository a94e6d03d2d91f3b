//! A workload as one broker may see it: what the streams tell of, and what a single answer is about.

use std::sync::{Arc, Mutex, PoisonError};

use marque_attest::Attestors;
use marque_spiffe::SelectorSet;
use marque_workload::{
    IdentityUser, JwtSvidMaterial, Workload, WorkloadError, X509Identity, X509SvidMaterial,
};
use tonic::Status;

use super::super::offer::LiveOffer;
use super::super::workload::streams::{Refusal, Subject};
use super::allow_list::{BrokerCall, Permission};
use super::record::{Given, record};
use super::reference::Reference;
use super::standing::Broker;
use super::target::Target;
use super::{BrokerDoor, Desk};
use crate::error;
use crate::identities::{IDENTITY_SHARED, SharedIdentities};

/// One workload, found for one broker.
#[derive(Debug)]
pub(super) struct Brokered {
    desk: Arc<Desk>,
    broker: Arc<Broker>,
    permission: Arc<Permission>,
    target: Target,
    _call: BrokerCall,
    /// What this call has recorded already.
    recorded: Mutex<Vec<Arc<X509SvidMaterial>>>,
}

impl Brokered {
    /// Finds the workload, if this broker may refer to one in this way.
    pub(super) fn find(
        desk: Arc<Desk>,
        broker: Arc<Broker>,
        permission: Arc<Permission>,
        reference: Reference,
    ) -> Result<Self, Status> {
        if !permission.rule.may_refer_by(reference.kind()) {
            return Err(error::broker::reference_type(broker.id(), reference.kind()));
        }
        let call = permission.open_call()?;
        let target = Target::find(reference, &broker)?;
        Ok(Self { desk, broker, permission, target, _call: call, recorded: Mutex::default() })
    }

    /// Puts JWT-SVIDs on record, and then sees whether they may still leave: recording and attesting take time, in which a
    /// kill may come, an entry may go, and the workload may become another one than `selectors` say.
    pub(super) async fn release_jwt(
        &self,
        svids: &[Arc<JwtSvidMaterial>],
        audience: &[String],
        selectors: &SelectorSet,
    ) -> Result<(), Status> {
        for svid in svids {
            let given = Given::Jwt { svid, audience };
            record(&self.desk.door, given, self.broker.id(), &self.target).await?;
        }
        let now = self.attest().await?;
        let still = self.workload().identities(&now);
        let stands = |svid: &Arc<JwtSvidMaterial>| {
            still.iter().any(|entry| entry.spiffe_id() == &svid.spiffe_id)
        };
        if &now == selectors && svids.iter().all(stands) {
            Ok(())
        } else {
            Err(error::broker::workload(WorkloadError::NotEntitled))
        }
    }
}

impl Subject for Brokered {
    fn offer(&self) -> &LiveOffer {
        &self.desk.door.offer
    }

    fn attestors(&self) -> &Attestors {
        &self.desk.door.attestors
    }

    fn workload(&self) -> &Workload {
        &self.permission.workload
    }

    async fn attest(&self) -> Result<SelectorSet, Status> {
        let selectors = self.target.attest(&self.desk.door.attestors).await?;
        // Attesting takes time, in which a broker may be stopped and a workload end.
        self.desk.door.brokers.permission(&self.broker, &self.desk.verifier)?;
        if self.target.has_stopped() {
            return Err(error::broker::not_found());
        }
        Ok(selectors)
    }

    async fn ended(&self) -> Status {
        let BrokerDoor { attestors, brokers, clock, .. } = &self.desk.door;
        let opened_by = (brokers, &self.permission.rule);
        tokio::select! {
            biased;
            status = self.broker.loses_standing(opened_by, &self.desk.verifier) => status,
            status = self.target.stopped(attestors, &**clock) => status,
        }
    }

    /// Every SVID is on record, with who got it, before it leaves; once for each call.
    async fn release(&self, svids: &[X509Identity]) -> Result<(), Status> {
        for X509Identity { material, hint: _ } in svids {
            if self.has_recorded(material) {
                continue;
            }
            let given = Given::X509(material);
            record(&self.desk.door, given, self.broker.id(), &self.target).await?;
        }
        let newest = svids.iter().map(|identity| Arc::clone(&identity.material)).collect();
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        Ok(())
    }

    fn user(&self, selectors: &SelectorSet) -> IdentityUser {
        self.target.user(selectors)
    }

    fn sharing(&self) -> &Arc<SharedIdentities> {
        &self.desk.door.sharing
    }

    fn refusal(&self, refusal: Refusal<'_>) -> Status {
        let Refusal { method, selectors, error } = refusal;
        let code = match &error {
            Some(failure) => error::refused_identity(failure),
            None => Some(IDENTITY_SHARED),
        };
        if let Some(code) = code {
            self.desk.door.denials.refused(method, code, &self.user(selectors), selectors);
        }
        error::broker::workload(error.unwrap_or(WorkloadError::NotEntitled))
    }
}

impl Brokered {
    fn has_recorded(&self, material: &Arc<X509SvidMaterial>) -> bool {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.iter().any(|known| Arc::ptr_eq(known, material))
    }
}
