//! Streams and transmitters as operators see them, and proving that a stream arrives.

use jiff::Timestamp;
use marque_audit::LogStore as _;
use marque_exchange::OidcKeys as _;
use marque_ssf::{Event, Subject};
use marque_store::MAX_KEPT_LISTED;
use serde::{Deserialize, Serialize};

use super::outbox::{Aside, CURSORS, Waiting, aside, waiting};
use super::told::name;
use super::{SignalError, Signals, Transmitter};
use crate::cursor::Cursor;

/// Which way events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalDirection {
    /// We call a receiver.
    Push,
    /// A receiver fetches.
    Poll,
    /// A transmitter calls us.
    Receive,
}

/// A stream or a transmitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalView {
    /// What it is called.
    pub name: String,
    /// Which way events go.
    pub direction: SignalDirection,
    /// The audience of a stream, the issuer of a transmitter.
    pub peer: String,
    /// How many leaves of the log it has not looked at yet.
    pub behind: u64,
    /// How many events wait for its receiver; a thousand are as good as more.
    pub waiting: u64,
    /// How often the next one was not taken so far.
    pub failed: u32,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Why it was not taken; of a transmitter, why it is not believed now.
    pub failure: Option<String>,
    /// When an event was last taken.
    pub delivered_at: Option<Timestamp>,
    /// What its receiver refused.
    pub aside: Vec<AsideView>,
}

/// An event that a receiver refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideView {
    /// The name of the event; `leaf-<number>` where the leaf itself could not be read.
    pub jti: String,
    /// The leaf that it is about.
    pub leaf: Option<u64>,
    /// When.
    pub at: Timestamp,
    /// The code that the receiver answered, or `unreadable`.
    pub failure: String,
}

impl Signals {
    /// Everything as it stands.
    pub(crate) async fn views(&self) -> Result<Vec<SignalView>, SignalError> {
        let now = self.clock.now();
        let size = self.store.size().await.map_err(SignalError::unavailable)?;
        let mut views = Vec::new();
        for stream in &self.streams {
            let name = stream.settings.name();
            let row = self.store.kept(CURSORS, name, now).await?;
            let cursor = row.map(|row| row.read::<Cursor>()).transpose()?;
            let waiting = waiting(&self.store, name, MAX_KEPT_LISTED, now).await?.len() as u64;
            let aside = aside(&self.store, name, now).await?;
            let view = |Aside { jti, leaf, at, failure }| AsideView { jti, leaf, at, failure };
            let pushed = stream.delivery.destination.is_some();
            views.push(SignalView {
                name: name.to_owned(),
                direction: if pushed { SignalDirection::Push } else { SignalDirection::Poll },
                peer: stream.settings.audience().to_owned(),
                behind: cursor.as_ref().map_or(0, |cursor| size.saturating_sub(cursor.next)),
                waiting,
                failed: cursor.as_ref().map_or(0, |cursor| cursor.failed),
                retry_at: cursor.as_ref().and_then(|cursor| cursor.retry_at),
                failure: cursor.as_ref().and_then(|cursor| cursor.failure.clone()),
                delivered_at: cursor.as_ref().and_then(|cursor| cursor.delivered_at),
                aside: aside.into_iter().map(view).collect(),
            });
        }
        views.extend(self.transmitters.iter().map(|transmitter| self.heard_of(transmitter, now)));
        Ok(views)
    }

    fn heard_of(&self, transmitter: &Transmitter, now: Timestamp) -> SignalView {
        let keys = self.keys.keys(transmitter.settings.key_name(), now);
        SignalView {
            name: transmitter.settings.name().to_owned(),
            direction: SignalDirection::Receive,
            peer: transmitter.settings.issuer().to_owned(),
            behind: 0,
            waiting: 0,
            failed: 0,
            retry_at: None,
            failure: keys.err().map(|stale| stale.to_string()),
            delivered_at: None,
            aside: Vec::new(),
        }
    }

    /// Sends the receiver of a stream an event that says nothing but that events arrive (SSF 1.0 section 8.1.4). One that
    /// fetches finds it with the others.
    pub(crate) async fn verify(
        &self,
        stream: &str,
        state: Option<&str>,
    ) -> Result<(), SignalError> {
        let stream = self.stream(stream).ok_or(SignalError::NotFound)?;
        let mut id = [0; 16];
        self.random.fill(&mut id).map_err(SignalError::unavailable)?;
        let (jti, subject) = (name(&id), Subject::Opaque(stream.settings.name().to_owned()));
        let claims = self.claims(stream, (&jti, None), &subject, &Event::verification(state));
        match &stream.delivery.destination {
            Some(destination) => {
                let sent = self.push(stream, destination, &claims).await;
                sent.map_err(|error| SignalError::NotTaken(error.told()))
            }
            None => {
                let size = self.store.size().await.map_err(SignalError::unavailable)?;
                let waiting = Waiting { leaf: None, claims };
                let row = waiting.row(stream.settings.name(), (size, "", 0), self.clock.now())?;
                self.store.keep(vec![row]).await?;
                Ok(())
            }
        }
    }
}
