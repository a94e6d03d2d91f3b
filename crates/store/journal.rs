//! The kill journal: a local file in which every kill and every lift is on disk before the database learns of it.
//!
//! One JSON object a line. It works while the database is read-only, full or gone; what it holds is merged into the
//! database later. Lines are never removed: merging twice changes nothing.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_intent::{KillOrder, KillRecord};
use marque_spiffe::TrustDomain;
use serde::{Deserialize, Serialize};

use crate::JournalError;

/// A kill or a lift as it was ordered, before a database gives it its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// `"kill": {…}` or `"lift": {…}`.
    #[serde(flatten)]
    pub(crate) what: KillOrder,
    pub(crate) at: Timestamp,
}

impl Order {
    /// Whether this record was made of this order. Two equal orders of the same instant are one.
    pub(crate) fn became(&self, record: &KillRecord) -> bool {
        record.is_of(&self.what, self.at)
    }

    /// The order that a record was made of.
    pub(crate) fn of(record: &KillRecord) -> Self {
        Self { what: record.order(), at: record.at() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    trust_domain: String,
    #[serde(flatten)]
    order: Order,
}

/// The open journal, at its end.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    trust_domain: TrustDomain,
}

impl Journal {
    /// Opens or creates the journal and reads every order in it. A last line that was cut off by a crash was never
    /// answered, and is removed.
    pub(crate) fn open(
        path: &Path,
        trust_domain: &TrustDomain,
    ) -> Result<(Self, Vec<Order>), JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        let (orders, whole) = read(&file, path, trust_domain)?;
        if file.metadata().map_err(io)?.len() > whole {
            file.set_len(whole).map_err(io)?;
        }
        file.seek(SeekFrom::End(0)).map_err(io)?;
        sync_folder(path).map_err(io)?;
        Ok((Self { file, path: path.to_owned(), trust_domain: trust_domain.clone() }, orders))
    }

    /// Puts an order on disk.
    pub(crate) fn append(&mut self, order: &Order) -> Result<(), JournalError> {
        let io = |source| JournalError::Io { path: self.path.clone(), source };
        let whole = self.file.metadata().map_err(io)?.len();
        let written = self.write(order);
        if written.is_err() {
            // What was half written must not stand in front of the next line.
            if let Err(error) = self.file.set_len(whole) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the kill journal is torn"
                );
            }
        }
        written
    }

    fn write(&mut self, order: &Order) -> Result<(), JournalError> {
        let line = Line { trust_domain: self.trust_domain.to_string(), order: order.clone() };
        let written =
            serde_json::to_vec(&line).map_err(std::io::Error::from).and_then(|mut bytes| {
                bytes.push(b'\n');
                self.file.write_all(&bytes)?;
                self.file.sync_all()
            });
        written.map_err(|source| JournalError::Io { path: self.path.clone(), source })
    }
}

/// The orders, and how many bytes the whole lines take.
pub(crate) fn read(
    file: &File,
    path: &Path,
    trust_domain: &TrustDomain,
) -> Result<(Vec<Order>, u64), JournalError> {
    let mut reader = BufReader::new(file);
    let (mut orders, mut whole, mut text) = (Vec::new(), 0, String::new());
    loop {
        text.clear();
        let length = reader
            .read_line(&mut text)
            .map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        if !text.ends_with('\n') {
            return Ok((orders, whole));
        }
        whole += length as u64;
        let line = orders.len() + 1;
        let read: Line = serde_json::from_str(&text).map_err(|source| JournalError::Line {
            path: path.to_owned(),
            line,
            source,
        })?;
        if read.trust_domain != trust_domain.as_str() {
            return Err(JournalError::OtherTrustDomain {
                path: path.to_owned(),
                line,
                found: read.trust_domain,
            });
        }
        orders.push(read.order);
    }
}

/// A new file is on disk only when its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use marque_intent::{KillMode, KillScope, NewKill, NewLift, Reason};

    use super::*;

    fn domain() -> TrustDomain {
        "prod.example.org".parse().unwrap()
    }

    fn order(second: i64) -> Order {
        let kill = NewKill {
            scope: KillScope::TrustDomain,
            mode: KillMode::Stop,
            reason: Reason::new("drill").unwrap(),
            actor: "operator:alice(1000)".to_owned(),
            expires_at: None,
            origin: None,
            hits: Default::default(),
        };
        Order { what: KillOrder::Kill(kill), at: Timestamp::from_second(second).unwrap() }
    }

    #[test]
    fn a_line_of_before_there_were_modes_and_lifts_still_reads_and_a_lift_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kills");
        let old = "{\"trust_domain\":\"prod.example.org\",\"kill\":{\"scope\":{\"scope\":\"trust_domain\"},\
                   \"reason\":\"drill\",\"actor\":\"operator:alice(1000)\"},\"at\":\"1970-01-01T00:00:01Z\"}\n";
        std::fs::write(&path, old).unwrap();
        let (mut journal, orders) = Journal::open(&path, &domain()).unwrap();
        assert_eq!(orders, [order(1)]);
        let lift = NewLift {
            lifts: format!("kill_{:024}", 1).parse().unwrap(),
            to: Some(KillMode::Drain),
            reason: Reason::new("repaired").unwrap(),
            actor: "operator:alice(1000)".to_owned(),
            confirmed_by: Some("operator:bob(1001)".to_owned()),
        };
        let lift = Order { what: KillOrder::Lift(lift), at: Timestamp::from_second(2).unwrap() };
        journal.append(&lift).unwrap();
        assert_eq!(Journal::open(&path, &domain()).unwrap().1, [order(1), lift]);
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kills");
        let (mut journal, none) = Journal::open(&path, &domain()).unwrap();
        assert_eq!(none, []);
        journal.append(&order(1)).unwrap();
        journal.append(&order(2)).unwrap();
        let (mut journal, two) = Journal::open(&path, &domain()).unwrap();
        assert_eq!(two, [order(1), order(2)]);
        journal.append(&order(3)).unwrap();
        assert_eq!(Journal::open(&path, &domain()).unwrap().1.len(), 3);
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_removed_and_the_next_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kills");
        Journal::open(&path, &domain()).unwrap().0.append(&order(1)).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"trust_domain":"prod.exa"#).unwrap();
        let (mut journal, orders) = Journal::open(&path, &domain()).unwrap();
        assert_eq!(orders, [order(1)]);
        journal.append(&order(2)).unwrap();
        assert_eq!(Journal::open(&path, &domain()).unwrap().1, [order(1), order(2)]);
    }

    #[test]
    fn a_spoiled_line_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kills");
        Journal::open(&path, &domain()).unwrap().0.append(&order(1)).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{}\n").unwrap();
        let error = Journal::open(&path, &domain()).unwrap_err();
        assert!(matches!(error, JournalError::Line { line: 2, .. }), "{error}");
    }

    #[test]
    fn the_journal_of_another_trust_domain_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kills");
        Journal::open(&path, &domain()).unwrap().0.append(&order(1)).unwrap();
        let error = Journal::open(&path, &"dev.example.org".parse().unwrap()).unwrap_err();
        assert!(matches!(error, JournalError::OtherTrustDomain { line: 1, .. }), "{error}");
    }
}
