//! Is this log what it was? Recomputes everything that a checkpoint and the leaves claim, and names what is wrong.
//!
//! The leaves pass through one at a time: what stays in memory is the tree's right edge and one small record for each
//! intent that has not ended, the ids of all that were approved or ended, and one for each token;
//! and the hashes of the leaves since the newest checkpoint that one named, a million at most.

mod bearing;
mod error;
mod kills;
mod named;
mod tokens;
mod uses;

use std::ops::RangeInclusive;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;

pub use error::VerifyError;

use crate::merkle::Frontier;
use crate::{Checkpoint, Hash, Leaf, LogError, LogStore, SignedCheckpoint, VerifierKey};
use named::Named;
use uses::Uses;

/// How many leaves are read from a store at a time.
const PAGE: usize = 1024;
/// How many findings are kept, where a verification goes on behind the first.
pub const MAX_FINDINGS: usize = 1_000;

/// A log that is what its checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLog {
    /// The checkpoint that was verified.
    pub checkpoint: Checkpoint,
    /// How many leaves were read: those behind the checkpoint's size are well formed but not yet signed for.
    pub leaves: u64,
}

/// Verifies `leaves`, all of them from number 0, against a checkpoint that `key` signed, and against an `older` one
/// that was kept outside the host.
///
/// Checked are the signatures, that nothing before the older checkpoint changed, the root, that numbers are dense and
/// recorded times do not go back, that checkpoints which leaves name are those of the leaves before them, and that every token was issued under an approved intent with a use left.
///
/// # Errors
/// The first thing that is wrong, with the leaf's number where one can be named.
pub fn verify_log(
    leaves: impl Iterator<Item = Result<Leaf, LogError>>,
    checkpoint: &str,
    key: &VerifierKey,
    older: Option<&str>,
) -> Result<VerifiedLog, VerifyError> {
    let mut verifier = LogVerifier::new(checkpoint, key, older)?;
    for leaf in leaves {
        verifier.push(&leaf?)?;
    }
    verifier.finish()
}

/// Verifies a stored log against the checkpoint stored with it; otherwise as [`verify_log`].
///
/// # Errors
/// As [`verify_log`]; also when the store has no checkpoint yet.
pub async fn verify_store(
    store: &dyn LogStore,
    key: &VerifierKey,
    older: Option<&str>,
) -> Result<VerifiedLog, VerifyError> {
    let stored = store.checkpoint().await?.ok_or(VerifyError::NoCheckpoint)?;
    let mut verifier = LogVerifier::new(&stored.text, key, older)?;
    loop {
        let page = store.leaves(verifier.size(), PAGE).await?;
        if page.is_empty() {
            return verifier.finish();
        }
        page.iter().try_for_each(|leaf| verifier.push(leaf))?;
    }
}

/// The same verification for callers that get their leaves in their own way.
#[derive(Debug)]
pub struct LogVerifier {
    checkpoint: Checkpoint,
    older: Vec<Checkpoint>,
    frontier: Frontier,
    root_at_checkpoint: Option<Hash>,
    last_recorded: Option<Timestamp>,
    source: Option<SpiffeId>,
    named: Named,
    /// The first leaf that names a checkpoint which the leaves before it do not have.
    suspect: Option<VerifyError>,
    uses: Uses,
    /// The leaves whose meaning is judged; the tree is that of all.
    judged: RangeInclusive<u64>,
    goes_on: bool,
    findings: Vec<VerifyError>,
}

impl LogVerifier {
    /// Starts with the checkpoints; see [`verify_log`].
    ///
    /// # Errors
    /// When a checkpoint is not signed by `key`, or the older one is the larger.
    pub fn new(
        checkpoint: &str,
        key: &VerifierKey,
        older: Option<&str>,
    ) -> Result<Self, VerifyError> {
        let checkpoint = verified(checkpoint, key).map_err(VerifyError::Checkpoint)?;
        let older = older
            .map(|text| verified(text, key))
            .transpose()
            .map_err(VerifyError::OlderCheckpoint)?;
        if let Some(older) = &older
            && older.size > checkpoint.size
        {
            return Err(VerifyError::Shrunk { older: older.size, newer: checkpoint.size });
        }
        let mut verifier = Self {
            checkpoint,
            older: older.into_iter().collect(),
            frontier: Frontier::new(),
            root_at_checkpoint: None,
            last_recorded: None,
            source: None,
            named: Named::new(),
            suspect: None,
            uses: Uses::default(),
            judged: 0..=u64::MAX,
            goes_on: false,
            findings: Vec::new(),
        };
        verifier.compare_with_checkpoints()?;
        Ok(verifier)
    }

