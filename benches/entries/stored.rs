//! Entries that were made by command or by templates: rows of SQLite, read at start.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use marque_registry::{Entry, EntryStore as _};
use marque_store::SqliteStore;
use marque_testkit::{FixedClock, START};

const CREATED: usize = 20;

/// How long all rows take to read, in seconds, and one more to keep, in milliseconds.
pub(crate) fn measure(entries: &[Entry], more: impl Fn(usize) -> Entry) -> (f64, f64) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let scratch = tempfile::tempdir().expect("a folder");
        let path = scratch.path().join("store.sqlite");
        let domain = "prod.example.org".parse().expect("a trust domain");
        let clock = || Arc::new(FixedClock::new(START));
        drop(SqliteStore::open(&path, &domain, clock()).await.expect("a store"));
        write(&path, entries);
        let store = SqliteStore::open(&path, &domain, clock()).await.expect("a store");
        let started = Instant::now();
        let read = store.entries().await.expect("entries");
        let load = started.elapsed().as_secs_f64();
        assert_eq!(read.len(), entries.len(), "not all were read");
        let mut taken = Vec::new();
        for number in 0..CREATED {
            let started = Instant::now();
            store.create(more(entries.len() + number)).await.expect("one more");
            taken.push(started.elapsed().as_secs_f64() * 1_000.0);
        }
        taken.sort_by(f64::total_cmp);
        (load, taken.get(CREATED / 2).copied().unwrap_or_default())
    })
}

/// Writes the rows past the store: a million transactions are not what is measured.
fn write(path: &Path, entries: &[Entry]) {
    let mut connection = rusqlite::Connection::open(path).expect("the file");
    let transaction = connection.transaction().expect("a transaction");
    {
        let mut insert = transaction
            .prepare("INSERT INTO entries (id, spiffe_id, document) VALUES (?1, ?2, ?3)")
            .expect("the table");
        for entry in entries {
            let document = serde_json::to_string(entry).expect("an entry in JSON");
            let row = [entry.id().as_str(), entry.spiffe_id().as_str(), &document];
            insert.execute(row).expect("a row");
        }
    }
    transaction.commit().expect("rows");
}
