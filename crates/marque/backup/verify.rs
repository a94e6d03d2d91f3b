//! Whether a backup is what was written once, without any key.

use std::fs::{self, File};
use std::path::Path;

use marque_spiffe::Random;
use marque_store::{SqliteStore, Survey};

use super::files::{Staging, io};
use super::work::{Step, Work};
use super::{BackupCode, BackupError, JOURNAL, Manifest, STORE, archive, standing};

/// Reads a backup to its end: every digest, the store's integrity, the log's root from all of its leaves, its checkpoint's
/// signature, the kills and the authorities. Works in a private folder of the temporary directory for as long as that takes.
///
/// # Errors
/// [`BackupCode::Damaged`] with what is wrong.
pub async fn verify(
    backup: &Path,
    random: &dyn Random,
    work: &Work,
) -> Result<Manifest, BackupError> {
    let folder = std::env::temp_dir();
    let staging = Staging::make(&folder, ".marque-verify-", random)?;
    let unpacked = unpacked(backup, staging.path(), work).await;
    let (manifest, _survey) = unpacked.map_err(|error| work.blame(error))?;
    work.begin(Step::Done)?;
    Ok(manifest)
}

/// Unpacks a backup and holds what came out against its manifest; the survey is of its store, where it has one.
pub(super) async fn unpacked(
    backup: &Path,
    folder: &Path,
    work: &Work,
) -> Result<(Manifest, Option<Survey>), BackupError> {
    work.begin(Step::Unpack)?;
    let file = File::open(backup).map_err(io("read", backup))?;
    let manifest = archive::unpack(work.reads(std::io::BufReader::new(file)), folder)?;
    if manifest.engine != "sqlite" {
        return Ok((manifest, None));
    }
    work.begin(Step::ReadLog)?;
    let store = folder.join(STORE);
    // As a store has it, so that the kills of the journal count.
    let journal = SqliteStore::journal(&store);
    fs::rename(folder.join(JOURNAL), journal.path()).map_err(io("name", journal.path()))?;
    let survey = SqliteStore::survey(&store, &manifest.trust_domain).await;
    let survey = survey
        .map_err(BackupError::of(BackupCode::Damaged, "the store of the backup is damaged"))?;
    standing::fits(&survey, &manifest).await?;
    Ok((manifest, Some(survey)))
}
