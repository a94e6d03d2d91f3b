//! Writing what the edges keep.

use marque_audit::Event;
use serde_json::Value;

use crate::transaction::{Keys, Plan, Transaction, View, Writes};
use crate::{Failure, Kept, KeptChange};

/// Replaces exactly the versions that the writer saw.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) changes: Vec<KeptChange>,
    /// What the log is told where it is written.
    pub(crate) events: Vec<Event>,
}

impl Transaction for Keep {
    type Answer = bool;

    fn keys(&self, keys: &mut Keys) {
        let names = self.changes.iter().map(|change| (change.kind.clone(), change.key.clone()));
        keys.kept.extend(names);
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        let mut writes = Writes { events: self.events.clone(), ..Writes::default() };
        for KeptChange { kind, key, replaces, next } in &self.changes {
            let there = view.kept(kind, key)?;
            // A row whose end has come is not there, and its version is not given again.
            let seen = there.filter(|row| row.until > view.now()).map(|row| row.version);
            if seen != *replaces {
                return Ok(Plan::nothing(false));
            }
            let version = there.map_or(0, |row| row.version) + 1;
            match next {
                Some((document, until)) => writes.kept.push(Kept {
                    kind: kind.clone(),
                    key: key.clone(),
                    version,
                    until: *until,
                    document: document.clone(),
                }),
                None => writes.forgotten_kept.push((kind.clone(), key.clone())),
            }
        }
        Ok(Plan { answer: true, writes })
    }
}

/// What the row is for by which it is found out whether rows can be written.
const PROBE: &str = "probe";

/// Writes a row of no meaning.
#[derive(Debug)]
pub(crate) struct Probe;

impl Transaction for Probe {
    type Answer = ();

    fn keys(&self, keys: &mut Keys) {
        keys.kept.insert((PROBE.to_owned(), PROBE.to_owned()));
    }

    fn plan(&self, view: &View) -> Result<Plan<()>, Failure> {
        let version = view.kept(PROBE, PROBE)?.map_or(0, |row| row.version) + 1;
        let row = Kept {
            kind: PROBE.to_owned(),
            key: PROBE.to_owned(),
            version,
            until: view.now(),
            document: Value::Null,
        };
        Ok(Plan { answer: (), writes: Writes { kept: vec![row], ..Writes::default() } })
    }
}
