//! Templates: one reviewed rule that gives many processes an identity each, built of what an attestor found out.
//!
//! What a template gives is an [`Entry`] like any other, made when somebody who has earned it is first seen. Deliberately
//! absent: keeping those and counting them, which is the store's.

mod pattern;
mod read;
mod set;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use marque_spiffe::{Selector, SelectorSet, SpiffeId, SpiffeIdError};

use crate::entry::{Entry, EntryId, EntryRole, EntrySource, NewEntry};
use crate::error::RegistryError;
use crate::lifetime::Lifetime;

use self::pattern::TemplateSegment;
pub use self::pattern::{
    IdTemplate, IdTemplateError, Placeholder, PlaceholderError, TEMPLATE_SELECTORS, ValuePattern,
    ValuePatternError,
};
pub(crate) use self::read::read;
pub use self::set::Derivation;
pub(crate) use self::set::Templates;

/// The most identities that a template may have alive at once.
pub const MAX_TEMPLATE_IDENTITIES: u32 = 1_000_000;

/// One of `[[template]]`, checked as far as it can be alone.
///
/// ```toml
/// [[template]]
/// id = "team-agents"                    # unique among entries and templates
/// spiffe_id = "spiffe://prod.example.org/agent/{k8s:ns}/{k8s:sa}"   # whole segments; the first one is literal
/// role = "agent"
/// owner = "group:platform-sre"
/// selectors = ["k8s:container-name:agent"]   # fixed, all must be true; at least one
/// expires_at = "2027-03-01T00:00:00Z"   # required, unless [identities] says otherwise
/// max_identities = 200                  # alive within `window`; one more is refused
/// window = "24h"                        # how long an identity counts after it was last asked for; absent: 24h
///
/// [template.values]                     # what a value has to look like; absent: any path segment
/// "k8s:ns" = "team-*"
/// ```
///
/// Beside them `hint`, `x509_lifetime`, `jwt_lifetime`, `federates_with`, `repository`, `audiences`, `may_delegate`
/// and `may_act_for_others`, as in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    id: IdTemplate,
    values: BTreeMap<Placeholder, ValuePattern>,
    max_identities: NonZeroU32,
    window: Lifetime,
    /// What everything that it gives is like; its SPIFFE ID is the literal prefix, its selectors are the fixed ones.
    shape: Entry,
}

/// What a template gives to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    spiffe_id: SpiffeId,
    selectors: SelectorSet,
}

/// Why a template gives nothing to a caller that has its fixed selectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateRefusal {
    /// The caller has no such selector.
    #[error("it has no selector `{0}:…`")]
    Missing(Placeholder),
    /// The caller has several, and which one counts is not for anybody to choose.
    #[error("it has {found} selectors `{placeholder}:…`, and only one value makes an identity")]
    Several {
        /// Which.
        placeholder: Placeholder,
        /// How many.
        found: usize,
    },
    /// The value does not look as the template wants it.
    #[error("its `{placeholder}` does not match `{pattern}`")]
    NotMatched {
        /// Which.
        placeholder: Placeholder,
        /// What it should match.
        pattern: ValuePattern,
    },
    /// The value is no segment of a path; nothing is ever made one.
    #[error("its `{placeholder}` is no segment of a SPIFFE ID's path: {source}")]
    NotASegment {
        /// Which.
        placeholder: Placeholder,
        /// Why.
        source: SpiffeIdError,
    },
    /// All together is no SPIFFE ID.
    #[error("what it would give is no SPIFFE ID: {0}")]
    NoId(SpiffeIdError),
    /// Another entry has the SPIFFE ID.
    #[error("the SPIFFE ID belongs to entry `{0}`")]
    Taken(EntryId),
}

impl TemplateRefusal {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "template_selector_missing",
            Self::Several { .. } => "template_selector_ambiguous",
            Self::NotMatched { .. } => "template_value_not_matched",
            Self::NotASegment { .. } | Self::NoId(_) => "template_value_invalid",
            Self::Taken(_) => "template_id_taken",
        }
    }
}

impl Derived {
    /// The identity.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }
}

impl Template {
    /// Its id.
    pub fn id(&self) -> &EntryId {
        self.shape.id()
    }

    /// Where it is written.
    pub fn source(&self) -> &EntrySource {
        self.shape.source()
    }

    /// What it may give.
    pub fn spiffe_id(&self) -> &IdTemplate {
        &self.id
    }

    /// What a caller must have, all of it, beside one value for each placeholder.
    pub fn selectors(&self) -> &SelectorSet {
        self.shape.selectors()
    }

    /// How many of its identities may be alive at once.
    pub fn max_identities(&self) -> u32 {
        self.max_identities.get()
    }