    /// Holds the log against one more older checkpoint.
    ///
    /// # Errors
    /// It is not signed by `key`, or is the larger.
    pub fn covering(mut self, older: &str, key: &VerifierKey) -> Result<Self, VerifyError> {
        let older = verified(older, key).map_err(VerifyError::OlderCheckpoint)?;
        if older.size > self.checkpoint.size {
            return Err(VerifyError::Shrunk { older: older.size, newer: self.checkpoint.size });
        }
        self.older.push(older);
        self.compare_with_checkpoints()?;
        Ok(self)
    }

    /// Judges only what these leaves did: what was granted before is known all the same, and the tree is that of the whole
    /// log.
    #[must_use]
    pub fn judging(self, leaves: RangeInclusive<u64>) -> Self {
        Self { judged: leaves, ..self }
    }

    /// Goes on behind a leaf that breaks the rules of grants, tokens, revocations and kills, up to [`MAX_FINDINGS`]: see
    /// [`Self::findings`]. A log that is not whole ends the verification all the same.
    #[must_use]
    pub fn going_on(self) -> Self {
        Self { goes_on: true, ..self }
    }

    /// What was found so far, where the verification goes on behind it.
    #[must_use]
    pub fn findings(&self) -> &[VerifyError] {
        &self.findings
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// When the leaf is not the next one, or says what it cannot say here; see [`VerifyError`].
    pub fn push(&mut self, leaf: &Leaf) -> Result<(), VerifyError> {
        let seq = leaf.seq();
        if seq != self.frontier.size() {
            return Err(VerifyError::Gap { expected: self.frontier.size(), found: seq });
        }
        if self.source.get_or_insert_with(|| leaf.source().clone()) != leaf.source() {
            return Err(VerifyError::OtherLog { seq });
        }
        if self.last_recorded.is_some_and(|last| leaf.recorded() < last) {
            return Err(VerifyError::TimeWentBack { seq });
        }
        self.last_recorded = Some(leaf.recorded());
        // What was signed outside of the leaves has the first word.
        if let Err(differs) = self.named.push(leaf) {
            self.suspect.get_or_insert(differs);
        }
        self.frontier.append(leaf.hash());
        self.compare_with_checkpoints()?;
        match self.uses.record(leaf) {
            Err(finding) if !self.judged.contains(&seq) => drop(finding),
            Err(finding) if self.goes_on && self.findings.len() < MAX_FINDINGS => {
                self.findings.push(finding);
            }
            judged => return judged,
        }
        Ok(())
    }

    /// How many leaves were taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Says that there are no more leaves.
    ///
    /// # Errors
    /// When the checkpoint covers more leaves than came.
    pub fn finish(self) -> Result<VerifiedLog, VerifyError> {
        match self.root_at_checkpoint {
            Some(_) => {
                Ok(VerifiedLog { leaves: self.frontier.size(), checkpoint: self.checkpoint })
            }
            None => Err(VerifyError::Truncated {
                covered: self.checkpoint.size,
                found: self.frontier.size(),
            }),
        }
    }

    /// Compares roots at the two sizes for which one was signed.
    fn compare_with_checkpoints(&mut self) -> Result<(), VerifyError> {
        let size = self.frontier.size();
        let differs = |older: &Checkpoint| older.size == size && older.root != self.frontier.root();
        if self.older.iter().any(differs) {
            return Err(VerifyError::Rewritten { before: size });
        }
        if self.checkpoint.size == size {
            let root = self.frontier.root();
            if root != self.checkpoint.root {
                let from = self.older.iter().map(|older| older.size).max().unwrap_or(0);
                return Err(VerifyError::Root { from, to: size });
            }
            self.root_at_checkpoint = Some(root);
        }
        match (self.root_at_checkpoint, self.suspect.take()) {
            (Some(_), Some(suspect)) => Err(suspect),
            (_, suspect) => {
                self.suspect = suspect;
                Ok(())
            }
        }
    }
}

fn verified(text: &str, key: &VerifierKey) -> Result<Checkpoint, crate::AuditError> {
    SignedCheckpoint::verify(text, key).map(|signed| signed.checkpoint().clone())
}

#[cfg(test)]
mod tests;
