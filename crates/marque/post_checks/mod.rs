//! Asks whom playbooks name (`on_complete.verify`) whether work that was reported as done was done.
//!
//! The grant ends with the report, and nothing waits for this. The log has every report: this is a cursor over it that moves
//! on when the answer is on record, so that each is asked about at least once, over restarts and by one replica at a time.
//! Whoever gives no usable answer in [`TRIES`] tries leaves the outcome unknown, and that is recorded too. Absent: what an
//! answer means for an intent, which is the intent's.

mod ask;
mod turn;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use marque_audit::{EventKind, Leaf, LogError, LogStore as _};
use marque_intent::{
    ChangeError, IntentChange, IntentId, IntentStore as _, IntentStoreError, PlaybookSet, PostCheck,
};
use marque_registry::{Finding, TrustDomainDocument, TrustDomainFolder};
use marque_spiffe::{Clock, Random};
use marque_store::{Failure, Store};
use rustls::ClientConfig;
use tokio_util::sync::CancellationToken;

use self::turn::Turn;
use crate::federation::{web, web_authorities};

/// What was asked, by what came of it.
const CHECKED: &str = "marque_post_checks_total";

/// How often somebody is asked about one report, and the pause before the second time; it doubles.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than a step in which nobody answers a replica has its turn; whoever takes over after a crash waits for that.
const SLACK: Duration = Duration::from_secs(5);
/// How many are asked at a time. All of them are done before the cursor moves.
const AT_ONCE: usize = 32;
/// How many leaves are read at a time.
const LEAVES: usize = 256;
/// How often a log that another replica writes is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The post-checks of one trust domain.
#[derive(Debug)]
pub(crate) struct PostChecks {
    wanted: bool,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// Why reports are not looked at just now.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("read the log")]
    Log(#[source] LogError),
    #[error("read or write the cursor")]
    Cursor(#[source] Failure),
    #[error("read an intent")]
    Intent(#[source] IntentStoreError),
    #[error("record an answer")]
    Record(#[source] ChangeError),
}

impl PostChecks {
    /// Reads the authorities that are believed; nobody is asked yet.
    pub(crate) fn open(
        document: &TrustDomainDocument,
        folder: &Path,
        playbooks: &PlaybookSet,
        (store, clock, random): (&Arc<Store>, &Arc<dyn Clock>, &Arc<dyn Random>),
    ) -> anyhow::Result<Self> {
        let settings = document.post_checks();
        let tls = match settings.ca_file() {
            Some(file) => Some(web(web_authorities(&folder.join(file))?, Arc::clone(clock))?),
            None => None,
        };
        Ok(Self {
            wanted: playbooks.iter().any(|playbook| playbook.post_check().is_some()),
            tls,
            timeout: settings.timeout(),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            random: Arc::clone(random),
        })
    }

    /// Until `stop`. What is asked at that moment is asked again by whoever runs next.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let turn = Turn::new(&*self.random, self.longest_step() + SLACK)?;
        self.follow(&turn, &stop).await;
        if let Err(error) = turn.give_back(&self.store, self.clock.now()).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(
                error,
                "the turn of post-checks was not given back, and ends by itself"
            );
        }
        Ok(())
    }

    async fn follow(&self, turn: &Turn, stop: &CancellationToken) {
        let mut grown = self.store.changed();
        loop {
            let step = tokio::select! {
                () = stop.cancelled() => return,
                step = self.step(turn) => step,
            };
            match step {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "reported work cannot be checked");
                }
            }
            let look = self.clock.now() + LOOK;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(look) => {}
                changed = grown.changed() => if changed.is_err() { return },
            }
        }
    }

    /// How long a step takes in which nobody answers.
    fn longest_step(&self) -> Duration {
        let pauses = FIRST_PAUSE * (2_u32.pow(TRIES - 1) - 1);
        self.timeout * TRIES + pauses
    }

    /// Looks at what is next; whether there may be more.
    async fn step(&self, turn: &Turn) -> Result<bool, Unread> {
        let Some((row, cursor)) = turn.take(&self.store, self.wanted, self.clock.now()).await?
        else {
            return Ok(false);
        };
        let leaves = self.store.leaves(cursor.next, LEAVES).await.map_err(Unread::Log)?;
        if leaves.is_empty() {
            return Ok(false);
        }
        let (mut reported, mut next) = (Vec::new(), cursor.next);
        for leaf in &leaves {
            if let Some(id) = to_check(leaf) {
                if reported.len() == AT_ONCE {
                    break;
                }
                reported.push(id);
            }
            next = leaf.seq() + 1;
        }
        let checks = futures::stream::iter(reported).map(|id| self.check(id));
        let checked: Vec<Result<(), Unread>> = checks.buffer_unordered(AT_ONCE).collect().await;
        checked.into_iter().collect::<Result<(), Unread>>()?;
        turn.moved(&self.store, &row, cursor, next).await
    }

    /// Asks about one report, unless that was done.
    async fn check(&self, id: IntentId) -> Result<(), Unread> {
        let intent = match self.store.find(&id).await {
            Ok(Some(intent)) => intent,
            Ok(None) => return Ok(()),
            Err(error) if is_damaged(&error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, intent = %id, "nobody is asked about work whose row is damaged");
                return Ok(());
            }
            Err(error) => return Err(Unread::Intent(error)),
        };
        let Some(url) = intent.awaits_post_check() else { return Ok(()) };
        let said = self.ask(url, &intent).await;
        let change = IntentChange::PostCheck { said };
        let recorded = self.store.change(id.clone(), change, self.clock.now()).await;
        recorded.map_err(Unread::Record)?;
        metrics::counter!(CHECKED, "result" => said.as_str()).increment(1);
        tracing::info!(intent = %id, said = said.as_str(), "reported work was checked");
        Ok(())
    }
}

/// The intent of a report that somebody is to be asked about.
fn to_check(leaf: &Leaf) -> Option<IntentId> {
    let event = leaf.event();
    let pending = event.detail.get("post_check")?.as_str() == Some(PostCheck::Pending.as_str());
    let reported = event.kind == EventKind::IntentCompleted && pending;
    event.intent.as_ref().filter(|_| reported)?.parse().ok()
}

/// Whether it is this row alone that does not read.
fn is_damaged(error: &IntentStoreError) -> bool {
    let IntentStoreError::Unavailable(source) = error else { return false };
    matches!(source.downcast_ref::<Failure>(), Some(Failure::Damaged { .. }))
}

/// Playbooks that ask over TLS where the trust domain says not whom to believe: nobody could be asked.
pub(crate) fn unbelievable(folder: &TrustDomainFolder, playbooks: &PlaybookSet) -> Vec<Finding> {
    let believed = folder.document.post_checks().ca_file().is_some();
    let over_tls = playbooks.iter().filter(|playbook| {
        !believed && playbook.post_check().is_some_and(marque_intent::PostCheckUrl::is_https)
    });
    let finding = |id| {
        let file = folder.path.join("playbooks").join(format!("{id}.toml"));
        let message =
            "`on_complete.verify`: `https` needs `ca_file` in [post_checks] of the trust domain";
        Finding::about(&file, message)
    };
    over_tls.map(|playbook| finding(playbook.id())).collect()
}