    /// How long an identity counts as alive after it was last asked for.
    pub fn window(&self) -> Duration {
        self.window.as_duration()
    }

    /// What the holders of its identities are.
    pub fn role(&self) -> EntryRole {
        self.shape.role()
    }

    /// Who answers for its identities.
    pub fn owner(&self) -> &str {
        self.shape.owner()
    }

    /// When the template ends by itself.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.shape.expires_at()
    }

    /// Whether the template has ended by itself.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.shape.has_expired(now)
    }

    /// An entry that is like those that it gives, for checking what concerns them all.
    pub(crate) fn shape(&self) -> &Entry {
        &self.shape
    }

    /// What a placeholder's values have to look like, if that is bounded.
    pub fn pattern(&self, placeholder: Placeholder) -> Option<&ValuePattern> {
        self.values.get(&placeholder)
    }

    /// Whether it may give this SPIFFE ID to anybody.
    pub fn may_give(&self, id: &SpiffeId) -> bool {
        self.id.may_give(id, |placeholder| self.pattern(placeholder))
    }

    /// Whether both may give the same SPIFFE ID; in doubt they may.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.id.meets(&other.id, |place| self.pattern(place), |place| other.pattern(place))
    }

    /// What it gives to a caller that has its fixed selectors.
    ///
    /// # Errors
    /// [`TemplateRefusal`]; whether another entry has the SPIFFE ID is not asked here.
    pub fn derive(&self, caller: &SelectorSet) -> Result<Derived, TemplateRefusal> {
        let mut selectors = self.selectors().clone();
        let mut path = Vec::with_capacity(self.id.segments().len());
        for segment in self.id.segments() {
            match segment {
                TemplateSegment::Literal(text) => path.push(text.as_str()),
                TemplateSegment::Filled(placeholder) => {
                    let (selector, value) = self.value(*placeholder, caller)?;
                    selectors.insert(selector.clone());
                    path.push(value);
                }
            }
        }
        let spiffe_id = SpiffeId::from_segments(self.id.trust_domain(), &path)
            .map_err(TemplateRefusal::NoId)?;
        Ok(Derived { spiffe_id, selectors })
    }

    /// The one value of a placeholder, with the selector that has it.
    fn value<'a>(
        &self,
        placeholder: Placeholder,
        caller: &'a SelectorSet,
    ) -> Result<(&'a Selector, &'a str), TemplateRefusal> {
        let found: Vec<_> = caller
            .iter()
            .filter_map(|selector| {
                let behind = selector.as_str().strip_prefix(placeholder.as_str())?;
                Some((selector, behind.strip_prefix(':')?))
            })
            .collect();
        let (selector, value) = match found.as_slice() {
            [] => return Err(TemplateRefusal::Missing(placeholder)),
            [one] => *one,
            several => {
                let found = several.len();
                return Err(TemplateRefusal::Several { placeholder, found });
            }
        };
        SpiffeId::from_segments(self.id.trust_domain(), &[value])
            .map_err(|source| TemplateRefusal::NotASegment { placeholder, source })?;
        match self.pattern(placeholder) {
            Some(pattern) if !pattern.matches(value) => {
                Err(TemplateRefusal::NotMatched { placeholder, pattern: pattern.clone() })
            }
            _ => Ok((selector, value)),
        }
    }

    /// The entry for what was derived, alive until `window` after `now` if nobody asks again.
    ///
    /// # Errors
    /// A rule of entries that the template could not be held to alone, such as the number of selectors.
    pub fn instance(&self, derived: Derived, now: Timestamp) -> Result<Entry, RegistryError> {
        let until = now.checked_add(self.window()).unwrap_or(Timestamp::MAX);
        self.made(derived, until)
    }

    /// A stored entry of this template as the template makes it today, with the end that it had; nothing when it would
    /// not make it any more.
    pub fn remade(&self, stored: &Entry) -> Option<Entry> {
        let derived = self.derive(stored.selectors()).ok()?;
        let same =
            derived.spiffe_id == *stored.spiffe_id() && derived.selectors == *stored.selectors();
        let until = stored.expires_at().filter(|_| same)?;
        self.made(derived, until).ok()
    }

    fn made(&self, derived: Derived, until: Timestamp) -> Result<Entry, RegistryError> {
        let Derived { spiffe_id, selectors } = derived;
        let id = EntryId::of_instance(self.id(), &spiffe_id);
        let end = self.shape.expires_at().map_or(until, |end| end.min(until));
        let content = NewEntry {
            spiffe_id,
            selectors,
            expires_at: Some(end),
            ..self.shape.content().clone()
        };
        content.into_entry(id, EntrySource::Template { template: self.id().clone() })
    }
}
