//! The streams of the Workload API: full state at once, then again on every change, until the entitlement ends.

use std::future::Future;
use std::sync::Arc;

use futures::stream::BoxStream;
use marque_attest::Peer;
use marque_spiffe::SelectorSet;
use marque_workload::{
    BundleProfile, BundleSubscription, BundleUpdate, WorkloadError, X509Subscription, X509Update,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::super::proto::workload as proto;
use super::{WorkloadDoor, messages};
use crate::error;

/// One attested caller who wants to hear of changes.
#[derive(Debug)]
pub(super) struct Watch {
    door: WorkloadDoor,
    peer: Arc<Peer>,
    selectors: SelectorSet,
    shutdown: CancellationToken,
}

impl Watch {
    pub(super) fn new(
        door: WorkloadDoor,
        peer: Arc<Peer>,
        selectors: SelectorSet,
        shutdown: CancellationToken,
    ) -> Self {
        Self { door, peer, selectors, shutdown }
    }

    pub(super) fn x509_svids(self) -> BoxStream<'static, Result<proto::X509svidResponse, Status>> {
        self.stream::<X509Subscription, _>(messages::x509_svids)
    }

    pub(super) fn x509_bundles(
        self,
    ) -> BoxStream<'static, Result<proto::X509BundlesResponse, Status>> {
        self.stream::<X509Bundles, _>(messages::x509_bundles)
    }

    pub(super) fn jwt_bundles(
        self,
    ) -> BoxStream<'static, Result<proto::JwtBundlesResponse, Status>> {
        self.stream::<JwtBundles, _>(messages::jwt_bundles)
    }

    /// Messages made from updates. The next update is fetched when the client has room for it, so a slow client gets
    /// the newest state and never a queue of old ones.
    fn stream<S: Subscription, M: Send + 'static>(
        self,
        message: fn(&S::Update) -> M,
    ) -> BoxStream<'static, Result<M, Status>> {
        let subscription = S::subscribe(&self.door, self.selectors.clone());
        let state = Some((self, subscription));
        Box::pin(futures::stream::unfold(state, move |state| async move {
            let (mut watch, mut subscription) = state?;
            match watch.next(&mut subscription).await {
                Some(Ok(update)) => Some((Ok(message(&update)), Some((watch, subscription)))),
                Some(Err(status)) => Some((Err(status), None)),
                None => None,
            }
        }))
    }

    /// The next update that the caller, attested once more, is still entitled to.
    async fn next<S: Subscription>(
        &mut self,
        subscription: &mut S,
    ) -> Option<Result<S::Update, Status>> {
        loop {
            let update = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Some(Err(error::shutting_down())),
                () = self.peer.exited() => return Some(Err(error::peer_exited())),
                update = subscription.next() => match update? {
                    Ok(update) => update,
                    Err(error) => return Some(Err(error::workload(error))),
                },
            };
            let now = match self.door.attestors.attest(&self.peer).await {
                Ok(attestation) => attestation.selectors,
                Err(error) => return Some(Err(error::attest(error))),
            };
            // Attesting takes time: a kill or a removed entry that came meanwhile counts (WA-14).
            if now == self.selectors && !subscription.is_stale() {
                return Some(Ok(update));
            }
            // Or the process is the same and what it is has changed, such as its groups. Either way what it gets now is
            // another question, asked anew so that an answer which says the same is not held back.
            self.selectors = now;
            *subscription = S::subscribe(&self.door, self.selectors.clone());
        }
    }
}

/// What the streams need of a subscription of `marque-workload`.
trait Subscription: Send + Sized + 'static {
    type Update: Send;

    fn subscribe(door: &WorkloadDoor, selectors: SelectorSet) -> Self;

    fn next(&mut self) -> impl Future<Output = Option<Result<Self::Update, WorkloadError>>> + Send;

    /// Whether something changed since the last update was made.
    fn is_stale(&self) -> bool;
}

impl Subscription for X509Subscription {
    type Update = X509Update;

    fn subscribe(door: &WorkloadDoor, selectors: SelectorSet) -> Self {
        door.workload.subscribe_x509(selectors)
    }

    async fn next(&mut self) -> Option<Result<X509Update, WorkloadError>> {
        Self::next(self).await
    }

    fn is_stale(&self) -> bool {
        Self::is_stale(self)
    }
}

/// Bundles for whoever verifies X.509-SVIDs.
struct X509Bundles(BundleSubscription);

impl Subscription for X509Bundles {
    type Update = BundleUpdate;

    fn subscribe(door: &WorkloadDoor, selectors: SelectorSet) -> Self {
        Self(door.workload.subscribe_bundles(selectors).only(BundleProfile::X509))
    }

    async fn next(&mut self) -> Option<Result<BundleUpdate, WorkloadError>> {
        self.0.next().await
    }

    fn is_stale(&self) -> bool {
        self.0.is_stale()
    }
}

/// Bundles for whoever verifies JWT-SVIDs.
struct JwtBundles(BundleSubscription);

impl Subscription for JwtBundles {
    type Update = BundleUpdate;

    fn subscribe(door: &WorkloadDoor, selectors: SelectorSet) -> Self {
        Self(door.workload.subscribe_bundles(selectors).only(BundleProfile::Jwt))
    }

    async fn next(&mut self) -> Option<Result<BundleUpdate, WorkloadError>> {
        self.0.next().await
    }

    fn is_stale(&self) -> bool {
        self.0.is_stale()
    }
}
