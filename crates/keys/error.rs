//! What can go wrong with keys. No variant carries key material.

use std::{io, path::PathBuf};

use crate::{KeyAlgorithm, SlotId};

/// Why a key could not be made, found, used or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The slot already holds a key.
    #[error("slot `{slot}` already holds a key, which is never overwritten")]
    AlreadyExists {
        /// The slot asked for.
        slot: SlotId,
    },
    /// Keys of this purpose never have this algorithm.
    #[error("the key of slot `{slot}` cannot be of algorithm `{algorithm}`")]
    NotAllowed {
        /// The slot asked for.
        slot: SlotId,
        /// The algorithm asked for.
        algorithm: KeyAlgorithm,
    },
    /// ring could not make a key pair; it never says why.
    #[error("could not generate a key for slot `{slot}`")]
    Generate {
        /// The slot asked for.
        slot: SlotId,
    },
    /// ring refused a private key.
    #[error("ring refuses the private key of slot `{slot}`: {reason}")]
    Rejected {
        /// The key's slot.
        slot: SlotId,
        /// Why ring refused it.
        reason: ring::error::KeyRejected,
    },
    /// ring could not sign; it never says why.
    #[error("could not sign with the key of slot `{slot}`")]
    Sign {
        /// The key's slot.
        slot: SlotId,
    },
    /// An ASN.1 signature was asked of an Ed25519 key, which has none.
    #[error("the key of slot `{slot}` is an Ed25519 key and has no ASN.1 form of signature")]
    NoDerForm {
        /// The key's slot.
        slot: SlotId,
    },
    /// A file or the folder of keys could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A sealed key could not be opened.
    #[error("could not open the sealed key `{path}`")]
    Sealed {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: SealedKeyError,
    },
    /// A key that was just written is not there.
    #[error("the new key `{path}` is gone; something else removes files from the folder of keys")]
    Vanished {
        /// The key file.
        path: PathBuf,
    },
    /// The context that keys are sealed for is unusable.
    #[error(
        "the context of sealed keys must have 1 to 255 printable ASCII characters and no spaces"
    )]
    Context,
    /// The folder of keys holds a `.key` file which is not named after a slot.
    #[error("`{path}` is not named after a key; move it out of the folder of keys")]
    StrangeFile {
        /// The file.
        path: PathBuf,
    },
}

/// Why a sealed key file did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedKeyError {
    /// The file is not a sealed key.
    #[error("the file is not a sealed key of version 1 to {supported}; restore it from a backup", supported = crate::sealed::FORMAT_VERSION)]
    Malformed,
    /// The file is of a version that this build does not know.
    #[error("the file has format version {found}, and this build reads versions 1 to {supported}; use the build that wrote it", supported = crate::sealed::FORMAT_VERSION)]
    Version {
        /// The version in the file.
        found: u64,
    },
    /// The file was sealed under another sealing key.
    #[error(
        "it was sealed under the sealing key `{sealed_under}`, and the one in use is `{in_use}`; start with the \
         sealing key that was in use when this key was made"
    )]
    OtherSealingKey {
        /// The id of the sealing key that the file names.
        sealed_under: String,
        /// The id of the sealing key in use.
        in_use: String,
    },
    /// The file belongs to another trust domain.
    #[error(
        "it belongs to `{found}` and not to `{expected}`; move it back to the folder it came from"
    )]
    OtherContext {
        /// The context that the file names.
        found: String,
        /// The context in use.
        expected: String,
    },
    /// The file belongs to another slot.
    #[error("it holds the key `{found}`; move it back under its own name")]
    OtherSlot {
        /// The slot that the file names.
        found: SlotId,
    },
    /// The seal does not hold: the file was changed.
    #[error(
        "its seal is broken, so the file was changed after it was written; restore it from a backup"
    )]
    Broken,
    /// The key could not be sealed.
    #[error("sealing failed")]
    Seal,
}

/// Why a file or folder that holds keys could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// An operation of the file system failed.
    #[error("could not {operation} `{path}`")]
    Io {
        /// What was tried, e.g. `open`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Others may read or change a file or folder of keys.
    #[error("`{path}` has mode {mode:03o} and must not be open to others; run `chmod {wanted} {path}`", path = path.display())]
    NotPrivate {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What `chmod` should be told.
        wanted: &'static str,
    },
    /// The file or folder belongs to another user.
    #[error(
        "`{path}` belongs to user {owner}, and must belong to the user that runs this process ({user}) or to root"
    )]
    ForeignOwner {
        /// The file or folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// The path names something else than a regular file.
    #[error("`{path}` is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is longer than a key file can be.
    #[error("`{path}` is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// The file exists and is not overwritten.
    #[error("`{path}` already exists and is never overwritten")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// Why a sealing key could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealingKeyError {
    /// The text is not 32 bytes in hexadecimal. The text itself is never shown.
    #[error("a sealing key is exactly 64 hexadecimal characters")]
    Form,
    /// A sealing key file has another content than 64 hexadecimal characters and a line feed.
    #[error("`{path}` must hold exactly 64 hexadecimal characters and a line feed")]
    FileForm {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("could not draw a sealing key")]
    Random,
    /// The file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}
