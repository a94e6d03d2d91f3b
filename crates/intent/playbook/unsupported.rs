//! Fields that the format has and that nothing enforces yet. They are refused: a control that is written down and not
//! enforced is worse than none.

use super::PlaybookError;
use super::lines::Lines;

/// The paths; `*` stands for a position in an array.
const NOT_YET: &[&str] = &[
    "emergency",
    "staged",
    "logging",
    "on_complete",
    "risk.deny_at",
    "risk.approve_at",
    "risk.weights",
    "who.selectors",
    "who.repositories",
    "who.on_behalf",
    "permits.*.cloud",
    "time.idle_timeout",
    "time.windows",
    "time.blackout",
    "change.ticket.validator",
    "change.ticket.states",
    "change.ticket.bind",
    "change.ticket.revoke_on_close",
    "approval.auto_if",
    "approval.mfa",
    "approval.levels.*.any.*.distinct_groups",
];

/// One error for each such field that the file has.
pub(super) fn check(lines: &Lines<'_>) -> Vec<PlaybookError> {
    lines
        .paths()
        .iter()
        .filter(|path| NOT_YET.iter().any(|pattern| fits(pattern, path)))
        .map(|path| {
            let message = format!(
                "`{path}` is part of the format but not supported yet: nothing would enforce it"
            );
            PlaybookError::new(lines.of(path), message)
        })
        .collect()
}

fn fits(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(name)) if name.parse::<usize>().is_ok() => {}
            (Some(one), Some(two)) if one == two => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
pub(super) const ALL: &[&str] = NOT_YET;
