//! Keys in files, one file each, sealed with AES-256-GCM under the [`SealingKey`].
//!
//! The seal authenticates the format's version, the context (the trust domain), the slot, the algorithm and the sealing
//! key's id, so a file that is renamed, moved to another trust domain or edited does not open.
//!
//! Deliberately absent: changing the sealing key of existing files, and locks. Two processes may share a folder: whoever
//! links a name first has made that key, and the other is told that it exists.

mod format;

use std::path::Path;

pub(crate) use format::FORMAT_VERSION;

use crate::{
    FileError, KeyAlgorithm, KeyError, KeyManager, SealingKey, SigningKey, SlotId, folder::Folder,
    generate::generate_pkcs8, signing::check_allowed,
};

/// The end of every key file's name.
const SUFFIX: &str = ".key";
/// The longest key file, in bytes; a real one has about 600, and with an RSA key 2000.
const MAX_FILE: usize = 4096;
/// The longest context, in bytes: that of a trust domain's name.
const MAX_CONTEXT: usize = 255;

/// A key manager that keeps each key in a file of its own, sealed.
#[derive(Debug)]
pub struct SealedFileKeys {
    folder: Folder,
    sealing: SealingKey,
    context: String,
}

impl SealedFileKeys {
    /// Opens the folder `dir`, making it (mode 0700) when only its last part is missing, and opens every key in it once,
    /// so that a wrong sealing key or a damaged file shows at the start and not at the first signature. What a process that
    /// ended while it wrote left in the folder is removed.
    ///
    /// `context` (the trust domain) is authenticated with every key: 1 to 255 printable ASCII characters.
    ///
    /// # Errors
    /// [`KeyError::Context`], [`KeyError::File`] when the folder or a file in it is open to others,
    /// [`KeyError::StrangeFile`], and [`KeyError::Sealed`], which says what to do.
    pub fn open(dir: &Path, sealing: &SealingKey, context: &str) -> Result<Self, KeyError> {
        if !is_context(context) {
            return Err(KeyError::Context);
        }
        let folder = Folder::open_or_create_private(dir)?;
        folder.remove_unfinished();
        let keys = Self { folder, sealing: sealing.clone(), context: context.to_owned() };
        for slot in keys.list()? {
            keys.load(&slot)?;
        }
        Ok(keys)
    }
}

impl KeyManager for SealedFileKeys {
    fn generate(&self, slot: &SlotId, algorithm: KeyAlgorithm) -> Result<SigningKey, KeyError> {
        check_allowed(slot, algorithm)?;
        let name = file_name(slot);
        let pkcs8 = generate_pkcs8(slot, algorithm)?;
        let sealed = format::seal(&pkcs8, algorithm, &self.sealing, &self.context, slot)
            .map_err(|source| KeyError::Sealed { path: self.folder.path_of(&name), source })?;
        match self.folder.create(&name, &sealed) {
            Err(FileError::Exists { .. }) => {
                return Err(KeyError::AlreadyExists { slot: slot.clone() });
            }
            other => other?,
        }
        // What signs from now on is what is on disk: a key that cannot be read back is never used.
        self.load(slot)?.ok_or_else(|| KeyError::Vanished { path: self.folder.path_of(&name) })
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, KeyError> {
        let name = file_name(slot);
        let Some(sealed) = self.folder.read(&name, MAX_FILE)? else { return Ok(None) };
        let (algorithm, pkcs8) = format::unseal(&sealed, &self.sealing, &self.context, slot)
            .map_err(|source| KeyError::Sealed { path: self.folder.path_of(&name), source })?;
        SigningKey::from_pkcs8(slot, algorithm, &pkcs8).map(Some)
    }

    fn list(&self) -> Result<Vec<SlotId>, KeyError> {
        let mut slots = Vec::new();
        for name in self.folder.names()? {
            let Some(stem) = name.strip_suffix(SUFFIX) else { continue };
            match stem.parse() {
                Ok(slot) => slots.push(slot),
                Err(_) => return Err(KeyError::StrangeFile { path: self.folder.path_of(&name) }),
            }
        }
        slots.sort();
        Ok(slots)
    }

    fn remove(&self, slot: &SlotId) -> Result<(), KeyError> {
        Ok(self.folder.remove(&file_name(slot))?)
    }
}

fn file_name(slot: &SlotId) -> String {
    format!("{slot}{SUFFIX}")
}

fn is_context(text: &str) -> bool {
    (1..=MAX_CONTEXT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
