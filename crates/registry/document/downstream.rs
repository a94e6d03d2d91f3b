//! `[downstream]`: the servers of the same trust domain whose authorities are signed here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use marque_spiffe::{SpiffeId, TrustDomain};

use super::authorities::AuthoritySettings;
use crate::entry::is_reserved;
use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// The most servers.
pub const MAX_DOWNSTREAM_SERVERS: usize = 64;

/// `[downstream]`. Absent, nobody can ask, and the keys of the trust domain sign no other authority.
///
/// ```toml
/// [downstream]
/// listen = "0.0.0.0:8081"              # where they ask, by SPIRE's API
/// spiffe_ids = ["spiffe://prod.example.org/issuer/eu"]   # whose X.509-SVID may ask; of this trust domain, exact
/// max_lifetime = "24h"                 # of what is signed; at most `authority` in [lifetimes]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownstreamSettings {
    listen: SocketAddr,
    spiffe_ids: BTreeSet<SpiffeId>,
    max_lifetime: Duration,
}

impl DownstreamSettings {
    /// Where it listens.
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Who may ask.
    pub const fn spiffe_ids(&self) -> &BTreeSet<SpiffeId> {
        &self.spiffe_ids
    }

    /// The longest certificate.
    pub const fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }
}

/// Reads the table. `authority` is how long an authority of this trust domain lasts.
pub(super) fn read(
    top: &mut Fields<'_, '_>,
    (trust_domain, authorities): (Option<&TrustDomain>, AuthoritySettings),
    authority: Option<Duration>,
    log: &mut Log<'_>,
) -> Option<DownstreamSettings> {
    let mut table = top.optional_table("downstream", log)?;
    let line = table.line();
    let listen: Option<SocketAddr> = table.text("listen", log);
    let listed: Vec<SpiffeId> = table.required_texts("spiffe_ids", log);
    let max_lifetime: Option<Lined<Lifetime>> = table.lined_text("max_lifetime", log);
    table.finish(log);
    if authorities.path_length == 0 {
        log.at(
            line,
            "[downstream] needs `path_length` of at least 1 in [authorities]: a root without room signs no authority below it",
        );
    }
    let spiffe_ids = servers(listed, trust_domain, line, log);
    let Lined { value: max_lifetime, line } = max_lifetime?;
    let max_lifetime = max_lifetime.as_duration();
    if authority.is_some_and(|longest| max_lifetime > longest) {
        let message = "`max_lifetime` in [downstream] must be at most `authority` in [lifetimes]";
        log.at(line, message);
    }
    Some(DownstreamSettings { listen: listen?, spiffe_ids, max_lifetime })
}

fn servers(
    listed: Vec<SpiffeId>,
    trust_domain: Option<&TrustDomain>,
    line: usize,
    log: &mut Log<'_>,
) -> BTreeSet<SpiffeId> {
    if listed.is_empty() || listed.len() > MAX_DOWNSTREAM_SERVERS {
        let message =
            format!("`spiffe_ids` in [downstream] has 1 to {MAX_DOWNSTREAM_SERVERS} entries");
        log.at(line, message);
    }
    let mut spiffe_ids = BTreeSet::new();
    for id in listed {
        if trust_domain.is_some_and(|own| own != id.trust_domain()) {
            let message =
                format!("`spiffe_ids` in [downstream]: `{id}` is of another trust domain");
            log.at(line, message);
        } else if !id.has_path() || is_reserved(&id) {
            log.at(line, format!("`spiffe_ids` in [downstream]: no workload can have `{id}`"));
        } else if spiffe_ids.contains(&id) {
            log.at(line, format!("`spiffe_ids` in [downstream]: `{id}` is there twice"));
        }
        spiffe_ids.insert(id);
    }
    spiffe_ids
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn parsed(section: &str) -> Result<Option<DownstreamSettings>, String> {
        TrustDomainDocument::parse(Path::new("t.toml"), &format!("{DOCUMENT}\n{section}"))
            .map(|document| document.downstream().cloned())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    fn own() -> &'static str {
        DOCUMENT.lines().find(|line| line.starts_with("name")).unwrap().split('"').nth(1).unwrap()
    }

    fn section() -> String {
        format!(
            "[authorities]\npath_length = 1\n[downstream]\nlisten = \"127.0.0.1:8081\"\n\
             spiffe_ids = [\"spiffe://{}/issuer/eu\"]\nmax_lifetime = \"24h\"\n",
            own()
        )
    }

    #[test]
    fn nobody_is_below_unless_somebody_is_listed() {
        assert_eq!(parsed("").unwrap(), None);
        assert_eq!(parsed("[authorities]\npath_length = 3").unwrap(), None);
        let downstream = parsed(&section()).unwrap().unwrap();
        assert_eq!(downstream.listen(), "127.0.0.1:8081".parse().unwrap());
        let ids: Vec<_> = downstream.spiffe_ids().iter().map(|id| id.as_str()).collect();
        assert_eq!(ids, [format!("spiffe://{}/issuer/eu", own())]);
        assert_eq!(downstream.max_lifetime(), Duration::from_hours(24));
    }

    #[test]
    fn what_cannot_be_signed_is_refused() {
        let eu = format!("\"spiffe://{}/issuer/eu\"", own());
        let many = (0..=MAX_DOWNSTREAM_SERVERS).map(|n| format!("\"spiffe://{}/s/{n}\"", own()));
        let many: Vec<_> = many.collect();
        let reserved = |first: &str| format!("\"spiffe://{}/{first}/server\"", own());
        for (from, to, because) in [
            ("path_length = 1", "", "`path_length` of at least 1"),
            ("path_length = 1", "path_length = 4", "from 0 to 3"),
            ("listen = \"127.0.0.1:8081\"", "", "`listen`"),
            ("127.0.0.1:8081", "8081", "`listen`"),
            (&format!("spiffe_ids = [{eu}]"), "", "`spiffe_ids`"),
            (&eu, "", "1 to 64"),
            (&eu, &many.join(","), "1 to 64"),
            (&eu, &format!("{eu},{eu}"), "twice"),
            (&eu, "\"spiffe://else.example.org/issuer/eu\"", "of another trust domain"),
            (&eu, &reserved("spire"), "no workload can have"),
            (&eu, &reserved("marque"), "no workload can have"),
            (&eu, &format!("\"spiffe://{}\"", own()), "no workload can have"),
            (&eu, &format!("\"spiffe://{}/issuer/*\"", own()), "`spiffe_ids`"),
            ("max_lifetime = \"24h\"", "", "`max_lifetime`"),
            ("24h", "3650d", "at most `authority`"),
            ("max_lifetime", "tls = false\nmax_lifetime", "unknown field"),
        ] {
            assert!(section().contains(from), "{from}");
            let found = parsed(&section().replacen(from, to, 1)).unwrap_err();
            assert!(found.contains(because), "{to}: {found}");
        }
        let most = section().replacen(&eu, &many[1..].join(","), 1);
        assert_eq!(parsed(&most).unwrap().unwrap().spiffe_ids().len(), MAX_DOWNSTREAM_SERVERS);
    }
}
