//! Takes checkpoints to one witness, one after the other, each until it is cosigned or another is shown.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Cosignature, Event, EventKind, LogStore as _, SignedCheckpoint};
use marque_store::{FOR_GOOD, Failure, Kept};
use tokio_util::sync::CancellationToken;

use super::ask::{Answer, NotCosigned};
use super::rounds::{Round, ShownError};
use super::{LAG, SUBMISSIONS, Witness, Witnesses};
use crate::cursor::{self, Cursor, LONGEST_PAUSE, Pace, Step, Turn};
use crate::outgoing::in_one_line;
use crate::sinks::SinkView;

/// The rows of cursors, by the name of the witness: `next` is how many leaves it has cosigned.
const CURSORS: &str = "audit_witness";
/// How often it is looked whether there is something to cosign.
const LOOK: Duration = Duration::from_secs(1);
/// How often a change is tried again that another witness's came before.
const TRIES: usize = 5;
/// What [`Cursor::within`] says where the witness has just said how many leaves it has cosigned.
const TOLD: &str = "told";
/// And where the log says already that the witness has refused it.
const REFUSED: &str = "refused";

/// Why a witness could not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    /// The cursor cannot be read or kept.
    #[error("how far a witness has come cannot be read or kept")]
    Cursor(#[from] Failure),
    /// The log cannot be read.
    #[error("the log cannot be read for a witness")]
    Log(#[from] marque_audit::LogError),
    /// What it is shown is not known.
    #[error(transparent)]
    Shown(#[from] ShownError),
}

/// What a submission came to, apart from a cosignature.
enum Refused {
    /// It is tried again.
    Not(NotCosigned),
    /// It was refused for good, as the witness has seen another history: why, and how many leaves it has seen.
    Fork(&'static str, u64),
}

impl Witnesses {
    /// One task for each witness.
    pub(crate) fn askers(
        self: &Arc<Self>,
        stop: &CancellationToken,
    ) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let asker = |witness: &Arc<Witness>| {
            let (own, witness, stop) = (Arc::clone(self), Arc::clone(witness), stop.clone());
            async move { own.serve(&witness, &stop).await }
        };
        self.witnesses.iter().map(asker).collect()
    }

    async fn serve(&self, witness: &Witness, stop: &CancellationToken) {
        let Some(holder) = cursor::holder(&*self.random) else {
            tracing::error!(witness = witness.name, "no randomness: the witness is not asked");
            return;
        };
        let mut pace = Pace::new(&self.store, &self.clock, stop, LOOK);
        loop {
            // Nothing is kept before there is an answer, so that a question may be given up at any time.
            let step = tokio::select! {
                () = stop.cancelled() => break,
                step = self.step(witness, &holder) => step,
            };
            let step = step.unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, witness = witness.name, "a witness cannot be asked");
                self.later()
            });
            if !pace.goes_on(step).await {
                break;
            }
        }
        let now = self.clock.now();
        cursor::give_back(&self.store, (CURSORS, &witness.name), &holder, now).await;
    }

    /// When it is looked the next time: not as often as the log grows, of which one checkpoint covers much.
    fn later(&self) -> Step {
        Step::NotBefore(self.clock.now() + LOOK)
    }

    /// Looks at what is shown, and submits it once at most.
    async fn step(&self, witness: &Witness, holder: &str) -> Result<Step, WitnessError> {
        let now = self.clock.now();
        let id = (CURSORS, witness.name.as_str());
        let (row, cursor) = match cursor::turn(&self.store, id, holder, now).await? {
            Turn::Own(own) => *own,
            Turn::Others => return Ok(self.later()),
            Turn::Unbegun => {
                cursor::begin(&self.store, id, &Cursor::first(0, holder, now)).await?;
                return Ok(Step::More);
            }
        };
        let Some((round, newest)) = self.shown(now).await? else { return Ok(self.later()) };
        self.measure(witness, round.size.saturating_sub(cursor.next));
        // Times that a clock which was ahead has left are waited for by nobody.
        let waits = cursor.retry_at.is_some_and(|at| at > now && at <= now + LONGEST_PAUSE);
        // What a witness has cosigned of a later checkpoint it is asked about when that is shown.
        let later = cursor.next > round.size && cursor.next <= newest;
        if waits || later || round.is_cosigned_by(&witness.name) {
            return Ok(self.later());
        }
        let old = cursor.next;
        match self.submit(witness, &round, (old, newest)).await {
            Ok(Answer::Cosigned(cosignature)) => {
                self.count(witness, "cosigned");
                self.cosigned_by(witness, (&row, cursor), (&round, &cosignature)).await
            }
            Ok(Answer::Has(size)) if size > newest => {
                self.refused(witness, (&row, cursor), (&round, Refused::Fork("ahead", size))).await
            }
            Ok(Answer::Has(size)) if size != old && cursor.within.as_deref() != Some(TOLD) => {
                if size < old {
                    let witness = &witness.name;
                    tracing::warn!(witness, old, size, "a witness has forgotten what it cosigned");
                }
                let told = Cursor { next: size, within: Some(TOLD.to_owned()), ..cursor };
                let kept = self.store.keep(vec![row.replaced_by(&told, FOR_GOOD)?]).await?;
                Ok(if kept { Step::More } else { self.later() })
            }
            Ok(Answer::Has(size)) if size == old && old == round.size => {
                self.refused(witness, (&row, cursor), (&round, Refused::Fork("fork", size))).await
            }
            Ok(Answer::Has(size)) => {
                let refused = Refused::Not(NotCosigned::OtherSize(size));
                self.refused(witness, (&row, cursor), (&round, refused)).await
            }
            Ok(Answer::Fork) => {
                self.refused(witness, (&row, cursor), (&round, Refused::Fork("fork", old))).await
            }
            Err(error) => {
                self.refused(witness, (&row, cursor), (&round, Refused::Not(error))).await
            }
        }
    }

    async fn submit(
        &self,
        witness: &Witness,
        round: &Round,
        (old, newest): (u64, u64),
    ) -> Result<Answer, NotCosigned> {
        if old > newest {
            return Ok(Answer::Has(old));
        }
        let signed = SignedCheckpoint::verify(&round.note, &self.key).map_err(NotCosigned::Kept)?;
        let (proof, _) = self.tree.consistency(old, &signed).await?;
        witness.door.submit((old, &proof), &signed, &witness.key).await
    }

    /// Keeps a cosignature, and that the witness has come so far.
    async fn cosigned_by(
        &self,
        witness: &Witness,
        (row, cursor): (&Kept, Cursor),
        (round, cosignature): (&Round, &Cosignature),
    ) -> Result<Step, WitnessError> {
        let now = self.clock.now();
        let cursor = Cursor { within: None, ..cursor.taken(round.size, now) };
        for _ in 0..TRIES {
            let mut changes = vec![row.replaced_by(&cursor, FOR_GOOD)?];
            changes.extend(self.cosigned((&witness.name, round), cosignature, now).await?);
            if self.store.keep(changes).await? {
                return Ok(Step::More);
            }
        }
        // Whoever lost the turn meanwhile keeps nothing: it is asked for again.
        Ok(self.later())
    }

    /// Keeps that it was not cosigned, and says so: of a fork in the log itself, once until a checkpoint is cosigned again.
    async fn refused(
        &self,
        witness: &Witness,
        (row, mut cursor): (&Kept, Cursor),
        (round, refused): (&Round, Refused),
    ) -> Result<Step, WitnessError> {
        let (name, now) = (witness.name.as_str(), self.clock.now());
        let (why, seen) = match refused {
            Refused::Not(error) => {
                let failure = in_one_line(&error);
                self.count(witness, "not_taken");
                tracing::warn!(witness = name, failure, "a witness did not cosign a checkpoint");
                cursor.within = cursor.within.filter(|within| within == REFUSED);
                cursor.not_taken(failure, now);
                self.store.keep(vec![row.replaced_by(&cursor, FOR_GOOD)?]).await?;
                return Ok(self.later());
            }
            Refused::Fork(why, seen) => (why, seen),
        };
        self.count(witness, "refused");
        tracing::error!(
            witness = name,
            why,
            size = round.size,
            seen,
            "a witness refuses the log: it has seen another history of it. Keep what there is, and find out who \
             rewrote or restored it"
        );
        let known = cursor.within.as_deref() == Some(REFUSED);
        cursor.within = Some(REFUSED.to_owned());
        cursor.not_taken(in_one_line(&NotCosigned::Fork(why)), now);
        let change = row.replaced_by(&cursor, FOR_GOOD)?;
        if known {
            self.store.keep(vec![change]).await?;
        } else {
            let event = refusal((name, why), (round.size, seen), now);
            self.store.keep_on_record(vec![change], event).await?;
        }
        Ok(self.later())
    }

    fn count(&self, witness: &Witness, result: &str) {
        let labels = [
            ("trust_domain", self.trust_domain.to_string()),
            ("witness", witness.name.clone()),
            ("result", result.to_owned()),
        ];
        metrics::counter!(SUBMISSIONS, &labels).increment(1);
    }

    fn measure(&self, witness: &Witness, behind: u64) {
        let labels =
            [("trust_domain", self.trust_domain.to_string()), ("witness", witness.name.clone())];
        metrics::gauge!(LAG, &labels).set(crate::telemetry::number(behind));
    }

    /// The witnesses as they stand, beside the sinks.
    pub(crate) async fn views(&self) -> Result<Vec<SinkView>, WitnessError> {
        let (now, size) = (self.clock.now(), self.store.size().await?);
        let mut views = Vec::new();
        for witness in &self.witnesses {
            let row = self.store.kept(CURSORS, &witness.name, now).await?;
            let cursor = row.map(|row| row.read::<Cursor>()).transpose()?;
            let next = cursor.as_ref().map_or(0, |cursor| cursor.next);
            views.push(SinkView {
                name: witness.name.clone(),
                sends: "checkpoints to cosign".to_owned(),
                to: witness.to.clone(),
                behind: size.saturating_sub(next),
                failed: cursor.as_ref().map_or(0, |cursor| cursor.failed),
                retry_at: cursor.as_ref().and_then(|cursor| cursor.retry_at),
                failure: cursor.as_ref().and_then(|cursor| cursor.failure.clone()),
                delivered_at: cursor.as_ref().and_then(|cursor| cursor.delivered_at),
            });
        }
        Ok(views)
    }
}

/// What the log is told when a witness refuses it.
fn refusal((witness, why): (&str, &str), (size, seen): (u64, u64), now: Timestamp) -> Event {
    Event::new(EventKind::WitnessRefused, now)
        .with_detail("witness", witness)
        .with_detail("why", why)
        .with_detail("size", size)
        .with_detail("witness_size", seen)
}
