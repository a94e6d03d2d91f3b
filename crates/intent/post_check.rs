//! The post-check of reported work: where somebody else than the agent is asked whether it was done, and what that one says.
//!
//! Absent: asking, which is the daemon's.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use marque_spiffe::{BundleEndpointUrl, BundleEndpointUrlError};
use serde::{Deserialize, Serialize};

/// Where it is asked: an absolute `https` URL, or one of `http` with the address of a loopback interface; no user
/// information, no fragment. Read strictly and never normalised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PostCheckUrl(String);

/// The text is no URL of a post-check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostCheckUrlError {
    /// It is no URL that may be asked.
    #[error("{0}")]
    Url(BundleEndpointUrlError),
    /// Without TLS, and not on this host.
    #[error("is without TLS, and its host is not the address of a loopback interface")]
    InTheOpen,
}

impl PostCheckUrl {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for PostCheckUrl {
    type Err = PostCheckUrlError;

    fn from_str(text: &str) -> Result<Self, PostCheckUrlError> {
        let plain = text.strip_prefix("http://");
        let https = plain.map_or_else(|| text.to_owned(), |rest| format!("https://{rest}"));
        let url: BundleEndpointUrl = https.parse().map_err(PostCheckUrlError::Url)?;
        let loopback =
            || url.host().to_str().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if plain.is_none() || loopback() {
            Ok(Self(text.to_owned()))
        } else {
            Err(PostCheckUrlError::InTheOpen)
        }
    }
}

impl TryFrom<String> for PostCheckUrl {
    type Error = PostCheckUrlError;

    fn try_from(text: String) -> Result<Self, PostCheckUrlError> {
        text.parse()
    }
}

impl From<PostCheckUrl> for String {
    fn from(PostCheckUrl(text): PostCheckUrl) -> Self {
        text
    }
}

impl fmt::Display for PostCheckUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the post-check says of work that its agent reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostCheck {
    /// It was not asked yet.
    Pending,
    /// The report holds.
    Verified,
    /// The work was not done, whatever was reported.
    Failed,
    /// It gave no usable answer: nobody knows.
    Unreachable,
}

impl PostCheck {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Verified, Self::Failed, Self::Unreachable];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_check_is_asked_over_tls_or_on_this_host() {
        for good in [
            "https://verify.example.org",
            "https://verify.example.org:8443/check?of=ingress",
            "http://127.0.0.1:9000/check",
            "http://[::1]:9000/",
        ] {
            let url: PostCheckUrl = good.parse().unwrap();
            assert_eq!((url.as_str(), url.is_https()), (good, good.starts_with("https:")));
        }
        for bad in [
            "",
            "verify.example.org",
            "ftp://verify.example.org",
            "http://verify.example.org/check",
            "http://localhost/check",
            "http://127.0.0.1.example.org/check",
            "http://127.0.0.1@verify.example.org/check",
            "https://user@verify.example.org",
            "https://verify.example.org/#part",
            "https://verify.example.org/{{params.service}}",
            "https://verify.example.org/a b",
        ] {
            assert!(bad.parse::<PostCheckUrl>().is_err(), "{bad}");
        }
    }
}
