//! `[bundle_endpoint]`: how the own bundle is served; `[bundle_fetching]`: where those of others may be fetched.
//!
//! Absent: serving, resolving names and connecting.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use marque_spiffe::BundleEndpointUrl;

use crate::fields::{Fields, Log};

/// How many ranges and hosts `[bundle_fetching]` may list, each.
const MAX_LISTED: usize = 64;

/// `[bundle_endpoint]`. Everything may be absent. Profile `https_web` is always there: on the HTTPS edge, at `/spiffe/bundle`
/// below the issuer.
///
/// ```toml
/// [bundle_endpoint]
/// https_spiffe = "0.0.0.0:8445"               # where profile https_spiffe listens; absent: it is not served
/// https_spiffe_url = "https://bundle.prod.example.org:8445/"   # how others reach that; absent: localhost with the port
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BundleEndpointSettings {
    /// Where profile `https_spiffe` listens.
    pub https_spiffe: Option<SocketAddr>,
    /// How others reach that listener.
    pub https_spiffe_url: Option<BundleEndpointUrl>,
}

/// `[bundle_fetching]`: what the bundles of others may be fetched from beside what a [`crate::Federation`] of the folder names.
///
/// ```toml
/// [bundle_fetching]
/// private_addresses = ["10.20.0.0/16"]        # where relationships that are added by command may lead, too
/// redirect_hosts = ["bundles.example.org"]    # other hosts that a redirect may lead to
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BundleFetchingSettings {
    private_addresses: Vec<AddressRange>,
    redirect_hosts: BTreeSet<String>,
}

/// IP addresses that begin with the same bits: `10.20.0.0/16`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    bits: u8,
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a range of IP addresses such as `10.20.0.0/16`, whose bits behind the prefix are 0"
)]
pub struct AddressRangeError;

impl BundleFetchingSettings {
    /// Whether an address that is not on the public internet may be connected to.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.private_addresses.iter().any(|range| range.contains(address))
    }

    /// Whether a redirect may lead to this host, whichever it came from.
    pub fn allows_redirect_to(&self, host: &str) -> bool {
        self.redirect_hosts.contains(&host.to_ascii_lowercase())
    }
}

impl AddressRange {
    /// Whether the address is in it. An IPv4 address that is written as an IPv6 one is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.bits) == self.network
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_no_address| AddressRangeError)?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_no_number| AddressRangeError)?
            }
            Some(_) => return Err(AddressRangeError),
        };
        if bits > most || network.to_canonical() != network || masked(network, bits) != network {
            return Err(AddressRangeError);
        }
        Ok(Self { network, bits })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// The address with all but its first bits set to 0.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// Reads `[bundle_endpoint]`.
pub(super) fn endpoint(top: &mut Fields<'_, '_>, log: &mut Log<'_>) -> BundleEndpointSettings {
    let mut settings = BundleEndpointSettings::default();
    let Some(mut table) = top.optional_table("bundle_endpoint", log) else { return settings };
    let line = table.line();
    let has_listener = table.has("https_spiffe");
    settings.https_spiffe = table.optional_text("https_spiffe", log);
    settings.https_spiffe_url = table.optional_text("https_spiffe_url", log);
    table.finish(log);
    if !has_listener && settings.https_spiffe_url.is_some() {
        log.at(
            line,
            "`https_spiffe_url` in [bundle_endpoint] is for `https_spiffe`, and there is none",
        );
    }
    settings
}

/// Reads `[bundle_fetching]`.
pub(super) fn fetching(top: &mut Fields<'_, '_>, log: &mut Log<'_>) -> BundleFetchingSettings {
    let Some(mut table) = top.optional_table("bundle_fetching", log) else {
        return BundleFetchingSettings::default();
    };
    let line = table.line();
    let private_addresses: Vec<AddressRange> = table.texts("private_addresses", log);
    let redirect_hosts: Vec<Host> = table.texts("redirect_hosts", log);
    table.finish(log);
    for (key, listed) in
        [("private_addresses", private_addresses.len()), ("redirect_hosts", redirect_hosts.len())]
    {
        if listed > MAX_LISTED {
            log.at(
                line,
                format!("`{key}` in [bundle_fetching] has more than {MAX_LISTED} entries"),
            );
        }
    }
    let redirect_hosts = redirect_hosts.into_iter().map(|Host(host)| host).collect();
    BundleFetchingSettings { private_addresses, redirect_hosts }
}

