//! The bearer token that both sides of a stream know. Absent: what it lets somebody do.

use std::path::Path;

use anyhow::ensure;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

use crate::approvers::secret_line;

const LABEL: &[u8] = b"marque/ssf/bearer/v1";
/// The fewest characters of a token: what a person makes up is shorter.
const MIN_CHARS: usize = 24;

/// A token that is known.
#[derive(Debug)]
pub(super) struct Bearer(SecretString);

impl Bearer {
    /// The one line of a file.
    pub(super) fn open(folder: &Path, file: &Path) -> anyhow::Result<Self> {
        let line = secret_line(folder, file)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let text = line.expose_secret();
        ensure!(
            text.len() >= MIN_CHARS && text.bytes().all(plain),
            "the secret `{}` is not a bearer token of {MIN_CHARS} characters or more (RFC 6750, section 2.1)",
            folder.join(file).display()
        );
        Ok(Self(line))
    }

    /// The value of an `Authorization` header.
    pub(super) fn expose_header(&self) -> String {
        format!("Bearer {}", self.0.expose_secret())
    }

    /// Whether somebody shows this token, in a time that says nothing of how much of it is right.
    pub(super) fn is(&self, shown: &str) -> bool {
        let tag = |token: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
            (hmac::sign(&key, LABEL), key)
        };
        let (known, _) = tag(self.0.expose_secret());
        let (_, shown) = tag(shown);
        hmac::verify(&shown, LABEL, known.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "c3NmLWNvdXJpZXItdGVzdHMtMQ==";

    #[test]
    fn a_token_is_itself_and_no_other_and_no_error_shows_it() {
        let folder = marque_testkit::temp_dir();
        let open = |text: &str| {
            std::fs::write(folder.path().join("secret"), text).unwrap();
            Bearer::open(folder.path(), Path::new("secret"))
        };
        let bearer = open(&format!("{TOKEN}\n")).unwrap();
        assert!(bearer.is(TOKEN));
        let (first, rest) = TOKEN.split_at(1);
        for other in ["", first, rest, &format!("{TOKEN}="), &TOKEN.to_lowercase()] {
            assert!(!bearer.is(other), "{other}");
        }
        assert!(!format!("{bearer:?}").contains("c3Nm"));
        let (short, _) = TOKEN.split_at(MIN_CHARS - 1);
        for bad in ["", short, "a token with spaces in it, long enough"] {
            let error = format!("{:#}", open(bad).err().unwrap());
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
