//! The kill switch: what is in force, and what outlives the process.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_intent::{Kill, KillOrder, KillRecord, KillState};
use tokio::sync::oneshot;

use super::Store;
use crate::Failure;
use crate::journal::Order;
use crate::transactions::RecordKill;

/// How long a kill that is in force and journaled waits for the database before it is answered.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);

/// Why a kill is not in the journal.
type NotJournaled = Box<dyn std::error::Error + Send + Sync>;

impl Store {
    /// How many kills and lifts the database held when it was last looked at.
    #[must_use]
    pub fn recorded_epoch(&self) -> u64 {
        self.shared.kills.stored().epoch
    }

    /// Whether it was heard lately who is stopped, from all who share the database.
    #[must_use]
    pub fn hears_of_kills(&self) -> bool {
        self.shared.heard.is_current()
    }

    /// Whether kills or lifts are in force here that the database has not taken, where others share it: no other replica can
    /// hear of them.
    #[must_use]
    pub fn keeps_kills_here_only(&self) -> bool {
        self.shared.heard.is_of_others() && self.shared.kills.has_pending()
    }

    /// Whether a kill that stands, as far as it was ordered, outlives the process: the journal or the database has it.
    #[must_use]
    pub fn keeps(&self, kill: &Kill) -> bool {
        self.shared.kills.keeps(&Order::of(&KillRecord::Kill(kill.clone())))
    }

    /// Of a kill: memory first, then the journal, then the database. What is in force depends on neither, and neither has to
    /// wait in line behind anything that callers of the service can ask for. A lift is in force when the journal or the
    /// database has it: nobody goes on whom the next start would stop again.
    pub(super) async fn throw_kill_switch(
        &self,
        what: KillOrder,
        at: Timestamp,
    ) -> Result<KillState, Failure> {
        let kills = &self.shared.kills;
        let order = Order { what: kills.hitting(what), at };
        let stops = matches!(order.what, KillOrder::Kill(_));
        if stops {
            kills.not_kept(order.clone());
            kills.order(order.clone());
        }
        let journaled = match self.journal(order.clone()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(
                    error = &*error as &dyn std::error::Error,
                    "a kill or a lift is not journaled"
                );
                false
            }
        };
        if journaled {
            kills.order(order.clone());
            kills.kept(&order);
        }
        let recorded = self.queue.run(RecordKill { order });
        if journaled {
            match tokio::time::timeout(RECORDED_WITHIN, recorded).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    let error = &failure as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "a kill is in force and journaled; the database does not take it"
                    );
                }
                Err(_) => {
                    tracing::warn!("a kill is in force and journaled; the database does not answer")
                }
            }
        } else {
            recorded.await?;
        }
        Ok(self.shared.kills.state().as_ref().clone())
    }

    /// Writes to the journal on a thread of its own: those of the runtime may all be busy with what callers ask for.
    async fn journal(&self, order: Order) -> Result<(), NotJournaled> {
        let shared = Arc::clone(&self.shared);
        let (done, journaled) = oneshot::channel();
        let write = move || drop(done.send(shared.kills.journal(&order)));
        std::thread::Builder::new().name("kill-journal".to_owned()).spawn(write)?;
        Ok(journaled.await??)
    }
}
