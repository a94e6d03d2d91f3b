//! Secrets of files: read once, never shown. Absent: making them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use secrecy::SecretString;
use standardwebhooks::Webhook;
use zeroize::Zeroizing;

/// The longest file with a secret.
const MAX_BYTES: usize = 4096;
/// The fewest bytes of a signing key (Standard Webhooks: 24 to 64).
const MIN_KEY: usize = 24;
const MAX_KEY: usize = 64;

/// The one line of a file.
pub(crate) fn line(folder: &Path, file: &Path) -> anyhow::Result<SecretString> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).map(Zeroizing::new);
    let text = text.with_context(|| format!("read the secret `{}`", path.display()))?;
    ensure!(text.len() <= MAX_BYTES, "the secret `{}` is too long", path.display());
    let line = text.trim_end_matches(['\r', '\n']);
    let plain = !line.is_empty() && !line.contains(char::is_control);
    ensure!(plain, "the secret `{}` is not one line of text", path.display());
    Ok(SecretString::from(line))
}

/// The signing key of a file, as Standard Webhooks writes it.
pub(crate) fn webhook_key(folder: &Path, file: &Path) -> anyhow::Result<Webhook> {
    use base64::Engine as _;
    use secrecy::ExposeSecret as _;

    let path = folder.join(file);
    let line = line(folder, file)?;
    let form =
        || format!("the secret `{}` is not `whsec_` and Base64 of 24 to 64 bytes", path.display());
    let encoded = line.expose_secret().strip_prefix("whsec_").with_context(form)?;
    // The decoder's error names what it found, so it is dropped: no part of a secret may reach an error.
    let key = base64::engine::general_purpose::STANDARD.decode(encoded).ok().with_context(form)?;
    ensure!((MIN_KEY..=MAX_KEY).contains(&key.len()), form());
    Webhook::from_bytes(key).ok().with_context(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_key_has_its_form_and_no_error_shows_it() {
        let folder = marque_testkit::temp_dir();
        let write = |text: &str| fs::write(folder.path().join("secret"), text).unwrap();
        let read = || webhook_key(folder.path(), Path::new("secret"));
        write("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        read().unwrap();
        for bad in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8",
            "whsec_!!!!9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nx",
        ] {
            write(bad);
            let error = format!("{:#}", read().err().unwrap());
            assert!(!error.contains("9r8GKY"), "{error}");
        }
    }
}
