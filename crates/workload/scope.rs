//! Which of its identities a caller may be shown.

use std::sync::Arc;

use marque_spiffe::{SpiffeId, SpiffeIdPattern};

/// Every identity, or those alone that match one of some patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scope(Option<Arc<[SpiffeIdPattern]>>);

impl Scope {
    /// No identity but those that match; none at all without a pattern.
    pub(crate) fn of(patterns: Arc<[SpiffeIdPattern]>) -> Self {
        Self(Some(patterns))
    }

    pub(crate) fn admits(&self, spiffe_id: &SpiffeId) -> bool {
        let Self(patterns) = self;
        patterns
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(spiffe_id)))
    }
}
