//! The key under which all others are sealed.

use std::{fmt, path::Path};

use ring::{hmac, rand::SecureRandom};
use zeroize::Zeroizing;

use crate::{
    SealingKeyError,
    folder::{Folder, FolderRule, split},
    system_random,
};

/// A sealing key's length in bytes: an AES-256 key.
const LENGTH: usize = 32;
/// 64 hexadecimal characters and a line feed.
const FILE_LENGTH: usize = 2 * LENGTH + 1;

/// The 256-bit key under which key files are sealed. It is zeroed when dropped and never printed.
#[derive(Clone)]
pub struct SealingKey {
    bytes: Zeroizing<[u8; LENGTH]>,
}

impl SealingKey {
    /// Reads the sealing key from a file which holds exactly 64 hexadecimal characters and a line feed.
    ///
    /// # Errors
    /// The file must belong to the effective user or root, be closed to group and others, and sit in a folder where
    /// others cannot replace it ([`SealingKeyError::File`]); its content must have the form
    /// ([`SealingKeyError::FileForm`]).
    pub fn from_file(path: &Path) -> Result<Self, SealingKeyError> {
        let (folder, name) = split(path)?;
        let folder = Folder::open(folder, FolderRule::NotWritableByOthers)?;
        folder.remove_unfinished();
        let content = folder.read_through_links(name, FILE_LENGTH)?;
        let malformed = || SealingKeyError::FileForm { path: path.to_owned() };
        let text = content.strip_suffix(b"\n").ok_or_else(malformed)?;
        Self::decode(text).ok_or_else(malformed)
    }

    /// Draws a new sealing key and writes it to `path`, which must not exist, with mode 0600.
    ///
    /// The file is complete and on disk when this returns; a crash never leaves a part of it under that name. What it
    /// leaves under a working name goes when this or [`SealingKey::from_file`] next looks into the folder.
    ///
    /// # Errors
    /// [`SealingKeyError::File`] when the file exists or cannot be written.
    pub fn create_file(path: &Path) -> Result<Self, SealingKeyError> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        system_random().fill(bytes.as_mut()).map_err(|_unspecified| SealingKeyError::Random)?;
        let (folder, name) = split(path)?;
        let folder = Folder::open(folder, FolderRule::NotWritableByOthers)?;
        folder.remove_unfinished();
        let mut content = Zeroizing::new(hex::encode(*bytes).into_bytes());
        content.push(b'\n');
        folder.create(name, &content)?;
        Ok(Self { bytes })
    }

    /// Parses 64 hexadecimal characters, as a development environment hands them over.
    ///
    /// # Errors
    /// [`SealingKeyError::Form`], which does not repeat the text.
    pub fn from_hex(text: &str) -> Result<Self, SealingKeyError> {
        Self::decode(text.as_bytes()).ok_or(SealingKeyError::Form)
    }

    /// Sixteen hexadecimal characters that tell sealing keys apart and say nothing about them: a truncated
    /// HMAC-SHA-256 of a fixed label.
    pub fn id(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes.as_ref());
        let tag = hmac::sign(&key, b"marque/sealing-key-id/v1");
        hex::encode(tag.as_ref().iter().take(8).copied().collect::<Vec<u8>>())
    }

    /// A key for one purpose in one context, which says nothing about this one: HMAC-SHA-256 of both. Whoever has the
    /// sealing key, such as every replica of an issuer, derives the same.
    pub fn derive(&self, purpose: &str, context: &str) -> Zeroizing<[u8; LENGTH]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes.as_ref());
        let label = [
            b"marque/derived-key/v1".as_slice(),
            &[0],
            purpose.as_bytes(),
            &[0],
            context.as_bytes(),
        ];
        let tag = hmac::sign(&key, &label.concat());
        let mut derived = Zeroizing::new([0; LENGTH]);
        derived.copy_from_slice(tag.as_ref());
        derived
    }

    pub(crate) fn expose_bytes(&self) -> &[u8; LENGTH] {
        &self.bytes
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        // hex's error names the offending character, so it is dropped: no part of a key may reach an error.
        hex::decode_to_slice(text, bytes.as_mut()).ok()?;
        Some(Self { bytes })
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
