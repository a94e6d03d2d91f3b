//! Backups of one trust domain's state: taken while it is served, verified anywhere, restored only forward.
//!
//! A backup is one tar file with the store, the kill journal, the sealed keys, the bundles of others that were kept, and,
//! first, a manifest of all that. The key that unseals is never in it. A restore refuses whatever would take the log, the
//! kills or the authorities back; there is no way to force it. Nor is a store served that is older than what this
//! installation has signed (`high_water`), whoever put it there.
//!
//! Deliberately absent: the trust domain's folder, which lives where it is reviewed, and the contents of PostgreSQL, which
//! its own tools copy; of that a backup has what such a copy is held against.

mod archive;
mod error;
mod files;
mod high_water;
mod keeping;
mod manifest;
mod marker;
mod place;
mod restore;
mod standing;
mod take;
#[cfg(test)]
mod tests;
mod verify;
mod work;

use std::path::PathBuf;

use marque_spiffe::{Environment, TrustDomain};

pub use self::archive::inspect;
pub use self::error::{BackupCode, BackupError};
pub(crate) use self::high_water::HighWater;
pub use self::keeping::KeptHere;
pub use self::manifest::{AuthorityGeneration, BackedUpFile, LogPosition, Manifest};
pub(crate) use self::marker::record_restore;
pub(crate) use self::place::{Held, hold, hold_alone, tidy_up};
pub use self::restore::{RestoreOptions, Restored, restore};
pub use self::take::take;
pub use self::verify::verify;
pub use self::work::{Step, Work};

use crate::cli::StoreOption;

/// The SQLite file in a trust domain's private folder.
const STORE: &str = "marque.sqlite";
/// The sealed keys.
const KEYS: &str = "keys";
/// The bundles of others that were kept.
const BUNDLES: &str = "federation";
/// The kill journal, as backups call it.
const JOURNAL: &str = "journal.kills";

/// Whose state it is, and where.
#[derive(Debug, Clone)]
pub struct Site {
    /// The data directory of the daemon.
    pub data_dir: PathBuf,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Its environment, as its document says.
    pub environment: Environment,
    /// Where its state is kept.
    pub store: StoreOption,
}

impl Site {
    /// The folder with everything that belongs to the trust domain.
    fn folder(&self) -> PathBuf {
        self.data_dir.join(self.trust_domain.as_str())
    }

    /// What of it is private, and is backed up.
    fn private(&self) -> PathBuf {
        self.folder().join("private")
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.store, StoreOption::Sqlite)
    }
}
