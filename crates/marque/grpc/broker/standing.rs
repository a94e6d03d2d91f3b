//! Who a broker is, and whether it still may ask: verified, listed, registered, and not stopped.
//!
//! All of it is asked again for every call and before every message of a stream. A handshake that succeeded once says
//! nothing about now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_attest::Peer;
use marque_registry::BrokerRule;
use marque_spiffe::{Bundle, SpiffeId, X509Svid, X509SvidError};
use marque_workload::{IssuerState, Workload};
use rustls_pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::DropGuard;
use tonic::{Request, Status};

use super::super::limit::Limit;
use super::super::svid_tls::Verifier;
use crate::error;

/// The broker at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct ConnectedBroker(pub(super) Arc<Broker>);

/// One connection's broker.
#[derive(Debug)]
pub(super) struct Broker {
    svid: X509Svid,
    chain: Vec<CertificateDer<'static>>,
    /// What verified the certificate last; another bundle has to do so anew.
    verified_by: Mutex<Arc<Bundle>>,
    process: Arc<Peer>,
    /// Ends what waits for the connection's end.
    _ending: DropGuard,
}

/// What the listed brokers may do, by SPIFFE ID (BR-2).
#[derive(Debug)]
pub(super) struct Brokers(BTreeMap<SpiffeId, Arc<Permission>>);

/// What one broker may do.
#[derive(Debug)]
pub(super) struct Permission {
    /// What it may ask.
    pub(super) rule: BrokerRule,
    /// What workloads are entitled to, as far as this broker may see it.
    pub(super) workload: Workload,
    /// How many calls more it may open.
    calls: Arc<Semaphore>,
}

impl Permission {
    /// A place for one more call, given back on drop.
    pub(super) fn open_call(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.calls).try_acquire_owned();
        place.map_err(|_none_left| error::over_limit(Limit::CallsPerBroker))
    }
}

/// The broker on whose connection a request came.
pub(super) fn broker_of<T>(request: &Request<T>) -> Result<Arc<Broker>, Status> {
    let ConnectedBroker(broker) = request.extensions().get().ok_or_else(error::no_peer)?;
    Ok(Arc::clone(broker))
}

impl Brokers {
    pub(super) fn new(rules: &[BrokerRule], workload: &Workload, calls: u32) -> Self {
        let calls = usize::try_from(calls).unwrap_or(Semaphore::MAX_PERMITS);
        let permission = |rule: &BrokerRule| {
            let workload = workload.limited_to(Arc::clone(rule.identities()));
            let calls = Arc::new(Semaphore::new(calls));
            let permission = Permission { rule: rule.clone(), workload, calls };
            (rule.spiffe_id().clone(), Arc::new(permission))
        };
        Self(rules.iter().map(permission).collect())
    }

    /// What this broker may do right now.
    pub(super) fn permission(
        &self,
        broker: &Broker,
        verifier: &Verifier,
    ) -> Result<Arc<Permission>, Status> {
        let Self(listed) = self;
        let state = Arc::clone(&verifier.state.borrow());
        broker.check(&state, verifier.clock.now())?;
        listed.get(broker.id()).cloned().ok_or_else(|| error::broker::not_listed(broker.id()))
    }
}

impl Broker {
    /// Whoever holds the key of this chain, which TLS has verified a moment ago.
    pub(super) fn identify(
        chain: Vec<CertificateDer<'static>>,
        verifier: &Verifier,
        process: Arc<Peer>,
        ending: DropGuard,
    ) -> Result<Self, X509SvidError> {
        let (svid, bundle) = verifier.verify(chain.clone())?;
        Ok(Self { svid, chain, verified_by: Mutex::new(bundle), process, _ending: ending })
    }

    pub(super) fn id(&self) -> &SpiffeId {
        self.svid.id()
    }

    /// The process that connected.
    pub(super) fn process(&self) -> &Peer {
        &self.process
    }

    /// The first instant at which its certificate is not valid any more.
    pub(super) fn ends_at(&self) -> Timestamp {
        self.svid.not_after().checked_add(Duration::from_secs(1)).unwrap_or(Timestamp::MAX)
    }

    /// Whether it is still who it was, and not stopped.
    fn check(&self, state: &IssuerState, now: Timestamp) -> Result<(), Status> {
        if !self.is_verified(state.bundles.own(), now) {
            return Err(error::broker::not_identified(self.id()));
        }
        let entry = state.registry.entry_by_spiffe_id(self.id());
        let registered = entry.is_some_and(|entry| !entry.has_expired(now));
        if !registered || state.stops.stop(self.id()) {
            return Err(error::broker::stopped(self.id()));
        }
        Ok(())
    }

    fn is_verified(&self, bundle: &Arc<Bundle>, now: Timestamp) -> bool {
        if now >= self.ends_at() {
            return false;
        }
        let mut verified_by = self.verified_by.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&verified_by, bundle) {
            return true;
        }
        let verified = marque_spiffe::UnverifiedX509Svid::parse_chain(self.chain.clone())
            .and_then(|svid| svid.verify(bundle, now));
        if verified.is_ok() {
            *verified_by = Arc::clone(bundle);
        }
        verified.is_ok()
    }

    /// Completes when the broker may not ask any more, with the reason.
    pub(super) async fn loses_standing(&self, brokers: &Brokers, verifier: &Verifier) -> Status {
        let mut state = verifier.state.clone();
        loop {
            let expires_at = {
                let state = state.borrow_and_update();
                let entry = state.registry.entry_by_spiffe_id(self.id());
                entry.and_then(|entry| entry.expires_at())
            };
            if let Err(status) = brokers.permission(self, verifier) {
                return status;
            }
            let look_again = expires_at.unwrap_or(Timestamp::MAX).min(self.ends_at());
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return error::shutting_down() },
                () = verifier.clock.sleep_until(look_again) => {}
            }
        }
    }
}
