//! The HTTP URI of a request, normalised for comparison (RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3).
//!
//! Two URIs are the same when scheme and host differ in case only, when one names the port that the other means, when they
//! escape plain characters differently, and when dot segments are resolved. Paths differ in case and by a trailing slash.
//! Deliberately absent: user information, query and fragment, which no proof has, and names beyond ASCII.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The longest URI that is read, in bytes.
pub const MAX_URI_BYTES: usize = 2048;

/// An `http` or `https` URI without user information, query and fragment, in normal form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUri(String);

/// Why a text is not such a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpUriError {
    /// Longer than [`MAX_URI_BYTES`].
    #[error("the URI is too long")]
    TooLong,
    /// Another scheme than `http` or `https`, or none.
    #[error("the URI is not an absolute http URI")]
    Scheme,
    /// User information, or no host, or a host or port that is malformed.
    #[error("the URI has no plain host with an optional port")]
    Authority,
    /// A query, a fragment, or a character that a path does not have.
    #[error("the URI has a query, a fragment or a malformed path")]
    Path,
}

impl HttpUri {
    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpUri {
    type Err = HttpUriError;

    fn from_str(text: &str) -> Result<Self, HttpUriError> {
        if text.len() > MAX_URI_BYTES {
            return Err(HttpUriError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(HttpUriError::Scheme)?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "https" => ("https", 443),
            "http" => ("http", 80),
            _ => return Err(HttpUriError::Scheme),
        };
        let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path_at).ok_or(HttpUriError::Authority)?;
        let (host, port) = authority_of(authority)?;
        let mut normal = format!("{scheme}://{host}");
        if let Some(port) = port.filter(|port| *port != default_port) {
            normal.push_str(&format!(":{port}"));
        }
        normal.push_str(&resolved(&unescaped(path)?));
        Ok(Self(normal))
    }
}

impl fmt::Display for HttpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host in lower case and the port, if it names one.
fn authority_of(authority: &str) -> Result<(String, Option<u16>), HttpUriError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(HttpUriError::Authority)?;
            let address: Ipv6Addr =
                address.parse().map_err(|_malformed| HttpUriError::Authority)?;
            (format!("[{address}]"), port)
        }
        None => {
            let port_at = authority.find(':').unwrap_or(authority.len());
            let (host, port) =
                authority.split_at_checked(port_at).ok_or(HttpUriError::Authority)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
            if host.is_empty() || !host.chars().all(plain) {
                return Err(HttpUriError::Authority);
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    match port.strip_prefix(':') {
        // RFC 3986 §6.2.3: an empty port is the default one.
        Some("") => Ok((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().map_err(|_too_large| HttpUriError::Authority)?;
            Ok((host, Some(port)))
        }
        None if port.is_empty() => Ok((host, None)),
        Some(_) | None => Err(HttpUriError::Authority),
    }
}

/// The path with unreserved characters unescaped, and every other escape in upper case.
fn unescaped(path: &str) -> Result<String, HttpUriError> {
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let escaped = byte == b'%';
        let byte = if escaped {
            let mut digit = || bytes.next().and_then(hex_digit).ok_or(HttpUriError::Path);
            digit()? << 4 | digit()?
        } else {
            byte
        };
        match (is_unreserved(byte), escaped) {
            (true, _) => normal.push(char::from(byte)),
            (false, true) => normal.push_str(&format!("%{byte:02X}")),
            (false, false) if is_reserved_in_paths(byte) => normal.push(char::from(byte)),
            (false, false) => return Err(HttpUriError::Path),
        }
    }
    Ok(normal)
}

/// RFC 3986 §5.2.4, for a path that is empty or begins with a slash.
fn resolved(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." if last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `sub-delims`, `:`, `@` and the slash itself (RFC 3986 §3.3).
fn is_reserved_in_paths(byte: u8) -> bool {
    b"/:@!$&'()*+,;=".contains(&byte)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn oauth_7_3_equal_uris_have_one_normal_form() {
        for (text, normal) in [
            ("https://a.example.org/token", "https://a.example.org/token"),
            ("HTTPS://A.Example.ORG:443/token", "https://a.example.org/token"),
            ("https://a.example.org:/token", "https://a.example.org/token"),
            ("https://a.example.org:0443/token", "https://a.example.org/token"),
            ("https://a.example.org:8443/token", "https://a.example.org:8443/token"),
            ("http://a.example.org:80", "http://a.example.org/"),
            ("http://a.example.org:443/", "http://a.example.org:443/"),
            ("https://a.example.org/%74oken/%7e", "https://a.example.org/token/~"),
            ("https://a.example.org/a%2fb", "https://a.example.org/a%2Fb"),
            ("https://a.example.org/a/./b/../token", "https://a.example.org/a/token"),
            ("https://a.example.org/%2e%2E/token", "https://a.example.org/token"),
            ("https://a.example.org/a/..", "https://a.example.org/"),
            ("https://a.example.org/../../a/.", "https://a.example.org/a/"),
            ("https://a.example.org//a//", "https://a.example.org//a//"),
            ("https://[0:0::1]:8443/a", "https://[::1]:8443/a"),
        ] {
            assert_eq!(text.parse::<HttpUri>().map(|uri| uri.0).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_http_uri_is_refused() {
        for (text, error) in [
            ("", HttpUriError::Scheme),
            ("/token", HttpUriError::Scheme),
            ("//a.example.org/token", HttpUriError::Scheme),
            ("ftp://a.example.org/token", HttpUriError::Scheme),
            (" https://a.example.org/token", HttpUriError::Scheme),
            ("https:///token", HttpUriError::Authority),
            ("https://user@a.example.org/token", HttpUriError::Authority),
            ("https://a.example.org:x/token", HttpUriError::Authority),
            ("https://a.example.org:+443/token", HttpUriError::Authority),
            ("https://a.example.org:65536/token", HttpUriError::Authority),
            ("https://a.example.org:1:2/token", HttpUriError::Authority),
            ("https://[::1/token", HttpUriError::Authority),
            ("https://[::1]x/token", HttpUriError::Authority),
            ("https://a%2eexample.org/token", HttpUriError::Authority),
            ("https://bücher.example.org/token", HttpUriError::Authority),
            ("https://a.example.org\\@b.example.org/token", HttpUriError::Authority),
            ("https://a.example.org?x=1", HttpUriError::Path),
            ("https://a.example.org/token?x=1", HttpUriError::Path),
            ("https://a.example.org/token#x", HttpUriError::Path),
            ("https://a.example.org/token\n", HttpUriError::Path),
            ("https://a.example.org/to ken", HttpUriError::Path),
            ("https://a.example.org/t%", HttpUriError::Path),
            ("https://a.example.org/t%4", HttpUriError::Path),
            ("https://a.example.org/t%zz", HttpUriError::Path),
            ("https://a.example.org/tökén", HttpUriError::Path),
        ] {
            assert_eq!(text.parse::<HttpUri>(), Err(error), "{text}");
        }
        let long = format!("https://a.example.org/{}", "a".repeat(MAX_URI_BYTES - 22));
        assert!(long.parse::<HttpUri>().is_ok());
        assert_eq!(format!("{long}a").parse::<HttpUri>(), Err(HttpUriError::TooLong));
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(text in "https?://[A-Za-z0-9.]{1,9}(:[0-9]{0,4})?(/[A-Za-z.%25~]{0,4}){0,5}") {
            if let Ok(uri) = text.parse::<HttpUri>() {
                let again = uri.as_str().parse();
                prop_assert_eq!(again, Ok(uri));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _any = text.parse::<HttpUri>().is_ok();
            let _any = format!("https://{text}").parse::<HttpUri>().is_ok();
        }
    }
}
