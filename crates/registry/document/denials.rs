//! `[denials]`: how much asking is too much, and what comes of refusals.
//!
//! Deliberately absent: the rules (`marque-intent` has them), and switching them off: every number has a least and a most.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// The classes of refusals that `[denials.budgets]` may name.
pub const DENIAL_CLASSES: [&str; 12] = [
    "malformed",
    "identity",
    "boundary",
    "attenuation",
    "intent",
    "change",
    "risk",
    "approval",
    "grant",
    "stop",
    "pace",
    "system",
];

/// The longest of each length of time.
const MAX_LENGTH: Duration = Duration::from_hours(24);
/// The most of each count.
const MAX_COUNT: u32 = 10_000;

/// `[denials]`. Everything may be absent.
///
/// ```toml
/// [denials]
/// recent = "10m"             # how long a refusal is repeated to the same request, and nobody asked again
/// window = "10m"             # how long a refusal counts against the budget of its class
/// cooldowns = ["1m", "5m", "30m"]   # the first, the second and every later one of a day; the third is a quarantine
/// path_window = "1h"         # how long other ways to a target that was refused are counted
/// other_paths = 2            # how many of them may be tried
/// requests_per_minute = 20   # of one agent
/// requests_per_task = 50     # of one agent for one task
/// open_per_playbook = 16     # intents that one agent has open of one playbook
/// duplicate_grants = "deny"  # or "allow": an agent may have the same open more than once
///
/// [denials.budgets]          # further tries after a refusal of a class, other than those of docs/denials.md
/// malformed = 3
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialSettings {
    recent: Duration,
    window: Duration,
    cooldowns: [Duration; 3],
    path_window: Duration,
    other_paths: u32,
    requests_per_minute: u32,
    requests_per_task: u32,
    open_per_playbook: u32,
    duplicate_grants: DuplicateRule,
    budgets: BTreeMap<String, u32>,
}

/// What to do when an agent asks for what it has open already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DuplicateRule {
    /// Tell it which it has.
    #[default]
    Deny,
    /// Give it another.
    Allow,
}

/// Why a text is not a rule for duplicate grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither `deny` nor `allow`")]
pub struct DuplicateRuleError;

impl std::str::FromStr for DuplicateRule {
    type Err = DuplicateRuleError;

    fn from_str(text: &str) -> Result<Self, DuplicateRuleError> {
        match text {
            "deny" => Ok(Self::Deny),
            "allow" => Ok(Self::Allow),
            _other => Err(DuplicateRuleError),
        }
    }
}

impl DenialSettings {
    /// How long a refusal is repeated to the same request.
    pub fn recent(&self) -> Duration {
        self.recent
    }

    /// How long a refusal counts against its budget.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// How long the first, the second and every later cooldown of a day is.
    pub fn cooldowns(&self) -> [Duration; 3] {
        self.cooldowns
    }

    /// How long other ways to a target that was refused are counted.
    pub fn path_window(&self) -> Duration {
        self.path_window
    }

    /// How many other ways to it may be tried.
    pub fn other_paths(&self) -> u32 {
        self.other_paths
    }

    /// Requests of one agent in a minute.
    pub fn requests_per_minute(&self) -> u32 {
        self.requests_per_minute
    }

    /// Requests of one agent for one task.
    pub fn requests_per_task(&self) -> u32 {
        self.requests_per_task
    }

    /// Intents that one agent has open of one playbook.
    pub fn open_per_playbook(&self) -> u32 {
        self.open_per_playbook
    }

    /// What to do when an agent asks for what it has open already.
    pub fn duplicate_grants(&self) -> DuplicateRule {
        self.duplicate_grants
    }

    /// Budgets by class, where they are other than the usual.
    pub fn budgets(&self) -> &BTreeMap<String, u32> {
        &self.budgets
    }
}

impl Default for DenialSettings {
    fn default() -> Self {
        Self {
            recent: Duration::from_mins(10),
            window: Duration::from_mins(10),
            cooldowns: [1, 5, 30].map(Duration::from_mins),
            path_window: Duration::from_hours(1),
            other_paths: 2,
            requests_per_minute: 20,
            requests_per_task: 50,
            open_per_playbook: 16,
            duplicate_grants: DuplicateRule::Deny,
            budgets: BTreeMap::new(),
        }
    }
}

