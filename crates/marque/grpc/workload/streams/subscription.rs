//! What the streams ask of each kind of subscription.

use std::future::Future;

use marque_spiffe::{SelectorSet, SpiffeId};
use marque_workload::{
    BundleSubscription, BundleUpdate, WitSubscription, WitUpdate, Workload, WorkloadError,
    X509Identity, X509Subscription, X509Update,
};

/// What the streams need of a subscription of `marque-workload`.
pub(super) trait Subscription: Send + Sync + Sized + 'static {
    type Update: Send;

    /// What was called for it.
    const METHOD: &'static str;

    /// The same question, asked for what the subject is now.
    fn anew(&self, workload: &Workload, selectors: SelectorSet) -> Self;

    fn next(&mut self) -> impl Future<Output = Option<Result<Self::Update, WorkloadError>>> + Send;

    /// What the subject attested as when it was asked.
    fn selectors(&self) -> &SelectorSet;

    /// Whether something that concerns the subject changed since the last update was made.
    fn is_stale(&self) -> bool;

    /// The SVIDs in an update.
    fn svids(_update: &Self::Update) -> &[X509Identity] {
        &[]
    }

    /// The identities that an update hands out.
    fn identities(_update: &Self::Update) -> Vec<SpiffeId> {
        Vec::new()
    }

    /// Takes these identities out of an update.
    fn withhold(_update: &mut Self::Update, _refused: &[SpiffeId]) {}
}

impl Subscription for X509Subscription {
    type Update = X509Update;

    const METHOD: &'static str = "FetchX509SVID";

    fn anew(&self, workload: &Workload, selectors: SelectorSet) -> Self {
        workload.subscribe_x509(selectors)
    }

    async fn next(&mut self) -> Option<Result<X509Update, WorkloadError>> {
        Self::next(self).await
    }

    fn selectors(&self) -> &SelectorSet {
        Self::selectors(self)
    }

    fn is_stale(&self) -> bool {
        Self::is_stale(self)
    }

    fn svids(update: &X509Update) -> &[X509Identity] {
        &update.svids
    }

    fn identities(update: &X509Update) -> Vec<SpiffeId> {
        update.svids.iter().map(|svid| svid.material.spiffe_id.clone()).collect()
    }

    fn withhold(update: &mut X509Update, refused: &[SpiffeId]) {
        update.svids.retain(|svid| !refused.contains(&svid.material.spiffe_id));
    }
}

impl Subscription for WitSubscription {
    type Update = WitUpdate;

    const METHOD: &'static str = "FetchWITSVID";

    fn anew(&self, workload: &Workload, selectors: SelectorSet) -> Self {
        workload.subscribe_wit(selectors, self.wanted().cloned())
    }

    async fn next(&mut self) -> Option<Result<WitUpdate, WorkloadError>> {
        Self::next(self).await
    }

    fn selectors(&self) -> &SelectorSet {
        Self::selectors(self)
    }

    fn is_stale(&self) -> bool {
        Self::is_stale(self)
    }

    fn identities(update: &WitUpdate) -> Vec<SpiffeId> {
        update.svids.iter().map(|svid| svid.material.spiffe_id.clone()).collect()
    }

    fn withhold(update: &mut WitUpdate, refused: &[SpiffeId]) {
        update.svids.retain(|svid| !refused.contains(&svid.material.spiffe_id));
    }
}

impl Subscription for BundleSubscription {
    type Update = BundleUpdate;

    const METHOD: &'static str = "FetchBundles";

    fn anew(&self, workload: &Workload, selectors: SelectorSet) -> Self {
        let subscription = workload.subscribe_bundles(selectors);
        match self.profile() {
            Some(profile) => subscription.only(profile),
            None => subscription,
        }
    }

    async fn next(&mut self) -> Option<Result<BundleUpdate, WorkloadError>> {
        Self::next(self).await
    }

    fn selectors(&self) -> &SelectorSet {
        Self::selectors(self)
    }

    fn is_stale(&self) -> bool {
        Self::is_stale(self)
    }
}
