//! Writing a log out.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::FolderError;
use super::tiles::{Kind, Tile, Tiler, WIDTH, path};
use crate::{AuditError, Leaf, LogStore, SignedCheckpoint, VerifierKey, VerifyError};

/// Writes the log up to its newest checkpoint into `dir`, and answers the checkpoint.
///
/// An earlier export in the same folder is continued: files that are there already must be equal. The checkpoint is
/// replaced last, so the folder is a whole log at any moment.
///
/// # Errors
/// When there is no checkpoint signed by `key`, a file cannot be written, or the folder holds another log.
pub async fn export(
    dir: &Path,
    store: &dyn LogStore,
    key: &VerifierKey,
) -> Result<SignedCheckpoint, FolderError> {
    let kept = store.checkpoint().await?.ok_or(VerifyError::NoCheckpoint)?;
    let signed = SignedCheckpoint::verify(&kept.text, key).map_err(VerifyError::Checkpoint)?;
    let size = signed.checkpoint().size;
    let mut tiler = Tiler::default();
    let mut done = 0;
    while done < size {
        let wanted = usize::try_from(size - done).map_or(WIDTH, |left| left.min(WIDTH));
        let leaves = store.leaves(done, wanted).await?;
        if leaves.len() != wanted {
            return Err(VerifyError::Truncated {
                covered: size,
                found: done + leaves.len() as u64,
            }
            .into());
        }
        let bundle = path(Kind::Entries, done / WIDTH as u64, wanted);
        keep(&dir.join(bundle), &bundle_bytes(&leaves).map_err(FolderError::Leaf)?)?;
        for leaf in &leaves {
            for tile in tiler.push(leaf.hash()) {
                write_tile(dir, &tile)?;
            }
        }
        done += wanted as u64;
    }
    for tile in tiler.finish() {
        write_tile(dir, &tile)?;
    }
    replace(&dir.join("checkpoint"), signed.text().as_bytes())?;
    Ok(signed)
}

fn write_tile(dir: &Path, tile: &Tile) -> Result<(), FolderError> {
    keep(&dir.join(tile.path()), &tile.bytes())
}

/// The entry bundle of some leaves: each behind two bytes that give its length.
pub(crate) fn bundle_bytes(leaves: &[Leaf]) -> Result<Vec<u8>, AuditError> {
    let mut bundle = Vec::new();
    for leaf in leaves {
        let length = leaf.bytes().len();
        let prefix =
            u16::try_from(length).map_err(|_too_large| AuditError::LeafTooLarge { length })?;
        bundle.extend_from_slice(&prefix.to_be_bytes());
        bundle.extend_from_slice(leaf.bytes());
    }
    Ok(bundle)
}

/// Writes a file that never changes; one that is there already must be the same.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    match fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) => Err(FolderError::Differs { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => replace(path, bytes),
        Err(source) => Err(FolderError::Io { path: path.to_owned(), source }),
    }
}

/// Puts the file in place in one step, with its content on disk first.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let written = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let draft = path.with_extension("tmp");
        let mut file = fs::File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    written().map_err(|source| FolderError::Io { path: path.to_owned(), source })
}
