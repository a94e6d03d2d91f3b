//! The authorities of one trust domain: a handle on what signs now, and the steps in the lives of their keys.

mod downstream;
mod follow;
mod mint;
mod upstream;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use marque_jose::{JwkSet, Signer, SigningKeys};
use marque_keys::{KeyManager, KeyPurpose, SigningKey, SlotId};
use marque_spiffe::{Bundle, Environment, Random, TrustDomain};
use tokio::sync::{Mutex, watch};

use crate::{
    AuthorityConfig, AuthorityError, AuthorityStep, AuthorityStore, AuthorityView, OrderRefusal,
    OrderedBy,
    certificate::whole_second,
    list,
    round::{Means, Round},
    schedule::Schedule,
    snapshot::{Snapshot, checkpoint_key},
};

pub use self::follow::{Heard, Hearing};

/// The authorities of one trust domain. What mints is a snapshot of the records, replaced whole when a step was taken, here or
/// by another process.
pub struct Authority {
    trust_domain: TrustDomain,
    environment: Environment,
    pub(crate) keys: Arc<dyn KeyManager>,
    store: Arc<dyn AuthorityStore>,
    random: Arc<dyn Random>,
    checkpoint: SigningKey,
    created: Vec<SlotId>,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// How often the snapshot was replaced.
    changes: watch::Sender<u64>,
    /// Whoever holds it looks at the records and takes steps, or changes the settings.
    pub(crate) turn: Mutex<()>,
    /// Whether private keys were looked for that were pruned.
    swept: AtomicBool,
    /// Which upstream told its bundle last, and when.
    heard: ArcSwapOption<(String, Heard)>,
}

/// What a trust domain publishes, and what of it is to be relied on.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The bundle.
    pub bundle: Arc<Bundle>,
    /// The bundle without what is tainted: an SVID that does not verify by it is to be issued anew. The very same as `bundle`
    /// where nothing is.
    pub untainted: Arc<Bundle>,
    /// How many taintings and revocations are on record: another number is told to everybody at once.
    pub alarms: usize,
}

