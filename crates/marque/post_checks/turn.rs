//! Whose turn it is to ask, and how far the log was looked at: one row, of which every step replaces exactly what was read.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_audit::LogStore as _;
use marque_spiffe::Random;
use marque_store::{FOR_GOOD, Kept, KeptChange, Store};
use serde::{Deserialize, Serialize};

use super::Unread;

/// The only row.
const CURSORS: &str = "post_check";
const ALL: &str = "all";

/// How far the log was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// The number of the next leaf.
    pub(super) next: u64,
    holder: String,
    held_until: Timestamp,
}

/// One replica.
#[derive(Debug)]
pub(super) struct Turn {
    holder: String,
    /// How long it has its turn.
    length: Duration,
}

impl Turn {
    pub(super) fn new(random: &dyn Random, length: Duration) -> anyhow::Result<Self> {
        let mut holder = [0; 16];
        random.fill(&mut holder).context("draw a name for the turn of post-checks")?;
        Ok(Self { holder: hex::encode(holder), length })
    }

    /// The cursor, if it is this replica's turn; that is renewed. The first one begins at the end of the log, and only where
    /// post-checks are `wanted`: once there is one, what was reported is asked about whatever playbooks say now.
    pub(super) async fn take(
        &self,
        store: &Store,
        wanted: bool,
        now: Timestamp,
    ) -> Result<Option<(Kept, Cursor)>, Unread> {
        let found = store.kept(CURSORS, ALL, now).await.map_err(Unread::Cursor)?;
        let Some(row) = found else {
            if wanted {
                let next = store.size().await.map_err(Unread::Log)?;
                let cursor = self.cursor(next, now);
                let change = KeptChange::new(CURSORS, ALL, &cursor, FOR_GOOD);
                store.keep(vec![change.map_err(Unread::Cursor)?]).await.map_err(Unread::Cursor)?;
            }
            return Ok(None);
        };
        let cursor: Cursor = row.read().map_err(Unread::Cursor)?;
        if cursor.holder == self.holder && cursor.held_until >= now + self.length / 2 {
            return Ok(Some((row, cursor)));
        }
        if cursor.holder != self.holder && cursor.held_until > now {
            return Ok(None);
        }
        let cursor = self.cursor(cursor.next, now);
        let change = row.replaced_by(&cursor, FOR_GOOD).map_err(Unread::Cursor)?;
        store.keep(vec![change]).await.map_err(Unread::Cursor)?;
        let row = store.kept(CURSORS, ALL, now).await.map_err(Unread::Cursor)?;
        let own = row.filter(|row| row.read::<Cursor>().is_ok_and(|seen| seen == cursor));
        Ok(own.map(|row| (row, cursor)))
    }

    /// Keeps that everything before `next` is done. Whoever lost the turn meanwhile moves nothing.
    pub(super) async fn moved(
        &self,
        store: &Store,
        row: &Kept,
        cursor: Cursor,
        next: u64,
    ) -> Result<bool, Unread> {
        let cursor = Cursor { next, ..cursor };
        let change = row.replaced_by(&cursor, FOR_GOOD).map_err(Unread::Cursor)?;
        store.keep(vec![change]).await.map_err(Unread::Cursor)
    }

    /// Gives the turn back, if it is this replica's: whoever goes on need not wait for its end.
    pub(super) async fn give_back(&self, store: &Store, now: Timestamp) -> Result<(), Unread> {
        let found = store.kept(CURSORS, ALL, now).await.map_err(Unread::Cursor)?;
        let Some(row) = found else { return Ok(()) };
        let cursor: Cursor = row.read().map_err(Unread::Cursor)?;
        if cursor.holder != self.holder {
            return Ok(());
        }
        let cursor = Cursor { held_until: now, ..cursor };
        let change = row.replaced_by(&cursor, FOR_GOOD).map_err(Unread::Cursor)?;
        store.keep(vec![change]).await.map(drop).map_err(Unread::Cursor)
    }

    fn cursor(&self, next: u64, now: Timestamp) -> Cursor {
        Cursor { next, holder: self.holder.clone(), held_until: now + self.length }
    }
}
