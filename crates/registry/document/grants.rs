//! `[grants]`: how many grants may be open at once, over all playbooks (M 75).

use crate::fields::{Fields, Lined, Log};

/// `[grants]`. Everything may be absent; nothing is ever uncapped.
///
/// ```toml
/// [grants]
/// max_open_per_agent = 1000        # pending, approved, active, or consumed with a token that lives
/// max_open_per_delegator = 1000    # on behalf of one person
/// max_open_per_target = 1000       # touching one resource
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantSettings {
    /// Of one agent.
    pub max_open_per_agent: u32,
    /// On behalf of one person.
    pub max_open_per_delegator: u32,
    /// Touching one resource.
    pub max_open_per_target: u32,
}

/// More at once is no bound.
const MAX_OPEN: u32 = 100_000;

impl Default for GrantSettings {
    fn default() -> Self {
        Self { max_open_per_agent: 1000, max_open_per_delegator: 1000, max_open_per_target: 1000 }
    }
}

/// Reads the table.
pub(super) fn read(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> GrantSettings {
    let mut settings = GrantSettings::default();
    for (name, cap) in [
        ("max_open_per_agent", &mut settings.max_open_per_agent),
        ("max_open_per_delegator", &mut settings.max_open_per_delegator),
        ("max_open_per_target", &mut settings.max_open_per_target),
    ] {
        let Some(Lined { value, line }) = table.optional_lined_number(name, log) else { continue };
        if (1..=MAX_OPEN).contains(&value) {
            *cap = value;
        } else {
            log.at(line, format!("`{name}` in [grants] must be from 1 to {MAX_OPEN}"));
        }
    }
    table.finish(log);
    settings
}
