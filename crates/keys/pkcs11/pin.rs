//! The user PIN: read from its file each time it is needed, and never tried twice once it was refused.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::TokenError;
use crate::folder::{Folder, FolderRule, split};

/// The longest PIN, in bytes.
const MAX_PIN: usize = 255;

/// Where the PIN is.
#[derive(Debug)]
pub(super) struct PinFile {
    path: PathBuf,
    refused: Mutex<Option<Zeroizing<String>>>,
}

impl PinFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, refused: Mutex::new(None) }
    }

    /// Logs in with the PIN that the file holds now.
    pub(super) fn log_in<E>(
        &self,
        log_in: impl FnOnce(&AuthPin) -> Result<(), E>,
        is_refusal: impl FnOnce(&E) -> bool,
    ) -> Result<Result<(), E>, TokenError> {
        let pin = self.read()?;
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.as_ref() == Some(&pin) {
            return Err(TokenError::PinWrong);
        }
        let outcome = log_in(&AuthPin::from(pin.as_str()));
        *refused = outcome.as_ref().is_err_and(is_refusal).then_some(pin);
        Ok(outcome)
    }

    fn read(&self) -> Result<Zeroizing<String>, TokenError> {
        let content = read_private(&self.path).map_err(TokenError::PinFile)?;
        let pin = content.strip_suffix(b"\n").unwrap_or(&content);
        let text = std::str::from_utf8(pin).ok().filter(|text| {
            (1..=MAX_PIN).contains(&text.len()) && !text.chars().any(char::is_control)
        });
        text.map(|text| Zeroizing::new(text.to_owned()))
            .ok_or_else(|| TokenError::PinForm { path: self.path.clone() })
    }
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, crate::FileError> {
    let (folder, name) = split(path)?;
    Folder::open(folder, FolderRule::NotWritableByOthers)?.read_through_links(name, MAX_PIN + 1)
}
