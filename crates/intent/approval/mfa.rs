//! What an approver's login says about its factors, and how long that counts.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lifecycle::{MAX_CLOCK_STEP_BACK, plus};

/// How long a login with more than one factor counts for an approval that demands one.
pub const MFA_MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// That somebody showed more than one factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MfaEvidence {
    /// How.
    pub method: MfaMethod,
    /// When they did.
    pub at: Timestamp,
}

/// How somebody showed more than one factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MfaMethod {
    /// The trust domain's document says that a login to this machine takes more than one.
    Host,
    /// The identity provider's class of authentication, which the trust domain's document takes for it (`acr`).
    Acr(String),
    /// The identity provider's methods of authentication (`amr`, RFC 8176).
    Amr(BTreeSet<String>),
}

/// The factors of RFC 8176: what one knows, has, and is.
const FACTORS: [&[&str]; 3] = [
    &["pwd", "pin", "kba"],
    &["otp", "hwk", "swk", "sms", "tel", "sc"],
    &["face", "fpt", "iris", "retina", "vbm"],
];

impl MfaEvidence {
    /// What a login at an identity provider shows: its `acr` is one of `accepted`, its `amr` says `mfa`, or names methods
    /// of two kinds. A login that does not say when it was shows nothing.
    #[must_use]
    pub fn of_login(
        acr: Option<&str>,
        amr: &BTreeSet<String>,
        auth_time: Option<Timestamp>,
        accepted: &BTreeSet<String>,
    ) -> Option<Self> {
        let at = auth_time?;
        let of_kind = |kind: &[&str]| kind.iter().any(|method| amr.contains(*method));
        let method = match acr {
            Some(acr) if accepted.contains(acr) => MfaMethod::Acr(acr.to_owned()),
            _ if amr.contains("mfa") => MfaMethod::Amr(amr.clone()),
            _ if FACTORS.iter().filter(|kind| of_kind(kind)).count() > 1 => {
                MfaMethod::Amr(amr.clone())
            }
            _ => return None,
        };
        Some(Self { method, at })
    }

    /// What it means to be at the admin socket where the trust domain's document says so: as fresh as it can be.
    #[must_use]
    pub const fn of_host(now: Timestamp) -> Self {
        Self { method: MfaMethod::Host, at: now }
    }

    /// Whether it still counts.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < plus(self.at, MFA_MAX_AGE) && self.at <= plus(now, MAX_CLOCK_STEP_BACK)
    }

    /// In a word or two.
    #[must_use]
    pub fn told(&self) -> String {
        match &self.method {
            MfaMethod::Host => "host".to_owned(),
            MfaMethod::Acr(acr) => format!("acr {acr}"),
            MfaMethod::Amr(amr) => {
                format!("amr {}", amr.iter().cloned().collect::<Vec<_>>().join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, start};

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_login_shows_two_factors_or_none() {
        let accepted = names(&["urn:example:mfa"]);
        let shown = |acr: Option<&str>, amr: &[&str]| {
            MfaEvidence::of_login(acr, &names(amr), Some(start()), &accepted).is_some()
        };
        for (acr, amr) in [
            (Some("urn:example:mfa"), &[][..]),
            (None, &["mfa"]),
            (Some("0"), &["pwd", "otp"]),
            (None, &["pin", "hwk"]),
            (None, &["hwk", "fpt"]),
        ] {
            assert!(shown(acr, amr), "{acr:?} {amr:?}");
        }
        for (acr, amr) in [
            (None, &[][..]),
            (Some("urn:example:pwd"), &[]),
            (None, &["pwd"]),
            (None, &["pwd", "pin"]),
            (None, &["otp", "sms"]),
            (None, &["MFA"]),
        ] {
            assert!(!shown(acr, amr), "{acr:?} {amr:?}");
        }
        assert_eq!(MfaEvidence::of_login(None, &names(&["mfa"]), None, &accepted), None);
    }

    #[test]
    fn a_login_counts_for_a_quarter_of_an_hour_and_none_from_the_future() {
        let shown = MfaEvidence::of_host(start());
        assert!(shown.is_fresh(at(0)) && shown.is_fresh(at(899)));
        assert!(!shown.is_fresh(at(900)));
        assert!(shown.is_fresh(at(-10)) && !shown.is_fresh(at(-11)));
    }
}
