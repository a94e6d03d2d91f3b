//! `on_complete.notify` and `on_complete.verify`: who is told when the work is reported as done, and who is asked whether it
//! was.
//!
//! `notify` names webhooks of the trust domain's document; that each is there is checked with the document.

use std::collections::BTreeSet;

use super::ends::OnCompleteSection;
use crate::playbook::report::Report;
use crate::post_check::PostCheckUrl;

/// How many webhooks a playbook may name.
const MAX_NOTIFIED: usize = 8;
const WEBHOOK: &str = "webhook:";

/// The names of the webhooks, and the post-check.
pub(crate) fn read(
    section: Option<&OnCompleteSection>,
    report: &mut Report<'_>,
) -> (BTreeSet<String>, Option<PostCheckUrl>) {
    let targets = section.and_then(|section| section.notify.as_deref()).unwrap_or_default();
    if targets.len() > MAX_NOTIFIED {
        report.refuse("on_complete.notify", format!("has at most {MAX_NOTIFIED} entries"));
    }
    let mut names = BTreeSet::new();
    for (at, target) in targets.iter().enumerate() {
        let place = format!("on_complete.notify.{at}");
        match target.strip_prefix(WEBHOOK) {
            Some(name) if !name.is_empty() && names.insert(name.to_owned()) => {}
            Some(_) => report.refuse(&place, "names no webhook, or one twice"),
            None => report.refuse(&place, "is `webhook:` and the name of a webhook"),
        }
    }
    let verify = section.and_then(|section| section.verify.as_ref());
    (names, verify.and_then(|url| report.parse("on_complete.verify", url)))
}
