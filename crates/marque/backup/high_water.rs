//! How far a store had come when this installation last signed its log, kept beside the keys: a store that does not go as
//! far, or has another history, is not served and not restored.
//!
//! It is no proof against whoever may write here; for that there are sinks and witnesses. It is what notices a snapshot, a
//! dump or a copied file that was put in the place of something newer. Where there is none nothing is compared.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use marque_audit::merkle::Frontier;
use marque_audit::{Hash, LogError, LogStore, StoredCheckpoint};
use marque_authority::{AuthorityRecord, AuthorityStore as _};
use marque_spiffe::TrustDomain;
use marque_store::{JournaledOrder, Store, Survey};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::files::replace;
use super::{BackupCode, BackupError};

/// Its name in a private folder.
pub(super) const FILE: &str = "high-water.json";
const FORMAT: u32 = 1;
/// A mark is far smaller.
const MAX_BYTES: usize = 256 * 1024;
/// How many hashes are read at once.
const HASHES_AT_ONCE: usize = 4096;

/// How far a store had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The tree of the log.
    pub(super) tree: Frontier,
    /// What was signed of it, where it was signed: what shows others that it was there.
    pub(super) checkpoint: Option<String>,
    /// How many kills and lifts the store held.
    pub(super) kill_epoch: u64,
    /// The sequence of the own bundle.
    pub(super) bundle_sequence: u64,
}

/// As it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    trust_domain: TrustDomain,
    log_size: u64,
    log_root: Hash,
    /// The roots of the perfect trees that the log's tree is made of, the largest first.
    peaks: Vec<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    kill_epoch: u64,
    bundle_sequence: u64,
}

impl Mark {
    /// The mark in a private folder, where there is one.
    ///
    /// # Errors
    /// [`BackupCode::MarkDamaged`]: it does not read, or is of another trust domain.
    pub(super) fn read(
        private: &Path,
        trust_domain: &TrustDomain,
    ) -> Result<Option<Self>, BackupError> {
        let path = private.join(FILE);
        let damaged = |why: &str| {
            let message = format!("`{}` {why}", path.display());
            BackupError::new(BackupCode::MarkDamaged, message)
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(super::files::io("read", &path)(error)),
        };
        if bytes.len() > MAX_BYTES {
            return Err(damaged("is too long"));
        }
        let document: Document = serde_json::from_slice(&bytes).map_err(BackupError::of(
            BackupCode::MarkDamaged,
            format!("`{}` does not read", path.display()),
        ))?;
        if document.format != FORMAT {
            return Err(damaged("is of a later version"));
        }
        if document.trust_domain != *trust_domain {
            return Err(damaged("is of another trust domain"));
        }
        let tree = Frontier::from_parts(document.log_size, document.peaks).ok();
        let tree = tree.filter(|tree| tree.root() == document.log_root);
        let tree = tree.ok_or_else(|| damaged("contradicts itself"))?;
        let Document { checkpoint, kill_epoch, bundle_sequence, .. } = document;
        Ok(Some(Self { tree, checkpoint, kill_epoch, bundle_sequence }))
    }

    /// Keeps it in a private folder, in the place of the one before.
    pub(super) fn write(&self, private: &Path, trust_domain: &TrustDomain) -> std::io::Result<()> {
        let document = Document {
            format: FORMAT,
            trust_domain: trust_domain.clone(),
            log_size: self.tree.size(),
            log_root: self.tree.root(),
            peaks: self.tree.peaks().to_vec(),
            checkpoint: self.checkpoint.clone(),
            kill_epoch: self.kill_epoch,
            bundle_sequence: self.bundle_sequence,
        };
        replace(&private.join(FILE), &serde_json::to_vec_pretty(&document)?)
    }

    /// How far a store has come that somebody looked at.
    pub(super) async fn of(survey: &Survey) -> Result<Self, BackupError> {
        let tree = survey.tree_at(survey.log_size).await.map_err(unreadable)?;
        let signed = |kept: &&StoredCheckpoint| kept.frontier.size() == tree.size();
        Ok(Self {
            checkpoint: survey.checkpoint.as_ref().filter(signed).map(|kept| kept.text.clone()),
            kill_epoch: survey.recorded_epoch,
            bundle_sequence: sequence(&survey.authorities),
            tree,
        })
    }

    /// Refuses a state to be restored whose log does not go as far, or is another one.
    pub(super) async fn log_is_reached_by(&self, next: &Survey) -> Result<(), BackupError> {
        let (size, found) = (self.tree.size(), next.log_size);
        let signed = format!("this installation has signed a log of {size} leaves");
        if found < size {
            let message = format!("{signed}, and what is restored has {found}");
            return Err(BackupError::new(BackupCode::LogRollback, message));
        }
        if next.root_at(size).await.map_err(unreadable)? != self.tree.root() {
            let message = format!("{signed}, and they are not the first ones of what is restored");
            return Err(BackupError::new(BackupCode::LogForked, message));
        }
        Ok(())
    }

    /// Refuses a state to be restored that forgets kills or changes of the own bundle; `kept` are the kills and lifts that go
    /// with it.
    pub(super) fn rest_is_reached_by(
        &self,
        next: &Survey,
        kept: &[JournaledOrder],
    ) -> Result<(), BackupError> {
        let (epoch, wanted) = (next.kills.epoch + kept.len() as u64, self.kill_epoch);
        if epoch < wanted {
            let message = format!("there were {wanted} kills and lifts here, and {epoch} are left");
            return Err(BackupError::new(BackupCode::KillRollback, message));
        }
        let (reached, wanted) = (sequence(&next.authorities), self.bundle_sequence);
        if reached < wanted {
            let message =
                format!("the bundle here had the sequence {wanted}, and now it has {reached}");
            return Err(BackupError::new(BackupCode::AuthorityRollback, message));
        }
        Ok(())
    }

