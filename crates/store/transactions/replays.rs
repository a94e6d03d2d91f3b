//! Remembering proofs, by themselves or with what they were shown for.

use marque_exchange::{Freshness, SingleUse};

use crate::Failure;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

/// Remembers proofs with which nothing else is written.
#[derive(Debug)]
pub(crate) struct Remember {
    pub(crate) proofs: Vec<SingleUse>,
}

/// A plan that is made only while the proofs shown for it are fresh. They are remembered with whatever it writes, a
/// refusal's writes included, so that no proof counts for a second try.
#[derive(Debug)]
pub(crate) struct Proven<T> {
    pub(crate) proofs: Vec<SingleUse>,
    pub(crate) plan: T,
}

impl Transaction for Remember {
    type Answer = Freshness;

    fn keys(&self, keys: &mut Keys) {
        keys.replays.extend(self.proofs.iter().map(|proof| proof.key));
    }

    fn plan(&self, view: &View) -> Result<Plan<Freshness>, Failure> {
        let mut writes = Writes::default();
        let answer = view.freshness(&self.proofs)?;
        if answer == Freshness::Fresh {
            writes.replays.extend_from_slice(&self.proofs);
        }
        Ok(Plan { answer, writes })
    }
}

impl<T: Transaction> Transaction for Proven<T> {
    /// The plan's own, or nothing where a proof was shown before.
    type Answer = Option<T::Answer>;

    fn keys(&self, keys: &mut Keys) {
        self.plan.keys(keys);
        keys.replays.extend(self.proofs.iter().map(|proof| proof.key));
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        if view.freshness(&self.proofs)? == Freshness::Replayed {
            return Ok(Plan::nothing(None));
        }
        let Plan { answer, mut writes } = self.plan.plan(view)?;
        writes.replays.extend_from_slice(&self.proofs);
        Ok(Plan { answer: Some(answer), writes })
    }
}
