//! The writing thread: takes all that wait, commits once, answers everybody.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};

use super::{load::load, save::save};
use crate::Failure;
use crate::queue::{Job, Linger, MAX_BATCH};
use crate::writer::{Shared, answer};

/// Runs until the store is dropped and nothing waits any more.
pub(super) fn run(mut connection: Connection, shared: &Shared, receiver: &Receiver<Box<dyn Job>>) {
    let mut linger = Linger::default();
    while let Ok(first) = receiver.recv() {
        let mut jobs = gather(first, receiver, &mut linger);
        let committed = commit(&mut connection, shared, &mut jobs);
        match committed {
            // One bad transaction must not be everybody's: each has its own attempt.
            Err(failure) if jobs.len() > 1 && failure.may_concern_one_alone() => {
                for job in jobs {
                    let mut alone = vec![job];
                    let committed = commit(&mut connection, shared, &mut alone);
                    answer(alone, &committed);
                }
            }
            committed => answer(jobs, &committed),
        }
    }
}

/// All that wait, and under load those who are about to come.
pub(super) fn gather(
    first: Box<dyn Job>,
    receiver: &Receiver<Box<dyn Job>>,
    linger: &mut Linger,
) -> Vec<Box<dyn Job>> {
    let mut jobs = vec![first];
    let mut deadline = None;
    while jobs.len() < MAX_BATCH {
        if let Ok(job) = receiver.try_recv() {
            jobs.push(job);
            continue;
        }
        let Some(patience) = linger.patience(jobs.len()) else { break };
        let until = *deadline.get_or_insert_with(|| Instant::now() + patience);
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(job) => jobs.push(job),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    linger.took(jobs.len());
    jobs
}

/// One transaction for all of them. An error has left nothing in the database.
pub(super) fn commit(
    connection: &mut Connection,
    shared: &Shared,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), Failure> {
    // Immediate: what is loaded cannot change before it is written.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let loaded = load(&transaction, &Shared::keys(jobs), shared)?;
    let batch = shared.plan(jobs, loaded);
    if !batch.changes().is_empty() {
        save(&transaction, &batch)?;
    }
    transaction.commit()?;
    shared.committed(&batch);
    Ok(())
}
