//! A store looked at from outside, for backups and restores: read without opening it, so that nothing in it changes, whoever
//! serves it meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use marque_audit::merkle::Frontier;
use marque_audit::{Hash, LogError, StoredCheckpoint};
use marque_authority::AuthorityRecord;
use marque_intent::{KillRecord, KillState};
use marque_spiffe::TrustDomain;

use crate::journal::{self, Journal, Order};
use crate::kills::{effective, missing};
use crate::reader::{Reader, unavailable};
use crate::{JournalError, StoreError};

/// How many hashes are read at once.
const HASHES_AT_ONCE: usize = 4096;

/// What a store holds at one moment, as far as nothing of it may ever go back.
#[derive(Debug)]
pub struct Survey {
    pub(crate) reader: Arc<dyn Reader>,
    /// How many leaves the log has.
    pub log_size: u64,
    /// The newest checkpoint that was kept.
    pub checkpoint: Option<StoredCheckpoint>,
    /// Who is stopped, by the database and by the journal.
    pub kills: KillState,
    /// How many kills and lifts the database holds.
    pub recorded_epoch: u64,
    /// The keys of the trust domain, without their private halves.
    pub authorities: Vec<AuthorityRecord>,
    /// The trees that were worked out already, by their sizes.
    pub(crate) known: Mutex<BTreeMap<u64, Frontier>>,
}

/// A kill or a lift of a journal, as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledOrder(pub(crate) Order);

impl JournaledOrder {
    /// When it was ordered.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.0.at
    }

    /// Whether this record was made of it.
    #[must_use]
    pub fn became(&self, record: &KillRecord) -> bool {
        self.0.became(record)
    }
}

/// Where a store keeps its kill journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFile(pub(crate) PathBuf);

impl JournalFile {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Every whole line of it; nothing where there is no journal. Whoever appends to it meanwhile is not disturbed.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn whole_lines(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = match std::fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(whole);
        Ok(bytes)
    }

    /// The orders of it of which `known` has no record, in their order, each once.
    ///
    /// # Errors
    /// It is there and cannot be read, or is of another trust domain.
    pub fn unknown_to(
        &self,
        known: &KillState,
        trust_domain: &TrustDomain,
    ) -> Result<Vec<JournaledOrder>, JournalError> {
        let mut unknown: Vec<JournaledOrder> = Vec::new();
        for order in missing(&self.orders(trust_domain)?, known).into_iter().map(JournaledOrder) {
            if !unknown.contains(&order) {
                unknown.push(order);
            }
        }
        Ok(unknown)
    }

    /// Puts orders at the end of it, on disk; the file is made where it is not there.
    ///
    /// # Errors
    /// It cannot be read or written, or is of another trust domain.
    pub fn append(
        &self,
        orders: &[JournaledOrder],
        trust_domain: &TrustDomain,
    ) -> Result<(), JournalError> {
        let (mut journal, _orders) = Journal::open(&self.0, trust_domain)?;
        orders.iter().try_for_each(|order| journal.append(&order.0))
    }

    fn orders(&self, trust_domain: &TrustDomain) -> Result<Vec<Order>, JournalError> {
        match File::open(&self.0) {
            Ok(file) => Ok(journal::read(&file, &self.0, trust_domain)?.0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(JournalError::Io { path: self.0.clone(), source }),
        }
    }
}

impl Survey {
    pub(crate) async fn of(
        reader: Arc<dyn Reader>,
        journal: &JournalFile,
        trust_domain: &TrustDomain,
    ) -> Result<Self, StoreError> {
        // The journal last: an order is in it before the database learns of it.
        let (head, stored) = (reader.head().await?, reader.kills().await?);
        let (authorities, checkpoint) = (reader.authorities().await?, reader.checkpoint().await);
        let checkpoint = checkpoint.map_err(|error| StoreError::Log(Box::new(error)))?;
        let kills = effective(&stored, &journal.orders(trust_domain)?);
        let (log_size, recorded_epoch) = (head.size, stored.epoch);
        let known = Mutex::default();
        Ok(Self { reader, log_size, checkpoint, kills, recorded_epoch, authorities, known })
    }

    /// The root of the log's first `size` leaves, worked out from every one of them.
    ///
    /// # Errors
    /// The log has fewer, one of them was altered, or it cannot be read.
    pub async fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        Ok(self.tree_at(size).await?.root())
    }

    /// The right edge of the tree of the log's first `size` leaves, worked out from every one of them; each is read once.
    ///
    /// # Errors
    /// The log has fewer, one of them was altered, or it cannot be read.
    pub async fn tree_at(&self, size: u64) -> Result<Frontier, LogError> {
        let mut tree = self.largest_known(size);
        while tree.size() < size {
            let left = usize::try_from(size - tree.size()).unwrap_or(HASHES_AT_ONCE);
            let hashes = self.reader.hashes(tree.size(), left.min(HASHES_AT_ONCE)).await?;
            if hashes.is_empty() {
                return Err(unavailable(crate::Failure::damaged(
                    "leaves",
                    tree.size().to_string(),
                    "the log ends before it",
                )));
            }
            hashes.into_iter().for_each(|hash| tree.append(hash));
        }
        self.trees().insert(size, tree.clone());
        Ok(tree)
    }

    fn largest_known(&self, size: u64) -> Frontier {
        let trees = self.trees();
        trees.range(..=size).next_back().map_or_else(Frontier::new, |(_, tree)| tree.clone())
    }

    fn trees(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Frontier>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
