//! What is read of tokens after their issue.

use std::ops::Range;

use jiff::Timestamp;
use marque_exchange::{SuspectQuery, Suspects, TokenId, TokenRecord};
use marque_intent::{Intent, IntentId};

use super::super::load::intent_row;
use super::PooledReader;
use crate::Failure;
use crate::reader::Reader;
use crate::rows::{IntentRow, count, micros, name, read, signed};

impl PooledReader {
    /// The oldest first.
    pub(super) async fn tokens_of_intent(
        &self,
        intent: &IntentId,
    ) -> Result<Vec<TokenRecord>, Failure> {
        let query = "SELECT id, document::text FROM tokens WHERE intent = $1";
        let rows = self.query(query, &[&intent.as_str()]).await?;
        let mut tokens: Vec<TokenRecord> = rows
            .iter()
            .map(|row| read("tokens", row.try_get(0)?, row.try_get(1)?))
            .collect::<Result<_, _>>()?;
        tokens.sort_by_key(|token| token.issued_at);
        Ok(tokens)
    }

    pub(super) async fn tokens_by_id(
        &self,
        ids: &[TokenId],
    ) -> Result<Vec<(TokenRecord, Intent)>, Failure> {
        let query = "SELECT intents.id, state, state_version, intents.document::text, grants.document::text,
                            tokens.document::text, tokens.id
                     FROM tokens JOIN intents ON intents.id = tokens.intent
                     LEFT JOIN grants ON grants.intent = intents.id
                     WHERE tokens.id = ANY($1::text[])";
        let ids: Vec<&str> = ids.iter().map(TokenId::as_str).collect();
        let rows = self.query(query, &[&ids]).await?;
        let found = rows.iter().map(|row| {
            let token = read("tokens", row.try_get(6)?, row.try_get(5)?)?;
            Ok((token, intent_row(row).and_then(IntentRow::into_intent)?))
        });
        found.collect()
    }

    pub(super) async fn places_at(&self, now: Timestamp) -> Result<Range<u64>, Failure> {
        // The head first: a place that is given out meanwhile is behind the end, not before the start.
        let end = self.head().await?.next_place;
        let query = "SELECT place FROM tokens WHERE place IS NOT NULL AND expires_at > $1
                     ORDER BY place LIMIT 1";
        let rows = self.query(query, &[&micros(now)]).await?;
        let first = match rows.first() {
            Some(row) => count("tokens", "place", row.try_get(0)?)?,
            None => end,
        };
        Ok(first.min(end)..end)
    }

    pub(super) async fn suspects_of(&self, query: &SuspectQuery) -> Result<Suspects, Failure> {
        let SuspectQuery { places, now, decided_before } = query;
        // In a statement of its own, before the tokens are read.
        let recorded_epoch = self.head().await?.kill_epoch;
        let query = "SELECT tokens.place, tokens.id
                     FROM tokens JOIN intents ON intents.id = tokens.intent
                     WHERE tokens.place >= $1 AND tokens.place < $2 AND tokens.expires_at > $3
                     AND (tokens.ended_at IS NOT NULL OR tokens.epoch < $4
                          OR intents.state NOT IN ('approved', 'consumed'))";
        let parameters =
            [signed(places.start), signed(places.end), micros(*now), signed(*decided_before)];
        let [from, to, now, epoch] = &parameters;
        let rows = self.query(query, &[from, to, now, epoch]).await?;
        let tokens = rows.iter().map(|row| {
            let id: &str = row.try_get(1)?;
            Ok((count("tokens", id, row.try_get(0)?)?, name("tokens", id, id)?))
        });
        Ok(Suspects { recorded_epoch, tokens: tokens.collect::<Result<_, Failure>>()? })
    }
}
