//! All relationships of one trust domain: those of its folder, which no command changes, and those that were added by command,
//! which the store has.
//!
//! Every replica holds what it does against the store whenever the log says that a relationship changed, and now and then. What
//! is gone is forgotten at once: workloads get their bundles without it (FE-8). Absent: the changes themselves (`change.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::EventKind;
use marque_exchange::EnvironmentLookup;
use marque_registry::{BundleEndpointProfile, Federation, Registry, TrustDomainDocument};
use marque_spiffe::{Bundle, BundleSource, Clock, TrustDomain};
use marque_store::{Failure, Kept as Row, Store};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bundles::RefusedBundle;
use super::change::FederationError;
use super::destination::Destinations;
use super::relationship::{
    Relationship, RelationshipParts, Whither, chain, of_the_folder, vouchers,
};
use super::stored::{BUNDLES, NewProfile, RELATIONSHIPS, StoredBundle, StoredFederation};
use super::view::FederationView;
use super::{FederatedBundles, KeptBundles, end};

/// How often the store is looked at where the log says nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The relationships of one trust domain.
#[derive(Debug)]
pub struct Federations {
    pub(super) document: Arc<TrustDomainDocument>,
    /// Those of the folder that are fetched.
    folder: Vec<Arc<Relationship>>,
    /// Those that were added by command, by name. Held while anything changes.
    pub(super) added: Mutex<Added>,
    pub(super) shared: RelationshipParts,
    pub(super) store: Arc<Store>,
    pub(super) registry: Arc<Registry>,
    pub(super) environments: Arc<dyn EnvironmentLookup>,
    changed: Arc<Notify>,
    pub(super) hands_on: OnceLock<Arc<dyn HandsOn>>,
    tasks: TaskTracker,
    stop: OnceLock<CancellationToken>,
}

/// What [`Federations`] is opened with.
#[derive(Debug)]
pub(crate) struct FederationsParts<S> {
    pub(crate) bundles: Arc<FederatedBundles>,
    /// The own bundle.
    pub(crate) own: S,
    pub(crate) kept: KeptBundles,
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) environments: Arc<dyn EnvironmentLookup>,
    /// Told of whenever the log says that a relationship changed ([`concerns_relationships`]).
    pub(crate) changed: Arc<Notify>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Whoever hands bundles on, and has to have them before a change is answered.
pub(crate) trait HandsOn: std::fmt::Debug + Send + Sync {
    /// The bundles changed.
    fn hand_on(&self);
}

/// What the store has, as far as it was taken up.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) relationships: BTreeMap<TrustDomain, AddedOne>,
    /// Bundles that were set by hand, with the version of the row.
    pub(super) bundles: BTreeMap<TrustDomain, (u64, StoredBundle)>,
}

/// One relationship that was added by command.
#[derive(Debug)]
pub(super) struct AddedOne {
    pub(super) row: Row,
    pub(super) stored: StoredFederation,
    /// `None` where nothing is fetched.
    pub(super) relationship: Option<Arc<Relationship>>,
}

/// Whether what was recorded, by whichever replica, changed a relationship or a bundle.
pub(crate) const fn concerns_relationships(kind: EventKind) -> bool {
    matches!(kind, EventKind::FederationAdded | EventKind::FederationRemoved | EventKind::BundleSet)
}

/// The names of the trust domains whose bundles are fetched by command, as the store has them now.
pub(crate) async fn fetched_by_command(
    store: &Store,
    now: Timestamp,
) -> Result<BTreeSet<TrustDomain>, Failure> {
    let rows = store.all_kept(RELATIONSHIPS, now).await?;
    let stored = rows.iter().filter_map(|row| row.read::<StoredFederation>().ok());
    Ok(stored.filter(|one| one.endpoint.is_some()).map(|one| one.trust_domain).collect())
}

