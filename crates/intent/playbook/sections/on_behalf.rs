//! `[on_behalf]`: whether and to whom a grant may be handed on; never by silence.

use std::collections::BTreeSet;

use marque_spiffe::TrustDomain;
use serde::Deserialize;

use super::who::agents;
use crate::playbook::report::{MAX_ITEMS, Report};
use crate::rights::{Dimension, MAX_DELEGATION_DEPTH, OnBehalf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnBehalfSection {
    pub(crate) max_depth: u8,
    pub(crate) agents: Vec<String>,
    #[serde(default)]
    pub(crate) equal: Vec<String>,
}

pub(crate) fn read(
    section: Option<&OnBehalfSection>,
    trust_domain: Option<&TrustDomain>,
    report: &mut Report<'_>,
) -> Option<OnBehalf> {
    let OnBehalfSection { max_depth, agents: patterns, equal } = section?;
    report.require(
        (1..=MAX_DELEGATION_DEPTH).contains(max_depth),
        "on_behalf.max_depth",
        format!("is 1 to {MAX_DELEGATION_DEPTH}; who may not delegate leaves `on_behalf` out"),
    );
    let agents = agents("on_behalf.agents", patterns, trust_domain, report);
    report.require(equal.len() <= MAX_ITEMS, "on_behalf.equal", "has too many entries");
    let mut dimensions = BTreeSet::new();
    for (index, name) in equal.iter().enumerate() {
        let path = format!("on_behalf.equal.{index}");
        let known = Dimension::NARROWED_BY_DELEGATION.iter().find(|known| known.as_str() == name);
        match known {
            Some(dimension) if dimensions.insert(*dimension) => {}
            Some(_) => report.refuse(&path, format!("`{name}` is listed twice")),
            None => {
                let names = Dimension::NARROWED_BY_DELEGATION.map(Dimension::as_str).join("`, `");
                report.refuse(&path, format!("`{name}` is none of `{names}`"));
            }
        }
    }
    Some(OnBehalf { max_depth: *max_depth, agents, equal: dimensions })
}
