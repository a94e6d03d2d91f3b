//! `[who]`: the agents that may ask.

use marque_spiffe::{SpiffeIdPattern, TrustDomain};
use serde::Deserialize;

use super::delegators::DelegatorsSection;
use crate::playbook::report::{MAX_ITEMS, Report};

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["who.on_behalf"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhoSection {
    pub(crate) agents: Vec<String>,
    pub(crate) selectors: Option<Vec<String>>,
    pub(crate) repositories: Option<Vec<String>>,
    pub(crate) max_attestation_age: Option<String>,
    pub(crate) delegators: Option<DelegatorsSection>,
}

/// The patterns of a list of agents: of this trust domain, and none for everybody.
pub(crate) fn agents(
    place: &str,
    patterns: &[String],
    trust_domain: Option<&TrustDomain>,
    report: &mut Report<'_>,
) -> Vec<SpiffeIdPattern> {
    report.require(!patterns.is_empty(), place, "names at least one agent");
    report.require(patterns.len() <= MAX_ITEMS, place, format!("has at most {MAX_ITEMS} patterns"));
    let mut agents = Vec::new();
    for (index, text) in patterns.iter().enumerate() {
        let path = format!("{place}.{index}");
        let Some(pattern) = report.parse::<SpiffeIdPattern>(&path, text) else { continue };
        if let Some(own) = trust_domain {
            let message = format!("`{text}` is of another trust domain than `{own}`");
            report.require(pattern.trust_domain() == own, &path, message);
        }
        let first = text.strip_prefix("spiffe://").and_then(|rest| rest.split('/').nth(1));
        report.require(
            first != Some("*"),
            &path,
            format!("`{text}` begins with `*` and so names everybody"),
        );
        agents.push(pattern);
    }
    agents
}
