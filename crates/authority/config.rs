//! What a trust domain's document says about its authorities.

use std::time::Duration;

use marque_keys::{KeyAlgorithm, KeyPurpose};
use marque_spiffe::{Environment, TrustDomain};

use crate::{EarlierLifetimes, SigningGuard, UpstreamRule};

/// The settings of one trust domain's authorities.
#[derive(Clone, Debug)]
pub struct AuthorityConfig {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Its environment, which goes into the root's subject.
    pub environment: Environment,
    /// How long a root and the keys for JWT-SVIDs and WIT-SVIDs last, from when they are made.
    pub ca_lifetime: Duration,
    /// The longest X.509-SVID; a template that asks for more gets this.
    pub max_x509_svid_lifetime: Duration,
    /// The longest JWT-SVID; a template that asks for more gets this.
    pub max_jwt_svid_lifetime: Duration,
    /// The longest WIT-SVID; a template that asks for more gets this.
    pub max_wit_svid_lifetime: Duration,
    /// The longest access token. It is not enforced here: a key for access tokens stays published for that long after it
    /// signed the last one.
    pub max_access_token_lifetime: Duration,
    /// The algorithm of the next key for JWT-SVIDs; one that is on record keeps its own.
    pub jwt_svid_algorithm: KeyAlgorithm,
    /// Whether WIT-SVIDs are issued. Where they never were there is no key for them, and the bundle says so by having
    /// none (WIT-SVID specification, section 6.2); one that was made stays published.
    pub wit_svids: bool,
    /// How many CA certificates may stand between the next root and an SVID; one that is on record keeps its own. At most
    /// [`AuthorityConfig::MAX_PATH_LENGTH`].
    pub path_length: u8,
    /// The longest CA certificate for a server below; where there is none, none is signed.
    pub max_downstream_lifetime: Option<Duration>,
    /// How often the bundle should be fetched.
    pub refresh_hint: Duration,
    /// Whether a root permits URIs of its own trust domain alone, by a critical extension that many verifiers do not know.
    pub name_constraints: bool,
    /// Who signs the certificates of the X.509 authority's keys; each its own, as a root, where nobody is named.
    pub upstream: Option<UpstreamRule>,
    /// What the signers go by, whatever they are asked to sign.
    pub guard: SigningGuard,
    /// What was in force before these settings, as far as it still counts; `None` at the start of a process.
    pub earlier: Option<EarlierLifetimes>,
}

/// Why the settings of an authority cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A lifetime or the refresh hint is below a second, the unit of certificates and tokens.
    #[error("`{setting}` is shorter than one second")]
    TooShort {
        /// The setting's name.
        setting: &'static str,
    },
    /// SVIDs may not last longer than what signs them.
    #[error("`{setting}` is longer than `ca_lifetime`")]
    LongerThanRoot {
        /// The setting's name.
        setting: &'static str,
    },
    /// A root may last [`AuthorityConfig::MAX_CA_LIFETIME`] at most.
    #[error("`ca_lifetime` is longer than 20 years")]
    RootTooLong,
    /// Chains would be longer than what verifiers take.
    #[error("`path_length` is more than {}", AuthorityConfig::MAX_PATH_LENGTH)]
    PathTooLong,
    /// Settings of a running authority name another trust domain or environment.
    #[error("a running authority is of one trust domain and one environment for good")]
    OtherTrustDomain,
}

impl AuthorityConfig {
    /// The longest root: 20 years of 365 days.
    pub const MAX_CA_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

    /// The most CA certificates between a root and an SVID: with the SVID they are fewer than a verifier takes.
    pub const MAX_PATH_LENGTH: u8 = 3;

    /// The algorithm of the next key of a purpose.
    pub(crate) fn algorithm(&self, purpose: KeyPurpose) -> KeyAlgorithm {
        match purpose {
            KeyPurpose::JwtSvid => self.jwt_svid_algorithm,
            _ => purpose.default_algorithm(),
        }
    }

