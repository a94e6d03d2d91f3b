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

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_pin_that_was_refused_is_not_tried_again_before_the_file_holds_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        let write = |pin: &str| {
            fs::write(&path, pin).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let (file, tries) = (PinFile::new(path.clone()), Cell::new(0));
        let log_in = |is_right: bool| {
            let outcome = file.log_in(
                |_pin| {
                    tries.set(tries.get() + 1);
                    if is_right { Ok(()) } else { Err("refused") }
                },
                |error| *error == "refused",
            );
            matches!(outcome, Ok(Ok(())))
        };
        write("1111\n");
        assert!(!log_in(false) && tries.get() == 1);
        for _again in 0..3 {
            assert!(!log_in(false) && tries.get() == 1, "the token was asked again");
        }
        write("2222\n");
        assert!(log_in(true) && log_in(true) && tries.get() == 3);
        assert!(!format!("{file:?}").contains("2222"));
        // What failed for another reason is tried again.
        let lost = |_pin: &AuthPin| Err("lost");
        let outcome = file.log_in(lost, |error: &&str| *error == "refused");
        assert!(matches!(outcome, Ok(Err("lost"))));
        assert!(log_in(true) && tries.get() == 4);
    }
}
