//! Changing relationships and bundles by command. What is changed is in the store with its leaf of the log, or not at all; it
//! holds here when the answer comes, and at other replicas as soon as they see that leaf.

use std::sync::Arc;

use marque_audit::{Event, EventKind};
use marque_registry::{MAX_FEDERATIONS, TrustDomainDocument, boundary};
use marque_spiffe::{Bundle, BundleError, Environment, SequenceError, TrustDomain};
use marque_store::{FOR_GOOD, Failure, Kept as Row, KeptChange};
use serde_json::Value;

use super::bundles::RefusedBundle;
use super::desk::{Added, Federations};
use super::relationship::{RefreshError, chain};
use super::stored::{
    BUNDLES, NewFederation, RELATIONSHIPS, StoredBundle, StoredFederation, read_bundle,
};
use super::view::FederationView;

/// Why a relationship or a bundle was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// There is no relationship with the trust domain.
    #[error("there is no relationship with `{0}`")]
    Unknown(TrustDomain),
    /// The relationship stands in the folder.
    #[error("the relationship with `{0}` is in trust-domain.toml: change it there")]
    FromFolder(TrustDomain),
    /// There is one already.
    #[error("there is a relationship with `{0}` already")]
    Exists(TrustDomain),
    /// The firebreak.
    #[error("{0}")]
    Boundary(String),
    /// Nobody else speaks for the own trust domain.
    #[error("`{0}` is the own trust domain: nobody else speaks for it")]
    Own(TrustDomain),
    /// [`MAX_FEDERATIONS`].
    #[error("a trust domain federates with at most {MAX_FEDERATIONS} others")]
    TooMany,
    /// What was asked for breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The document is no bundle.
    #[error("the bundle is refused")]
    Bundle(#[source] BundleError),
    /// The bundle has no key.
    #[error(
        "the bundle of `{0}` holds no key: nobody there would be trusted any more; remove the relationship if that is meant"
    )]
    EmptyBundle(TrustDomain),
    /// The bundle does not follow the one that is held.
    #[error("the bundle does not follow the one that is held")]
    Sequence(#[source] SequenceError),
    /// The bundle says not which one it is, and the folder has one, too.
    #[error(
        "the bundle has no `spiffe_sequence`: the folder has a bundle of `{0}`, too, and nothing would say which is newer"
    )]
    NoSequence(TrustDomain),
    /// Together with the others it would be too much.
    #[error("{0}")]
    TooLarge(String),
    /// Nothing is fetched.
    #[error("the bundle of `{0}` is not fetched: its relationship has no endpoint")]
    NoEndpoint(TrustDomain),
    /// It could not be fetched, or was refused.
    #[error("{0}")]
    NotFetched(String),
    /// Somebody else changed it at the same time.
    #[error("somebody else changed the relationship at the same time")]
    Changed,
    /// The store did not do it.
    #[error("the store is not available, nothing was done")]
    Store(#[source] Failure),
}

impl FederationError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "federation_unknown",
            Self::FromFolder(_) => "federation_from_folder",
            Self::Exists(_) => "federation_exists",
            Self::Boundary(_) => "environment_boundary",
            Self::Own(_) => "federation_own",
            Self::TooMany => "federation_limit",
            Self::Invalid(_) => "federation_invalid",
            Self::Bundle(_) => "bundle_invalid",
            Self::EmptyBundle(_) => "bundle_empty",
            Self::Sequence(_) | Self::NoSequence(_) => "bundle_sequence",
            Self::TooLarge(_) => "bundle_too_large",
            Self::NoEndpoint(_) => "federation_no_endpoint",
            Self::NotFetched(_) => "bundle_not_fetched",
            Self::Changed => "federation_changed",
            Self::Store(_) => "store_unavailable",
        }
    }
}

impl From<RefreshError> for FederationError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Refused(refused) => of_refused(refused),
            error => Self::NotFetched(chain(&error)),
        }
    }
}

impl Federations {
    /// Whether a trust domain of this environment may be federated with by command.
    pub(super) fn check_name(
        &self,
        name: &TrustDomain,
        environment: Environment,
    ) -> Result<(), FederationError> {
        let own = self.document.environment();
        // What this process knows of the trust domain goes before what somebody says of it.
        let known = self.environments.environment(name).unwrap_or(environment);
        if let Some(other) = [environment, known].into_iter().find(|one| *one != own) {
            return Err(FederationError::Boundary(boundary(name, other)));
        }
        if name == self.document.name() {
            return Err(FederationError::Own(name.clone()));
        }
        if self.in_folder(name).is_some() {
            return Err(FederationError::FromFolder(name.clone()));
        }
        Ok(())
    }