    /// How long a certificate that somebody else signs has to last at the least: long enough that the next one can follow it
    /// before the longest SVID below it is cut short.
    pub(crate) fn least_authority_lifetime(&self) -> Duration {
        self.max_x509_svid_lifetime
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let svids = [
            ("max_x509_svid_lifetime", self.max_x509_svid_lifetime),
            ("max_jwt_svid_lifetime", self.max_jwt_svid_lifetime),
            ("max_wit_svid_lifetime", self.max_wit_svid_lifetime),
        ];
        for (setting, value) in svids
            .into_iter()
            .chain([("ca_lifetime", self.ca_lifetime), ("refresh_hint", self.refresh_hint)])
        {
            if value < Duration::from_secs(1) {
                return Err(ConfigError::TooShort { setting });
            }
        }
        let downstream =
            self.max_downstream_lifetime.map(|value| ("max_downstream_lifetime", value));
        if let Some((setting, _)) = downstream.filter(|(_, value)| *value < Duration::from_secs(1))
        {
            return Err(ConfigError::TooShort { setting });
        }
        let longer = |(_, value): &(&str, Duration)| *value > self.ca_lifetime;
        if let Some((setting, _)) = svids.into_iter().chain(downstream).find(longer) {
            return Err(ConfigError::LongerThanRoot { setting });
        }
        if self.ca_lifetime > Self::MAX_CA_LIFETIME {
            return Err(ConfigError::RootTooLong);
        }
        if self.path_length > Self::MAX_PATH_LENGTH {
            return Err(ConfigError::PathTooLong);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    #[test]
    fn nothing_is_shorter_than_a_second() {
        let almost = Duration::from_millis(999);
        let good = config("example.org");
        for (setting, config) in [
            ("ca_lifetime", AuthorityConfig { ca_lifetime: almost, ..good.clone() }),
            (
                "max_x509_svid_lifetime",
                AuthorityConfig { max_x509_svid_lifetime: almost, ..good.clone() },
            ),
            (
                "max_jwt_svid_lifetime",
                AuthorityConfig { max_jwt_svid_lifetime: almost, ..good.clone() },
            ),
            (
                "max_wit_svid_lifetime",
                AuthorityConfig { max_wit_svid_lifetime: almost, ..good.clone() },
            ),
            (
                "max_downstream_lifetime",
                AuthorityConfig { max_downstream_lifetime: Some(almost), ..good.clone() },
            ),
            ("refresh_hint", AuthorityConfig { refresh_hint: almost, ..good.clone() }),
        ] {
            assert_eq!(config.check(), Err(ConfigError::TooShort { setting }));
        }
        let second = Duration::from_secs(1);
        let shortest = AuthorityConfig {
            ca_lifetime: second,
            max_x509_svid_lifetime: second,
            max_jwt_svid_lifetime: second,
            max_wit_svid_lifetime: second,
            refresh_hint: second,
            ..good
        };
        assert_eq!(shortest.check(), Ok(()));
    }

    #[test]
    fn an_svid_does_not_outlast_the_root_and_the_root_not_twenty_years() {
        let mut config = config("example.org");
        config.max_jwt_svid_lifetime = config.ca_lifetime;
        config.max_x509_svid_lifetime = config.ca_lifetime;
        config.max_wit_svid_lifetime = config.ca_lifetime;
        assert_eq!(config.check(), Ok(()));
        config.max_wit_svid_lifetime += Duration::from_secs(1);
        assert_eq!(
            config.check(),
            Err(ConfigError::LongerThanRoot { setting: "max_wit_svid_lifetime" })
        );
        config.max_wit_svid_lifetime = config.ca_lifetime;
        config.max_jwt_svid_lifetime += Duration::from_secs(1);
        assert_eq!(
            config.check(),
            Err(ConfigError::LongerThanRoot { setting: "max_jwt_svid_lifetime" })
        );
        config.max_jwt_svid_lifetime = config.ca_lifetime;
        config.max_x509_svid_lifetime += Duration::from_nanos(1);
        assert_eq!(
            config.check(),
            Err(ConfigError::LongerThanRoot { setting: "max_x509_svid_lifetime" })
        );

        config.max_x509_svid_lifetime = config.ca_lifetime;
        config.max_downstream_lifetime = Some(config.ca_lifetime);
        assert_eq!(config.check(), Ok(()));
        let longer = Some(config.ca_lifetime + Duration::from_secs(1));
        let longer = AuthorityConfig { max_downstream_lifetime: longer, ..config.clone() };
        let setting = "max_downstream_lifetime";
        assert_eq!(longer.check(), Err(ConfigError::LongerThanRoot { setting }));
        config.path_length = AuthorityConfig::MAX_PATH_LENGTH;
        assert_eq!(config.check(), Ok(()));
        let deeper = AuthorityConfig { path_length: 4, ..config.clone() };
        assert_eq!(deeper.check(), Err(ConfigError::PathTooLong));

        config.ca_lifetime = AuthorityConfig::MAX_CA_LIFETIME;
        assert_eq!(config.check(), Ok(()));
        config.ca_lifetime += Duration::from_secs(1);
        assert_eq!(config.check(), Err(ConfigError::RootTooLong));
    }
}
