//! Which brokers there are and what each may do (BR-2). The list may change while brokers are connected: the next call goes by
//! the new one, and a stream that was opened under another rule ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use marque_registry::BrokerRule;
use marque_spiffe::SpiffeId;
use marque_workload::Workload;
use tokio::sync::watch;
use tonic::Status;

use super::super::accounts::take;
use super::super::limit::Limit;
use super::super::live::LiveLimits;
use super::super::svid_tls::Verifier;
use super::standing::Broker;
use crate::error;

/// What the listed brokers may do, by SPIFFE ID.
#[derive(Clone)]
pub struct AllowList(Arc<Listed>);

pub(super) type Permissions = Arc<BTreeMap<SpiffeId, Arc<Permission>>>;

struct Listed {
    permissions: watch::Sender<Permissions>,
    workload: Workload,
    limits: LiveLimits,
}

/// What one broker may do.
#[derive(Debug)]
pub(super) struct Permission {
    /// What it may ask.
    pub(super) rule: BrokerRule,
    /// What workloads are entitled to, as far as this broker may see it.
    pub(super) workload: Workload,
    /// How many calls it has open, under this rule and those before.
    calls: Arc<AtomicU32>,
    limits: LiveLimits,
}

/// One open call's place; given back on drop.
#[derive(Debug)]
pub(super) struct BrokerCall(Arc<AtomicU32>);

impl AllowList {
    /// A list with these rules; what they let somebody see is `workload`'s.
    #[must_use]
    pub fn new(rules: &[BrokerRule], workload: Workload, limits: LiveLimits) -> Self {
        let list =
            Self(Arc::new(Listed { permissions: watch::Sender::default(), workload, limits }));
        list.go_by(rules);
        list
    }

    /// Has these rules hold instead. A broker that stays keeps the count of its calls.
    pub fn go_by(&self, rules: &[BrokerRule]) {
        let Listed { permissions, workload, limits } = &*self.0;
        let before = Arc::clone(&permissions.borrow());
        let permission = |rule: &BrokerRule| {
            let known = before.get(rule.spiffe_id());
            let permission = match known {
                Some(known) if known.rule == *rule => Arc::clone(known),
                _ => Arc::new(Permission {
                    rule: rule.clone(),
                    workload: workload.limited_to(Arc::clone(rule.identities())),
                    calls: known.map(|known| Arc::clone(&known.calls)).unwrap_or_default(),
                    limits: limits.clone(),
                }),
            };
            (rule.spiffe_id().clone(), permission)
        };
        permissions.send_replace(Arc::new(rules.iter().map(permission).collect()));
    }

    /// Tells when the list is another one.
    pub(super) fn changes(&self) -> watch::Receiver<Permissions> {
        self.0.permissions.subscribe()
    }

    /// What this broker may do right now.
    pub(super) fn permission(
        &self,
        broker: &Broker,
        verifier: &Verifier,
    ) -> Result<Arc<Permission>, Status> {
        let state = Arc::clone(&verifier.state.borrow());
        broker.check(&state, verifier.clock.now())?;
        let listed = Arc::clone(&self.0.permissions.borrow());
        listed.get(broker.id()).cloned().ok_or_else(|| error::broker::not_listed(broker.id()))
    }
}

impl fmt::Debug for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.permissions.borrow().keys()).finish()
    }
}

impl Permission {
    /// A place for one more call, given back on drop.
    pub(super) fn open_call(&self) -> Result<BrokerCall, Status> {
        take(&self.calls, self.limits.now().calls_per_broker)
            .ok_or_else(|| error::over_limit(Limit::CallsPerBroker))?;
        Ok(BrokerCall(Arc::clone(&self.calls)))
    }
}

impl Drop for BrokerCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
