//! Other settings for authorities that are in use.
//!
//! Whatever can fail does so before anything changes, and nobody takes a step meanwhile. Keys that are there keep the end and
//! the algorithm that they were made with; what is minted from then on goes by the new settings.

use std::sync::Arc;

use jiff::Timestamp;
use marque_keys::{KeyManager, KeyPurpose};
use tokio::sync::MutexGuard;

use crate::{
    Authority, AuthorityConfig, AuthorityError, ConfigError, certificate::whole_second,
    round::Round, snapshot::Snapshot,
};

/// Settings that can be put in force. Nobody takes a step in the life of a key before that is done, or given up.
#[derive(Debug)]
pub struct Reconfiguration<'a> {
    authority: &'a Authority,
    next: Snapshot,
    _turn: MutexGuard<'a, ()>,
}

impl Authority {
    /// The settings in force.
    pub fn config(&self) -> Arc<AuthorityConfig> {
        Arc::clone(&self.snapshot.load().config)
    }

    /// Makes sure that these settings can be put in force at any moment; those of now stay until then. The first key for
    /// WIT-SVIDs is made here where they ask for one.
    ///
    /// # Errors
    /// Settings that cannot be used, and as [`Authority::keep_up`].
    pub async fn reconfigure(
        &self,
        config: AuthorityConfig,
        now: Timestamp,
    ) -> Result<Reconfiguration<'_>, AuthorityError> {
        config.check().map_err(AuthorityError::Config)?;
        if config.trust_domain != *self.trust_domain() || config.environment != self.environment() {
            return Err(AuthorityError::Config(ConfigError::OtherTrustDomain));
        }
        let turn = self.turn.lock().await;
        let before = self.snapshot.load_full();
        let config = Arc::new(config.in_place_of(&before.config));
        let now = whole_second(now)?;
        let mut round = Round::begin(self.means(&config), now).await?;
        if config.wit_svids {
            round.begin_purpose(KeyPurpose::WitSvid).await?;
        }
        let keys: &dyn KeyManager = self.keys.as_ref();
        let mut next = Snapshot::of(round.records.clone(), &config, keys, Some(&before))?;
        if next.ends_at(&config) <= now {
            round.take_due_steps().await?;
            next = Snapshot::of(round.records.clone(), &config, keys, Some(&before))?;
        }
        Ok(Reconfiguration { authority: self, next, _turn: turn })
    }

    /// Lets settings go that were replaced long enough ago. The caller has the turn.
    pub(crate) fn forget_earlier(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let before = self.snapshot.load_full();
        let published = before.bundle.refresh_hint();
        let Some(config) = before.config.without_what_is_over(published, now) else {
            return Ok(());
        };
        let (config, records) = (Arc::new(config), before.records.clone());
        let next = Snapshot::of(records, &config, self.keys.as_ref(), Some(&before))?;
        self.snapshot.store(Arc::new(next));
        Ok(())
    }
}

impl Reconfiguration<'_> {
    /// Whatever is minted from here on is minted by the new settings.
    pub fn take_effect(self) {
        let Self { authority, next, _turn } = self;
        authority.replace(next);
    }
}

#[cfg(test)]
mod tests;
