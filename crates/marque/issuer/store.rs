//! Opening the store of one trust domain, on the engine that the configuration names.

use std::path::Path;
use std::sync::Arc;

use marque_intent::IntentStore;
use marque_intent::kill::KillState;
use marque_spiffe::{Clock, TrustDomain};
use marque_store::{PostgresStore, SqliteStore, Store, StoreError};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use crate::cli::StoreOption;

/// Opens the store of a trust domain; `private` is its folder, for the SQLite file and the kill journal.
pub(super) async fn open(
    option: &StoreOption,
    private: &Path,
    trust_domain: &TrustDomain,
    clock: Arc<dyn Clock>,
) -> Result<Store, StoreError> {
    match option {
        StoreOption::Sqlite => {
            SqliteStore::open(&private.join("marque.sqlite"), trust_domain, clock).await
        }
        StoreOption::Postgres(url) => {
            PostgresStore::connect(url.expose_secret(), private, trust_domain, clock).await
        }
    }
}

/// Who is stopped, now and whenever that changes.
pub(super) fn kill_watch(store: &Store) -> watch::Receiver<Arc<KillState>> {
    IntentStore::kill_state(store)
}
