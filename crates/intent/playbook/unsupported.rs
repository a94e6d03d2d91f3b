//! Fields that the format has and that nothing enforces yet. They are refused: a control that is written down and not
//! enforced is worse than none.

use super::PlaybookError;
use super::lines::Lines;
use super::sections;

/// The paths of each section; `*` stands for a position in an array.
const NOT_YET: &[&[&str]] = &[
    sections::approval::NOT_YET,
    sections::emergency::NOT_YET,
    sections::permits::NOT_YET,
    sections::who::NOT_YET,
];

/// One error for each such field that the file has.
pub(super) fn check(lines: &Lines<'_>) -> Vec<PlaybookError> {
    lines
        .paths()
        .iter()
        .filter(|path| NOT_YET.iter().copied().flatten().any(|pattern| fits(pattern, path)))
        .map(|path| {
            let message = format!(
                "`{path}` is part of the format but not supported yet: nothing would enforce it{}",
                instead(path)
            );
            PlaybookError::new(lines.of(path), message)
        })
        .collect()
}

/// What does the same, or why nothing does.
fn instead(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("on_behalf") => {
            "; whether and to whom a grant may be handed on is said in `[on_behalf]`"
        }
        Some("cloud") => {
            "; no cloud session is made from a grant, so permit an audience and scopes"
        }
        _ => "",
    }
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
pub(super) fn all() -> Vec<&'static str> {
    NOT_YET.iter().copied().flatten().copied().collect()
}
