//! The checkpoint that witnesses are shown, and the newest that enough of them have cosigned.
//!
//! A checkpoint is shown until enough have cosigned it and the log has grown, and for half a minute at most where they do not;
//! one of an hour ago is shown again, so that cosignatures do not grow old in a log that rests.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use marque_audit::{Cosignature, LogError, LogStore as _};
use marque_store::{FOR_GOOD, Failure, Kept, KeptChange, Store};
use serde::{Deserialize, Serialize};

use super::Witnesses;

/// The one row.
const ROUNDS: (&str, &str) = ("audit_witnessed", "checkpoint");
/// How long a checkpoint is shown that not enough witnesses cosign.
const SHOWN_FOR: Duration = Duration::from_secs(30);
/// When a checkpoint that is still the newest is cosigned again.
const AGAIN_AFTER: Duration = Duration::from_hours(1);

/// What is kept of both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rounds {
    /// What witnesses are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<Round>,
    /// What enough of them have cosigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    witnessed: Option<Round>,
}

/// One checkpoint on its way to the witnesses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Round {
    /// How many leaves it covers.
    pub(super) size: u64,
    /// The note as the log signed it.
    pub(super) note: String,
    /// Since when it is shown.
    since: Timestamp,
    /// The lines of cosignatures, by the witness's name in the document.
    cosigned: BTreeMap<String, String>,
}

impl Round {
    /// Whether this witness has cosigned it.
    pub(super) fn is_cosigned_by(&self, witness: &str) -> bool {
        self.cosigned.contains_key(witness)
    }

    /// The note with its cosignatures.
    fn text(&self) -> String {
        let lines = self.cosigned.values().map(|line| format!("{line}\n"));
        std::iter::once(self.note.clone()).chain(lines).collect()
    }

    /// Whether another one takes its place: the newest checkpoint has `size` leaves.
    fn is_over(&self, size: u64, (quorum, every): (usize, Duration), now: Timestamp) -> bool {
        // A clock that was ahead holds nothing up.
        let age = now.duration_since(self.since).abs();
        let past =
            |limit: Duration| SignedDuration::try_from(limit).is_ok_and(|limit| age >= limit);
        let done = self.cosigned.len() >= quorum;
        (size > self.size && past(every) && (done || past(SHOWN_FOR))) || past(AGAIN_AFTER)
    }
}

/// The newest checkpoint that enough witnesses have cosigned: its size, and the note with their lines.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn witnessed(
    store: &Store,
    now: Timestamp,
) -> Result<Option<(u64, String)>, LogError> {
    let unavailable = |failure| LogError::Unavailable(Box::new(failure));
    let (_, rounds) = read(store, now).await.map_err(unavailable)?;
    Ok(rounds.witnessed.map(|round| (round.size, round.text())))
}

async fn read(store: &Store, now: Timestamp) -> Result<(Option<Kept>, Rounds), Failure> {
    let row = store.kept(ROUNDS.0, ROUNDS.1, now).await?;
    let rounds = row.as_ref().map(Kept::read).transpose()?.unwrap_or_default();
    Ok((row, rounds))
}

fn written(row: Option<&Kept>, rounds: &Rounds) -> Result<KeptChange, Failure> {
    match row {
        Some(row) => row.replaced_by(rounds, FOR_GOOD),
        None => KeptChange::new(ROUNDS.0, ROUNDS.1, rounds, FOR_GOOD),
    }
}

impl Witnesses {
    /// What witnesses are shown now, and how many leaves the newest checkpoint covers; nothing where there is no checkpoint.
    pub(super) async fn shown(&self, now: Timestamp) -> Result<Option<(Round, u64)>, ShownError> {
        let Some(newest) = self.store.checkpoint().await? else { return Ok(None) };
        let size = newest.frontier.size();
        let (row, mut rounds) = read(&self.store, now).await?;
        let settings = (self.quorum, self.every);
        if let Some(shown) = rounds.shown.take_if(|shown| !shown.is_over(size, settings, now)) {
            return Ok(Some((shown, size)));
        }
        let shown = Round { size, note: newest.text, since: now, cosigned: BTreeMap::new() };
        rounds.shown = Some(shown.clone());
        // Where another witness's task was first, its word is read the next time.
        let kept = self.store.keep(vec![written(row.as_ref(), &rounds)?]).await?;
        Ok(kept.then_some((shown, size)))
    }

    /// What is to be kept when a witness has cosigned what it was shown; `None` where that is no longer shown.
    pub(super) async fn cosigned(
        &self,
        (witness, round): (&str, &Round),
        cosignature: &Cosignature,
        now: Timestamp,
    ) -> Result<Option<KeptChange>, Failure> {
        let (row, mut rounds) = read(&self.store, now).await?;
        let same = |shown: &&mut Round| shown.size == round.size && shown.since == round.since;
        let Some(shown) = rounds.shown.as_mut().filter(same) else { return Ok(None) };
        shown.cosigned.insert(witness.to_owned(), cosignature.line().to_owned());
        if shown.cosigned.len() >= self.quorum {
            rounds.witnessed = Some(shown.clone());
        }
        written(row.as_ref(), &rounds).map(Some)
    }
}

/// Why it is not known what witnesses are shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShownError {
    #[error("read or keep what the witnesses are shown")]
    Store(#[from] Failure),
    #[error("read the newest checkpoint")]
    Log(#[from] LogError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_shown_until_enough_cosigned_it_and_half_a_minute_at_most() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let settings = (2, Duration::from_secs(10));
        let mut round =
            Round { size: 7, note: "note\n".into(), since: at(1000), cosigned: BTreeMap::new() };
        let over = |round: &Round, size, second| round.is_over(size, settings, at(second));
        assert!(!over(&round, 8, 1029) && over(&round, 8, 1030));
        round.cosigned.insert("b".into(), "— b x".into());
        assert!(!over(&round, 8, 1010));
        round.cosigned.insert("a".into(), "— a x".into());
        assert!(!over(&round, 8, 1009) && over(&round, 8, 1010));
        // In a log that rests it is shown again in time.
        assert!(!over(&round, 7, 4599) && over(&round, 7, 4600));
        // As it is where a clock was ahead.
        assert!(over(&round, 8, 0));
        assert_eq!(round.text(), "note\n— a x\n— b x\n");
    }
}