impl Federations {
    /// Takes up what the folder says; what the store says is for [`Self::reconcile`]. Nothing is fetched before [`Self::run`].
    pub(crate) fn open<S: BundleSource + 'static>(
        document: Arc<TrustDomainDocument>,
        folder: &Path,
        parts: FederationsParts<S>,
    ) -> anyhow::Result<Arc<Self>> {
        let FederationsParts { bundles, own, kept, store, registry, environments, changed, clock } =
            parts;
        let vouchers = vouchers(own, &bundles);
        let own = document.name().clone();
        let shared = RelationshipParts { own, bundles, vouchers, kept, clock };
        let folder = of_the_folder(&document, folder, &shared)?;
        let federations = Self {
            document,
            folder,
            added: Mutex::default(),
            shared,
            store,
            registry,
            environments,
            changed,
            hands_on: OnceLock::new(),
            tasks: TaskTracker::new(),
            stop: OnceLock::new(),
        };
        Ok(Arc::new(federations))
    }

    /// Fetches bundles, and follows what the store says, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.stop.set(stop.clone()).is_ok() {
            let added = self.added.lock().await;
            let by_command = added.relationships.values();
            let by_command = by_command.filter_map(|one| one.relationship.as_ref());
            self.folder.iter().chain(by_command).for_each(|one| self.follow(one));
        }
        loop {
            if let Err(error) = self.reconcile().await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "the relationships that were added by command cannot be read"
                );
            }
            let again = self.shared.clock.now() + LOOK_AGAIN;
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
                () = self.shared.clock.sleep_until(again) => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Names who hands the bundles on. The first word stands.
    pub(crate) fn handed_on_by(&self, hands_on: Arc<dyn HandsOn>) {
        self.hands_on.get_or_init(|| hands_on);
    }

    /// Follows a relationship from now on, where this process serves already.
    fn follow(&self, relationship: &Arc<Relationship>) {
        let Some(stop) = self.stop.get().cloned() else { return };
        let relationship = Arc::clone(relationship);
        self.tasks.spawn(async move { relationship.follow(stop).await });
    }

    /// Reads the store anew, and does as it says.
    pub(crate) async fn reconcile(&self) -> Result<(), Failure> {
        let mut added = self.added.lock().await;
        self.take_up(&mut added).await
    }

    pub(super) async fn take_up(&self, added: &mut Added) -> Result<(), Failure> {
        let now = self.shared.clock.now();
        let rows = self.store.all_kept(RELATIONSHIPS, now).await?;
        let set = self.store.all_kept(BUNDLES, now).await?;
        let mut gone: BTreeSet<_> = added.relationships.keys().cloned().collect();
        for row in rows {
            let before = gone.iter().find(|name| name.as_str() == row.key).cloned();
            let before = before.and_then(|name| gone.take(&name));
            let held = before.as_ref().and_then(|name| added.relationships.get(name));
            if held.is_some_and(|held| held.row.version == row.version) {
                continue;
            }
            if let Some(name) = before {
                self.drop_one(added, &name);
            }
            match self.taken(&row) {
                Ok(one) => {
                    if let Some(relationship) = &one.relationship {
                        self.recall(&one.stored);
                        self.follow(relationship);
                    }
                    added.relationships.insert(one.stored.trust_domain.clone(), one);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    let trust_domain = &row.key;
                    tracing::error!(error, %trust_domain, "left out a relationship that was added by command; see `marque federation`");
                }
            }
        }
        for name in gone {
            self.drop_one(added, &name);
        }
        self.take_up_bundles(added, set);
        self.registry.also_federate_with(added.relationships.keys().cloned().collect());
        Ok(())
    }

    /// A row as a relationship, not yet followed.
    fn taken(&self, row: &Row) -> Result<AddedOne, FederationError> {
        let stored: StoredFederation = row.read().map_err(FederationError::Store)?;
        self.check_name(&stored.trust_domain, stored.environment)?;
        let relationship = self.relationship(&stored)?;
        Ok(AddedOne { row: row.clone(), stored, relationship })
    }

    /// The relationship that a row describes; `None` where nothing is fetched.
    pub(super) fn relationship(
        &self,
        stored: &StoredFederation,
    ) -> Result<Option<Arc<Relationship>>, FederationError> {
        let Some(endpoint) = &stored.endpoint else { return Ok(None) };
        let to = Whither {
            url: endpoint.url()?,
            tls: endpoint.tls(&self.shared)?,
            destinations: Destinations::by_command(self.document.bundle_fetching()),
            max_staleness: endpoint.max_staleness()?,
        };
        let name = stored.trust_domain.clone();
        Ok(Some(Arc::new(Relationship::new(name, to, self.shared.clone()))))
    }

    /// Takes up what was fetched before this process began.
    fn recall(&self, stored: &StoredFederation) {
        let (name, now) = (&stored.trust_domain, self.shared.clock.now());
        let staleness = stored.endpoint.as_ref().and_then(|one| one.max_staleness().ok());
        let (Some(kept), Some(staleness)) = (self.shared.kept.load(name), staleness) else {
            return;
        };
        let until = end(kept.refreshed_at.min(now), staleness);
        if let Err(refused) = self.shared.bundles.replace(Arc::new(kept.bundle), until) {
            let error = &refused as &dyn std::error::Error;
            tracing::warn!(trust_domain = %name, error, "the bundle fetched last is left aside");
        }
        self.shared.bundles.withdraw_stale(name, now);
    }

    /// Ends a relationship that was added by command: who verifies by its bundle hears of it at once.
    fn drop_one(&self, added: &mut Added, name: &TrustDomain) {
        let Some(one) = added.relationships.remove(name) else { return };
        if let Some(relationship) = one.relationship {
            relationship.end();
        }
        added.bundles.remove(name);
        self.shared.bundles.forget(name);
        if let Err(error) = self.shared.kept.forget(name) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, trust_domain = %name, "the bundle fetched last cannot be removed");
        }
        tracing::info!(trust_domain = %name, "a relationship has ended: its bundle is not used any more");
    }

    /// Takes up bundles that were set by hand, where they are of a relationship and follow what is there. What was fetched last
    /// comes between those that were set before and after it.
    fn take_up_bundles(&self, added: &mut Added, rows: Vec<Row>) {
        for row in rows {
            let Ok(stored) = row.read::<StoredBundle>() else {
                tracing::error!(trust_domain = %row.key, "a bundle that was set by command does not read");
                continue;
            };
            let name = stored.trust_domain.clone();
            let known =
                added.bundles.get(&name).is_some_and(|(version, _)| *version == row.version);
            let Some(until) = self.until(added, &name, stored.set_at).filter(|_| !known) else {
                continue;
            };
            if let Err(error) = self.take_bundle(added, &stored, until) {
                let error = &error as &dyn std::error::Error;
                tracing::info!(error, trust_domain = %name, "a bundle that was set by command is passed by now");
            }
            added.bundles.insert(name, (row.version, stored));
        }
    }

    fn take_bundle(
        &self,
        added: &Added,
        stored: &StoredBundle,
        until: Option<Timestamp>,
    ) -> Result<(), FederationError> {
        let name = &stored.trust_domain;
        let fetched = self.relationship_of(added, name).and_then(|_| self.shared.kept.load(name));
        if fetched.is_some_and(|kept| kept.refreshed_at > stored.set_at) {
            return Ok(());
        }
        self.shared.bundles.put(stored.bundle()?, until, || true).map_err(of_refused)?;
        self.shared.bundles.withdraw_stale(name, self.shared.clock.now());
        Ok(())
    }

    /// Until when a bundle that was set at this time is used: `None` where there is no relationship, `Some(None)` where it is used
    /// without an end.
    pub(super) fn until(
        &self,
        added: &Added,
        name: &TrustDomain,
        set_at: Timestamp,
    ) -> Option<Option<Timestamp>> {
        if let Some(one) = self.in_folder(name) {
            return Some(one.endpoint().map(|endpoint| end(set_at, endpoint.max_staleness)));
        }
        let endpoint = &added.relationships.get(name)?.stored.endpoint;
        Some(endpoint.as_ref().and_then(|one| Some(end(set_at, one.max_staleness().ok()?))))
    }

    /// The relationship of the folder with a trust domain.
    pub(super) fn in_folder(&self, name: &TrustDomain) -> Option<&Federation> {
        self.document.federation().iter().find(|one| one.trust_domain() == name)
    }

    /// The relationship with a trust domain, where its bundle is fetched.
    pub(super) fn relationship_of<'a>(
        &'a self,
        added: &'a Added,
        name: &TrustDomain,
    ) -> Option<&'a Arc<Relationship>> {
        let by_command = added.relationships.get(name).and_then(|one| one.relationship.as_ref());
        self.folder.iter().find(|one| one.trust_domain() == name).or(by_command)
    }

    /// All relationships, by name.
    pub(crate) async fn views(&self) -> Vec<FederationView> {
        let added = self.added.lock().await;
        let folder = self.document.federation().iter().map(|one| one.trust_domain());
        let names: BTreeSet<_> = folder.chain(added.relationships.keys()).collect();
        names.into_iter().filter_map(|name| self.view(&added, name)).collect()
    }

    /// A relationship as operators see it.
    pub(super) fn view(&self, added: &Added, name: &TrustDomain) -> Option<FederationView> {
        let mut view = match (self.in_folder(name), added.relationships.get(name)) {
            (Some(one), _) => self.of_folder(one),
            (None, Some(one)) => of_command(&one.stored),
            (None, None) => return None,
        };
        let bundles = &self.shared.bundles;
        view.bundle = bundles.latest(name).map(|bundle| (&*bundle).into());
        view.in_use = bundles.bundle(name).is_some();
        view.used_until = bundles.ends_at(name);
        if let Some(relationship) = self.relationship_of(added, name) {
            let attempts = relationship.attempts();
            view.refreshed_at = attempts.refreshed_at;
            view.failure = attempts.failure.clone();
        }
        let snapshot = self.registry.snapshot();
        let asks = snapshot.entries().iter().filter(|entry| entry.federates_with().contains(name));
        view.entries = asks.count();
        Some(view)
    }

    fn of_folder(&self, one: &Federation) -> FederationView {
        let mut view = empty(one.trust_domain());
        view.environment = self.document.environment().to_string();
        view.source = format!("trust-domain.toml:{}", one.line());
        if let Some(endpoint) = one.endpoint() {
            let (profile, id) = match &endpoint.profile {
                BundleEndpointProfile::HttpsWeb { .. } => ("https_web", None),
                BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id } => {
                    ("https_spiffe", Some(endpoint_spiffe_id.to_string()))
                }
            };
            view.url = Some(endpoint.url.to_string());
            view.profile = Some(profile.to_owned());
            view.endpoint_spiffe_id = id;
            view.max_staleness_s = Some(endpoint.max_staleness.as_secs());
        }
        view
    }

    /// The bundle that is held of a trust domain, even where it is not used any more; the own one for the own name.
    pub(crate) fn held(&self, name: &TrustDomain) -> Option<Arc<Bundle>> {
        self.shared.bundles.latest(name).or_else(|| {
            let own = name == self.document.name();
            own.then(|| self.shared.vouchers.bundle(name)).flatten()
        })
    }
}

