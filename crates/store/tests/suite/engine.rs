//! The engines under test, and the back doors that a test needs beside them.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use marque_spiffe::TrustDomain;
use marque_store::{PostgresStore, SchemaName, SqliteStore, Store, StoreError};
use marque_testkit::{FixedClock, TempDir, temp_dir};
use tokio_postgres::NoTls;

use crate::proxy::Proxy;

static SAID: Once = Once::new();

/// One engine with a database of its own.
pub(crate) trait Engine: Send + Sync + 'static {
    /// The clock of the stores that it opens.
    fn clock(&self) -> &FixedClock;
    fn trust_domain(&self) -> &TrustDomain;
    /// Settings by which the engine itself says that it is durable.
    fn durable_settings(&self) -> Vec<(&'static str, &'static str)>;
    /// Opens the store; again, if it was open before.
    async fn open_for(&self, trust_domain: &TrustDomain) -> Result<Store, StoreError>;
    /// Runs statements on a connection of its own.
    async fn execute(&self, sql: &str);
    /// One number, read on a connection of its own.
    async fn number(&self, sql: &str) -> i64;
    /// What makes every COMMIT with a leaf in it fail, and what makes that good again.
    fn commit_breaker(&self) -> (&'static str, &'static str);
    /// What makes every change of an intent miss its row without an error.
    fn change_eater(&self) -> &'static str;

    /// How another process opens the same store; the words for [`reached`].
    fn way(&self) -> Vec<String>;

    async fn open(&self) -> Arc<Store> {
        Arc::new(self.open_for(self.trust_domain()).await.unwrap())
    }

    async fn break_commits(&self) {
        self.execute(self.commit_breaker().0).await;
    }

    async fn mend_commits(&self) {
        self.execute(self.commit_breaker().1).await;
    }
}

/// A file in a folder of its own.
pub(crate) struct Sqlite {
    dir: TempDir,
    clock: FixedClock,
    trust_domain: TrustDomain,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        let trust_domain = "prod.example.org".parse().unwrap();
        Self { dir: temp_dir(), clock: FixedClock::default(), trust_domain }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("marque.sqlite")
    }

    fn raw(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection
    }
}

impl Engine for Sqlite {
    fn clock(&self) -> &FixedClock {
        &self.clock
    }

    fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    fn durable_settings(&self) -> Vec<(&'static str, &'static str)> {
        vec![("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")]
    }

    async fn open_for(&self, trust_domain: &TrustDomain) -> Result<Store, StoreError> {
        SqliteStore::open(&self.path(), trust_domain, Arc::new(self.clock.clone())).await
    }

    async fn execute(&self, sql: &str) {
        self.raw().execute_batch(sql).unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        self.raw().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn commit_breaker(&self) -> (&'static str, &'static str) {
        (
            "CREATE TABLE nobody (id INTEGER PRIMARY KEY);
             CREATE TABLE orphan (parent INTEGER REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER broken AFTER INSERT ON leaves BEGIN INSERT INTO orphan VALUES (1); END;",
            "DROP TRIGGER broken; DROP TABLE orphan; DROP TABLE nobody;",
        )
    }

    fn change_eater(&self) -> &'static str {
        "CREATE TRIGGER eater BEFORE UPDATE ON intents BEGIN SELECT RAISE(IGNORE); END;"
    }

    fn way(&self) -> Vec<String> {
        vec![self.path().display().to_string(), self.trust_domain.to_string()]
    }
}

/// A schema of its own, and a folder for each replica's journal.
pub(crate) struct Postgres {
    url: String,
    dir: TempDir,
    clock: FixedClock,
    trust_domain: TrustDomain,
}

impl Postgres {
    /// The engine, where there is a server.
    pub(crate) async fn new() -> Option<Self> {
        let Some(url) = variable("MARQUE_TEST_POSTGRES_URL") else {
            assert!(
                variable("MARQUE_REQUIRE_POSTGRES").as_deref() != Some("1"),
                "MARQUE_REQUIRE_POSTGRES=1, but MARQUE_TEST_POSTGRES_URL names no database"
            );
            SAID.call_once(|| {
                // Past the test runner, which keeps back what a passing test prints.
                let said =
                    b"the PostgreSQL half is skipped: MARQUE_TEST_POSTGRES_URL names no database\n";
                std::io::stderr().write_all(said).unwrap();
            });
            return None;
        };
        let name = format!("t{}.example.org", uuid::Uuid::new_v4().simple());
        let trust_domain = name.parse().unwrap();
        Some(Self { url, dir: temp_dir(), clock: FixedClock::default(), trust_domain })
    }

