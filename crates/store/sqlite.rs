//! The embedded engine: one file, one writing thread, a few reading connections.

mod entries;
mod load;
mod open;
mod pace;
mod read;
mod recent;
mod save;
mod writer;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

use marque_spiffe::{Clock, TrustDomain};
use refinery::{Migration, Runner};
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags, OptionalExtension};
use tokio::sync::{oneshot, watch};

use crate::journal::Journal;
use crate::kills::{Heard, KillBoard};
use crate::known::KnownIntents;
use crate::queue::{Mailbox, Queue};
use crate::rows::{Head, kill_state, status_key};
use crate::writer::Shared;
use crate::{Durability, Failure, JournalFile, Store, StoreError, Survey};
use read::Readers;

/// How long a writer waits for a lock that somebody else holds on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a copy is interrupted that is to be given up, until it has ended.
const INTERRUPTED_EVERY: Duration = Duration::from_millis(10);
/// Prepared statements kept by each connection: more than there are.
const STATEMENTS: usize = 64;

/// How much of the file the writing connection keeps in memory, in KiB: the pages that every batch writes, and then some.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// After how many pages the write-ahead log is copied into the file. Pages that every batch writes are copied once for all
/// of it, and each copying costs two flushes; 16 MiB are read again in an instant after a crash.
const PAGES_PER_CHECKPOINT: i64 = 4096;

/// Opens stores in a file of their own.
#[derive(Debug)]
pub struct SqliteStore;

impl SqliteStore {
    /// Opens or creates the store of a trust domain. The kill journal is the file beside it that ends in `.kills`.
    ///
    /// # Errors
    /// When the file cannot be opened or is of another trust domain, the engine would not be durable (WAL and
    /// `synchronous=FULL` are read back), or the journal cannot be read.
    pub async fn open(
        path: &Path,
        trust_domain: &TrustDomain,
        clock: Arc<dyn Clock>,
    ) -> Result<Store, StoreError> {
        let (path, trust_domain) = (path.to_owned(), trust_domain.clone());
        let failed = path.clone();
        tokio::task::spawn_blocking(move || open(&path, trust_domain, clock))
            .await
            .map_err(|stopped| StoreError::File { path: failed, source: Box::new(stopped) })?
    }
}

fn open(
    path: &Path,
    trust_domain: TrustDomain,
    clock: Arc<dyn Clock>,
) -> Result<Store, StoreError> {
    let file = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::File {
        path: path.to_owned(),
        source,
    };
    // The file, and with it the write-ahead log beside it, is its owner's alone.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| file(Box::new(error)))?;
    let mut connection = Connection::open(path).map_err(|error| file(Box::new(error)))?;
    configure(&connection).map_err(|error| file(Box::new(error)))?;
    let durability = durability(&connection)?;
    migrations().run(&mut connection).map_err(|error| StoreError::Migrate(Box::new(error)))?;
    belongs_to(&connection, &trust_domain)?;
    let head = head(&connection)?;
    let kills = kills(&connection)?;
    let status_key = status_key(&setting(&connection, "status_key")?)?;
    let (journal, orders) = Journal::open(&journal_path(path), &trust_domain)?;
    let shared = Arc::new(Shared {
        trust_domain,
        status_key,
        clock,
        kills: KillBoard::new(journal, orders, kills),
        heard: Heard::alone(),
        intents: Arc::new(KnownIntents::new()),
        size: watch::Sender::new(head.size),
        pace: RwLock::default(),
        tenant: RwLock::default(),
    });
    let reader = Arc::new(Readers::new(path.to_owned(), shared.intents.clone()));
    let (sender, receiver) = mpsc::channel();
    let writing = shared.clone();
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || writer::run(connection, &writing, &receiver))
        .map_err(StoreError::Writer)?;
    Ok(Store {
        approval_limits: std::sync::RwLock::default(),
        queue: Queue::new(Mailbox::Thread(sender)),
        reader,
        shared,
        durability,
        _listener: None,
    })
}

impl SqliteStore {
    /// The kill journal of a store.
    #[must_use]
    pub fn journal(path: &Path) -> JournalFile {
        JournalFile(journal_path(path))
    }

    /// Copies a store as it is at one moment into a new file, mode 0600, whoever writes to it meanwhile; what is copied is
    /// one file and nothing beside it. When `stop` is ready before that is done, it is given up at once.
    ///
    /// # Errors
    /// There is no store, it cannot be read, or `to` exists or cannot be written, which leaves it in part; it was given up.
    pub async fn copy(
        from: &Path,
        to: &Path,
        stop: impl Future<Output = ()>,
    ) -> Result<(), StoreError> {
        let (begins, handle) = oneshot::channel();
        let (source, target) = (from.to_owned(), to.to_owned());
        let copying = tokio::task::spawn_blocking(move || copy(&source, &target, begins));
        let interrupt = async {
            stop.await;
            let handle = handle.await.ok();
            // What has not begun yet is not interrupted.
            loop {
                handle.iter().for_each(InterruptHandle::interrupt);
                tokio::time::sleep(INTERRUPTED_EVERY).await;
            }
        };
        tokio::select! {
            copied = copying => {
                let failed = |stopped| StoreError::File { path: from.to_owned(), source: Box::new(stopped) };
                copied.map_err(failed)?
            }
            never = interrupt => never,
        }
    }

