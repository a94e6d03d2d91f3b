//! Where bundles are fetched: the URL of a bundle endpoint (SPIFFE Federation section 5.2).

use std::{fmt, net::Ipv6Addr, str::FromStr};

use rustls_pki_types::ServerName;

/// The longest URL, in bytes.
const MAX_BYTES: usize = 2048;
const SCHEME: &str = "https://";
const DEFAULT_PORT: u16 = 443;

/// The URL of a bundle endpoint: `https`, a host, perhaps a port, a path and a query; no user info and no fragment
/// (FE-5). Read strictly and never normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleEndpointUrl {
    text: String,
    host: ServerName<'static>,
    port: u16,
    /// Where the path begins; the text's length when there is none.
    target_at: usize,
}

/// Why no bundle may be fetched from a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleEndpointUrlError {
    /// Longer than 2048 bytes.
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Another scheme than https (FE-5).
    #[error("does not begin with https://")]
    Scheme,
    /// There is user info, be it empty (FE-5).
    #[error("has user info")]
    UserInfo,
    /// The host is no DNS name or IP address, or the port no port.
    #[error("has no plain host with an optional port")]
    Host,
    /// A fragment, or a character that has to be percent-encoded.
    #[error("has a fragment or a character that a path and query cannot have")]
    Target,
}

impl BundleEndpointUrl {
    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name that the server has to prove under `https_web`.
    #[must_use]
    pub const fn host(&self) -> &ServerName<'static> {
        &self.host
    }

    /// The port, 443 where the URL has none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the URL has them, for the `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text.get(SCHEME.len()..self.target_at).unwrap_or_default()
    }

    /// Path and query; `/` where the URL has neither.
    #[must_use]
    pub fn target(&self) -> &str {
        match self.text.get(self.target_at..) {
            None | Some("") => "/",
            Some(target) => target,
        }
    }

    /// Where a redirect from here leads: another URL, or a path on the same server. It has to keep the same rules
    /// (FE-5). Other relative references are refused.
    ///
    /// # Errors
    /// See [`BundleEndpointUrlError`].
    pub fn redirected(&self, location: &str) -> Result<Self, BundleEndpointUrlError> {
        if location.starts_with('/') && !location.starts_with("//") {
            return format!("{SCHEME}{}{location}", self.authority()).parse();
        }
        location.parse()
    }
}

impl FromStr for BundleEndpointUrl {
    type Err = BundleEndpointUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_BYTES {
            return Err(BundleEndpointUrlError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(BundleEndpointUrlError::Scheme)?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, target) =
            rest.split_at_checked(end).ok_or(BundleEndpointUrlError::Target)?;
        if authority.contains('@') {
            return Err(BundleEndpointUrlError::UserInfo);
        }
        if !(target.is_empty() || target.starts_with('/')) || !target.bytes().all(is_plain) {
            return Err(BundleEndpointUrlError::Target);
        }
        let (host, port) = host_and_port(authority).ok_or(BundleEndpointUrlError::Host)?;
        Ok(Self { text: text.to_owned(), host, port, target_at: SCHEME.len() + end })
    }
}

impl fmt::Display for BundleEndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn host_and_port(authority: &str) -> Option<(ServerName<'static>, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            let _address: Ipv6Addr = host.parse().ok()?;
            (ServerName::try_from(host).ok()?.to_owned(), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at_checked(end)?;
            (ServerName::try_from(host).ok()?.to_owned(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => DEFAULT_PORT,
        // A sign is no digit, though it would parse.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0)?
        }
        _other => return None,
    };
    Some((host, port))
}

/// What may stand unencoded in a path or query (RFC 3986 section 3.3 and 3.4), the percent sign included.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::ServerName;

    use super::{BundleEndpointUrl, BundleEndpointUrlError as Refused};

    fn url(text: &str) -> BundleEndpointUrl {
        text.parse().unwrap()
    }

    #[test]
    fn the_parts_of_a_url_are_what_it_says() {
        for (text, host, port, authority, target) in [
            ("https://a.example.org", "a.example.org", 443, "a.example.org", "/"),
            ("https://a.example.org/", "a.example.org", 443, "a.example.org", "/"),
            (
                "https://a.example.org:8443/x/y?z=@",
                "a.example.org",
                8443,
                "a.example.org:8443",
                "/x/y?z=@",
            ),
            ("https://127.0.0.1:1/b", "127.0.0.1", 1, "127.0.0.1:1", "/b"),
            ("https://[::1]:65535/b", "::1", 65535, "[::1]:65535", "/b"),
            ("https://[::1]/b", "::1", 443, "[::1]", "/b"),
        ] {
            let url = url(text);
            assert_eq!(url.host(), &ServerName::try_from(host).unwrap(), "{text}");
            assert_eq!((url.port(), url.authority(), url.target()), (port, authority, target));
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn fe_5_a_url_without_https_or_with_user_info_is_refused() {
        for (text, refused) in [
            ("http://a.example.org/", Refused::Scheme),
            ("HTTPS://a.example.org/", Refused::Scheme),
            ("//a.example.org/", Refused::Scheme),
            ("a.example.org", Refused::Scheme),
            ("", Refused::Scheme),
            ("https://user@a.example.org/", Refused::UserInfo),
            ("https://user:secret@a.example.org/", Refused::UserInfo),
            ("https://@a.example.org/", Refused::UserInfo),
            ("https://a.example.org#@b.example.org/", Refused::Target),
            ("https://a.example.org\\@b.example.org/", Refused::Target),
            ("https://a.example.org?x", Refused::Target),
            ("https://a.example.org/#x", Refused::Target),
            ("https://a.example.org/a b", Refused::Target),
            ("https://a.example.org/\r\nx: y", Refused::Target),
            ("https://a.example.org/ü", Refused::Target),
            ("https:///x", Refused::Host),
            ("https://a.example.org:/", Refused::Host),
            ("https://a.example.org:0/", Refused::Host),
            ("https://a.example.org:+1/", Refused::Host),
            ("https://a.example.org:65536/", Refused::Host),
            ("https://a.example.org:1:2/", Refused::Host),
            ("https://a b/", Refused::Host),
            ("https://[::1/", Refused::Host),
            ("https://[::1]x/", Refused::Host),
            ("https://%61.example.org/", Refused::Host),
        ] {
            assert_eq!(text.parse::<BundleEndpointUrl>(), Err(refused), "{text}");
        }
    }

    #[test]
    fn as_many_bytes_as_the_limit_and_no_more() {
        let text = |size: usize| format!("https://a.example.org/{}", "x".repeat(size - 22));
        assert_eq!(url(&text(2048)).as_str().len(), 2048);
        assert_eq!(text(2049).parse::<BundleEndpointUrl>(), Err(Refused::TooLong));
    }

    #[test]
    fn fe_5_a_redirect_leads_only_where_a_url_may() {
        let from = url("https://a.example.org:8443/bundle?x");
        for (location, to) in [
            ("/b", "https://a.example.org:8443/b"),
            ("https://b.example.org/c", "https://b.example.org/c"),
        ] {
            assert_eq!(from.redirected(location).unwrap().as_str(), to);
        }
        for (location, refused) in [
            ("http://a.example.org/b", Refused::Scheme),
            ("https://user:secret@a.example.org/b", Refused::UserInfo),
            ("//b.example.org/c", Refused::Scheme),
            ("b", Refused::Scheme),
            ("", Refused::Scheme),
        ] {
            assert_eq!(from.redirected(location), Err(refused), "{location}");
        }
    }
}