    /// A second replica: the same schema, a journal of its own.
    pub(crate) async fn replica(&self) -> (Arc<Store>, TempDir) {
        let dir = temp_dir();
        let clock = Arc::new(self.clock.clone());
        let store =
            PostgresStore::connect(&self.url, dir.path(), &self.trust_domain, clock).await.unwrap();
        (Arc::new(store), dir)
    }

    /// A replica whose way to the server can be closed.
    pub(crate) async fn replica_by_proxy(&self) -> (Arc<Store>, Proxy, TempDir) {
        let (dir, proxy) = (temp_dir(), Proxy::to(&self.url).await);
        let clock = Arc::new(self.clock.clone());
        let opened =
            PostgresStore::connect(proxy.url(), dir.path(), &self.trust_domain, clock).await;
        (Arc::new(opened.unwrap()), proxy, dir)
    }

    /// The engine in a database of its own, which may be made read-only for everybody in it; and the address of the server.
    pub(crate) async fn apart(mut self) -> (Self, Apart) {
        let name = format!("kill_{}", uuid::Uuid::new_v4().simple());
        let apart = Apart { server: self.url.clone(), name };
        apart.tell(&format!("CREATE DATABASE {}", apart.name)).await;
        let (server, _) = self.url.rsplit_once('/').unwrap();
        self.url = format!("{server}/{}", apart.name);
        (self, apart)
    }

    /// Takes away the database that the engine was in.
    pub(crate) async fn done(mut self, apart: Apart) {
        self.url = apart.server.clone();
        apart.tell(&format!("DROP DATABASE {} WITH (FORCE)", apart.name)).await;
    }

    async fn raw(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let schema = SchemaName::of(&self.trust_domain);
        client.batch_execute(&format!("SET search_path TO {schema}")).await.unwrap();
        client
    }
}

/// A database that one test has to itself.
pub(crate) struct Apart {
    server: String,
    name: String,
}

impl Apart {
    /// Every transaction that begins from now on is read-only, or no longer is.
    pub(crate) async fn set_read_only(&self, read_only: bool) {
        let Self { name, .. } = self;
        let how = if read_only { "SET default_transaction_read_only = on" } else { "RESET ALL" };
        self.tell(&format!("ALTER DATABASE {name} {how}")).await;
        // It holds for sessions that begin after it.
        self.tell(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }

    async fn tell(&self, sql: &str) {
        let (client, connection) = tokio_postgres::connect(&self.server, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
    }
}

impl Engine for Postgres {
    fn clock(&self) -> &FixedClock {
        &self.clock
    }

    fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    fn durable_settings(&self) -> Vec<(&'static str, &'static str)> {
        vec![("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")]
    }

    async fn open_for(&self, trust_domain: &TrustDomain) -> Result<Store, StoreError> {
        let clock = Arc::new(self.clock.clone());
        PostgresStore::connect(&self.url, self.dir.path(), trust_domain, clock).await
    }

    async fn execute(&self, sql: &str) {
        self.raw().await.batch_execute(sql).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        self.raw().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    fn commit_breaker(&self) -> (&'static str, &'static str) {
        (
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE EXCEPTION 'no room'; END $$;
             CREATE CONSTRAINT TRIGGER broken AFTER INSERT ON leaves DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION broken();",
            "DROP TRIGGER broken ON leaves; DROP FUNCTION broken();",
        )
    }

    fn change_eater(&self) -> &'static str {
        "CREATE FUNCTION eater() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER eater BEFORE UPDATE ON intents FOR EACH ROW EXECUTE FUNCTION eater();"
    }

    fn way(&self) -> Vec<String> {
        let journal = self.dir.path().display().to_string();
        vec![journal, self.trust_domain.to_string(), self.url.clone()]
    }
}

impl Drop for Postgres {
    /// Takes the schema away again. A test that failed has said so already.
    fn drop(&mut self) {
        let (url, schema) = (self.url.clone(), SchemaName::of(&self.trust_domain));
        let removed = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                tokio::spawn(connection);
                let drop = format!(
                    "SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE"
                );
                client.batch_execute(&drop).await.unwrap();
            });
        });
        drop(removed.join());
    }
}

/// The store of another process of this suite.
pub(crate) async fn reached(way: &[String]) -> Arc<Store> {
    let clock = Arc::new(FixedClock::default());
    let opened = match way {
        [file, name] => SqliteStore::open(file.as_ref(), &name.parse().unwrap(), clock).await,
        [journal, name, url] => {
            PostgresStore::connect(url, journal.as_ref(), &name.parse().unwrap(), clock).await
        }
        other => panic!("{other:?}"),
    };
    Arc::new(opened.unwrap())
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a test may use, and how much it does, is a matter of its environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
