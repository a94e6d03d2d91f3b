//! Where a bundle may be fetched: which hosts a redirect may lead to, and which addresses are connected to.
//!
//! A URL that stands in the trust domain's folder was reviewed: its host may be a private one. One that came by command leads
//! only to the public internet and to what `[bundle_fetching]` allows, so that nobody makes the daemon speak to what its network
//! alone can reach. A name is looked up once and the addresses that were looked at are those that are connected to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use marque_registry::BundleFetchingSettings;
use marque_spiffe::BundleEndpointUrl;
use tokio::net::TcpStream;

use super::fetch::FetchError;

/// The rules for one URL and all redirects from there.
#[derive(Debug, Clone)]
pub(crate) enum Destinations {
    /// Anything: whoever made the URL reviewed where it leads, and follows no redirects.
    Any,
    /// A bundle endpoint.
    Bundle {
        /// What the folder allows beside it.
        settings: BundleFetchingSettings,
        /// The host of the URL, where that was reviewed.
        reviewed: Option<String>,
    },
}

impl Destinations {
    /// Those of a URL that stands in the folder.
    pub(super) fn reviewed(url: &BundleEndpointUrl, settings: &BundleFetchingSettings) -> Self {
        Self::Bundle { settings: settings.clone(), reviewed: Some(host(url)) }
    }

    /// Those of a URL that came by command.
    pub(super) fn by_command(settings: &BundleFetchingSettings) -> Self {
        Self::Bundle { settings: settings.clone(), reviewed: None }
    }

    /// Whether a redirect may lead from one URL to another.
    pub(super) fn check_redirect(
        &self,
        from: &BundleEndpointUrl,
        to: &BundleEndpointUrl,
    ) -> Result<(), FetchError> {
        let to = host(to);
        match self {
            Self::Bundle { settings, .. }
                if to != host(from) && !settings.allows_redirect_to(&to) =>
            {
                Err(FetchError::OtherHost(to))
            }
            Self::Any | Self::Bundle { .. } => Ok(()),
        }
    }

    /// Connects to the first address of the URL's host that may be and can be connected to.
    pub(super) async fn connect(&self, url: &BundleEndpointUrl) -> Result<TcpStream, FetchError> {
        let unreachable =
            |source| FetchError::Connect { authority: url.authority().to_owned(), source };
        let name = url.host().to_str();
        let found = tokio::net::lookup_host((&*name, url.port())).await.map_err(unreachable)?;
        let mut last = None;
        for address in found {
            if !self.allows(&host(url), address.ip()) {
                last.get_or_insert(FetchError::Address { host: host(url), address: address.ip() });
                continue;
            }
            match TcpStream::connect(SocketAddr::new(address.ip(), url.port())).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(unreachable(error)),
            }
        }
        Err(last.unwrap_or_else(|| unreachable(io::ErrorKind::NotFound.into())))
    }

    fn allows(&self, host: &str, address: IpAddr) -> bool {
        let Self::Bundle { settings, reviewed } = self else { return true };
        let place = Place::of(address);
        place == Place::Public
            || settings.allows_address(address)
            || (place == Place::Private && reviewed.as_deref() == Some(host))
    }
}

/// What an address is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The internet.
    Public,
    /// The host itself, or a network of its own.
    Private,
    /// The link, where hosts of clouds find their credentials; or no single host.
    Special,
}

impl Place {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        // RFC 6598 shares 100.64.0.0/10, RFC 2544 keeps 198.18.0.0/15 for benchmarks.
        let shared = first == 100 && second & 0xc0 == 64;
        let benchmark = first == 198 && second & 0xfe == 18;
        if address.is_link_local() || address.is_multicast() || first == 0 || first >= 240 {
            Self::Special
        } else if address.is_loopback() || address.is_private() || shared || benchmark {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let [first, second, ..] = address.segments();
        if address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified() {
            return Self::Special;
        }
        // 64:ff9b::/32 (NAT64), 2002::/16 (6to4) and 2001::/32 (Teredo) carry IPv4 addresses that are not looked into.
        let carries_v4 = (first == 0x64 && second == 0xff9b) || first == 0x2002;
        let teredo = first == 0x2001 && second == 0;
        if address.is_loopback() || address.is_unique_local() || carries_v4 || teredo {
            return Self::Private;
        }
        // 2000::/3 is all that is given out.
        if first & 0xe000 == 0x2000 { Self::Public } else { Self::Special }
    }
}

/// The host of a URL as hosts are compared.
fn host(url: &BundleEndpointUrl) -> String {
    url.host().to_str().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::tests::settings;

    fn url(text: &str) -> BundleEndpointUrl {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_public_private_or_neither() {
        for (place, addresses) in [
            (Place::Public, ["192.0.2.1", "8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8"].as_slice()),
            (
                Place::Private,
                &[
                    "127.0.0.1",
                    "10.0.0.1",
                    "172.31.0.1",
                    "192.168.1.1",
                    "100.64.0.1",
                    "198.19.0.1",
                    "::1",
                    "fd00::1",
                    "::ffff:10.0.0.1",
                    "64:ff9b::a00:1",
                    "2002:a00:1::1",
                    "2001::1",
                ],
            ),
            (
                Place::Special,
                &[
                    "169.254.169.254",
                    "0.0.0.0",
                    "0.1.2.3",
                    "224.0.0.1",
                    "255.255.255.255",
                    "240.0.0.1",
                    "fe80::1",
                    "ff02::1",
                    "::",
                    "::ffff:169.254.169.254",
                    "4000::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(Place::of(address.parse().unwrap()), place, "{address}");
            }
        }
    }

    #[test]
    fn a_url_that_was_reviewed_may_be_private_and_one_by_command_may_not() {
        let none = settings("");
        let reviewed = Destinations::reviewed(&url("https://Bundle.internal/"), &none);
        let by_command = Destinations::by_command(&none);
        let [private, public, metadata] =
            ["10.1.2.3", "192.0.2.1", "169.254.169.254"].map(|text| text.parse().unwrap());
        assert!(reviewed.allows("bundle.internal", private));
        assert!(!reviewed.allows("other.internal", private), "the host of a redirect");
        assert!(!reviewed.allows("bundle.internal", metadata));
        assert!(!by_command.allows("bundle.internal", private));
        assert!(by_command.allows("bundle.internal", public));
        let listed = settings("[bundle_fetching]\nprivate_addresses = [\"10.0.0.0/8\"]");
        let listed = Destinations::by_command(&listed);
        assert!(listed.allows("bundle.internal", private) && !listed.allows("x", metadata));
    }

    #[test]
    fn a_redirect_stays_on_its_host_unless_the_folder_names_another() {
        let from = url("https://a.example.org/x");
        let listed = settings("[bundle_fetching]\nredirect_hosts = [\"b.example.org\"]");
        let rules = Destinations::by_command(&listed);
        for (to, allowed) in [
            ("https://A.example.org:8443/y", true),
            ("https://b.example.org/", true),
            ("https://c.example.org/", false),
            ("https://10.0.0.1/", false),
        ] {
            assert_eq!(rules.check_redirect(&from, &url(to)).is_ok(), allowed, "{to}");
        }
    }
}
