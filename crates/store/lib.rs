//! SQLite and PostgreSQL behind the storage traits of the rooms above.
//!
//! Every write is a transaction of the domain, planned purely over loaded rows and run by one group-commit writer: all that
//! wait share a commit, and nobody is answered before it is durable. The audit leaves of a transaction are in the same
//! commit, numbered in its order. Both engines run the same plans, so they cannot behave differently; an engine only
//! loads rows and writes them.
//!
//! Deliberately absent: HTTP, policy, the rules of intents and tokens (the domain crates' own), and private keys.

mod error;
mod journal;
mod kept;
mod kills;
mod known;
mod life;
mod open;
mod postgres;
mod queue;
mod reader;
mod rows;
mod sqlite;
mod store;
mod survey;
mod templated;
mod transaction;
mod transactions;
mod unreadable;
mod writer;

pub use error::{Failure, JournalError, StoreError};
pub use kept::{FOR_GOOD, Kept, KeptChange, MAX_KEPT_LISTED};
pub use postgres::{PostgresStore, SchemaName};
pub use sqlite::SqliteStore;
pub use store::Store;
pub use survey::{JournalFile, JournaledOrder, Survey};
pub use templated::Admitted;

use std::collections::BTreeMap;

/// Settings of an engine by name, as its writing connection reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability(BTreeMap<&'static str, String>);

impl Durability {
    /// The value of a setting that durability rests on.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Takes what was read back, if it is what durability needs.
    fn required<'a>(
        found: BTreeMap<&'static str, String>,
        required: impl IntoIterator<Item = (&'static str, &'a [&'a str])>,
    ) -> Result<Self, StoreError> {
        for (setting, allowed) in required {
            let value = found.get(setting).cloned().unwrap_or_default();
            if !allowed.contains(&value.as_str()) {
                return Err(StoreError::NotDurable { setting, value });
            }
        }
        Ok(Self(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_not_durable_is_named_with_its_value() {
        let found = || BTreeMap::from([("fsync", "off".to_owned())]);
        let on: [(&'static str, &[&str]); 1] = [("fsync", &["on"])];
        let refused = Durability::required(found(), on);
        assert!(
            matches!(&refused, Err(StoreError::NotDurable { setting: "fsync", value }) if value == "off")
        );
        let off: [(&'static str, &[&str]); 1] = [("fsync", &["on", "off"])];
        assert_eq!(Durability::required(found(), off).unwrap().setting("fsync"), Some("off"));
        let absent: [(&'static str, &[&str]); 1] = [("full_page_writes", &["on"])];
        assert!(Durability::required(found(), absent).is_err());
    }
}
