//! The generation of rules that is in force, for everybody who begins something.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Issuer, Lasting};

/// One trust domain as it is served: the generation in force, and what lasts.
#[derive(Debug)]
pub(crate) struct Served {
    lasting: Arc<Lasting>,
    current: watch::Sender<Arc<Issuer>>,
}

impl Served {
    pub(super) fn new(issuer: Issuer) -> Self {
        let lasting = Arc::clone(&issuer.lasting);
        Self { lasting, current: watch::Sender::new(Arc::new(issuer)) }
    }

    /// What is in force now. Whoever begins something takes it once and keeps it to its end.
    pub(crate) fn current(&self) -> Arc<Issuer> {
        Arc::clone(&self.current.borrow())
    }

    /// What lives as long as the process.
    pub(crate) fn lasting(&self) -> &Arc<Lasting> {
        &self.lasting
    }

    /// Runs the tasks of the generation in force until `stop`. Those of the next begin when those of the last have ended.
    ///
    /// # Errors
    /// A task failed.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut generations = self.current.subscribe();
        while !stop.is_cancelled() {
            let (mut tasks, own) = (JoinSet::new(), stop.child_token());
            generations.borrow_and_update().start(&mut tasks, &own);
            let failed = loop {
                tokio::select! {
                    () = stop.cancelled() => break Ok(()),
                    changed = generations.changed() => break changed.context("nothing is in force"),
                    Some(ended) = tasks.join_next() => {
                        let ended = ended.context("a task of the issuer stopped");
                        if let Err(error) = ended.and_then(|ended| ended) {
                            break Err(error);
                        }
                    }
                }
            };
            own.cancel();
            let mut outcome = failed;
            while let Some(ended) = tasks.join_next().await {
                let ended = ended.context("a task of the issuer stopped");
                outcome = outcome.and(ended.and_then(|ended| ended));
            }
            outcome?;
        }
        Ok(())
    }
}
