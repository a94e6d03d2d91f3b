//! The stores that are measured.

use std::path::Path;
use std::sync::Arc;

use marque_spiffe::TrustDomain;
use marque_store::{PostgresStore, SqliteStore, Store};
use marque_testkit::{FixedClock, START};
use tokio_postgres::{Client, NoTls};

/// A store, and the database that goes with it when it was measured.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) store: Arc<Store>,
    database: Option<(String, String)>,
}

/// SQLite, and PostgreSQL where there is a server.
pub(crate) async fn all(folder: &Path) -> Vec<Engine> {
    let trust_domain: TrustDomain = "prod.example.org".parse().expect("a trust domain");
    let clock = || Arc::new(FixedClock::new(START));
    let file = folder.join("store.sqlite");
    let sqlite = SqliteStore::open(&file, &trust_domain, clock());
    let mut engines = vec![Engine {
        name: "SQLite",
        trust_domain: trust_domain.clone(),
        store: Arc::new(sqlite.await.expect("a store")),
        database: None,
    }];
    let Some(server) = server() else { return engines };
    let name = format!("bench_audit_{}", std::process::id());
    let admin = connect(&server).await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
    let url = format!("{}/{name}", server.rsplit_once('/').expect("a URL").0);
    let postgres = PostgresStore::connect(&url, folder, &trust_domain, clock());
    let store = Arc::new(postgres.await.expect("a store"));
    let database = Some((server, name));
    engines.push(Engine { name: "PostgreSQL", trust_domain, store, database });
    engines
}

impl Engine {
    pub(crate) async fn end(self) {
        let Self { store, database, .. } = self;
        drop(store);
        if let Some((server, name)) = database {
            let drop = format!("DROP DATABASE {name} WITH (FORCE)");
            connect(&server).await.batch_execute(&drop).await.expect("the database goes");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "where PostgreSQL is comes from the environment")]
fn server() -> Option<String> {
    std::env::var("MARQUE_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client
}
