//! The fleet's engine: replicas share a database, each trust domain in a schema of its own.
//!
//! One writing task per replica commits in batches. The head row, locked first, makes the batches of all replicas take
//! turns, so numbers are dense and a kill has one place in the order for everybody.

mod entries;
mod listen;
mod load;
mod open;
mod pace;
mod read;
mod recent;
mod save;
mod schema;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use marque_spiffe::{Clock, TrustDomain};
use tokio::sync::{mpsc, watch};
use tokio_postgres::{Config, NoTls};

pub use schema::SchemaName;

use crate::journal::Journal;
use crate::kills::{Heard, KillBoard};
use crate::known::KnownIntents;
use crate::queue::{Mailbox, Queue};
use crate::reader::Reader;
use crate::store::Listener;
use crate::writer::Shared;
use crate::{Durability, Failure, JournalFile, Store, StoreError, Survey};
use read::PooledReader;

/// How many connections read at a time. The writer has one of its own that no reader can take, and so has the listener.
const MAX_READERS: usize = 16;
/// How long a server may keep silent before a connection to it counts as lost.
const SILENCE: Duration = Duration::from_secs(10);

/// Settings of every connection. A transaction that stalls would hold up every replica, so its locks have an end.
const SETTINGS: &str = "-c synchronous_commit=on -c lock_timeout=10s -c statement_timeout=30s \
                        -c idle_in_transaction_session_timeout=10s";

/// Opens stores in a schema of their own on a PostgreSQL server.
#[derive(Debug)]
pub struct PostgresStore;

impl PostgresStore {
    /// Connects to the database at `url` and opens the trust domain's schema in it, which is made if it is not there.
    /// The kill journal is kept in `data_dir`, a folder of this replica's own.
    ///
    /// # Errors
    /// When the server cannot be used or would not be durable, the schema cannot be brought up to date or is of another
    /// trust domain, or the journal cannot be read.
    pub async fn connect(
        url: &str,
        data_dir: &Path,
        trust_domain: &TrustDomain,
        clock: Arc<dyn Clock>,
    ) -> Result<Store, StoreError> {
        let schema = SchemaName::of(trust_domain);
        // The parser's error can quote the address, and with it a password.
        let config = Config::from_str(url).map_err(|_quoting| StoreError::Address)?;
        let config = configured(config, &schema);
        let status_key = schema::prepare(&config, &schema, trust_domain).await?;
        let writing = pool(config.clone(), 1)?;
        let durability = durability(&*connection(&writing).await?).await?;
        let intents = Arc::new(KnownIntents::new());
        let pooled = pool(config.clone(), MAX_READERS)?;
        let reader = Arc::new(PooledReader::new(pooled, intents.clone()));
        let asked = Instant::now();
        let (head, kills) = (reader.head().await?, reader.kills().await?);
        let path = data_dir.join(format!("{schema}.kills"));
        let (journal, orders) = Journal::open(&path, trust_domain)?;
        let shared = Arc::new(Shared {
            trust_domain: trust_domain.clone(),
            status_key,
            clock,
            kills: KillBoard::new(journal, orders, kills),
            heard: Heard::since(asked),
            intents,
            size: watch::Sender::new(head.size),
            pace: RwLock::default(),
            tenant: RwLock::default(),
        });
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(writer::run(writing, schema.clone(), shared.clone(), receiver));
        let listener = tokio::spawn(listen::run(config, schema, shared.clone(), reader.clone()));
        Ok(Store {
            approval_limits: std::sync::RwLock::default(),
            queue: Queue::new(Mailbox::Task(sender)),
            reader,
            shared,
            durability,
            _listener: Some(Listener(listener)),
        })
    }
}

impl PostgresStore {
    /// The kill journal of this replica.
    #[must_use]
    pub fn journal(data_dir: &Path, trust_domain: &TrustDomain) -> JournalFile {
        JournalFile(data_dir.join(format!("{}.kills", SchemaName::of(trust_domain))))
    }

    /// Looks at the schema of a trust domain without opening it for use; `journal` counts, too.
    ///
    /// # Errors
    /// The server cannot be used, or the schema cannot be read.
    pub async fn survey(
        url: &str,
        journal: &JournalFile,
        trust_domain: &TrustDomain,
    ) -> Result<Survey, StoreError> {
        let config = Config::from_str(url).map_err(|_quoting| StoreError::Address)?;
        let pooled = pool(configured(config, &SchemaName::of(trust_domain)), 1)?;
        let reader = PooledReader::new(pooled, Arc::new(KnownIntents::new()));
        Survey::of(Arc::new(reader), journal, trust_domain).await
    }
}

/// The operator's own options stay; ours come last, and the last word counts.
fn configured(mut config: Config, schema: &SchemaName) -> Config {
    let options = [config.get_options().unwrap_or_default(), SETTINGS].join(" ");
    config.options(format!("{options} -c search_path={schema}"));
    if config.get_application_name().is_none() {
        config.application_name(schema.as_str());
    }
    config.connect_timeout(SILENCE).tcp_user_timeout(SILENCE).keepalives_idle(SILENCE);
    config
}

fn pool(config: Config, size: usize) -> Result<Pool, StoreError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_config(config, NoTls, recycling))
        .max_size(size)
        .build()
        .map_err(|error| StoreError::Server(Box::new(error)))
}

async fn connection(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|error| StoreError::Server(Box::new(error)))
}

/// Reads back what durability rests on (PostgreSQL documentation, chapter 30.4 and section 20.5).
async fn durability(client: &tokio_postgres::Client) -> Result<Durability, StoreError> {
    let mut found = BTreeMap::new();
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let row = client.query_one(&format!("SHOW {setting}"), &[]).await.map_err(Failure::from)?;
        found.insert(setting, row.try_get::<_, String>(0).map_err(Failure::from)?);
    }
    let required: [(&'static str, &[&str]); 3] = [
        ("fsync", &["on"]),
        ("full_page_writes", &["on"]),
        ("synchronous_commit", &["on", "remote_apply"]),
    ];
    Durability::required(found, required)
}

#[cfg(test)]
mod tests;
