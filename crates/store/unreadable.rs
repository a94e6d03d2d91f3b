//! Rows that no longer read as what was stored. Whoever asks for one of them is refused; whoever looks through many passes
//! over it. Each is told of once, and counted until it reads again.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use marque_intent::IntentId;

use crate::Failure;

/// How many rows do not read now, over all trust domains of the process.
const UNREADABLE: &str = "marque_unreadable_rows";
/// How many are told apart.
const MAX_TOLD: usize = 10_000;

/// The rows of one store that were found not to read, by table and key.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<BTreeSet<(&'static str, String)>>);

impl Unreadable {
    /// What was read; nothing where its row is damaged, which is put on record.
    pub(crate) fn pass_over<T>(&self, read: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match self.told(read) {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Damaged { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The same read, with a damaged row put on record.
    pub(crate) fn told<T>(&self, read: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure @ Failure::Damaged { table, key, .. }) = &read {
            let mut rows = self.rows();
            if rows.len() < MAX_TOLD && rows.insert((table, key.clone())) {
                metrics::gauge!(UNREADABLE).increment(1.0);
                let error = failure as &dyn std::error::Error;
                tracing::error!(error, table, key, "a row does not read; nothing is done with it");
            }
        }
        read
    }

    /// An intent reads (again).
    pub(crate) fn reads(&self, intent: &IntentId) {
        let mut rows = self.rows();
        if rows.is_empty() {
            return;
        }
        for table in ["intents", "grants"] {
            if rows.remove(&(table, intent.to_string())) {
                metrics::gauge!(UNREADABLE).decrement(1.0);
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows().len()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeSet<(&'static str, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
