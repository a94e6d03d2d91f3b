//! Which controls of published frameworks an event bears on: one table, for the tags of records and for
//! `docs/frameworks.md`, which a test writes from it.
//!
//! A tag says that the event is evidence about the control, not that the control is fulfilled. Where the product does
//! nothing about a risk, its row says so and tags nothing.

mod nist;
mod owasp;

use crate::{Event, EventKind};

/// A control, risk, layer or tenet of a framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// The framework, in short, and the control's own id: `owasp-asi:ASI03`.
    pub tag: &'static str,
    /// What the framework calls it.
    pub title: &'static str,
    /// What the product does about it.
    pub how: &'static str,
    /// The kinds of events that bear on it.
    pub kinds: &'static [EventKind],
    /// The classes of denials that bear on it.
    pub classes: &'static [&'static str],
}

/// A framework, with its controls in its own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framework {
    /// What stands before the colon of its tags.
    pub prefix: &'static str,
    /// Its name and edition.
    pub name: &'static str,
    /// Its controls, those that the product does nothing about among them where the framework is a list of ten.
    pub controls: &'static [Control],
}

/// Every framework.
pub const ALL: [Framework; 6] = [
    Framework {
        prefix: "owasp-asi",
        name: "OWASP Top 10 for Agentic Applications 2026",
        controls: &owasp::AGENTIC,
    },
    Framework {
        prefix: "owasp-nhi",
        name: "OWASP Non-Human Identities Top 10, 2025",
        controls: &owasp::NON_HUMAN_IDENTITIES,
    },
    Framework {
        prefix: "csa-maestro",
        name: "CSA MAESTRO, seven-layer reference architecture",
        controls: &owasp::MAESTRO,
    },
    Framework {
        prefix: "nist-ai-rmf",
        name: "NIST AI Risk Management Framework 1.0",
        controls: &nist::AI_RMF,
    },
    Framework {
        prefix: "nist-csf",
        name: "NIST Cybersecurity Framework 2.0",
        controls: &nist::CSF,
    },
    Framework {
        prefix: "nist-sp-800-207",
        name: "NIST SP 800-207, tenets of zero trust (section 2.1)",
        controls: &nist::ZERO_TRUST,
    },
];

/// The tags of an event, in the order of the table.
#[must_use]
pub fn tags(event: &Event) -> Vec<&'static str> {
    let bears = |control: &&Control| {
        control.kinds.contains(&event.kind)
            || event.class.as_deref().is_some_and(|class| control.classes.contains(&class))
    };
    controls().filter(bears).map(|control| control.tag).collect()
}

/// The controls of all frameworks.
pub fn controls() -> impl Iterator<Item = &'static Control> {
    ALL.into_iter().flat_map(|framework| framework.controls)
}
