//! The URLs of the configuration: `https`, a plain host, and nothing that would be read in two ways.
//!
//! Compared as text, byte by byte. Deliberately absent: normalisation, user info, fragments.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// The longest URL, in bytes.
const MAX_BYTES: usize = 2048;

/// An absolute `https` URL in lower case up to its path, without user info, query, fragment or trailing slash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpsUrl {
    text: String,
    path_at: usize,
}

/// The text is not such a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a plain https URL without user info, query, fragment and trailing slash")]
pub struct HttpsUrlError;

impl HttpsUrl {
    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.text.get(..self.path_at).unwrap_or_default()
    }

    /// The path: empty, or `/a/b`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// The URL of a well-known document: its name goes between host and path (RFC 8414 §3.1, RFC 9728 §3.1).
    pub(crate) fn well_known(&self, name: &str) -> String {
        format!("{}{}", self.origin(), self.well_known_path(name))
    }

    pub(crate) fn well_known_path(&self, name: &str) -> String {
        format!("/.well-known/{name}{}", self.path())
    }
}

impl FromStr for HttpsUrl {
    type Err = HttpsUrlError;

    fn from_str(text: &str) -> Result<Self, HttpsUrlError> {
        let uri: Uri = text.parse().map_err(|_not_a_uri| HttpsUrlError)?;
        let rest = text.strip_prefix("https://").ok_or(HttpsUrlError)?;
        let authority = rest.split_once('/').map_or(rest, |(authority, _path)| authority);
        let path_at = text.len() - rest.len() + authority.len();
        let plain_host = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte)
        };
        let plain_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\"\\%".contains(&byte);
        let path = text.get(path_at..).unwrap_or_default();
        let fits = text.len() <= MAX_BYTES
            && uri.authority().is_some_and(|parsed| parsed.as_str() == authority)
            && uri.host().is_some_and(|host| !host.is_empty())
            && has_plain_port(&uri, authority)
            && authority.bytes().all(plain_host)
            && path.bytes().all(plain_path)
            && !path.ends_with('/')
            && !path.split('/').any(|segment| matches!(segment, "." | ".."));
        if fits { Ok(Self { text: text.to_owned(), path_at }) } else { Err(HttpsUrlError) }
    }
}

/// Whether what stands behind the host is a port, or nothing does.
fn has_plain_port(uri: &Uri, authority: &str) -> bool {
    let host = uri.host().unwrap_or_default();
    match authority.strip_prefix(host) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)),
        None => false,
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_plain_https() {
        for (text, path) in [
            ("https://api.example.org", ""),
            ("https://localhost:8443", ""),
            ("https://[::1]:8443/a", "/a"),
            ("https://api.example.org/a/b-c_d", "/a/b-c_d"),
        ] {
            let url: HttpsUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.path()), (text, path));
            assert_eq!(format!("{}{}", url.origin(), url.path()), text);
        }
        let url: HttpsUrl = "https://api.example.org/a".parse().unwrap();
        assert_eq!(url.well_known("x"), "https://api.example.org/.well-known/x/a");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "api.example.org",
            "http://api.example.org",
            "HTTPS://api.example.org",
            "https://API.example.org",
            "https://",
            "https:///a",
            "https://user@api.example.org",
            "https://api.example.org/",
            "https://api.example.org/a/",
            "https://api.example.org/a/../b",
            "https://api.example.org/%2e",
            "https://api.example.org?x",
            "https://api.example.org/a?x",
            "https://api.example.org#x",
            "https://api.example.org/a b",
            "https://api.example.org/\"",
            "https://api.example.org:port",
            "https://api.example.org:",
            "https://api.example.org:0",
            "https://api.example.org:65536",
            "https://[::1]x",
        ] {
            assert_eq!(text.parse::<HttpsUrl>(), Err(HttpsUrlError), "{text}");
        }
        assert!(
            format!("https://a.example.org/{}", "a".repeat(MAX_BYTES)).parse::<HttpsUrl>().is_err()
        );
    }
}