    /// Refuses a store to be served that does not go as far.
    async fn is_reached_in(&self, store: &Store) -> Result<(), BackupError> {
        let behind = |what: &str, wanted: u64, found: u64| {
            let message = format!(
                "the store is older than what this installation has signed already: {wanted} {what}, and it has {found}"
            );
            Err(BackupError::new(BackupCode::StoreRolledBack, message))
        };
        let (size, found) = (self.tree.size(), store.size().await.map_err(unreadable)?);
        if found < size {
            return behind("leaves of the log", size, found);
        }
        if !self.begins(store).await.map_err(unreadable)? {
            let message = format!(
                "the store has another history than this installation has signed: its first {size} leaves are others"
            );
            return Err(BackupError::new(BackupCode::StoreForked, message));
        }
        let epoch = marque_intent::IntentStore::kill_state(store).borrow().epoch;
        if epoch < self.kill_epoch {
            return behind("kills and lifts", self.kill_epoch, epoch);
        }
        let authorities = store.load().await;
        let authorities = authorities.map_err(BackupError::of(BackupCode::Store, UNREADABLE))?;
        let reached = sequence(&authorities);
        if reached < self.bundle_sequence {
            return behind("changes of the own bundle", self.bundle_sequence, reached);
        }
        Ok(())
    }

    /// Whether the log that is kept begins with this one. Of a log that goes on from here only the leaves between this tree and
    /// the one of the newest checkpoint are read; where that does not fit, all of this one's.
    async fn begins(&self, log: &dyn LogStore) -> Result<bool, LogError> {
        if let Some(kept) = log.checkpoint().await? {
            let (less, more) = match kept.frontier.size() < self.tree.size() {
                true => (kept.frontier, self.tree.clone()),
                false => (self.tree.clone(), kept.frontier),
            };
            if extended(log, less, more.size()).await?.root() == more.root() {
                return Ok(true);
            }
        }
        let all = extended(log, Frontier::new(), self.tree.size()).await?;
        Ok(all.root() == self.tree.root())
    }
}

/// A tree with the leaves that come next, up to `size`; fewer at the end of the log.
async fn extended(log: &dyn LogStore, mut tree: Frontier, size: u64) -> Result<Frontier, LogError> {
    while tree.size() < size {
        let left = usize::try_from(size - tree.size()).unwrap_or(HASHES_AT_ONCE);
        let hashes = log.hashes(tree.size(), left.min(HASHES_AT_ONCE)).await?;
        if hashes.is_empty() {
            break;
        }
        hashes.into_iter().for_each(|hash| tree.append(hash));
    }
    Ok(tree)
}

/// The sequence of the own bundle.
fn sequence(authorities: &[AuthorityRecord]) -> u64 {
    authorities.iter().map(|record| record.bundle_sequence).max().unwrap_or_default()
}

const UNREADABLE: &str = "the store cannot be compared with what was signed";

fn unreadable(error: LogError) -> BackupError {
    BackupError::of(BackupCode::Store, UNREADABLE)(error)
}

/// The mark of a trust domain that is served; it only ever rises.
#[derive(Debug)]
pub(crate) struct HighWater {
    private: PathBuf,
    trust_domain: TrustDomain,
    /// How many leaves are noted.
    noted: Mutex<u64>,
}

/// A mark was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNoted {
    /// The log cannot be read.
    #[error("read how far the log has come")]
    Log(#[from] LogError),
    /// The file cannot be written.
    #[error("write the note of it")]
    File(#[from] std::io::Error),
}

impl HighWater {
    /// Holds a store that is to be served against the mark in the private folder, where there is one.
    ///
    /// # Errors
    /// The store does not go as far, has another history or cannot be read; the mark does not read.
    pub(crate) async fn open(
        private: &Path,
        trust_domain: &TrustDomain,
        store: &Store,
    ) -> Result<Self, BackupError> {
        let mark = Mark::read(private, trust_domain)?;
        if let Some(mark) = &mark {
            mark.is_reached_in(store).await?;
        }
        let noted = Mutex::new(mark.map_or(0, |mark| mark.tree.size()));
        Ok(Self { private: private.to_owned(), trust_domain: trust_domain.clone(), noted })
    }

    /// Notes how far the log was signed, where that is further than what is noted.
    ///
    /// # Errors
    /// The log cannot be read, or the file not be written.
    pub(crate) async fn raise(&self, store: &Store, bundle_sequence: u64) -> Result<(), NotNoted> {
        let mut noted = self.noted.lock().await;
        // Before the checkpoint: it is in the store by then.
        let kill_epoch = store.recorded_epoch();
        let kept = store.checkpoint().await?;
        let Some(StoredCheckpoint { text, frontier }) = kept else { return Ok(()) };
        let size = frontier.size();
        if size <= *noted {
            return Ok(());
        }
        let mark = Mark { tree: frontier, checkpoint: Some(text), kill_epoch, bundle_sequence };
        let (private, trust_domain) = (self.private.clone(), self.trust_domain.clone());
        let written = tokio::task::spawn_blocking(move || mark.write(&private, &trust_domain));
        written.await.map_err(std::io::Error::other)??;
        *noted = size;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
