//! The schema of one trust domain: its name, and bringing it up to date.

use std::fmt;

use marque_exchange::StatusKey;
use marque_intent::Digest;
use marque_spiffe::TrustDomain;
use refinery::{Migration, Runner};
use tokio_postgres::{Client, Config, NoTls};

use crate::rows::status_key;
use crate::{Failure, StoreError};

/// The longest identifier that PostgreSQL keeps whole (documentation, section 4.1.1).
const MAX_IDENTIFIER: usize = 63;

/// The name of a trust domain's schema: `td_`, what is readable of the name, and a part of its digest that keeps names
/// apart which read alike. Only `a-z`, `0-9` and `_`, so it stands in SQL without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// The schema of this trust domain, the same on every replica.
    #[must_use]
    pub fn of(trust_domain: &TrustDomain) -> Self {
        let digest: String = Digest::of(trust_domain.as_str().as_bytes()).short();
        let room = MAX_IDENTIFIER - "td__".len() - digest.len();
        let readable: String = trust_domain
            .as_str()
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
            .take(room)
            .collect();
        Self(format!("td_{readable}_{digest}"))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number for an advisory lock of this schema.
    fn lock(&self) -> i64 {
        let digest = Digest::of(format!("marque/migrate/{}", self.0).as_bytes());
        digest.as_bytes().first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes the schema, brings it up to date and sees that it is the trust domain's, one replica at a time. Gives the secret
/// order of places on status lists.
pub(super) async fn prepare(
    config: &Config,
    schema: &SchemaName,
    trust_domain: &TrustDomain,
) -> Result<StatusKey, StoreError> {
    let server = |error| StoreError::Server(Box::new(error));
    let (mut client, connection) = config.connect(NoTls).await.map_err(server)?;
    let driver = tokio::spawn(connection);
    // Another replica's migration may take longer than any transaction should.
    client
        .batch_execute("SET lock_timeout = 0; SET statement_timeout = 0")
        .await
        .map_err(server)?;
    // A lock of the session: it goes with the connection, whatever happens here.
    client.execute("SELECT pg_advisory_lock($1)", &[&schema.lock()]).await.map_err(server)?;
    client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await.map_err(server)?;
    migrations()
        .run_async(&mut client)
        .await
        .map_err(|error| StoreError::Migrate(Box::new(error)))?;
    let found = owner(&client, trust_domain).await?;
    let status_key = status_key(&setting(&client, "status_key").await?)?;
    drop(client);
    driver.abort();
    if found == trust_domain.as_str() {
        Ok(status_key)
    } else {
        Err(StoreError::OtherTrustDomain { found })
    }
}

fn migrations() -> Runner {
    let steps = [
        ("V1__begin", include_str!("../migrations/postgres/V1__begin.sql")),
        ("V2__derived_tokens", include_str!("../migrations/postgres/V2__derived_tokens.sql")),
        ("V3__status_lists", include_str!("../migrations/postgres/V3__status_lists.sql")),
        ("V4__replays", include_str!("../migrations/postgres/V4__replays.sql")),
        ("V5__deferrals", include_str!("../migrations/postgres/V5__deferrals.sql")),
        ("V6__grants", include_str!("../migrations/postgres/V6__grants.sql")),
        ("V7__ended_tokens", include_str!("../migrations/postgres/V7__ended_tokens.sql")),
        ("V8__pace", include_str!("../migrations/postgres/V8__pace.sql")),
        ("V9__open_grants", include_str!("../migrations/postgres/V9__open_grants.sql")),
        ("V12__kept", include_str!("../migrations/postgres/V12__kept.sql")),
    ];
    let migrations =
        steps.into_iter().filter_map(|(name, sql)| Migration::unapplied(name, sql).ok());
    Runner::new(&migrations.collect::<Vec<_>>())
}

async fn owner(client: &Client, trust_domain: &TrustDomain) -> Result<String, Failure> {
    let insert =
        "INSERT INTO store (name, value) VALUES ('trust_domain', $1) ON CONFLICT DO NOTHING";
    client.execute(insert, &[&trust_domain.as_str()]).await?;
    setting(client, "trust_domain").await
}

/// What the store itself was told.
async fn setting(client: &Client, name: &str) -> Result<String, Failure> {
    let row = client.query_one("SELECT value FROM store WHERE name = $1", &[&name]).await?;
    Ok(row.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(trust_domain: &str) -> SchemaName {
        SchemaName::of(&trust_domain.parse().unwrap())
    }

    #[test]
    fn a_schema_is_readable_and_needs_no_quotes() {
        let name = schema("prod.example.org");
        assert!(name.as_str().starts_with("td_prod_example_org_"), "{name}");
        assert!(name.as_str().bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')));
    }

    #[test]
    fn names_that_read_alike_have_different_schemas() {
        assert_ne!(schema("a-b.example.org"), schema("a.b.example.org"));
        let long = "a".repeat(200);
        assert_ne!(schema(&format!("{long}.one")), schema(&format!("{long}.two")));
    }

    #[test]
    fn the_longest_trust_domain_has_a_schema_that_is_kept_whole() {
        assert_eq!(schema(&"a".repeat(255)).as_str().len(), MAX_IDENTIFIER);
    }
}
