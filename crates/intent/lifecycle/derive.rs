//! Tokens that derive from a token of the grant: they spend no use, and end with it.

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_spiffe::SpiffeId;

use super::{Intent, State, TokenFacts};
use crate::denial::{Denial, DenialCode};
use crate::digest::Digest;

/// A token that somebody wants to derive from another of the same intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derive<'a> {
    /// Who will hold it.
    pub holder: &'a SpiffeId,
    /// Who held those before it, the newest first.
    pub through: &'a [SpiffeId],
    /// The digest of the grant that it was built from.
    pub grant_digest: &'a Digest,
    /// Its `jti`, new with every token.
    pub token_id: &'a str,
    /// The `jti` of the token that it derives from.
    pub parent: &'a str,
    /// When it ends.
    pub token_expires_at: Timestamp,
    /// What else is told of it.
    pub facts: TokenFacts<'a>,
    /// The kill switch's epoch at which it is derived.
    pub epoch: u64,
}

impl Intent {
    /// Lets a token derive from one that this intent gave; the intent stays as it is. Whether that token is live is the
    /// caller's to know.
    ///
    /// # Errors
    /// The intent has ended or never was approved, or was approved in another form.
    pub fn derive(&self, wanted: &Derive<'_>, now: Timestamp) -> Result<Event, Denial> {
        // A consumed intent gives no further use; the tokens that it gave live on, and so do those that derive from them.
        self.may_end(now)?;
        if self.state == State::Pending {
            return Err(Denial::new(DenialCode::ApprovalPending, "nobody has approved it yet"));
        }
        self.clock_is_safe(now)?;
        self.is_what_was_approved(wanted.grant_digest)?;
        let through: Vec<&str> = wanted.through.iter().map(SpiffeId::as_str).collect();
        let event = self
            .event(EventKind::TokenDerived, now)
            .with_actor(wanted.holder.as_str())
            .with_token_id(wanted.token_id)
            .with_expires_at(wanted.token_expires_at)
            .with_epoch(wanted.epoch)
            .with_detail("parent", wanted.parent)
            .with_detail("through", through);
        Ok(wanted.facts.told_by(self.with_privilege(event)))
    }
}