fn of_command(stored: &StoredFederation) -> FederationView {
    let StoredFederation { trust_domain, environment, endpoint, added_by, added_at } = stored;
    let mut view = empty(trust_domain);
    view.environment = environment.to_string();
    view.added_by = Some(added_by.clone());
    view.added_at = Some(*added_at);
    if let Some(endpoint) = endpoint {
        let (profile, id) = match &endpoint.profile {
            NewProfile::HttpsWeb { .. } => ("https_web", None),
            NewProfile::HttpsSpiffe { endpoint_spiffe_id } => {
                ("https_spiffe", Some(endpoint_spiffe_id.to_string()))
            }
        };
        view.url = Some(endpoint.url.clone());
        view.profile = Some(profile.to_owned());
        view.endpoint_spiffe_id = id;
        view.max_staleness_s = endpoint.max_staleness().ok().map(|time| time.as_secs());
    }
    view
}

fn empty(name: &TrustDomain) -> FederationView {
    FederationView {
        federates_with: name.to_string(),
        environment: String::new(),
        source: "command".to_owned(),
        added_by: None,
        added_at: None,
        url: None,
        profile: None,
        endpoint_spiffe_id: None,
        max_staleness_s: None,
        bundle: None,
        in_use: false,
        used_until: None,
        refreshed_at: None,
        failure: None,
        entries: 0,
    }
}

/// Why a bundle that somebody gave does not take the place of the one before.
pub(super) fn of_refused(refused: RefusedBundle) -> FederationError {
    match refused {
        RefusedBundle::Sequence(error) => FederationError::Sequence(error),
        RefusedBundle::Boundary(message) => FederationError::Boundary(message),
        RefusedBundle::TooMuch(_) => FederationError::TooLarge(chain(&refused)),
        RefusedBundle::Ended => FederationError::Changed,
    }
}
