//! How a person logged in, as their own issuer says it: `auth_time`, `acr` and `amr` (OpenID Connect Core §2, RFC 9068
//! §2.2.1, RFC 8176).
//!
//! It is passed on from an ID token or a grant of another domain to every token for that person, and judged by resource
//! servers. Deliberately absent: what a way of logging in is worth.

use marque_jose::{NumericDate, present};
use serde::{Deserialize, Serialize};

/// The longest `acr` and the longest entry of `amr`, in bytes.
pub const MAX_AUTHENTICATION_NAME_BYTES: usize = 256;
/// The most entries of `amr`.
pub const MAX_AUTHENTICATION_METHODS: usize = 16;

/// The three claims; a mistyped one is an error and never absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Authentication {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) auth_time: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) amr: Vec<String>,
}

impl Authentication {
    /// Nothing is said of it: nobody logged in, or their issuer keeps it to itself.
    pub(crate) const UNSAID: Self = Self { auth_time: None, acr: None, amr: Vec::new() };

    /// Whether all of it is short enough to be passed on.
    pub(crate) fn is_small(&self) -> bool {
        let fits = |text: &String| (1..=MAX_AUTHENTICATION_NAME_BYTES).contains(&text.len());
        self.amr.len() <= MAX_AUTHENTICATION_METHODS && self.amr.iter().chain(&self.acr).all(fits)
    }
}
