//! All relationships of one trust domain: those of its folder, which no command changes, and those that were added by command,
//! which the store has.
//!
//! Every replica holds what it does against the store whenever the log says that a relationship changed, and now and then. What
//! is gone is forgotten at once: workloads get their bundles without it (FE-8). Absent: the changes themselves (`change.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::EventKind;
use marque_exchange::EnvironmentLookup;
use marque_registry::{Federation, Registry, TrustDomainDocument};
use marque_spiffe::{Bundle, BundleSource, Clock, TrustDomain};
use marque_store::{Failure, Kept as Row, Store};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::change::{FederationError, of_refused};
use super::destination::Destinations;
use super::relationship::{Relationship, RelationshipParts, Whither, of_the_folder, vouchers};
use super::stored::{BUNDLES, RELATIONSHIPS, StoredBundle, StoredFederation};
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
    news: Arc<News>,
    pub(super) hands_on: Arc<dyn HandsOn>,
    /// The rows as they were read last, for the rules of a folder that comes after this one.
    rows: std::sync::Mutex<Rows>,
    /// What others are told of these, and whether they are told yet.
    said: std::sync::Mutex<Said>,
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
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) news: Arc<News>,
    pub(crate) hands_on: Arc<dyn HandsOn>,
}

/// That the log says of a relationship that it changed.
#[derive(Debug, Default)]
pub(crate) struct News(Notify);

impl News {
    /// Takes note of something that was recorded, by whichever replica.
    pub(crate) fn hear(&self, kind: EventKind) {
        if matches!(
            kind,
            EventKind::FederationAdded | EventKind::FederationRemoved | EventKind::BundleSet
        ) {
            self.0.notify_one();
        }
    }
}

/// What the store has: relationships, and bundles that were set by hand.
#[derive(Debug, Clone, Default)]
struct Rows {
    relationships: Vec<Row>,
    bundles: Vec<Row>,
}

/// What is outside of one generation of rules, and is touched only while that is in force.
#[derive(Debug, Default)]
struct Said {
    in_force: bool,
    /// The trust domains that were added by command.
    names: BTreeSet<TrustDomain>,
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
    /// Takes up what the folder says, and of what the store says what `before` knows. Nothing is fetched before [`Self::run`].
    ///
    /// # Errors
    /// A file of the folder cannot be read.
    pub(crate) fn new<S: BundleSource + 'static>(
        document: Arc<TrustDomainDocument>,
        folder: &Path,
        parts: FederationsParts<S>,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let FederationsParts { bundles, own, kept, clock, .. } = parts;
        let vouchers = vouchers(own, &bundles);
        let own = document.name().clone();
        let shared = RelationshipParts { own, bundles, vouchers, kept, clock };
        let mut federations = Self {
            folder: of_the_folder(&document, folder, &shared)?,
            document,
            added: Mutex::default(),
            shared,
            store: parts.store,
            registry: parts.registry,
            environments: parts.environments,
            news: parts.news,
            hands_on: parts.hands_on,
            rows: std::sync::Mutex::default(),
            said: std::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            stop: OnceLock::new(),
        };
        if let Some(before) = before {
            let mut added = Added::default();
            federations.go_by(&mut added, before.rows().clone());
            federations.added = Mutex::new(added);
        }
        Ok(federations)
    }

    /// From here on these are the relationships by which entries are held, and what they keep is kept.
    pub(crate) fn take_effect(&self) {
        let mut said = self.said();
        said.in_force = true;
        self.registry.also_federate_with(said.names.clone());
        drop(said);
        self.shared.bundles.keep_first_seen(&self.shared.kept);
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
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
                () = self.news.0.notified() => {}
                () = self.shared.clock.sleep_until(again) => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.folder.iter().for_each(|one| one.end());
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
        let relationships = self.store.all_kept(RELATIONSHIPS, now).await?;
        let bundles = self.store.all_kept(BUNDLES, now).await?;
        self.go_by(added, Rows { relationships, bundles });
        let mut said = self.said();
        said.names = added.relationships.keys().cloned().collect();
        if said.in_force {
            self.registry.also_federate_with(said.names.clone());
        }
        Ok(())
    }

    /// Does as these rows say.
    fn go_by(&self, added: &mut Added, rows: Rows) {
        *self.rows() = rows.clone();
        let Rows { relationships, bundles } = rows;
        let mut gone: BTreeSet<_> = added.relationships.keys().cloned().collect();
        for row in relationships {
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
        self.take_up_bundles(added, bundles);
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
        added.bundles.remove(name);
        self.shared.bundles.forget(name);
        if !self.said().in_force {
            return;
        }
        if let Some(relationship) = one.relationship {
            relationship.end();
        }
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

    /// The bundle that is held of a trust domain, even where it is not used any more; the own one for the own name.
    pub(crate) fn held(&self, name: &TrustDomain) -> Option<Arc<Bundle>> {
        self.shared.bundles.latest(name).or_else(|| {
            let own = name == self.document.name();
            own.then(|| self.shared.vouchers.bundle(name)).flatten()
        })
    }
}
