//! `[oidc_discovery]`: JWT-SVIDs as clouds verify them, by OpenID Connect discovery.

use std::time::Duration;

use super::LifetimeSettings;
use crate::fields::{Fields, Lined, Log};

/// How long clouds may hold on to a key set that they fetched: so long a key has to be published before it signs, and after
/// the last token that it signed.
const HELD_BY_CLOUDS: Duration = Duration::from_hours(24);
/// A rotation begins when this part of the authority's life is left.
const ROTATION: u32 = 6;

/// `[oidc_discovery]`: where it stands, JWT-SVIDs carry an `iss`, and what verifies them is published below it.
///
/// ```toml
/// [oidc_discovery]
/// issuer = "https://oidc.example.org/prod"     # their `iss`; absent: `/svid` below the issuer of the token service
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcDiscoverySettings {
    issuer: Option<String>,
    line: usize,
}

impl OidcDiscoverySettings {
    /// The issuer identifier, where the document names one. Text here; whoever serves it checks its form.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Reads `[oidc_discovery]`; `lifetimes` are those of the document, as far as they could be read.
pub(super) fn read(
    top: &mut Fields<'_, '_>,
    lifetimes: Option<&LifetimeSettings>,
    log: &mut Log<'_>,
) -> Option<OidcDiscoverySettings> {
    let mut table = top.optional_table("oidc_discovery", log)?;
    let line = table.line();
    let issuer: Option<Lined<String>> = table.optional_lined_text("issuer", log);
    table.finish(log);
    if let Some(lifetimes) = lifetimes {
        let needed = HELD_BY_CLOUDS.saturating_add(lifetimes.jwt_svid.as_duration());
        if lifetimes.authority.as_duration() / ROTATION < needed {
            let message = "[oidc_discovery] needs a longer `authority` in [lifetimes]: a sixth of it must be at least a day \
                           and `jwt_svid`, because clouds keep keys for a day";
            log.at(line, message);
        }
    }
    Some(OidcDiscoverySettings { issuer: issuer.map(|issuer| issuer.value), line })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn read(document: &str) -> Result<TrustDomainDocument, String> {
        TrustDomainDocument::parse(Path::new("trust-domain.toml"), document)
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn there_is_none_unless_it_is_asked_for() {
        assert!(read(DOCUMENT).unwrap().oidc_discovery().is_none());
        let named =
            format!("{DOCUMENT}\n[oidc_discovery]\nissuer = \"https://oidc.example.org/prod\"\n");
        let named = read(&named).unwrap();
        let named = named.oidc_discovery().unwrap();
        assert_eq!(named.issuer(), Some("https://oidc.example.org/prod"));
        let derived = read(&format!("{DOCUMENT}\n[oidc_discovery]\n")).unwrap();
        assert_eq!(derived.oidc_discovery().unwrap().issuer(), None);
    }

    #[test]
    fn keys_overlap_by_a_day_or_it_is_a_finding() {
        let section = "\n[oidc_discovery]\n";
        let with = |authority: &str| {
            let text =
                DOCUMENT.replace("authority = \"30d\"", &format!("authority = \"{authority}\""));
            assert!(text.contains(authority), "the document has another lifetime");
            read(&format!("{text}{section}"))
        };
        // A sixth of it: 24h and the five minutes of a JWT-SVID.
        assert!(with("8670m").is_ok());
        let findings = with("8669m").unwrap_err();
        assert!(findings.contains("[oidc_discovery] needs a longer `authority`"), "{findings}");
    }
}
