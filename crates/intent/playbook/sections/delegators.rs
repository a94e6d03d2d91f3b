//! `[who.delegators]`: on whose behalf; persons are named one way or another, and never by silence.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::delegators::{Delegators, MAX_DELEGATOR_TEXT, Persons};
use crate::playbook::report::{LIKE_A_SECRET, MAX_ITEMS, Report};
use crate::secrets::looks_like_secret;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DelegatorsSection {
    pub(crate) required: bool,
    pub(crate) persons: Vec<PersonsSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonsSection {
    pub(crate) issuer: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) everybody: bool,
}

/// The longest name that an issuer has in a trust domain's document.
const MAX_ISSUER_NAME: usize = 32;

pub(crate) fn read(
    section: Option<&DelegatorsSection>,
    report: &mut Report<'_>,
) -> Option<Delegators> {
    let DelegatorsSection { required, persons: listed } = section?;
    let place = "who.delegators.persons";
    let message = "names at least one issuer; who acts for nobody leaves `delegators` out";
    report.require(!listed.is_empty(), place, message);
    report.require(listed.len() <= MAX_ITEMS, place, format!("has at most {MAX_ITEMS} issuers"));
    let mut issuers = BTreeSet::new();
    let mut all = Vec::new();
    for (index, section) in listed.iter().enumerate() {
        let path = format!("{place}.{index}");
        let message = format!("`{}` is listed twice", section.issuer);
        report.require(issuers.insert(&section.issuer), &format!("{path}.issuer"), message);
        all.push(persons(&path, section, report));
    }
    Some(Delegators { required: *required, persons: all })
}

fn persons(path: &str, section: &PersonsSection, report: &mut Report<'_>) -> Persons {
    let PersonsSection { issuer, subjects, groups, everybody } = section;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    report.require(
        (1..=MAX_ISSUER_NAME).contains(&issuer.len()) && issuer.bytes().all(fits),
        &format!("{path}.issuer"),
        format!("is the name of an issuer: 1 to {MAX_ISSUER_NAME} of `a-z`, `0-9` and `-`"),
    );
    let named = !(subjects.is_empty() && groups.is_empty());
    report.require(
        named != *everybody,
        path,
        "names `subjects` or `groups`, or says `everybody = true` and names nobody",
    );
    Persons {
        issuer: issuer.clone(),
        subjects: names(&format!("{path}.subjects"), subjects, report),
        groups: names(&format!("{path}.groups"), groups, report),
        everybody: *everybody,
    }
}

/// Names as an issuer writes them, compared byte by byte.
fn names(path: &str, listed: &[String], report: &mut Report<'_>) -> BTreeSet<String> {
    report.require(listed.len() <= MAX_ITEMS, path, format!("has at most {MAX_ITEMS} names"));
    let mut names = BTreeSet::new();
    for (index, name) in listed.iter().enumerate() {
        let path = format!("{path}.{index}");
        let fits = (1..=MAX_DELEGATOR_TEXT).contains(&name.len())
            && !name.contains('*')
            && !name.chars().any(char::is_control);
        let message =
            format!("has 1 to {MAX_DELEGATOR_TEXT} bytes on one line, and no `*`: it names one");
        report.require(fits, &path, message);
        report.require(!looks_like_secret(name), &path, LIKE_A_SECRET);
        report.require(names.insert(name.clone()), &path, format!("`{name}` is listed twice"));
    }
    names
}