/// A host alone, as a URL has it.
struct Host(String);

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url: Result<BundleEndpointUrl, _> = format!("https://{text}").parse();
        match url {
            Ok(url)
                if url.host().to_str() == text.trim_start_matches('[').trim_end_matches(']') =>
            {
                Ok(Self(url.host().to_str().to_ascii_lowercase()))
            }
            _ => Err("is not a host alone, without scheme, port and path"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn read(section: &str) -> Result<TrustDomainDocument, String> {
        let text = format!("{DOCUMENT}\n{section}");
        TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text)
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_listener_of_its_own_is_there_where_it_is_asked_for() {
        assert_eq!(*read("").unwrap().bundle_endpoint(), BundleEndpointSettings::default());
        let url = "https://bundle.example.org:8445/";
        let both = format!(
            "[bundle_endpoint]\nhttps_spiffe = \"127.0.0.1:8445\"\nhttps_spiffe_url = \"{url}\""
        );
        let both = read(&both).unwrap();
        assert_eq!(both.bundle_endpoint().https_spiffe, Some("127.0.0.1:8445".parse().unwrap()));
        assert_eq!(both.bundle_endpoint().https_spiffe_url, Some(url.parse().unwrap()));
        for (section, said) in [
            ("https_spiffe_url = \"https://a.example.org/\"", "is for `https_spiffe`"),
            ("https_spiffe = \"8445\"", "`https_spiffe`"),
            ("https_spiffe = \"[::1]:0\"\nhttps_spiffe_url = \"http://a.example.org\"", "https://"),
            ("profile = \"https_web\"", "unknown field `profile`"),
        ] {
            let findings = read(&format!("[bundle_endpoint]\n{section}")).unwrap_err();
            assert!(findings.contains(said), "{section}: {findings}");
        }
    }

    #[test]
    fn a_range_has_the_addresses_with_its_prefix_and_no_other() {
        for (range, inside, outside) in [
            ("10.20.0.0/16", "10.20.255.1", "10.21.0.0"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::1/128", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let parsed: AddressRange = range.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{range} {outside}");
            assert!(range.starts_with(&parsed.network.to_string()));
        }
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/+8",
            "::ffff:10.0.0.0/104",
            "host/8",
        ] {
            assert_eq!(text.parse::<AddressRange>(), Err(AddressRangeError), "{text}");
        }
    }

    #[test]
    fn what_may_be_fetched_from_is_listed() {
        let none = read("").unwrap();
        assert!(!none.bundle_fetching().allows_address("127.0.0.1".parse().unwrap()));
        assert!(!none.bundle_fetching().allows_redirect_to("bundles.example.org"));
        let some = read("[bundle_fetching]\nprivate_addresses = [\"127.0.0.0/8\"]\nredirect_hosts = [\"Bundles.example.org\", \"[::1]\"]").unwrap();
        assert!(some.bundle_fetching().allows_address("127.0.0.1".parse().unwrap()));
        assert!(some.bundle_fetching().allows_redirect_to("bundles.EXAMPLE.org"));
        assert!(some.bundle_fetching().allows_redirect_to("::1"));
        assert!(!some.bundle_fetching().allows_redirect_to("example.org"));
        for host in ["https://a", "a:443", "a/b", "", "a@b"] {
            let findings = read(&format!("[bundle_fetching]\nredirect_hosts = [\"{host}\"]"));
            assert!(findings.unwrap_err().contains("is not a host alone"), "{host}");
        }
        for count in [MAX_LISTED, MAX_LISTED + 1] {
            let ranges: Vec<_> = (0..count).map(|n| format!("\"10.0.0.{n}\"")).collect();
            let read =
                read(&format!("[bundle_fetching]\nprivate_addresses = [{}]", ranges.join(",")));
            assert_eq!(read.is_ok(), count <= MAX_LISTED);
        }
    }
}
