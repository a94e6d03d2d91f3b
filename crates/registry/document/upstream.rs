//! `[upstream]`: who signs the certificate of the X.509 authority, where it does not sign its own.
//!
//! Deliberately absent: asking, and what a signed certificate must be.

mod spire;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{CertificateDigest, Environment, TrustDomain};

pub use self::spire::{ServerAddress, ServerAddressError, SpireSettings};

use super::federation::Readable;
use super::issuer_keys::duration;
use super::webhooks::WebhookUrl;
use crate::fields::{Fields, Log};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_NAME: usize = 128;
/// The most roots in a list.
const MAX_PINNED_ROOTS: usize = 4;

/// The fields that belong to some kinds alone.
const KEYS: [(&str, &[&str]); 3] = [
    ("`kind = \"vault\"`", &["url", "mount", "namespace", "token_file", "ca_file"]),
    ("`kind = \"spire\"`", &["server", "workload_api", "server_spiffe_id"]),
    ("`kind = \"vault\"` and `kind = \"spire\"`", &["timeout"]),
];

/// `[upstream]`. Absent, each X.509 authority is a root that signs itself.
///
/// ```toml
/// [upstream]
/// kind = "files"                       # an offline root: `marque authority csr` and `marque authority import`
///
/// [upstream]
/// kind = "vault"                       # the PKI secrets engine of Vault or OpenBao
/// url = "https://vault.example.org:8200"   # https; in non-production also http to a loopback address
/// mount = "pki/agents"                 # where the engine is; may be absent: "pki"
/// namespace = "platform"               # may be absent
/// token_file = "/run/secrets/vault-token"  # read anew for each request, so that an agent may renew it
/// ca_file = "vault/ca.pem"             # for https: PEM, below the folder or absolute
/// timeout = "10s"                      # of one request; may be absent: 10s; at most 60s
///
/// [upstream]
/// kind = "spire"                       # a server with SPIRE's API: another Marque (`[downstream]` there) or SPIRE itself
/// server = "upstream.example.org:8081" # a host and a port
/// workload_api = "/run/spire/agent.sock"   # the socket that gives the own X.509-SVID of the upstream
/// server_spiffe_id = "spiffe://prod.example.org/spire/server"   # whom the server is; may be absent: this
/// timeout = "10s"                      # as above
///
/// # for each kind: the only roots that are taken; may be absent: any that names the environment (`OU=production`)
/// roots = ["sha256:<64 hexadecimal digits>"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    signer: UpstreamSigner,
    pinned_roots: BTreeSet<CertificateDigest>,
    line: usize,
}

impl UpstreamSettings {
    /// Who signs.
    pub const fn signer(&self) -> &UpstreamSigner {
        &self.signer
    }

    /// The only roots that are taken; any that names the environment where there is none.
    pub const fn pinned_roots(&self) -> &BTreeSet<CertificateDigest> {
        &self.pinned_roots
    }

    /// The line of the table.
    pub const fn line(&self) -> usize {
        self.line
    }
}

/// Who signs the certificates of X.509 authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamSigner {
    /// People carry the request to an offline root, and its answer back.
    Files,
    /// A PKI secrets engine.
    Vault(VaultSettings),
    /// A server with SPIRE's API.
    Spire(SpireSettings),
}

/// Where a PKI secrets engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSettings {
    url: WebhookUrl,
    mount: String,
    namespace: Option<String>,
    token_file: PathBuf,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

impl VaultSettings {
    /// The server, without a path.
    pub fn url(&self) -> &WebhookUrl {
        &self.url
    }

    /// The path of the engine, without slashes at its ends.
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// The namespace, where there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The file with the token.
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// The PEM file with the authorities that are believed; there for every `https` URL.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// How long one request may take.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Segments of `[A-Za-z0-9_.-]`, none of them `.` or `..`, between single slashes.
struct EnginePath(String);

impl FromStr for EnginePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let good = |segment: &str| {
            !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(fits)
        };
        if text.len() <= MAX_NAME && text.split('/').all(good) {
            return Ok(Self(text.to_owned()));
        }
        Err("is no path of at most 128 bytes: segments of `A-Za-z0-9_.-` between single slashes")
    }
}

