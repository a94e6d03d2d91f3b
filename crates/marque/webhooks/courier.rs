//! Takes messages to one receiver: one after the other, each until it is taken or put aside.
//!
//! A replica serves while it has its turn.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, header};
use marque_audit::LogStore as _;
use marque_store::{FOR_GOOD, Failure, Kept, KeptChange};
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::state::{CURSORS, DEAD, DeadLetter};
use super::{DeadLetterView, Hook, WebhookView, Webhooks};
use crate::cursor::{self, Cursor, Pace, Step, TurnError};
use crate::outgoing::{OutgoingError, OutgoingLimits};

/// How often a message is sent before it is put aside.
pub(super) const MAX_TRIES: u32 = 8;
/// What one call may cost.
const LIMITS: OutgoingLimits = OutgoingLimits { time: Duration::from_secs(15), bytes: 16 * 1024 };
/// How many leaves are read at a time, and looked at before the cursor is kept where none is of interest.
const LEAVES: usize = 256;
/// How often a log that another replica writes is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long what was put aside is kept.
const DEAD_FOR: Duration = Duration::from_hours(14 * 24);
const DELIVERED: &str = "marque_webhook_messages_total";

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Call(#[from] OutgoingError),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("the message cannot be signed")]
    Signature,
}

/// Why a webhook was not asked anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// There is no such webhook, or nothing was put aside.
    #[error("there is no such webhook or message")]
    NotFound,
    /// Its receiver did not take it.
    #[error("the message was not taken: {0}")]
    NotTaken(String),
    /// The store or the log cannot be read.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Failure> for WebhookError {
    fn from(error: Failure) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<TurnError> for WebhookError {
    fn from(error: TurnError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl Webhooks {
    /// One task for each webhook.
    pub(crate) fn couriers(
        self: &Arc<Self>,
        stop: &CancellationToken,
    ) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let courier = |hook: &Arc<Hook>| {
            let (webhooks, hook, stop) = (Arc::clone(self), Arc::clone(hook), stop.clone());
            async move { webhooks.serve(&hook, &stop).await }
        };
        self.hooks.iter().map(courier).collect()
    }

    async fn serve(&self, hook: &Hook, stop: &CancellationToken) {
        let Some(holder) = cursor::holder(&*self.random) else {
            tracing::error!(webhook = hook.name, "no randomness: the webhook is not served");
            return;
        };
        self.follow(hook, &holder, stop).await;
        let now = self.clock.now();
        cursor::give_back(&self.store, (CURSORS, &hook.name), &holder, now).await;
    }

    async fn follow(&self, hook: &Hook, holder: &str, stop: &CancellationToken) {
        let mut pace = Pace::new(&self.store, &self.clock, stop, LOOK);
        loop {
            let step = self.step(hook, holder).await.unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, webhook = hook.name, "a webhook cannot be served");
                Step::Nothing
            });
            if !pace.goes_on(step).await {
                return;
            }
        }
    }

    /// Looks at what is next, and takes one message at most.
    async fn step(&self, hook: &Hook, holder: &str) -> Result<Step, WebhookError> {
        let now = self.clock.now();
        let Some((row, mut cursor)) =
            cursor::turn_from_end(&self.store, (CURSORS, &hook.name), holder, now).await?
        else {
            return Ok(Step::Nothing);
        };
        if let Some(at) = cursor.retry_at.filter(|at| *at > now) {
            return Ok(Step::Until(at));
        }
        let leaves = self.store.leaves(cursor.next, LEAVES).await;
        let leaves = leaves.map_err(|error| WebhookError::Unavailable(Box::new(error)))?;
        if leaves.is_empty() {
            return Ok(Step::Nothing);
        }
        let found = leaves.iter().find_map(|leaf| Some((leaf, self.message(hook, leaf)?)));
        let Some((leaf, message)) = found else {
            cursor.next += leaves.len() as u64;
            return self.moved(&row, &cursor, None).await;
        };
        if cursor.next != leaf.seq() {
            (cursor.next, cursor.failed) = (leaf.seq(), 0);
        }
        let mut dead = None;
        match self.send(hook, &message).await {
            Ok(()) => {
                cursor = cursor.taken(leaf.seq() + 1, now);
            }
            Err(error) => {
                let failure = told(&error);
                cursor.not_taken(failure.clone(), now);
                tracing::warn!(
                    webhook = hook.name,
                    failure,
                    tries = cursor.failed,
                    "a message was not taken"
                );
                if cursor.failed >= MAX_TRIES {
                    count(hook, "dead");
                    tracing::error!(
                        webhook = hook.name,
                        leaf = leaf.seq(),
                        "a message was put aside, and nobody has it"
                    );
                    let (webhook, leaf) = (hook.name.clone(), leaf.seq());
                    dead = Some(DeadLetter { webhook, leaf, at: now, failure });
                    (cursor.next, cursor.failed, cursor.retry_at) = (leaf + 1, 0, None);
                }
            }
        }
        self.moved(&row, &cursor, dead).await
    }

    /// Keeps where the cursor is now. Whoever lost the turn meanwhile moves nothing.
    async fn moved(
        &self,
        row: &Kept,
        cursor: &Cursor,
        dead: Option<DeadLetter>,
    ) -> Result<Step, WebhookError> {
        let mut changes = vec![row.replaced_by(cursor, FOR_GOOD)?];
        if let Some(dead) = dead {
            let key = DeadLetter::key(&dead.webhook, dead.leaf);
            let until = dead.at + DEAD_FOR;
            changes.push(KeptChange::new(DEAD, &key, &dead, until)?);
        }
        let kept = self.store.keep(changes).await?;
        Ok(if kept { Step::More } else { Step::Nothing })
    }

    async fn send(&self, hook: &Hook, message: &Message) -> Result<(), NotTaken> {
        let sent = self.call(hook, message).await;
        count(hook, if sent.is_ok() { "taken" } else { "not_taken" });
        sent
    }

    async fn call(&self, hook: &Hook, message: &Message) -> Result<(), NotTaken> {
        let timestamp = self.clock.now().as_second();
        let signature = hook
            .key
            .sign(&message.id, timestamp, &message.body)
            .map_err(|_unsigned| NotTaken::Signature)?;
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("marque/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(message.body.clone())
            .map_err(OutgoingError::Request)?;
        let answer = hook.destination.send(request, LIMITS).await?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(NotTaken::Status(answer.status().as_u16()))
        }
    }

    /// The webhooks as they stand.
    pub(crate) async fn views(&self) -> Result<Vec<WebhookView>, WebhookError> {
        let now = self.clock.now();
        let size = self.store.size().await;
        let size = size.map_err(|error| WebhookError::Unavailable(Box::new(error)))?;
        let dead = self.store.all_kept(DEAD, now).await?;
        let dead: Vec<DeadLetter> = dead.iter().map(Kept::read).collect::<Result<_, _>>()?;
        let mut views = Vec::new();
        for hook in &self.hooks {
            let row = self.store.kept(CURSORS, &hook.name, now).await?;
            let cursor = row.map(|row| row.read::<Cursor>()).transpose()?;
            let own = dead.iter().filter(|letter| letter.webhook == hook.name);
            let letter = |letter: &DeadLetter| DeadLetterView {
                leaf: letter.leaf,
                at: letter.at,
                failure: letter.failure.clone(),
            };
            views.push(WebhookView {
                name: hook.name.clone(),
                behind: cursor.as_ref().map_or(0, |cursor| size.saturating_sub(cursor.next)),
                failed: cursor.as_ref().map_or(0, |cursor| cursor.failed),
                retry_at: cursor.as_ref().and_then(|cursor| cursor.retry_at),
                failure: cursor.as_ref().and_then(|cursor| cursor.failure.clone()),
                delivered_at: cursor.as_ref().and_then(|cursor| cursor.delivered_at),
                dead: own.map(letter).collect(),
            });
        }
        Ok(views)
    }

    /// Sends a message of no event.
    pub(crate) async fn test(&self, name: &str) -> Result<(), WebhookError> {
        let hook = self.hook(name).ok_or(WebhookError::NotFound)?;
        let mut id = [0; 16];
        self.random.fill(&mut id).map_err(|error| WebhookError::Unavailable(Box::new(error)))?;
        let message = self.test_message(format!("msg_{}", hex::encode(id)));
        self.send(hook, &message).await.map_err(|error| WebhookError::NotTaken(told(&error)))
    }

    /// Sends what was put aside: that of one leaf, or all of it in order. Gives how many were taken.
    pub(crate) async fn redeliver(
        &self,
        name: &str,
        leaf: Option<u64>,
    ) -> Result<u64, WebhookError> {
        let hook = self.hook(name).ok_or(WebhookError::NotFound)?;
        let mut taken = 0;
        for row in self.store.all_kept(DEAD, self.clock.now()).await? {
            let letter: DeadLetter = row.read()?;
            if letter.webhook != name || leaf.is_some_and(|leaf| leaf != letter.leaf) {
                continue;
            }
            let found = self.store.leaves(letter.leaf, 1).await;
            let found = found.map_err(|error| WebhookError::Unavailable(Box::new(error)))?;
            if let Some(message) = found.first().and_then(|leaf| self.message(hook, leaf)) {
                let sent = self.send(hook, &message).await;
                sent.map_err(|error| WebhookError::NotTaken(told(&error)))?;
                taken += 1;
            }
            self.store.keep(vec![row.taken_away()]).await?;
        }
        if taken == 0 && leaf.is_some() { Err(WebhookError::NotFound) } else { Ok(taken) }
    }
}

/// Which rule broke, in one line; nothing that the receiver wrote.
fn told(error: &NotTaken) -> String {
    match error {
        NotTaken::Call(error) => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
        NotTaken::Status(_) | NotTaken::Signature => error.to_string(),
    }
}

fn count(hook: &Hook, result: &'static str) {
    metrics::counter!(DELIVERED, "webhook" => hook.name.clone(), "result" => result).increment(1);
}

#[cfg(test)]
mod tests;
