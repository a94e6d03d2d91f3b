//! `[upstream]` of kind `spire`: a server with SPIRE's API of the same trust domain, another Marque or SPIRE itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{SpiffeId, TrustDomain};

use super::{DEFAULT_TIMEOUT, MAX_TIMEOUT};
use crate::document::issuer_keys::duration;
use crate::fields::{Fields, Log};

/// The longest host name of DNS, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Where a server with SPIRE's API is, and by what the own side proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpireSettings {
    server: ServerAddress,
    workload_api: PathBuf,
    server_spiffe_id: Option<SpiffeId>,
    timeout: Duration,
}

impl SpireSettings {
    /// The server.
    pub fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// The socket of the Workload API that gives the SVID to ask with, absolute.
    pub fn workload_api(&self) -> &Path {
        &self.workload_api
    }

    /// Whom the server has to prove to be, where that is not `/spire/server` of the trust domain.
    pub fn server_spiffe_id(&self) -> Option<&SpiffeId> {
        self.server_spiffe_id.as_ref()
    }

    /// How long one request may take, the SVID included.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// A host and a port: `spire.example.org:8081`, `192.0.2.1:8081`, `[2001:db8::1]:8081`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// Why a text is no host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a host and a port such as `spire.example.org:8081`")]
pub struct ServerAddressError;

impl ServerAddress {
    /// The host's name, or its address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(ServerAddressError)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = port.parse().map_err(|_no_number| ServerAddressError)?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(ServerAddressError),
            None => host,
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(fits);
        if port == 0 || !digits || (bracketed.is_none() && !is_name) {
            return Err(ServerAddressError);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// A socket: an absolute path, or one behind `unix:` or `unix://`, as `SPIFFE_ENDPOINT_SOCKET` has it.
struct Socket(PathBuf);

impl FromStr for Socket {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        let path = Path::new(path.unwrap_or(text));
        if path.is_absolute() && !text.contains('\0') {
            return Ok(Self(path.to_owned()));
        }
        Err("is not the absolute path of a Unix socket")
    }
}

pub(super) fn read(
    table: &mut Fields<'_, '_>,
    trust_domain: Option<&TrustDomain>,
    log: &mut Log<'_>,
) -> Option<SpireSettings> {
    let line = table.line();
    let server: Option<ServerAddress> = table.text("server", log);
    let workload_api: Option<Socket> = table.text("workload_api", log);
    let server_spiffe_id: Option<SpiffeId> = table.optional_text("server_spiffe_id", log);
    let timeout = duration(table, "timeout", (DEFAULT_TIMEOUT, MAX_TIMEOUT), log);
    if let (Some(id), Some(own)) = (&server_spiffe_id, trust_domain)
        && (id.trust_domain() != own || !id.has_path())
    {
        log.at(line, format!("`server_spiffe_id` in [upstream]: `{id}` is no server of `{own}`"));
    }
    Some(SpireSettings {
        server: server?,
        workload_api: workload_api?.0,
        server_spiffe_id,
        timeout: timeout?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TrustDomainDocument, UpstreamSettings, UpstreamSigner};

    const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");
    const SPIRE: &str = "[upstream]\nkind = \"spire\"\nserver = \"spire.example.org:8081\"\n\
                         workload_api = \"/run/spire/agent.sock\"\n";

    fn parsed(section: &str) -> Result<SpireSettings, String> {
        let document = format!("{DOCUMENT}\n{section}");
        let document = TrustDomainDocument::parse(Path::new("t.toml"), &document);
        match document {
            Ok(document) => match document.upstream().map(UpstreamSettings::signer) {
                Some(UpstreamSigner::Spire(spire)) => Ok(spire.clone()),
                other => panic!("{other:?}"),
            },
            Err(findings) => Err(findings.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_server_is_named_with_the_socket_of_its_agent() {
        let spire = parsed(SPIRE).unwrap();
        assert_eq!(spire.server().to_string(), "spire.example.org:8081");
        assert_eq!((spire.server().host(), spire.server().port()), ("spire.example.org", 8081));
        assert_eq!(spire.workload_api(), Path::new("/run/spire/agent.sock"));
        assert_eq!((spire.server_spiffe_id(), spire.timeout()), (None, DEFAULT_TIMEOUT));
        for scheme in ["unix:", "unix://"] {
            let socket = format!("\"{scheme}/run");
            let spire = parsed(&SPIRE.replace("\"/run", &socket)).unwrap();
            assert_eq!(spire.workload_api(), Path::new("/run/spire/agent.sock"));
        }
        let name = parsed(SPIRE).map(|_| DOCUMENT.lines().find(|l| l.starts_with("name")).unwrap());
        let name = name.unwrap().split('"').nth(1).unwrap();
        let id = format!("spiffe://{name}/region/server");
        let more = format!("{SPIRE}server_spiffe_id = \"{id}\"\ntimeout = \"60s\"");
        let spire = parsed(&more).unwrap();
        assert_eq!(spire.server_spiffe_id().unwrap().as_str(), id);
        assert_eq!(spire.timeout(), MAX_TIMEOUT);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for (from, to, because) in [
            ("server = \"spire.example.org:8081\"\n", "", "`server`"),
            ("spire.example.org:8081", "spire.example.org", "a host and a port"),
            ("workload_api = \"/run/spire/agent.sock\"\n", "", "`workload_api`"),
            ("\"/run", "\"run", "absolute"),
            ("\"/run", "\"tcp:/run", "absolute"),
            ("server =", "timeout = \"61s\"\nserver =", "at most"),
            ("server =", "token_file = \"/run/t\"\nserver =", "is for `kind = \"vault\"`"),
            (
                "server =",
                "server_spiffe_id = \"spiffe://else.example.org/spire/server\"\nserver =",
                "is no server of",
            ),
        ] {
            assert!(SPIRE.contains(from), "{from}");
            let found = parsed(&SPIRE.replacen(from, to, 1)).unwrap_err();
            assert!(found.contains(because), "{to}: {found}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for text in ["a:1", "a-b.example.org:8081", "192.0.2.1:443", "[2001:db8::1]:65535"] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ":1",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "a/b:1",
            "https://a:1",
            "2001:db8::1:80",
            "[a]:1",
            "[]:1",
            "a@b:1",
        ] {
            assert_eq!(text.parse::<ServerAddress>(), Err(ServerAddressError), "{text}");
        }
        assert!(format!("{}:1", "a".repeat(MAX_HOST)).parse::<ServerAddress>().is_ok());
        assert!(format!("{}:1", "a".repeat(MAX_HOST + 1)).parse::<ServerAddress>().is_err());
    }
}