#[derive(PartialEq)]
enum Kind {
    Files,
    Vault,
    Spire,
}

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "files" => Ok(Self::Files),
            "vault" => Ok(Self::Vault),
            "spire" => Ok(Self::Spire),
            _ => Err("is neither `files`, `vault` nor `spire`"),
        }
    }
}

/// Reads the table.
pub(super) fn read(
    top: &mut Fields<'_, '_>,
    (trust_domain, environment): (Option<&TrustDomain>, Option<Environment>),
    log: &mut Log<'_>,
) -> Option<UpstreamSettings> {
    let mut table = top.optional_table("upstream", log)?;
    let line = table.line();
    let kind: Option<Kind> = table.text("kind", log);
    let pinned_roots = pinned_roots(&mut table, log);
    let signer = match kind? {
        Kind::Files => Some(UpstreamSigner::Files),
        Kind::Vault => vault(&mut table, environment, log).map(UpstreamSigner::Vault),
        Kind::Spire => spire::read(&mut table, trust_domain, log).map(UpstreamSigner::Spire),
    };
    of_another_kind(&mut table, log);
    table.finish(log);
    Some(UpstreamSettings { signer: signer?, pinned_roots, line })
}

/// `roots`: absent, or a few.
fn pinned_roots(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> BTreeSet<CertificateDigest> {
    let (line, is_there) = (table.line(), table.has("roots"));
    let roots: Vec<CertificateDigest> = table.texts("roots", log);
    if is_there && !(1..=MAX_PINNED_ROOTS).contains(&roots.len()) {
        log.at(line, format!("`roots` in [upstream] has 1 to {MAX_PINNED_ROOTS} digests"));
    }
    let pinned: BTreeSet<_> = roots.iter().copied().collect();
    if pinned.len() < roots.len() {
        log.at(line, "`roots` in [upstream] names a root twice");
    }
    pinned
}

/// What a finding says of a root that a trust domain of the other environment has pinned as well.
pub fn shared_root(root: &CertificateDigest, environment: Environment) -> String {
    format!(
        "environment_boundary: the root `{root}` in [upstream] is pinned by a trust domain of {environment} too, and no root is \
         shared between environments"
    )
}

/// Fields of the kinds that it is not: each that nobody asked for.
fn of_another_kind(table: &mut Fields<'_, '_>, log: &mut Log<'_>) {
    let line = table.line();
    for (kinds, keys) in KEYS {
        for key in keys.iter().copied() {
            if !table.has_asked(key) && table.has(key) {
                drop(table.optional_text::<String>(key, log));
                log.at(line, format!("`{key}` in [upstream] is for {kinds}"));
            }
        }
    }
}

fn vault(
    table: &mut Fields<'_, '_>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> Option<VaultSettings> {
    let line = table.line();
    let url: Option<WebhookUrl> = table.text("url", log);
    let mount: Option<EnginePath> = table.optional_text("mount", log);
    let namespace: Option<EnginePath> = table.optional_text("namespace", log);
    let token_file: Option<Readable> = table.text("token_file", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let timeout = duration(table, "timeout", (DEFAULT_TIMEOUT, MAX_TIMEOUT), log);
    let url = url?;
    if !url.is_https() && environment != Some(Environment::NonProduction) {
        log.at(line, "`url` in [upstream] is https in production");
    }
    if url.is_https() != ca_file.is_some() {
        log.at(line, "`ca_file` in [upstream] belongs to an https `url`, and to each of them");
    }
    let path = url.as_str().splitn(4, '/').nth(3).unwrap_or_default();
    if !path.is_empty() || url.as_str().contains('?') {
        log.at(line, "`url` in [upstream] has no path: the engine's path is `mount`");
    }
    Some(VaultSettings {
        url,
        mount: mount.map_or_else(|| "pki".to_owned(), |EnginePath(path)| path),
        namespace: namespace.map(|EnginePath(path)| path),
        token_file: token_file?.0,
        ca_file: ca_file.map(|Readable(path)| path),
        timeout: timeout?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");
    const VAULT: &str = "[upstream]\nkind = \"vault\"\nurl = \"https://vault.example.org:8200\"\n\
                         token_file = \"/run/secrets/vault\"\nca_file = \"vault/ca.pem\"\n";

    fn parsed(document: &str, section: &str) -> Result<Option<UpstreamSettings>, String> {
        TrustDomainDocument::parse(Path::new("t.toml"), &format!("{document}\n{section}"))
            .map(|document| document.upstream().cloned())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    fn vault_of(parsed: Result<Option<UpstreamSettings>, String>) -> VaultSettings {
        match parsed.unwrap().unwrap().signer() {
            UpstreamSigner::Vault(vault) => vault.clone(),
            UpstreamSigner::Files | UpstreamSigner::Spire(_) => panic!("a vault"),
        }
    }

    #[test]
    fn roots_are_pinned_by_their_digests() {
        let digest = CertificateDigest::of(&vec![1].into());
        let pinning = |roots: &str| {
            parsed(DOCUMENT, &format!("[upstream]\nkind = \"files\"\nroots = {roots}\n"))
        };
        let pinned = pinning(&format!("[\"{digest}\"]")).unwrap().unwrap();
        assert_eq!(*pinned.pinned_roots(), BTreeSet::from([digest]));
        for (roots, because) in [
            ("[]".to_owned(), "1 to 4"),
            ("[\"sha256:00\"]".to_owned(), "64 hexadecimal digits"),
            (format!("[\"{digest}\", \"{digest}\"]"), "twice"),
            ("[\"a\", \"b\", \"c\", \"d\", \"e\"]".to_owned(), "1 to 4"),
        ] {
            let found = pinning(&roots).unwrap_err();
            assert!(found.contains(because), "{roots}: {found}");
        }
    }

    #[test]
    fn an_authority_signs_itself_unless_somebody_else_is_named() {
        assert_eq!(parsed(DOCUMENT, "").unwrap(), None);
        let files = parsed(DOCUMENT, "[upstream]\nkind = \"files\"").unwrap().unwrap();
        assert_eq!((files.signer(), files.pinned_roots().len()), (&UpstreamSigner::Files, 0));
        let vault = vault_of(parsed(DOCUMENT, VAULT));
        assert_eq!(vault.url().as_str(), "https://vault.example.org:8200");
        assert_eq!((vault.mount(), vault.namespace()), ("pki", None));
        assert_eq!(vault.token_file(), Path::new("/run/secrets/vault"));
        assert_eq!(vault.ca_file(), Some(Path::new("vault/ca.pem")));
        assert_eq!(vault.timeout(), DEFAULT_TIMEOUT);
        let more = "mount = \"pki/agents\"\nnamespace = \"platform\"\ntimeout = \"60s\"";
        let vault = vault_of(parsed(DOCUMENT, &format!("{VAULT}{more}")));
        assert_eq!((vault.mount(), vault.namespace()), ("pki/agents", Some("platform")));
        assert_eq!(vault.timeout(), MAX_TIMEOUT);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for (from, to, because) in [
            ("\"vault\"\nurl", "\"files\"\nurl", "`url` in [upstream] is for `kind = \"vault\"`"),
            ("kind = \"vault\"", "kind = \"disk\"", "`vault` nor `spire`"),
            ("kind = \"vault\"", "", "`kind`"),
            ("ca_file = \"vault/ca.pem\"", "", "`ca_file`"),
            ("https://vault.example.org:8200", "http://127.0.0.1:8200", "`ca_file`"),
            ("https://vault.example.org:8200", "http://vault.example.org", "https URL"),
            (":8200\"", ":8200/v1\"", "has no path"),
            ("token_file = \"/run/secrets/vault\"", "", "`token_file`"),
            ("token_file", "mount = \"/pki\"\ntoken_file", "segments"),
            ("token_file", "mount = \"pki/../sys\"\ntoken_file", "segments"),
            ("token_file", "timeout = \"61s\"\ntoken_file", "at most"),
        ] {
            assert!(VAULT.contains(from), "{from}");
            let found = parsed(DOCUMENT, &VAULT.replacen(from, to, 1)).unwrap_err();
            assert!(found.contains(because), "{to}: {found}");
        }
        let plain = VAULT
            .replace("https://vault.example.org:8200", "http://127.0.0.1:8200")
            .replace("ca_file = \"vault/ca.pem\"\n", "");
        parsed(DOCUMENT, &plain).unwrap();
        let production = DOCUMENT.replace("non-production", "production");
        let found = parsed(&production, &plain).unwrap_err();
        assert!(found.contains("https in production"), "{found}");
    }
}