    /// Whether some process has the store open. Blocks.
    ///
    /// # Errors
    /// It cannot be opened at all.
    pub fn is_in_use(path: &Path) -> Result<bool, StoreError> {
        let failed = |error| StoreError::File { path: path.to_owned(), source: Box::new(error) };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        // Before the first access: then it takes the whole file, which nobody else may have open.
        let taken = connection
            .busy_timeout(Duration::ZERO)
            .and_then(|()| connection.pragma_update(None, "locking_mode", "EXCLUSIVE"))
            .and_then(|()| connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK"));
        match taken {
            Ok(()) => Ok(false),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(true),
            Err(error) => Err(failed(error)),
        }
    }

    /// Looks at the store of a trust domain without opening it for use.
    ///
    /// # Errors
    /// It cannot be read, or is of another trust domain.
    pub async fn survey(path: &Path, trust_domain: &TrustDomain) -> Result<Survey, StoreError> {
        let readers = Readers::new(path.to_owned(), Arc::new(KnownIntents::new()));
        let found = readers.run(|connection| {
            let damage: String =
                connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if damage != "ok" {
                return Err(Failure::damaged("store", "integrity_check", damage));
            }
            setting(connection, "trust_domain")
        });
        let found = found.await?;
        if found != trust_domain.as_str() {
            return Err(StoreError::OtherTrustDomain { found });
        }
        Survey::of(Arc::new(readers), &Self::journal(path), trust_domain).await
    }
}

/// Copies a store; `begins` gets what the copying is interrupted with.
fn copy(
    from: &Path,
    to: &Path,
    begins: oneshot::Sender<InterruptHandle>,
) -> Result<(), StoreError> {
    let failed = |path: &Path, error: Box<dyn std::error::Error + Send + Sync>| StoreError::File {
        path: path.to_owned(),
        source: error,
    };
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| failed(to, Box::new(error)))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(from, flags).map_err(|error| failed(from, Box::new(error)))?;
    // Whoever waits for it may be gone.
    drop(begins.send(connection.get_interrupt_handle()));
    let copied = connection
        .busy_timeout(BUSY_TIMEOUT)
        .and_then(|()| connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]));
    copied.map(drop).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            StoreError::NoRoom { path: to.to_owned(), source: Box::new(error) }
        }
        _ => failed(from, Box::new(error)),
    })
}

fn journal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".kills");
    name.into()
}

fn migrations() -> Runner {
    let steps = [
        ("V1__begin", include_str!("migrations/sqlite/V1__begin.sql")),
        ("V2__derived_tokens", include_str!("migrations/sqlite/V2__derived_tokens.sql")),
        ("V3__status_lists", include_str!("migrations/sqlite/V3__status_lists.sql")),
        ("V4__replays", include_str!("migrations/sqlite/V4__replays.sql")),
        ("V5__deferrals", include_str!("migrations/sqlite/V5__deferrals.sql")),
        ("V6__grants", include_str!("migrations/sqlite/V6__grants.sql")),
        ("V7__ended_tokens", include_str!("migrations/sqlite/V7__ended_tokens.sql")),
        ("V8__pace", include_str!("migrations/sqlite/V8__pace.sql")),
        ("V9__open_grants", include_str!("migrations/sqlite/V9__open_grants.sql")),
        ("V12__kept", include_str!("migrations/sqlite/V12__kept.sql")),
    ];
    let migrations =
        steps.into_iter().filter_map(|(name, sql)| Migration::unapplied(name, sql).ok());
    Runner::new(&migrations.collect::<Vec<_>>())
}

/// Makes a writing connection durable (<https://sqlite.org/pragma.html#pragma_synchronous>): with a write-ahead log only
/// FULL syncs it at every commit.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", PAGES_PER_CHECKPOINT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn durability(connection: &Connection) -> Result<Durability, StoreError> {
    let setting = |name| -> Result<_, StoreError> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        let value = connection.pragma_query_value(None, name, read).map_err(Failure::from)?;
        let text = match value {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        Ok((name, text))
    };
    let found: BTreeMap<_, _> = ["journal_mode", "synchronous", "foreign_keys"]
        .into_iter()
        .map(setting)
        .collect::<Result<_, _>>()?;
    let required: [(&'static str, &[&str]); 3] =
        [("journal_mode", &["wal"]), ("synchronous", &["2"]), ("foreign_keys", &["1"])];
    Durability::required(found, required)
}

/// Writes the trust domain into a new store, and refuses one of another.
fn belongs_to(connection: &Connection, trust_domain: &TrustDomain) -> Result<(), StoreError> {
    let owner = || -> Result<String, Failure> {
        let insert =
            "INSERT INTO store (name, value) VALUES ('trust_domain', ?1) ON CONFLICT DO NOTHING";
        connection.execute(insert, [trust_domain.as_str()])?;
        setting(connection, "trust_domain")
    };
    let found = owner()?;
    if found == trust_domain.as_str() {
        Ok(())
    } else {
        Err(StoreError::OtherTrustDomain { found })
    }
}

/// What the store itself was told.
fn setting(connection: &Connection, name: &str) -> Result<String, Failure> {
    let query = "SELECT value FROM store WHERE name = ?1";
    Ok(connection.query_row(query, [name], |row| row.get(0))?)
}

/// The end of the log and the newest epoch.
fn head(connection: &Connection) -> Result<Head, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT size, recorded, kill_epoch, next_place FROM head")?;
    let row = statement
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let (size, recorded, kill_epoch, next_place) =
        row.ok_or_else(|| Failure::damaged("head", "1", "the row is not there"))?;
    Head::of_columns(size, recorded, kill_epoch, next_place)
}

fn kills(connection: &Connection) -> Result<marque_intent::KillState, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT epoch, document FROM kills ORDER BY epoch")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    kill_state(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