impl Authority {
    /// Opens the authorities of a trust domain: makes the keys that are not there yet, takes up the others, and replaces those
    /// that have ended.
    ///
    /// Opening is idempotent, also after it was interrupted. Each record is saved before its key signs for anybody.
    ///
    /// # Errors
    /// Settings that cannot be used, a failing key manager or store, and records, keys or roots that do not belong
    /// together: the messages say what to do.
    pub async fn open(
        config: AuthorityConfig,
        keys: Arc<dyn KeyManager>,
        store: Arc<dyn AuthorityStore>,
        random: Arc<dyn Random>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        config.check().map_err(AuthorityError::Config)?;
        let config = Arc::new(config);
        let now = whole_second(now)?;
        let means = Means {
            config: &config,
            keys: keys.as_ref(),
            store: store.as_ref(),
            random: random.as_ref(),
        };
        let mut round = Round::begin(means, now).await?;
        for purpose in FIRST_KEYS {
            round.begin_purpose(purpose).await?;
        }
        if config.wit_svids {
            round.begin_purpose(KeyPurpose::WitSvid).await?;
        }
        let mut snapshot = Snapshot::of(round.records.clone(), &config, keys.as_ref(), None)?;
        if snapshot.ends_at(&config) <= now {
            round.ask_if_due().await?;
            round.take_due_steps().await?;
            snapshot = Snapshot::of(round.records.clone(), &config, keys.as_ref(), None)?;
        }
        if round.leaves_lost_root().await {
            snapshot = Snapshot::of(round.records.clone(), &config, keys.as_ref(), None)?;
        }
        let checkpoint = checkpoint_key(&round.records, keys.as_ref())?;
        let created = round.created;
        let authority = Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            checkpoint,
            created,
            trust_domain: config.trust_domain.clone(),
            environment: config.environment,
            keys,
            store,
            random,
            changes: watch::Sender::new(0),
            turn: Mutex::new(()),
            swept: AtomicBool::new(false),
            heard: ArcSwapOption::empty(),
        };
        authority.check_has_not_ended(now)?;
        Ok(authority)
    }

    /// Takes up what other processes did, and every step that is due by the clock. Steps that were taken stay taken when a
    /// later one fails; calling again goes on from there.
    ///
    /// # Errors
    /// A failing key manager or store, or records, keys and roots that do not belong together. What was signed with before goes
    /// on signing.
    pub async fn keep_up(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let turn = self.turn.lock().await;
        self.forget_earlier(now)?;
        let config = self.config();
        let mut round = Round::begin(self.means(&config), whole_second(now)?).await?;
        let stepped = round.take_due_steps().await;
        let changed = self.take_up(&round)?;
        stepped?;
        if changed || !self.swept.load(Ordering::Relaxed) {
            round.remove_pruned_keys()?;
            self.swept.store(true, Ordering::Relaxed);
        }
        drop(turn);
        Ok(())
    }

    /// Makes the next key of a purpose and publishes it, for activation later. Gives its name.
    ///
    /// # Errors
    /// [`AuthorityError::Refused`]; otherwise as [`Authority::keep_up`].
    pub async fn prepare(
        &self,
        purpose: KeyPurpose,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<SlotId, AuthorityError> {
        let _turn = self.turn.lock().await;
        let config = self.config();
        let mut round = Round::begin(self.means(&config), whole_second(now)?).await?;
        let ruled = round.prepare(purpose, ordered).await?;
        self.take_up(&round)?;
        ruled.map_err(AuthorityError::Refused)
    }

    /// Lets a prepared key sign, in place of the active one. Unless `at_once` it has to have been published for three times the
    /// bundle's refresh hint.
    ///
    /// # Errors
    /// As [`Authority::prepare`].
    pub async fn activate(
        &self,
        slot: SlotId,
        at_once: bool,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let published_for =
            if at_once { Duration::ZERO } else { Schedule(&self.config()).publication() };
        self.order(AuthorityStep::Activate { slot, published_for }, ordered, now).await
    }

    /// Gives a key up: nothing is signed with it any more, and whoever holds SVIDs that it signed sees by
    /// [`Trusted::untainted`] that they are to be issued anew. It stays in the bundle until it is revoked. Of the active key the
    /// prepared one takes the place.
    ///
    /// # Errors
    /// As [`Authority::prepare`].
    pub async fn taint(
        &self,
        slot: SlotId,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        self.order(AuthorityStep::Taint { slot }, ordered, now).await
    }

    /// Takes a tainted key out of the bundle: whoever knows the new bundle refuses all that it signed.
    ///
    /// # Errors
    /// As [`Authority::prepare`].
    pub async fn revoke(
        &self,
        slot: SlotId,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        self.order(AuthorityStep::Revoke { slot }, ordered, now).await
    }

    /// Every key on record, of every state, and what the clock does next with it.
    pub fn list(&self) -> Vec<AuthorityView> {
        let snapshot = self.snapshot.load();
        list::views(&snapshot.records, &snapshot.config)
    }

    /// Tells when what signs or is published changes; the number is that of changes since it was opened.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The trust domain's environment.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The bundle: the root and the keys for JWT-SVIDs and WIT-SVIDs. Keys for access tokens and checkpoints are never part of it.
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.snapshot.load().bundle)
    }

    /// The bundle without the token keys of an upstream: whatever tokens of this trust domain verify by it were signed here.
    pub fn own_bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.snapshot.load().own)
    }

    /// What is published, and what of it is to be relied on, at one moment.
    pub fn trusted(&self) -> Trusted {
        let snapshot = self.snapshot.load();
        Trusted {
            bundle: Arc::clone(&snapshot.bundle),
            untainted: Arc::clone(&snapshot.untainted),
            alarms: snapshot.alarms,
        }
    }

    /// The slots whose keys were made when this authority was opened; empty when all were found again.
    pub fn created(&self) -> &[SlotId] {
        &self.created
    }

    /// When the first of the keys that sign now ends, unless another one takes its place before. No SVID outlasts the key that
    /// signed it.
    pub fn ends_at(&self) -> Timestamp {
        let snapshot = self.snapshot.load();
        snapshot.ends_at(&snapshot.config)
    }

    /// The signer of access tokens (ES256) at this moment.
    pub fn access_token_signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.snapshot.load().access_token) as Arc<dyn Signer>
    }

    /// The key set of the token endpoint: the keys for access tokens alone, with use `sig`. Those that will sign and those that
    /// did are among them.
    pub fn access_token_keys(&self) -> Arc<JwkSet> {
        Arc::clone(&self.snapshot.load().access_token_keys)
    }

    /// The key for checkpoints of the audit log (Ed25519). It does not change: those who verify the log have pinned it.
    pub fn checkpoint_key(&self) -> &SigningKey {
        &self.checkpoint
    }

    pub(crate) fn means<'a>(&'a self, config: &'a AuthorityConfig) -> Means<'a> {
        Means {
            config,
            keys: self.keys.as_ref(),
            store: self.store.as_ref(),
            random: self.random.as_ref(),
        }
    }

    async fn order(
        &self,
        step: AuthorityStep,
        ordered: OrderedBy,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let _turn = self.turn.lock().await;
        let now = whole_second(now)?;
        let config = self.config();
        let mut round = Round::begin(self.means(&config), now).await?;
        self.has_not_ended(&step, &round, now).map_err(AuthorityError::Refused)?;
        let ruled = round.order(step, ordered).await?;
        self.take_up(&round)?;
        ruled.map(drop).map_err(AuthorityError::Refused)
    }

    /// A key that has ended takes nobody's place.
    fn has_not_ended(
        &self,
        step: &AuthorityStep,
        round: &Round<'_>,
        now: Timestamp,
    ) -> Result<(), OrderRefusal> {
        let AuthorityStep::Activate { slot, .. } = step else { return Ok(()) };
        let found = round.records.iter().find(|record| record.slot == *slot);
        match found.map(|record| Schedule(&self.config()).ends_at(record)) {
            Some(at) if at <= now => Err(OrderRefusal::Ended { slot: slot.clone(), at }),
            _ => Ok(()),
        }
    }

    /// Mints by the records of a round from now on; whether they are others than before.
    fn take_up(&self, round: &Round<'_>) -> Result<bool, AuthorityError> {
        let before = self.snapshot.load_full();
        if before.records == round.records {
            return Ok(false);
        }
        let keys = self.keys.as_ref();
        let next = Snapshot::of(round.records.clone(), &before.config, keys, Some(&before))?;
        self.replace(next);
        Ok(true)
    }

    /// Mints by another snapshot from now on.
    pub(crate) fn replace(&self, next: Snapshot) {
        self.snapshot.store(Arc::new(next));
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    fn check_has_not_ended(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let snapshot = self.snapshot.load();
        for record in snapshot.active(&snapshot.config) {
            let at = Schedule(&snapshot.config).ends_at(record);
            if now >= at {
                return Err(AuthorityError::Ended { slot: record.slot.clone(), at });
            }
        }
        Ok(())
    }
}

/// The purposes that every trust domain has a key for.
const FIRST_KEYS: [KeyPurpose; 4] = [
    KeyPurpose::X509Authority,
    KeyPurpose::JwtSvid,
    KeyPurpose::AccessToken,
    KeyPurpose::AuditCheckpoint,
];

/// Access tokens, by whichever key signs them.
impl SigningKeys for Authority {
    fn signer(&self) -> Arc<dyn Signer> {
        self.access_token_signer()
    }

    fn published(&self) -> Arc<JwkSet> {
        self.access_token_keys()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("snapshot", &self.snapshot.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
