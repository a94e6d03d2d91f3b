//! What a backup says of itself.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_authority::AuthorityRecord;
use marque_spiffe::{Environment, TrustDomain};
use serde::{Deserialize, Serialize};

use super::{BUNDLES, BackupError, JOURNAL, KEYS, STORE};

/// The form of backups that this version writes and reads.
pub(super) const FORMAT: u32 = 1;
/// How many files a backup may have.
const MAX_FILES: usize = 10_000;

/// The manifest of a backup, its first file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of the backup.
    pub format: u32,
    /// The version of the program that took it.
    pub version: String,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Whose state it is.
    pub trust_domain: TrustDomain,
    /// On which side of the firebreak.
    pub environment: Environment,
    /// `sqlite`, whose store is in it, or `postgres`, whose store is not.
    pub engine: String,
    /// How far the log goes.
    pub log: LogPosition,
    /// How many kills and lifts there were.
    pub kill_epoch: u64,
    /// How far the authorities go.
    pub authorities: Vec<AuthorityGeneration>,
    /// Every other file, in the order of the archive.
    pub files: Vec<BackedUpFile>,
}

/// A state of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// How many leaves it has.
    pub size: u64,
    /// The root of the tree of those leaves, base64.
    pub root: String,
    /// The newest signed checkpoint, which may be of fewer leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// One key of the authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityGeneration {
    /// Purpose, slot and generation, such as `jwt-svid-a-1`.
    pub slot: String,
    /// SHA-256 of the public key, hexadecimal.
    pub public_key_sha256: String,
    /// The bundle's sequence from this key's last change on.
    pub bundle_sequence: u64,
    /// Whether its sealed private key is in the backup.
    pub key_included: bool,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUpFile {
    /// Its path in the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

impl AuthorityGeneration {
    pub(super) fn of(record: &AuthorityRecord, files: &[BackedUpFile]) -> Self {
        let slot = record.slot.to_string();
        let key = format!("{KEYS}/{slot}.key");
        Self {
            key_included: files.iter().any(|file| file.path == key),
            slot,
            public_key_sha256: hex::encode(marque_jose::sha256(&record.public_key)),
            bundle_sequence: record.bundle_sequence,
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BackupError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(BackupError::of(
            super::BackupCode::Damaged,
            "the manifest does not read: it is of a later version, or no backup",
        ))?;
        if manifest.format != FORMAT {
            let format = manifest.format;
            return Err(BackupError::damaged(format!("the form {format} is not known here")));
        }
        let is_sqlite = match manifest.engine.as_str() {
            "sqlite" => true,
            "postgres" => false,
            _ => return Err(BackupError::damaged("the manifest names an unknown engine")),
        };
        let mut seen = BTreeSet::new();
        let fits = |file: &BackedUpFile| is_allowed(&file.path) && seen.insert(file.path.clone());
        if manifest.files.len() > MAX_FILES || !manifest.files.iter().all(fits) {
            return Err(BackupError::damaged("the manifest names a file that no backup has"));
        }
        if seen.contains(STORE) != is_sqlite {
            return Err(BackupError::damaged("the manifest and the engine disagree on the store"));
        }
        Ok(manifest)
    }
}

/// Whether a backup may have a file of this path: nothing of it leads anywhere else.
fn is_allowed(path: &str) -> bool {
    let plain = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        (1..=255).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
    };
    match path.split_once('/') {
        None => path == STORE || path == JOURNAL,
        Some((KEYS, name)) => plain(name) && name.ends_with(".key"),
        Some((BUNDLES, name)) => plain(name),
        Some(_) => false,
    }
}
