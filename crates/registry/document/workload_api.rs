//! `[workload_api]`: which profiles the sockets of a trust domain serve, and how soon everybody hears of what concerns
//! everybody.

use marque_spiffe::Environment;

use crate::fields::{Fields, Log};
use crate::splay::Splay;

/// Which profiles are served, and how. A call of one that is not answers `Unimplemented`, whoever calls (WA-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadApiSettings {
    /// X.509-SVIDs and their bundles.
    pub x509_svid: bool,
    /// JWT-SVIDs, their bundles, and validation.
    pub jwt_svid: bool,
    /// WIT-SVIDs and their bundles. The standard still calls them Incubating, so that a production trust domain has to
    /// ask for them.
    pub wit_svid: bool,
    /// The secret discovery service of Envoy.
    pub envoy_sds: bool,
    /// How far a change that concerns every open stream, such as one of the bundle, is spread.
    pub splay: Splay,
}

impl WorkloadApiSettings {
    /// What is served where the document does not say.
    pub fn of(environment: Environment) -> Self {
        let wit_svid = match environment {
            Environment::NonProduction => true,
            Environment::Production => false,
        };
        let splay = Splay::default();
        Self { x509_svid: true, jwt_svid: true, wit_svid, envoy_sds: true, splay }
    }
}

/// Reads `[workload_api]`, or takes the defaults where it is absent.
pub(super) fn read(
    top: &mut Fields<'_, '_>,
    environment: Environment,
    log: &mut Log<'_>,
) -> WorkloadApiSettings {
    let mut settings = WorkloadApiSettings::of(environment);
    let Some(mut table) = top.optional_table("workload_api", log) else { return settings };
    for (key, switch) in [
        ("x509_svid", &mut settings.x509_svid),
        ("jwt_svid", &mut settings.jwt_svid),
        ("wit_svid", &mut settings.wit_svid),
        ("envoy_sds", &mut settings.envoy_sds),
    ] {
        if let Some(field) = table.optional_switch(key, log) {
            *switch = field.value;
        }
    }
    if let Some(splay) = table.optional_text("splay", log) {
        settings.splay = splay;
    }
    table.finish(log);
    settings
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::WorkloadApiSettings;
    use crate::splay::Splay;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn read(document: &str) -> Result<WorkloadApiSettings, Vec<Finding>> {
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), document)?;
        Ok(*document.workload_api())
    }

    fn with(lines: &str) -> Result<WorkloadApiSettings, Vec<Finding>> {
        read(&format!("{DOCUMENT}\n[workload_api]\n{lines}\n"))
    }

    #[test]
    fn everything_is_served_by_default_and_wit_svids_outside_of_production_alone() {
        let all = WorkloadApiSettings {
            x509_svid: true,
            jwt_svid: true,
            wit_svid: true,
            envoy_sds: true,
            splay: Splay::default(),
        };
        assert_eq!((read(DOCUMENT).unwrap(), with("").unwrap()), (all, all));
        let production = DOCUMENT.replace("non-production", "production");
        assert_ne!(production, DOCUMENT);
        assert_eq!(read(&production).unwrap(), WorkloadApiSettings { wit_svid: false, ..all });
        let asked = format!("{production}\n[workload_api]\nwit_svid = true\n");
        assert_eq!(read(&asked).unwrap(), all);
    }

    #[test]
    fn each_profile_has_a_switch_of_its_own() {
        let off = |key: &str| {
            let WorkloadApiSettings { x509_svid, jwt_svid, wit_svid, envoy_sds, splay: _ } =
                with(&format!("{key} = false")).unwrap();
            [x509_svid, jwt_svid, wit_svid, envoy_sds]
        };
        assert_eq!(off("x509_svid"), [false, true, true, true]);
        assert_eq!(off("jwt_svid"), [true, false, true, true]);
        assert_eq!(off("wit_svid"), [true, true, false, true]);
        assert_eq!(off("envoy_sds"), [true, true, true, false]);
    }

    #[test]
    fn a_splay_is_read_up_to_its_limit_and_is_none_when_absent() {
        assert_eq!(with("").unwrap().splay.as_duration(), Duration::ZERO);
        let splay = |text: &str| with(&format!("splay = \"{text}\"")).map(|read| read.splay);
        assert_eq!(splay("10s").unwrap().as_duration(), Duration::from_secs(10));
        let line = DOCUMENT.lines().count() + 3;
        let findings = splay("11s").unwrap_err();
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            findings,
            [format!(
                "trust-domain.toml:{line}: `splay` in [workload_api]: `11s`: is longer than 10 seconds"
            )]
        );
    }

    #[test]
    fn a_switch_that_is_none_or_misspelt_is_a_finding_with_its_line() {
        let line = DOCUMENT.lines().count() + 3;
        for (lines, message) in [
            ("wit_svid = \"yes\"", "`wit_svid` in [workload_api] must be true or false"),
            (
                "wit_svids = true",
                "unknown field `wit_svids` in [workload_api], expected one of `envoy_sds`, `jwt_svid`, `splay`, \
                 `wit_svid`, `x509_svid`",
            ),
        ] {
            let findings: Vec<_> =
                with(lines).unwrap_err().iter().map(ToString::to_string).collect();
            assert_eq!(findings, [format!("trust-domain.toml:{line}: {message}")]);
        }
    }
}
