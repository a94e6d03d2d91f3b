//! `[identities]`: what happens when one identity is used by more than one program, and whether one may be registered for ever.
//!
//! Deliberately absent: telling who uses what (`marque-workload` does), and switching the record off:
//! a shared identity is always reported.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::fields::{Fields, Log};
use crate::lifetime::Lifetime;

/// The window where the document names none.
const DEFAULT_WINDOW: Duration = Duration::from_mins(10);

/// The longest window: what is remembered about each identity is kept in memory this long.
const MAX_WINDOW: Duration = Duration::from_hours(24);

/// `[identities]`. Everything may be absent.
///
/// ```toml
/// [identities]
/// sharing = "report"        # or "deny": whoever comes second gets no identity
/// sharing_window = "10m"    # how long after its last use an identity is still its holder's; at most 24h
/// without_expiry = "refuse" # no entry and no template without `expires_at` (M 25); or "warn"
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentitySettings {
    sharing: SharingRule,
    sharing_window: Duration,
    refuses_without_expiry: bool,
}

/// What to do when an identity is asked for by a second program within the window (M 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SharingRule {
    /// Put it on record and hand it out.
    #[default]
    Report,
    /// Put it on record and refuse whoever came second.
    Deny,
}

/// Why a text is not a rule for shared identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither `report` nor `deny`")]
pub struct SharingRuleError;

impl IdentitySettings {
    /// What to do about shared identities.
    pub fn sharing(&self) -> SharingRule {
        self.sharing
    }

    /// Whether no entry and no template is taken that never ends (M 25).
    pub const fn refuses_without_expiry(&self) -> bool {
        self.refuses_without_expiry
    }

    /// How long after its last use an identity is still its holder's.
    pub fn sharing_window(&self) -> Duration {
        self.sharing_window
    }
}

impl Default for IdentitySettings {
    fn default() -> Self {
        let sharing = SharingRule::default();
        Self { sharing, sharing_window: DEFAULT_WINDOW, refuses_without_expiry: true }
    }
}

impl SharingRule {
    /// The rule as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for SharingRule {
    type Err = SharingRuleError;

    fn from_str(text: &str) -> Result<Self, SharingRuleError> {
        match text {
            "report" => Ok(Self::Report),
            "deny" => Ok(Self::Deny),
            _other => Err(SharingRuleError),
        }
    }
}

impl fmt::Display for SharingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the section; the defaults where it, or a field of it, is absent.
pub(super) fn read(top: &mut Fields<'_, '_>, log: &mut Log<'_>) -> IdentitySettings {
    let mut settings = IdentitySettings::default();
    let Some(mut table) = top.optional_table("identities", log) else { return settings };
    let line = table.line();
    if let Some(rule) = table.optional_text("sharing", log) {
        settings.sharing = rule;
    }
    if let Some(window) = table.optional_text::<Lifetime>("sharing_window", log) {
        settings.sharing_window = window.as_duration();
    }
    if let Some(rule) = table.optional_lined_text::<String>("without_expiry", log) {
        match rule.value.as_str() {
            "refuse" => {}
            "warn" => settings.refuses_without_expiry = false,
            _other => {
                log.at(rule.line, "`without_expiry` in [identities] is neither `warn` nor `refuse`")
            }
        }
    }
    if settings.sharing_window > MAX_WINDOW {
        log.at(line, "`sharing_window` in [identities] must be at most 24h");
    }
    table.finish(log);
    settings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn parsed(section: &str) -> Result<IdentitySettings, String> {
        let text = format!("{DOCUMENT}\n{section}");
        TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text)
            .map(|document| *document.identities())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn sharing_is_reported_within_ten_minutes_unless_the_document_says_otherwise() {
        let default = parsed("").unwrap();
        assert_eq!(default.sharing(), SharingRule::Report);
        assert_eq!(default.sharing_window(), Duration::from_mins(10));
        let strict = parsed("[identities]\nsharing = \"deny\"\nsharing_window = \"24h\"").unwrap();
        assert!(default.refuses_without_expiry() && strict.refuses_without_expiry());
        let rule = |rule| parsed(&format!("[identities]\nwithout_expiry = \"{rule}\"")).unwrap();
        assert!(rule("refuse").refuses_without_expiry());
        assert!(!rule("warn").refuses_without_expiry());
        assert_eq!(strict.sharing(), SharingRule::Deny);
        assert_eq!(strict.sharing_window(), Duration::from_hours(24));
    }

    #[test]
    fn a_misspelt_rule_a_longer_window_and_an_unknown_field_are_refused() {
        for (section, expected) in [
            ("sharing = \"off\"", "is neither `report` nor `deny`"),
            ("without_expiry = \"deny\"", "is neither `warn` nor `refuse`"),
            ("sharing_window = \"25h\"", "must be at most 24h"),
            ("sharing_window = 5", "must be a text"),
            ("shared = \"deny\"", "unknown field `shared`"),
        ] {
            let found = parsed(&format!("[identities]\n{section}")).unwrap_err();
            assert!(found.contains(expected), "{section}: {found}");
        }
    }
}
