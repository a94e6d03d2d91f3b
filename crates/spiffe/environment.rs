//! The environment of a trust domain, which the firebreak keeps apart.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Whether a trust domain is production. There is no third value and no default: a trust domain declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    /// `production`
    Production,
    /// `non-production`
    NonProduction,
}

/// Neither `production` nor `non-production`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("environment is neither `production` nor `non-production`")]
pub struct UnknownEnvironment;

impl Environment {
    /// The name in documents and certificates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::NonProduction => "non-production",
        }
    }
}

impl Environment {
    /// The other side of the firebreak.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Production => Self::NonProduction,
            Self::NonProduction => Self::Production,
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Production, Self::NonProduction]
            .into_iter()
            .find(|environment| environment.as_str() == text)
            .ok_or(UnknownEnvironment)
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn both_names_read_back_and_nothing_else_reads() {
        for environment in [Environment::Production, Environment::NonProduction] {
            assert_eq!(environment.as_str().parse(), Ok(environment));
            let json = serde_json::to_value(environment).unwrap();
            assert_eq!(json, environment.as_str());
            assert_eq!(serde_json::from_value::<Environment>(json).unwrap(), environment);
        }
        for text in ["", "prod", "Production", "nonproduction", "non_production", "production "] {
            assert!(text.parse::<Environment>().is_err(), "{text}");
            assert!(serde_json::from_value::<Environment>(text.into()).is_err(), "{text}");
        }
    }
}