    /// Adds a relationship in the name of `actor`. Its bundle is fetched at once.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn add(
        &self,
        new: NewFederation,
        actor: &str,
    ) -> Result<FederationView, FederationError> {
        let mut added = self.added.lock().await;
        self.take_up(&mut added).await.map_err(FederationError::Store)?;
        let name = new.trust_domain.clone();
        self.check_name(&name, new.environment)?;
        if added.relationships.contains_key(&name) {
            return Err(FederationError::Exists(name));
        }
        if self.document.federation().len() + added.relationships.len() >= MAX_FEDERATIONS {
            return Err(FederationError::TooMany);
        }
        let bundle = self.checked_bundle(&new)?;
        self.check_vouchers(&new, bundle.is_some())?;
        let now = self.shared.clock.now();
        let stored = StoredFederation {
            trust_domain: name.clone(),
            environment: new.environment,
            endpoint: new.endpoint,
            added_by: actor.to_owned(),
            added_at: now,
        };
        self.relationship(&stored)?;
        let row = KeptChange::new(RELATIONSHIPS, name.as_str(), &stored, FOR_GOOD);
        let mut changes = vec![row.map_err(FederationError::Store)?];
        // What was set by hand of a relationship that ended went with it; a damaged row may have stayed.
        changes.extend(self.bundle_change(&name, bundle.as_ref(), actor).await?);
        let mut event = Event::new(EventKind::FederationAdded, now)
            .with_actor(actor)
            .with_detail("trust_domain", name.as_str());
        if let Some(endpoint) = &stored.endpoint {
            event = event.with_detail("url", endpoint.url.as_str());
        }
        if let Some(bundle) = &bundle {
            event = event.with_detail("sequence", bundle.sequence());
        }
        self.written(&mut added, changes, event).await?;
        self.view(&added, &name).ok_or(FederationError::Changed)
    }

    /// The bundle to begin with, held against what is there.
    fn checked_bundle(&self, new: &NewFederation) -> Result<Option<Arc<Bundle>>, FederationError> {
        let Some(document) = &new.bundle else {
            if new.endpoint.is_none() {
                let message = "neither a bundle nor an endpoint: nothing would be verified by it";
                return Err(FederationError::Invalid(message.to_owned()));
            }
            return Ok(None);
        };
        let bundle = read_bundle(&new.trust_domain, document.as_bytes())?;
        self.shared.bundles.check(&bundle).map_err(of_refused)?;
        Ok(Some(bundle))
    }

    /// Whoever is believed at the endpoint is of a trust domain with a bundle.
    fn check_vouchers(&self, new: &NewFederation, has_bundle: bool) -> Result<(), FederationError> {
        let believed = new.endpoint.as_ref().and_then(|endpoint| endpoint.believed_by());
        let Some(believed) = believed else { return Ok(()) };
        if believed == &new.trust_domain && has_bundle {
            return Ok(());
        }
        if believed != &new.trust_domain && self.held(believed).is_some() {
            return Ok(());
        }
        Err(FederationError::Invalid(format!(
            "`https_spiffe` needs a bundle of `{believed}` to begin with: nobody at the endpoint could be believed"
        )))
    }

    /// Removes a relationship that was added by command, in the name of `actor`; how many entries asked for its bundle. Of one
    /// that went from the folder, the bundle that was set by hand and stayed.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn remove(
        &self,
        name: &TrustDomain,
        actor: &str,
    ) -> Result<usize, FederationError> {
        let mut added = self.added.lock().await;
        self.take_up(&mut added).await.map_err(FederationError::Store)?;
        let now = self.shared.clock.now();
        let row = self.store.kept(RELATIONSHIPS, name.as_str(), now).await;
        let row = row.map_err(FederationError::Store)?;
        let set = self.store.kept(BUNDLES, name.as_str(), now).await;
        let set = set.map_err(FederationError::Store)?;
        // One that was added by command and is in the folder by now goes all the same: it would come back with the folder's end.
        if row.is_none() {
            if self.in_folder(name).is_some() {
                return Err(FederationError::FromFolder(name.clone()));
            }
            if set.is_none() {
                return Err(FederationError::Unknown(name.clone()));
            }
        }
        let changes = row.iter().chain(&set).map(Row::taken_away).collect();
        let entries = self.view(&added, name).map_or(0, |view| view.entries);
        let event = Event::new(EventKind::FederationRemoved, now)
            .with_actor(actor)
            .with_detail("trust_domain", name.as_str())
            .with_detail("entries", entries);
        self.written(&mut added, changes, event).await?;
        Ok(entries)
    }

    /// Sets the bundle of a trust domain that is federated with, in the name of `actor`.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn set_bundle(
        &self,
        name: &TrustDomain,
        document: &str,
        actor: &str,
    ) -> Result<FederationView, FederationError> {
        let mut added = self.added.lock().await;
        self.take_up(&mut added).await.map_err(FederationError::Store)?;
        if name == self.document.name() {
            return Err(FederationError::Own(name.clone()));
        }
        let now = self.shared.clock.now();
        self.until(&added, name, now).ok_or_else(|| FederationError::Unknown(name.clone()))?;
        let bundle = read_bundle(name, document.as_bytes())?;
        let has_file = self.in_folder(name).is_some_and(|one| one.bundle().is_some());
        if has_file && !bundle.has_sequence() {
            return Err(FederationError::NoSequence(name.clone()));
        }
        self.shared.bundles.check(&bundle).map_err(of_refused)?;
        let changes = self.bundle_change(name, Some(&bundle), actor).await?;
        let event = Event::new(EventKind::BundleSet, now)
            .with_actor(actor)
            .with_detail("trust_domain", name.as_str())
            .with_detail("sequence", bundle.sequence());
        self.written(&mut added, changes, event).await?;
        self.view(&added, name).ok_or(FederationError::Changed)
    }

    /// Takes away the bundles that were set by hand of trust domains whose relationship the document `before` had and this one
    /// has not, in the name of `actor` and each with its leaf: they would come back with the relationship, however old they
    /// are by then. For the moment at which a folder is put in force in the place of another. A relationship that neither has
    /// may be in the folder of another replica.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn drop_left_behind(
        &self,
        before: &TrustDomainDocument,
        actor: &str,
    ) -> Result<(), Failure> {
        let _changing = self.added.lock().await;
        let now = self.shared.clock.now();
        let by_command = self.store.all_kept(RELATIONSHIPS, now).await?;
        let has = |document: &TrustDomainDocument, row: &Row| {
            document.federation().iter().any(|one| one.trust_domain().as_str() == row.key)
        };
        let went = |row: &Row| has(before, row) && !has(&self.document, row);
        for row in self.store.all_kept(BUNDLES, now).await? {
            if !went(&row) || by_command.iter().any(|one| one.key == row.key) {
                continue;
            }
            let mut event = Event::new(EventKind::FederationRemoved, now)
                .with_actor(actor)
                .with_detail("trust_domain", row.key.clone())
                .with_detail("source", "trust-domain.toml");
            if let Ok(stored) = row.read::<StoredBundle>() {
                event = event.with_detail("bundle_set_by", stored.set_by);
            }
            // Somebody else may have done so at the same moment.
            if self.store.keep_on_record(vec![row.taken_away()], event).await? {
                let trust_domain = &row.key;
                tracing::info!(%trust_domain, "its relationship went from the folder: the bundle that was set by hand goes too");
            }
        }
        Ok(())
    }

    /// The row of a bundle that was set by hand.
    async fn bundle_change(
        &self,
        name: &TrustDomain,
        bundle: Option<&Arc<Bundle>>,
        actor: &str,
    ) -> Result<Vec<KeptChange>, FederationError> {
        let now = self.shared.clock.now();
        let row = self.store.kept(BUNDLES, name.as_str(), now).await;
        let row = row.map_err(FederationError::Store)?;
        let Some(bundle) = bundle else {
            return Ok(row.map(|row| row.taken_away()).into_iter().collect());
        };
        let stored = StoredBundle {
            trust_domain: name.clone(),
            document: bundle.to_document(),
            set_by: actor.to_owned(),
            set_at: now,
        };
        let change = match row {
            Some(row) => row.replaced_by(&stored, FOR_GOOD),
            None => KeptChange::new(BUNDLES, name.as_str(), &stored, FOR_GOOD),
        };
        Ok(vec![change.map_err(FederationError::Store)?])
    }

    /// Fetches the bundle of a relationship now, and takes it.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn refresh(
        &self,
        name: &TrustDomain,
    ) -> Result<FederationView, FederationError> {
        let relationship = self.fetched(name).await?;
        relationship.refresh().await?;
        self.view(&*self.added.lock().await, name).ok_or(FederationError::Changed)
    }

    /// Fetches the bundle of a relationship now, and only shows it.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn look(&self, name: &TrustDomain) -> Result<Value, FederationError> {
        Ok(self.fetched(name).await?.look().await?.to_document())
    }

    async fn fetched(
        &self,
        name: &TrustDomain,
    ) -> Result<Arc<super::Relationship>, FederationError> {
        let added = self.added.lock().await;
        if let Some(relationship) = self.relationship_of(&added, name) {
            return Ok(Arc::clone(relationship));
        }
        match self.view(&added, name) {
            Some(_) => Err(FederationError::NoEndpoint(name.clone())),
            None => Err(FederationError::Unknown(name.clone())),
        }
    }

    /// Writes all of it with its leaf, and takes it up.
    async fn written(
        &self,
        added: &mut Added,
        changes: Vec<KeptChange>,
        event: Event,
    ) -> Result<(), FederationError> {
        let written = self.store.keep_on_record(changes, event).await;
        if !written.map_err(FederationError::Store)? {
            return Err(FederationError::Changed);
        }
        self.take_up(added).await.map_err(FederationError::Store)?;
        self.hands_on.hand_on();
        Ok(())
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
