//! What the log tells of a token beside its intent.

use marque_audit::Event;
use marque_spiffe::SpiffeId;

use crate::digest::Digest;

/// What of a token is in none of its grant's own members: the log is the only place that keeps it when the token is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenFacts<'a> {
    /// What it is, such as `access_token`.
    pub kind: &'a str,
    /// Who it may be shown to.
    pub audiences: &'a [String],
    /// The person on whose behalf, if there is one.
    pub delegator: Option<&'a str>,
    /// Its scope; empty if it has none.
    pub scope: &'a str,
    /// The digest of its rights, by which one that carries less than its grant is told from one that carries all of it.
    pub rights: Option<&'a Digest>,
    /// The kind of key that it is bound to, as in `cnf` (RFC 7800); none for a bearer token.
    pub confirmation: Option<&'a str>,
    /// Who asked for it, where that may be another than its holder.
    pub requested_by: Option<&'a SpiffeId>,
}

impl TokenFacts<'_> {
    /// The event with all of it.
    pub(super) fn told_by(&self, event: Event) -> Event {
        let Self { kind, audiences, delegator, scope, rights, confirmation, requested_by } = self;
        let rights = rights.map(ToString::to_string);
        let details = [
            ("kind", Some(*kind).filter(|kind| !kind.is_empty())),
            ("delegator", *delegator),
            ("scope", Some(*scope).filter(|scope| !scope.is_empty())),
            ("rights", rights.as_deref()),
            ("confirmation", *confirmation),
            ("requested_by", requested_by.map(SpiffeId::as_str)),
        ];
        let told = details.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let event = event.with_audience(audiences.iter().cloned());
        told.fold(event, |event, (name, value)| event.with_detail(name, value))
    }
}
