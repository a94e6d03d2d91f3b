//! Trust domain names (SPIFFE-ID section 2.1).

use std::{str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::SpiffeId;

/// The name of a trust domain, e.g. `prod.example.org`: 1 to 255 bytes of `a-z`, `0-9`, `.`, `-` and `_`.
///
/// Only the name reads, never a whole SPIFFE ID. Names that look like addresses or odd DNS names are names like any
/// other (ID-6), and nothing is folded (ID-9).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

/// Why a trust domain name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrustDomainError {
    /// The empty string (ID-2).
    #[error("trust domain is empty")]
    Empty,
    /// More than [`TrustDomain::MAX_BYTES`] (ID-8).
    #[error("trust domain is longer than {} bytes", TrustDomain::MAX_BYTES)]
    TooLong,
    /// An upper-case letter: refused, never folded (ID-9).
    #[error("trust domain has an upper-case letter")]
    UpperCase,
    /// A character outside `a-z`, `0-9`, `.`, `-` and `_` (ID-5).
    #[error(
        "trust domain has the character {0:?}, which is outside `a-z`, `0-9`, `.`, `-` and `_`"
    )]
    Character(char),
}

impl TrustDomain {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// Reads a name.
    ///
    /// # Errors
    /// See [`TrustDomainError`].
    pub fn new(name: &str) -> Result<Self, TrustDomainError> {
        if name.is_empty() {
            return Err(TrustDomainError::Empty);
        }
        if let Some(wrong) =
            name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_'))
        {
            return Err(match wrong {
                'A'..='Z' => TrustDomainError::UpperCase,
                _ => TrustDomainError::Character(wrong),
            });
        }
        if name.len() > Self::MAX_BYTES {
            return Err(TrustDomainError::TooLong);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SPIFFE ID of the trust domain itself, which has no path.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        SpiffeId::of_trust_domain(self)
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

crate::checked_string!(TrustDomain, TrustDomainError);
