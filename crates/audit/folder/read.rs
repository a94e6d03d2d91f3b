//! Reading a folder back and verifying it, with nothing but the folder and the public key.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::FolderError;
use super::tiles::{Kind, Tile, Tiler, WIDTH, path};
use crate::checkpoint::MAX_CHECKPOINT_BYTES;
use crate::leaf::MAX_LEAF_BYTES;
use crate::log::AlteredLeaf;
use crate::{Hash, Leaf, LogVerifier, SignedCheckpoint, VerifiedLog, VerifierKey, VerifyError};

/// The most bytes of a bundle: 256 leaves of the largest size, each behind its length.
const MAX_BUNDLE_BYTES: usize = WIDTH * (MAX_LEAF_BYTES + 2);
const HASH_BYTES: usize = 32;

/// Verifies a folder written by [`super::export()`] or by any other tlog-tiles writer of this log, against `key` and an
/// `older` checkpoint that was kept elsewhere.
///
/// # Errors
/// The first thing that is wrong; an altered leaf is named, as its hash stands in a tile too.
pub fn verify_folder(
    dir: &Path,
    key: &VerifierKey,
    older: Option<&str>,
) -> Result<VerifiedLog, FolderError> {
    let file = dir.join("checkpoint");
    let text = String::from_utf8(read(&file, MAX_CHECKPOINT_BYTES)?).map_err(|not_text| {
        FolderError::Io {
            path: file.clone(),
            source: std::io::Error::new(ErrorKind::InvalidData, not_text),
        }
    })?;
    let signed = SignedCheckpoint::verify(&text, key).map_err(VerifyError::Checkpoint)?;
    let mut folder = FolderReader { dir, size: signed.checkpoint().size, tiler: Tiler::default() };
    let mut verifier = LogVerifier::new(&text, key, older)?;
    while verifier.size() < folder.size {
        for leaf in folder.bundle(verifier.size())? {
            verifier.push(&leaf)?;
        }
    }
    folder.finish()?;
    Ok(verifier.finish()?)
}

/// The leaves of a folder that verifies, bundle by bundle; each is held against its hash once more as it is read.
///
/// # Errors
/// As for [`verify_folder`].
pub fn read_folder<'a>(dir: &'a Path, key: &VerifierKey) -> Result<Bundles<'a>, FolderError> {
    let size = verify_folder(dir, key, None)?.checkpoint.size;
    let reader = FolderReader { dir, size, tiler: Tiler::default() };
    Ok(Bundles { reader, next: 0 })
}

/// The leaves of a folder, up to 256 at a time and in order.
#[derive(Debug)]
pub struct Bundles<'a> {
    reader: FolderReader<'a>,
    next: u64,
}

impl Iterator for Bundles<'_> {
    type Item = Result<Vec<Leaf>, FolderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.reader.size {
            return None;
        }
        let bundle = self.reader.bundle(self.next);
        // Nothing is read behind what is not as it was.
        self.next = match &bundle {
            Ok(leaves) => self.next + leaves.len() as u64,
            Err(_) => self.reader.size,
        };
        Some(bundle)
    }
}

#[derive(Debug)]
struct FolderReader<'a> {
    dir: &'a Path,
    size: u64,
    tiler: Tiler,
}

impl FolderReader<'_> {
    /// The leaves of the bundle that starts at `from`, each compared with its hash in the tile beside the bundle.
    fn bundle(&mut self, from: u64) -> Result<Vec<Leaf>, FolderError> {
        let width = usize::try_from(self.size - from).map_or(WIDTH, |left| left.min(WIDTH));
        let index = from / WIDTH as u64;
        let hashes = self.hashes(0, index, width)?;
        let bundle = self.tile(Kind::Entries, index, width, MAX_BUNDLE_BYTES)?;
        let malformed = || FolderError::Bundle { path: bundle.path.clone(), expected: width };
        let mut rest = bundle.bytes.as_slice();
        let mut leaves = Vec::with_capacity(width);
        for (seq, expected) in (from..).zip(hashes) {
            let (length, behind) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
            let (leaf, behind) = behind
                .split_at_checked(usize::from(u16::from_be_bytes(*length)))
                .ok_or_else(malformed)?;
            rest = behind;
            if Hash::of_leaf(leaf) != expected {
                return Err(VerifyError::Altered { seq, source: AlteredLeaf::Hash }.into());
            }
            let leaf = Leaf::from_bytes(seq, leaf.to_vec())
                .map_err(|form| VerifyError::Altered { seq, source: AlteredLeaf::Form(form) })?;
            for full in self.tiler.push(leaf.hash()) {
                self.compare(&full)?;
            }
            leaves.push(leaf);
        }
        if bundle.grown || rest.is_empty() { Ok(leaves) } else { Err(malformed()) }
    }

    /// Compares the partial tiles.
    fn finish(mut self) -> Result<(), FolderError> {
        std::mem::take(&mut self.tiler).finish().try_for_each(|tile| self.compare(&tile))
    }

    fn compare(&self, tile: &Tile) -> Result<(), FolderError> {
        let there = self.hashes(tile.level, tile.index, tile.hashes.len())?;
        if there == tile.hashes {
            Ok(())
        } else {
            Err(FolderError::Tile { path: self.dir.join(tile.path()) })
        }
    }

    fn hashes(&self, level: usize, index: u64, width: usize) -> Result<Vec<Hash>, FolderError> {
        let tile = self.tile(Kind::Level(level), index, width, WIDTH * HASH_BYTES)?;
        let (chunks, rest) = tile.bytes.as_chunks::<HASH_BYTES>();
        let hashes: Vec<_> = chunks.iter().take(width).copied().map(Hash::from_bytes).collect();
        if hashes.len() == width && rest.is_empty() && (tile.grown || chunks.len() == width) {
            Ok(hashes)
        } else {
            Err(FolderError::Tile { path: tile.path })
        }
    }

    /// A tile's file; in place of a partial tile the full one may be there that grew out of it.
    fn tile(
        &self,
        kind: Kind,
        index: u64,
        width: usize,
        limit: usize,
    ) -> Result<File, FolderError> {
        let exact = self.dir.join(path(kind, index, width));
        match read(&exact, limit) {
            Err(FolderError::Io { source, .. })
                if source.kind() == ErrorKind::NotFound && width < WIDTH =>
            {
                let full = self.dir.join(path(kind, index, WIDTH));
                read(&full, limit).map(|bytes| File { path: full, bytes, grown: true })
            }
            other => other.map(|bytes| File { path: exact, bytes, grown: false }),
        }
    }
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Whether it may hold more than was asked for.
    grown: bool,
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FolderError> {
    let read = || {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "the file is too large"));
        }
        Ok(bytes)
    };
    read().map_err(|source| FolderError::Io { path: path.to_owned(), source })
}
