//! The log as a folder of static files that public tools can read: C2SP tlog-tiles.
//!
//! `checkpoint`; `tile/<L>/<N>` with up to 256 hashes each; `tile/entries/<N>` with up to 256 leaves, each behind two
//! bytes that give its length. `<N>` is split into three-digit folders (`x001/x234/067`), and a tile that is not yet
//! full ends in `.p/<width>`.

mod export;
mod read;
mod tiles;

use std::path::PathBuf;

pub use export::export;
pub use read::{Bundles, read_folder, verify_folder};

use crate::{AuditError, LogError, VerifyError};

/// Why a folder could not be written or is not the log it claims to be.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file could not be read or written.
    #[error("`{}` cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that never changes would have to change: the folder holds another log, or a fork of this one.
    #[error("`{}` holds something else already", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// A hash tile does not follow from the leaves.
    #[error("`{}` does not follow from the leaves below it", path.display())]
    Tile {
        /// The file.
        path: PathBuf,
    },
    /// An entry bundle is not a sequence of leaves.
    #[error("`{}` is not a bundle of {expected} leaves", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// How many leaves it should hold.
        expected: usize,
    },
    /// A leaf cannot be bundled.
    #[error("a leaf does not fit its bundle")]
    Leaf(#[source] AuditError),
    /// The log could not be read.
    #[error("the log cannot be exported")]
    Log(#[from] LogError),
    /// The log in the folder is not what its checkpoint says.
    #[error("the log does not verify")]
    Verify(#[from] VerifyError),
}

#[cfg(test)]
mod tests;
