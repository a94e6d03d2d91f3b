//! The issuer identifier of RFC 8414 §2: an https URL that names one trust domain's token service.
//!
//! Deliberately absent: normalisation. The identifier is compared as text, byte by byte, wherever it is an audience.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest issuer identifier, in bytes.
pub const MAX_ISSUER_URL_BYTES: usize = 512;

/// An issuer identifier: `https://host[:port][/path]`, lowercase host, no user info, query, fragment or trailing slash
/// (RFC 8414 §2). Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerUrl {
    text: Arc<str>,
    /// Where the path begins; the text's length when there is none.
    path_at: usize,
}

/// Why a text is not an issuer identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerUrlError {
    /// Longer than [`MAX_ISSUER_URL_BYTES`].
    #[error("the issuer URL is too long")]
    TooLong,
    /// Another scheme than https.
    #[error("the issuer URL must begin with https://")]
    Scheme,
    /// No host, user info, a broken port, or a host with characters that are not lowercase letters, digits, `-`, `.`.
    #[error("the issuer URL has no plain lowercase host with an optional port")]
    Host,
    /// An empty, dot, percent-encoded or otherwise unusual path segment, a trailing slash, a query or a fragment.
    #[error("the issuer URL has an unusual path, a trailing slash, a query or a fragment")]
    Path,
}

impl IssuerUrl {
    /// The whole identifier.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path: empty, or `/a/b`.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// The origin: scheme, host and port.
    pub fn origin(&self) -> &str {
        self.text.get(..self.path_at).unwrap_or_default()
    }

    /// The URL of something below the issuer. `path` begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }
}

impl FromStr for IssuerUrl {
    type Err = IssuerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_ISSUER_URL_BYTES {
            return Err(IssuerUrlError::TooLong);
        }
        let rest = text.strip_prefix("https://").ok_or(IssuerUrlError::Scheme)?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        check_authority(authority)?;
        if path.is_some_and(|path| !path.split('/').all(is_plain_segment)) {
            return Err(IssuerUrlError::Path);
        }
        let path_at = text.len() - path.map_or(0, |path| path.len() + 1);
        Ok(Self { text: Arc::from(text), path_at })
    }
}

impl TryFrom<String> for IssuerUrl {
    type Error = IssuerUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IssuerUrl> for String {
    fn from(url: IssuerUrl) -> Self {
        url.text.to_string()
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

fn check_authority(authority: &str) -> Result<(), IssuerUrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(IssuerUrlError::Host)?;
            let parsed: Result<std::net::Ipv6Addr, _> = address.parse();
            if parsed.is_err() || address.chars().any(|c| c.is_ascii_uppercase()) {
                return Err(IssuerUrlError::Host);
            }
            (
                "v6",
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or(IssuerUrlError::Host)?)
                },
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let host_is_plain =
        !host.is_empty() && host.chars().all(plain) && !host.starts_with(['.', '-']);
    let port_is_plain =
        port.is_none_or(|port| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok());
    if host_is_plain && port_is_plain { Ok(()) } else { Err(IssuerUrlError::Host) }
}

fn is_plain_segment(segment: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_issuer_are_found() {
        let url: IssuerUrl = "https://issuer.example.org:8443/prod/a".parse().unwrap();
        assert_eq!(url.path(), "/prod/a");
        assert_eq!(url.origin(), "https://issuer.example.org:8443");
        assert_eq!(
            url.join("/oauth2/token"),
            "https://issuer.example.org:8443/prod/a/oauth2/token"
        );
        for plain in ["https://localhost", "https://127.0.0.1:8443", "https://[::1]:8443"] {
            let url: IssuerUrl = plain.parse().unwrap();
            assert_eq!((url.path(), url.origin()), ("", plain));
        }
    }

    #[test]
    fn unusual_issuers_are_refused() {
        for (text, error) in [
            ("http://a", IssuerUrlError::Scheme),
            ("HTTPS://a", IssuerUrlError::Scheme),
            ("https://", IssuerUrlError::Host),
            ("https://A", IssuerUrlError::Host),
            ("https://u@a", IssuerUrlError::Host),
            ("https://a:0", IssuerUrlError::Host),
            ("https://a:65536", IssuerUrlError::Host),
            ("https://a:", IssuerUrlError::Host),
            ("https://[::1", IssuerUrlError::Host),
            ("https://[::g]", IssuerUrlError::Host),
            ("https://[::1]8443", IssuerUrlError::Host),
            ("https://a?b", IssuerUrlError::Host),
            ("https://a/", IssuerUrlError::Path),
            ("https://a/b/", IssuerUrlError::Path),
            ("https://a//b", IssuerUrlError::Path),
            ("https://a/../b", IssuerUrlError::Path),
            ("https://a/b?c", IssuerUrlError::Path),
            ("https://a/b#c", IssuerUrlError::Path),
            ("https://a/%62", IssuerUrlError::Path),
        ] {
            assert_eq!(text.parse::<IssuerUrl>(), Err(error), "{text}");
        }
        let long = format!("https://{}", "a".repeat(MAX_ISSUER_URL_BYTES - 8));
        assert!(long.parse::<IssuerUrl>().is_ok());
        assert_eq!(format!("{long}a").parse::<IssuerUrl>(), Err(IssuerUrlError::TooLong));
    }
}
