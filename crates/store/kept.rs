//! What the edges keep for a while: small documents by kind and key, each with a version and an end.
//!
//! A write replaces exactly the version that its writer saw, so that of two replicas one writes. What the documents say is
//! the edges' own; nothing that is decided about an intent or a token is among them. Posture signals are, which decisions look
//! at.

use jiff::Timestamp;
use marque_audit::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::transactions::Keep;
use crate::{Failure, Store};

/// How many rows of one kind one listing gives.
pub const MAX_KEPT_LISTED: usize = 1000;

/// The end of what has none: the last instant that a row can have.
pub const FOR_GOOD: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// A document that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What it is for.
    pub kind: String,
    /// Its name among those of its kind.
    pub key: String,
    /// Rises by one with every write.
    pub version: u64,
    /// When it ends.
    pub until: Timestamp,
    /// What it says.
    pub document: Value,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptChange {
    /// What it is for.
    pub kind: String,
    /// Its name among those of its kind.
    pub key: String,
    /// The version that has to be there; `None` where nothing may be there.
    pub replaces: Option<u64>,
    /// What it says from now on, and until when; `None` to take it away.
    pub next: Option<(Value, Timestamp)>,
}

impl Kept {
    /// What it says.
    ///
    /// # Errors
    /// It no longer reads.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.document.clone())
            .map_err(|error| Failure::damaged("kept", format!("{}/{}", self.kind, self.key), error))
    }

    /// This row with another text, in place of it.
    ///
    /// # Errors
    /// The value cannot be written.
    pub fn replaced_by(
        &self,
        value: &impl Serialize,
        until: Timestamp,
    ) -> Result<KeptChange, Failure> {
        let value = serde_json::to_value(value).map_err(Failure::encode)?;
        Ok(KeptChange {
            kind: self.kind.clone(),
            key: self.key.clone(),
            replaces: Some(self.version),
            next: Some((value, until)),
        })
    }

    /// Takes this row away.
    #[must_use]
    pub fn taken_away(&self) -> KeptChange {
        KeptChange {
            kind: self.kind.clone(),
            key: self.key.clone(),
            replaces: Some(self.version),
            next: None,
        }
    }
}

impl KeptChange {
    /// A row where none is.
    ///
    /// # Errors
    /// The value cannot be written.
    pub fn new(
        kind: &str,
        key: &str,
        value: &impl Serialize,
        until: Timestamp,
    ) -> Result<Self, Failure> {
        let value = serde_json::to_value(value).map_err(Failure::encode)?;
        let (kind, key) = (kind.to_owned(), key.to_owned());
        Ok(Self { kind, key, replaces: None, next: Some((value, until)) })
    }
}

impl Store {
    /// Writes all of it or, where one of the rows is not in the version that its writer saw, nothing; whether it was
    /// written.
    ///
    /// # Errors
    /// Nobody knows; nothing was written unless the connection broke at that moment.
    pub async fn keep(&self, changes: Vec<KeptChange>) -> Result<bool, Failure> {
        self.queue.run(Keep { changes, events: Vec::new() }).await
    }

    /// [`Self::keep`], with a leaf of the log in the same transaction: it is there if and only if the rows are written.
    ///
    /// # Errors
    /// As for [`Self::keep`].
    pub async fn keep_on_record(
        &self,
        changes: Vec<KeptChange>,
        event: Event,
    ) -> Result<bool, Failure> {
        self.queue.run(Keep { changes, events: vec![event] }).await
    }

    /// A row, if it is there and has not ended by `now`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn kept(
        &self,
        kind: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Kept>, Failure> {
        let found = self.reader.kept(kind, Some(key), 1).await?;
        Ok(found.into_iter().find(|row| row.until > now))
    }

    /// The rows of a kind that have not ended by `now`, by key; at most [`MAX_KEPT_LISTED`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn all_kept(&self, kind: &str, now: Timestamp) -> Result<Vec<Kept>, Failure> {
        self.first_kept(kind, MAX_KEPT_LISTED, now).await
    }

    /// The first so many rows of a kind by key, of which those that have ended by `now` are left out; at most
    /// [`MAX_KEPT_LISTED`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn first_kept(
        &self,
        kind: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Kept>, Failure> {
        let mut found = self.reader.kept(kind, None, limit.min(MAX_KEPT_LISTED)).await?;
        found.retain(|row| row.until > now);
        Ok(found)
    }
}
