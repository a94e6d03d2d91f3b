//! Where the code of a workload was built from: a repository and, in it, a ref.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A source repository at a ref, such as `github.com/example/agents@refs/heads/main`: 1 to 256 printable ASCII
/// characters without blanks and `*`, with one `@` between two parts that are not empty. Compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(String);

/// The text names no repository at a ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a repository is written `host/path@ref`, in 1 to {} characters without blanks and `*`",
    Repository::MAX_BYTES
)]
pub struct RepositoryError;

impl Repository {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// The whole, as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let parts = text.split_once('@').ok_or(RepositoryError)?;
        let fits = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'*'))
        };
        if text.len() <= Self::MAX_BYTES && fits(parts.0) && fits(parts.1) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RepositoryError)
        }
    }
}

crate::checked_string!(Repository, RepositoryError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_whole_and_at_a_ref() {
        let longest = format!("{}@main", "x".repeat(Repository::MAX_BYTES - 5));
        for text in ["github.com/example/agents@refs/heads/main", "a@b", &longest] {
            assert_eq!(text.parse::<Repository>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "github.com/example/agents",
            "@main",
            "a@",
            "a@b@c",
            "a@refs/heads/*",
            "a b@c",
            "ä@b",
            &format!("x{longest}"),
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text}");
        }
    }
}
