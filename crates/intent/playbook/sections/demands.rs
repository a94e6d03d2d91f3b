//! What a playbook demands of whoever asks: attestation and source in `[who]`, `[confidence]` and `[justification]`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::time::duration;
use crate::evidence::{Confidence, Demands};
use crate::playbook::document::Document;
use crate::playbook::report::{MAX_ITEMS, Report, check_claim_text};

/// The longest that an attestation may be demanded not to be older than.
const MAX_ATTESTATION_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfidenceSection {
    floor: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JustificationSection {
    categories: Vec<String>,
}

/// What the playbook demands of whoever asks.
pub(crate) fn read(document: &Document, report: &mut Report<'_>) -> Demands {
    let who = &document.who;
    let selectors = unique("who.selectors", who.selectors.as_deref().unwrap_or(&[]), report);
    let repositories =
        unique("who.repositories", who.repositories.as_deref().unwrap_or(&[]), report);
    for (place, list) in
        [("who.selectors", &who.selectors), ("who.repositories", &who.repositories)]
    {
        let empty = list.as_ref().is_some_and(Vec::is_empty);
        report.require(!empty, place, "names at least one; leave it out to demand nothing");
    }
    let max_attestation_age = who.max_attestation_age.as_ref().and_then(|text| {
        let path = "who.max_attestation_age";
        let age = report.keep(path, duration(text))?;
        let fits = !age.is_zero() && age <= MAX_ATTESTATION_AGE;
        report.require(fits, path, format!("is 1s to {}s", MAX_ATTESTATION_AGE.as_secs()));
        Some(age)
    });
    let confidence_floor = document.confidence.as_ref().and_then(|section| {
        let floor = report.keep("confidence.floor", Confidence::try_from(section.floor))?;
        let message = "is 1 to 100; leave `confidence` out to demand none";
        report.require(floor.percent() > 0, "confidence.floor", message);
        Some(floor)
    });
    let listed = document.justification.as_ref().map(|section| &section.categories);
    let place = "justification.categories";
    let message = "names at least one; leave `justification` out to demand none";
    report.require(listed.is_none_or(|listed| !listed.is_empty()), place, message);
    let categories = unique(place, listed.map_or(&[], Vec::as_slice), report);
    for category in listed.into_iter().flatten() {
        check_claim_text(report, place, category);
    }
    Demands {
        selectors: selectors.into_iter().collect(),
        repositories,
        max_attestation_age,
        confidence_floor,
        categories,
    }
}

/// A list in which nothing is there twice.
pub(crate) fn unique<T: FromStr<Err: Display> + Ord>(
    place: &str,
    listed: &[String],
    report: &mut Report<'_>,
) -> BTreeSet<T> {
    report.require(listed.len() <= MAX_ITEMS, place, format!("has at most {MAX_ITEMS} items"));
    let mut set = BTreeSet::new();
    for (index, text) in listed.iter().enumerate() {
        let path = format!("{place}.{index}");
        let Some(value) = report.parse(&path, text) else { continue };
        report.require(set.insert(value), &path, format!("`{text}` is listed twice"));
    }
    set
}
