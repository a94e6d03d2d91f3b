//! Who a broker is, and whether it still may ask: verified, listed, registered, and not stopped.
//!
//! All of it is asked again for every call and before every message of a stream. A handshake that succeeded once says
//! nothing about now.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_attest::Peer;
use marque_registry::BrokerRule;
use marque_spiffe::{Bundle, SpiffeId, X509Svid, X509SvidError};
use marque_workload::IssuerState;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::DropGuard;
use tonic::{Request, Status};

use super::super::svid_tls::Verifier;
use super::allow_list::AllowList;
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

/// The broker on whose connection a request came.
pub(super) fn broker_of<T>(request: &Request<T>) -> Result<Arc<Broker>, Status> {
    let ConnectedBroker(broker) = request.extensions().get().ok_or_else(error::no_peer)?;
    Ok(Arc::clone(broker))
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
    pub(super) fn check(&self, state: &IssuerState, now: Timestamp) -> Result<(), Status> {
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

    /// Completes when the broker may not ask any more, or not by this rule, with the reason.
    pub(super) async fn loses_standing(
        &self,
        (brokers, opened_by): (&AllowList, &BrokerRule),
        verifier: &Verifier,
    ) -> Status {
        let (mut state, mut listed) = (verifier.state.clone(), brokers.changes());
        loop {
            listed.mark_unchanged();
            let expires_at = {
                let state = state.borrow_and_update();
                let entry = state.registry.entry_by_spiffe_id(self.id());
                entry.and_then(|entry| entry.expires_at())
            };
            match brokers.permission(self, verifier) {
                Ok(permission) if permission.rule == *opened_by => {}
                Ok(_another_rule) => return error::broker::rule_changed(self.id()),
                Err(status) => return status,
            }
            let look_again = expires_at.unwrap_or(Timestamp::MAX).min(self.ends_at());
            tokio::select! {
                Ok(()) = listed.changed() => {}
                changed = state.changed() => if changed.is_err() { return error::shutting_down() },
                () = verifier.clock.sleep_until(look_again) => {}
            }
        }
    }
}
