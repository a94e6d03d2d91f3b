//! The store: every storage trait of the rooms, over a queue of transactions and a reader.

mod deferrals;
mod intents;
mod kills;
mod pace;
mod records;
mod tokens;

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use marque_audit::Event;
use marque_intent::{Agents, ApprovalLimits, DecisionRecord};

use crate::queue::Queue;
use crate::reader::Reader;
use crate::transactions::{Append, DECISIONS, Probe};
use crate::writer::Shared;
use crate::{Durability, Failure};

/// Everything that one trust domain keeps. Opened by [`crate::SqliteStore`] or [`crate::PostgresStore`]; from there on
/// the engines do not differ.
#[derive(Debug)]
pub struct Store {
    pub(crate) queue: Queue,
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) durability: Durability,
    pub(crate) _listener: Option<Listener>,
    pub(crate) approval_limits: std::sync::RwLock<ApprovalLimits>,
}

/// A background task that ends with the store.
#[derive(Debug)]
pub(crate) struct Listener(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// The engine's settings on which durability rests, as they were read back from the writing connection.
    #[must_use]
    pub fn durability(&self) -> &Durability {
        &self.durability
    }

    /// How many rows were found that do not read, and did not read since.
    #[must_use]
    pub fn unreadable_rows(&self) -> usize {
        self.shared.intents.unreadable().len()
    }

    /// Writes a row of no meaning, to find out whether rows can be written.
    ///
    /// # Errors
    /// They cannot be.
    pub async fn probe(&self) -> Result<(), Failure> {
        self.queue.run(Probe).await
    }

    /// Says what kills may go by that the registry knows of agents. The first word stands.
    pub fn know_agents(&self, agents: Arc<dyn Agents>) {
        self.shared.kills.know(agents);
    }

    /// Says which tenant the trust domain belongs to, which leaves name from here on.
    pub fn know_tenant(&self, tenant: impl Into<String>) {
        let mut known = self.shared.tenant.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some(tenant.into());
    }

    /// Says how much approvers are asked from here on; until then it is the default.
    pub fn limit_approvals(&self, limits: ApprovalLimits) {
        *self.approval_limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn approval_limits(&self) -> ApprovalLimits {
        *self.approval_limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of each approver's decisions, by approver.
    ///
    /// # Errors
    /// The store cannot be read, or a row no longer reads.
    pub async fn approver_decisions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(String, DecisionRecord)>, Failure> {
        let rows = self.all_kept(DECISIONS, now).await?;
        rows.into_iter().map(|row| Ok((row.key.clone(), row.read()?))).collect()
    }

    async fn record(&self, event: Event) -> Result<(), Failure> {
        self.queue.run(Append { event }).await.map(drop)
    }
}
