//! What is read of tokens after their issue.

use std::collections::BTreeMap;
use std::ops::Range;

use marque_exchange::{SuspectQuery, Suspects, TokenId, TokenRecord};
use marque_intent::{Intent, IntentId};

use tokio_postgres::Row;

use super::super::load::intent_row;
use super::PooledReader;
use crate::Failure;
use crate::reader::Reader;
use crate::rows::{count, micros, name, read, signed};

/// The first place that is taken: the end of one index, whatever is in the table.
pub(in super::super) const FIRST_PLACE: &str =
    "SELECT place FROM tokens WHERE place IS NOT NULL ORDER BY place LIMIT 1";
/// Tokens of some places that ended before their time: an index that has nothing else in it.
pub(in super::super) const ENDED: &str = "SELECT place, id FROM tokens
     WHERE place IS NOT NULL AND (ended_at IS NOT NULL OR intent_ended = 1)
     AND place >= $1 AND place < $2 AND expires_at > $3";
/// Every token of some places that was decided on before an epoch.
const DECIDED_BEFORE: &str = "SELECT place, id FROM tokens WHERE place >= $1 AND place < $2 AND expires_at > $3 AND epoch < $4";

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

    /// By their ids, from the one behind `after` on.
    pub(super) async fn tokens_behind(
        &self,
        after: Option<&TokenId>,
        limit: usize,
    ) -> Result<Vec<TokenRecord>, Failure> {
        let query = "SELECT id, document::text FROM tokens WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.map_or("", TokenId::as_str);
        let rows = self.query(query, &[&after, &signed(limit as u64)]).await?;
        rows.iter().map(|row| read("tokens", row.try_get(0)?, row.try_get(1)?)).collect()
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
        let one = |row: &Row| {
            let token = read("tokens", row.try_get(6)?, row.try_get(5)?)?;
            let intent = self.intents.of_row(intent_row(row)?)?;
            Ok((token, Intent::clone(&intent)))
        };
        let readable = |row| self.unreadable().pass_over(one(row)).transpose();
        rows.iter().filter_map(readable).collect()
    }

    pub(super) async fn places_kept(&self) -> Result<Range<u64>, Failure> {
        // The head first: a place that is given out meanwhile is behind the end, not before the start.
        let end = self.head().await?.next_place;
        let rows = self.query(FIRST_PLACE, &[]).await?;
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
        let (from, to, now) = (signed(places.start), signed(places.end), micros(*now));
        let mut rows = Vec::new();
        // Those that ended last: what ends between the two is in one of them.
        if *decided_before > 0 {
            let epoch = signed(*decided_before);
            rows.extend(self.query(DECIDED_BEFORE, &[&from, &to, &now, &epoch]).await?);
        }
        rows.extend(self.query(ENDED, &[&from, &to, &now]).await?);
        let tokens = rows.iter().map(|row| {
            let id: &str = row.try_get(1)?;
            Ok((count("tokens", id, row.try_get(0)?)?, name("tokens", id, id)?))
        });
        let tokens: BTreeMap<u64, TokenId> = tokens.collect::<Result<_, Failure>>()?;
        Ok(Suspects { recorded_epoch, tokens: tokens.into_iter().collect() })
    }
}
