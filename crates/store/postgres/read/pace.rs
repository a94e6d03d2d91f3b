//! What is read of pace and of refusals on record.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_intent::pace::{Family, PaceKey, PaceRow, PaceRows, Standing};
use marque_intent::{DenialFilter, DenialId, DenialRecord, History};
use marque_spiffe::SpiffeId;

use super::PooledReader;
use crate::Failure;
use crate::rows::{MAX_COUNTED_ROWS, family_standing, history_since, micros, read, signed};

impl PooledReader {
    pub(super) async fn pace_rows(&self, keys: BTreeSet<PaceKey>) -> Result<PaceRows, Failure> {
        let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let query = "SELECT key, document::text FROM pace WHERE key = ANY($1::text[])";
        let mut found = Vec::new();
        for row in self.query(query, &[&texts]).await? {
            let text: &str = row.try_get(0)?;
            let key = keys.iter().zip(&texts).find(|(_, other)| *other == text);
            let Some((key, _)) = key else { continue };
            let row: PaceRow = read("pace", text, row.try_get(1)?)?;
            found.push((key.clone(), row));
        }
        Ok(found.into_iter().collect())
    }

    pub(super) async fn pace_counts(
        &self,
        agent: &SpiffeId,
        now: Timestamp,
    ) -> Result<History, Failure> {
        let query =
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM denials WHERE agent = $1 AND at > $2 LIMIT $3) AS found),
                    (SELECT count(*) FROM (SELECT 1 FROM open_grants
                     JOIN intents ON intents.id = open_grants.intent
                     WHERE kind = 'agent' AND name = $1 AND state <> 'pending'
                     AND (holds_until IS NULL OR holds_until > $4) LIMIT $3) AS found)";
        let (since, now) = (history_since(now), micros(now));
        let rows = self.query(query, &[&agent.as_str(), &since, &MAX_COUNTED_ROWS, &now]).await?;
        let Some(row) = rows.first() else { return Ok(History::default()) };
        let count = |column: usize| -> Result<u32, Failure> {
            let number: i64 = row.try_get(column)?;
            Ok(u32::try_from(number).unwrap_or(u32::MAX))
        };
        Ok(History { denials: count(0)?, open_grants: count(1)?, ..History::default() })
    }

    pub(super) async fn denials_by(
        &self,
        filter: &DenialFilter,
    ) -> Result<Vec<DenialRecord>, Failure> {
        let agent = filter.agent.as_ref().map(SpiffeId::as_str);
        let code = filter.code.map(marque_intent::DenialCode::as_str);
        let since = filter.since.map_or(i64::MIN, micros);
        let limit = signed(filter.effective_limit() as u64);
        let query = "SELECT id, document::text FROM denials
             WHERE ($1::text IS NULL OR agent = $1) AND ($2::text IS NULL OR code = $2) AND at >= $3
             ORDER BY at DESC, id DESC LIMIT $4";
        let rows = self.query(query, &[&agent, &code, &since, &limit]).await?;
        rows.iter().map(|row| read("denials", row.try_get(0)?, row.try_get(1)?)).collect()
    }

    pub(super) async fn denial_by_id(
        &self,
        id: &DenialId,
    ) -> Result<Option<DenialRecord>, Failure> {
        let query = "SELECT document::text FROM denials WHERE id = $1";
        let rows = self.query(query, &[&id.as_str()]).await?;
        rows.first().map(|row| read("denials", id.as_str(), row.try_get(0)?)).transpose()
    }

    pub(super) async fn family_standings(&self) -> Result<Vec<(Family, Standing)>, Failure> {
        let query =
            "SELECT key, document::text FROM pace WHERE key >= $1 AND key < $2 ORDER BY key";
        let (from, to) = (PaceKey::FAMILIES, PaceKey::AFTER_FAMILIES);
        let rows = self.query(query, &[&from, &to]).await?;
        rows.iter().map(|row| family_standing(row.try_get(0)?, row.try_get(1)?)).collect()
    }
}
