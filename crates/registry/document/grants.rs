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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn parsed(section: &str) -> Result<GrantSettings, String> {
        TrustDomainDocument::parse(Path::new("t.toml"), &format!("{DOCUMENT}\n{section}"))
            .map(|document| *document.grants())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn open_grants_are_capped_whatever_the_document_says() {
        assert_eq!(parsed("").unwrap(), GrantSettings::default());
        let read =
            parsed("[grants]\nmax_open_per_agent = 1\nmax_open_per_target = 100000").unwrap();
        let expected = GrantSettings {
            max_open_per_agent: 1,
            max_open_per_target: 100_000,
            ..GrantSettings::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_cap_of_nothing_one_of_too_much_and_a_misspelt_one_are_refused() {
        for section in
            ["max_open_per_agent = 0", "max_open_per_delegator = 100001", "max_open_per_person = 1"]
        {
            let found = parsed(&format!("[grants]\n{section}")).unwrap_err();
            assert!(found.contains(section.split(' ').next().unwrap()), "{found}");
        }
    }
}
