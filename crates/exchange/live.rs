//! The one answer to "is this token still good?".
//!
//! The exchange, introspection, revocation and status lists all ask here, so that they cannot disagree (CVE-2026-8922); a
//! house rule keeps everything else from looking at the marks that decide it. Deliberately absent: storage. Whoever needs
//! the answer to hold asks inside the transaction that acts on it.

use jiff::Timestamp;
use marque_intent::{Denial, DenialCode, Intent, KillState, MAX_CLOCK_STEP_BACK};

use crate::TokenRecord;

/// Whether a token may still be used.
///
/// A token ends with its own time, with its revocation, with its one use where it has only one, with every end of its
/// intent but the last use, and at once with a kill that stops its grant, its holder or anybody that it came through. On a
/// clock that stepped back behind its issue it is not live either. What ends a token that it derives from ends it as well,
/// because whoever revokes one marks all its descendants in the same transaction.
///
/// # Errors
/// Why it may not; where its intent has ended, by [`Intent::ended_code`].
pub fn is_live(
    token: &TokenRecord,
    intent: &Intent,
    kills: &KillState,
    now: Timestamp,
) -> Result<(), Denial> {
    if token.intent != *intent.id() || *token.first_holder() != intent.grant().agent {
        return Err(Denial::new(
            DenialCode::GrantNotBoundToSession,
            "the token is not of this intent and agent",
        ));
    }
    if let Some(code) = kills.stops_grant(intent.grant()) {
        return Err(Denial::new(code, "the kill switch stops the grant"));
    }
    if let Some(code) = token.holders().find_map(|agent| kills.stops_agent(agent)) {
        return Err(Denial::new(code, "the kill switch stops an agent of the token's chain"));
    }
    if token.revoked_at.is_some() {
        return Err(Denial::new(DenialCode::GrantRevoked, "the token was revoked"));
    }
    if token.used_at.is_some() {
        return Err(Denial::new(DenialCode::GrantConsumed, "the token's only use was made"));
    }
    if token.issued_at.checked_sub(MAX_CLOCK_STEP_BACK).is_ok_and(|earliest| now < earliest) {
        return Err(Denial::new(DenialCode::ClockUnsafe, "the clock is behind the token's issue"));
    }
    if now >= token.expires_at || now >= intent.grant().not_after {
        return Err(Denial::new(DenialCode::GrantExpired, "the token or its grant has expired"));
    }
    // A consumed intent gives no further token; the last one that it gave is good until it ends.
    if intent.lets_tokens_live(now) {
        return Ok(());
    }
    let ended = intent.ended_code(now).unwrap_or(DenialCode::ApprovalPending);
    Err(Denial::new(ended, "the intent has ended or was never approved"))
}

#[cfg(test)]
mod tests;
