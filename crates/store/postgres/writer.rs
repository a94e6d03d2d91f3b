//! The writing task: takes all that wait, commits once, answers everybody.

use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use super::{SchemaName, load::load, save::save};
use crate::Failure;
use crate::queue::{Job, Linger, MAX_BATCH};
use crate::transaction::Batch;
use crate::writer::{Shared, answer};

/// Runs until the store is dropped and nothing waits any more.
pub(super) async fn run(
    pool: Pool,
    schema: SchemaName,
    shared: Arc<Shared>,
    mut receiver: UnboundedReceiver<Box<dyn Job>>,
) {
    let mut linger = Linger::default();
    while let Some(first) = receiver.recv().await {
        let mut jobs = gather(first, &mut receiver, &mut linger).await;
        let committed = commit(&pool, &schema, &shared, &mut jobs).await;
        match committed {
            // One bad transaction must not be everybody's: each has its own attempt.
            Err(failure) if jobs.len() > 1 && failure.may_concern_one_alone() => {
                for job in jobs {
                    let mut alone = vec![job];
                    let committed = commit(&pool, &schema, &shared, &mut alone).await;
                    answer(alone, &committed);
                }
            }
            committed => answer(jobs, &committed),
        }
    }
}

/// All that wait, and under load those who are about to come.
async fn gather(
    first: Box<dyn Job>,
    receiver: &mut UnboundedReceiver<Box<dyn Job>>,
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
        match timeout_at(until, receiver.recv()).await {
            Ok(Some(job)) => jobs.push(job),
            Ok(None) | Err(_) => break,
        }
    }
    linger.took(jobs.len());
    jobs
}

/// One transaction for all of them. An error has left nothing in the database, unless the answer to the commit was lost;
/// then nobody is told that anything was done.
async fn commit(
    pool: &Pool,
    schema: &SchemaName,
    shared: &Shared,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), Failure> {
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    let loaded = load(&transaction, &Shared::keys(jobs), shared).await?;
    let batch: Batch = shared.plan(jobs, loaded);
    if !batch.changes().is_empty() {
        save(&transaction, schema, &batch).await?;
    }
    transaction.commit().await?;
    shared.committed(&batch);
    Ok(())
}