/// Reads the section; the defaults where it, or a field of it, is absent.
pub(super) fn read(top: &mut Fields<'_, '_>, log: &mut Log<'_>) -> DenialSettings {
    let mut settings = DenialSettings::default();
    let Some(mut table) = top.optional_table("denials", log) else { return settings };
    let line = table.line();
    let lengths: [(&'static str, &mut Duration); 3] = [
        ("recent", &mut settings.recent),
        ("window", &mut settings.window),
        ("path_window", &mut settings.path_window),
    ];
    for (key, length) in lengths {
        if let Some(found) = table.optional_lined_text::<Lifetime>(key, log) {
            *length = found.value.as_duration();
            if *length > MAX_LENGTH {
                log.at(found.line, format!("`{key}` in [denials] must be at most 24h"));
            }
        }
    }
    if table.has("cooldowns") {
        let cooldowns: Vec<Lifetime> = table.texts("cooldowns", log);
        let lengths: Vec<Duration> = cooldowns.iter().map(|one| one.as_duration()).collect();
        match <[Duration; 3]>::try_from(lengths) {
            Ok(lengths) if lengths.is_sorted() && lengths.iter().all(|one| *one <= MAX_LENGTH) => {
                settings.cooldowns = lengths;
            }
            Ok(_) | Err(_) => log.at(
                line,
                "`cooldowns` in [denials] are three, none shorter than the one before and none over 24h",
            ),
        }
    }
    let counts: [(&'static str, u32, &mut u32); 4] = [
        ("other_paths", 0, &mut settings.other_paths),
        ("requests_per_minute", 1, &mut settings.requests_per_minute),
        ("requests_per_task", 1, &mut settings.requests_per_task),
        ("open_per_playbook", 1, &mut settings.open_per_playbook),
    ];
    for (key, least, count) in counts {
        if let Some(number) = number(&mut table, key, least, "denials", log) {
            *count = number;
        }
    }
    if let Some(rule) = table.optional_text("duplicate_grants", log) {
        settings.duplicate_grants = rule;
    }
    if let Some(mut budgets) = table.optional_table("budgets", log) {
        for class in DENIAL_CLASSES {
            if let Some(budget) = number(&mut budgets, class, 0, "denials.budgets", log) {
                settings.budgets.insert(class.to_owned(), budget);
            }
        }
        budgets.finish(log);
    }
    table.finish(log);
    settings
}

fn number(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    least: u32,
    section: &str,
    log: &mut Log<'_>,
) -> Option<u32> {
    let Lined { value, line } = table.optional_lined_number(key, log)?;
    if (least..=MAX_COUNT).contains(&value) {
        return Some(value);
    }
    log.at(line, format!("`{key}` in [{section}] must be from {least} to {MAX_COUNT}"));
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn parsed(section: &str) -> Result<DenialSettings, String> {
        let text = format!("{DOCUMENT}\n{section}");
        TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text)
            .map(|document| document.denials().clone())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_comes_of_refusals_is_usual_unless_the_document_says_otherwise() {
        assert_eq!(parsed("").unwrap(), DenialSettings::default());
        let text = "[denials]\nrecent = \"1m\"\nwindow = \"2m\"\ncooldowns = [\"1s\", \"2s\", \"3s\"]\n\
                    path_window = \"3m\"\nother_paths = 0\nrequests_per_minute = 1\nrequests_per_task = 2\n\
                    open_per_playbook = 3\nduplicate_grants = \"allow\"\n[denials.budgets]\nmalformed = 0\napproval = 10000\n";
        let settings = parsed(text).unwrap();
        assert_eq!(settings.recent(), Duration::from_mins(1));
        assert_eq!(settings.cooldowns(), [1, 2, 3].map(Duration::from_secs));
        assert_eq!((settings.other_paths(), settings.requests_per_minute()), (0, 1));
        assert_eq!((settings.requests_per_task(), settings.open_per_playbook()), (2, 3));
        assert_eq!(settings.duplicate_grants(), DuplicateRule::Allow);
        let budgets: Vec<_> = settings.budgets().iter().collect();
        assert_eq!(budgets, [(&"approval".to_owned(), &10_000), (&"malformed".to_owned(), &0)]);
    }

    #[test]
    fn what_would_switch_the_rules_off_is_refused() {
        for (section, expected) in [
            ("[denials]\nrecent = \"25h\"", "must be at most 24h"),
            ("[denials]\ncooldowns = [\"1m\", \"5m\"]", "are three"),
            ("[denials]\ncooldowns = [\"5m\", \"1m\", \"30m\"]", "are three"),
            ("[denials]\nrequests_per_minute = 0", "must be from 1 to 10000"),
            ("[denials]\nrequests_per_task = 10001", "must be from 1 to 10000"),
            ("[denials.budgets]\nmalformed = 10001", "must be from 0 to 10000"),
            ("[denials.budgets]\nwhatever = 1", "unknown field `whatever`"),
            ("[denials]\nduplicate_grants = \"off\"", "is neither `deny` nor `allow`"),
            ("[denials]\nenabled = false", "unknown field `enabled`"),
        ] {
            let found = parsed(section).unwrap_err();
            assert!(found.contains(expected), "{section}: {found}");
        }
    }
}
