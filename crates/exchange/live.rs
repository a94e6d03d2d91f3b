//! The one answer to "is this token still good?".
//!
//! The exchange, introspection, revocation and status lists all ask here, so that they cannot disagree (CVE-2026-8922); a
//! house rule keeps everything else from looking at the marks that decide it. Deliberately absent: storage. Whoever needs
//! the answer to hold asks inside the transaction that acts on it.

use jiff::Timestamp;
use marque_intent::{
    CredentialFacts, Denial, DenialCode, Intent, KillState, MAX_CLOCK_STEP_BACK, StopPoint,
};
use marque_jose::Confirmation;

use crate::{Principal, TokenRecord};

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
    is_not_stopped(token, intent, kills, StopPoint::Use)?;
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

/// Whether no kill stops this token at this point: by its grant or one above it, by itself or one that it derives from, by
/// its key or one that a token above it is bound to, by the person on whose behalf it is, or by anybody that it came through.
///
/// # Errors
/// The code of the kill.
pub fn is_not_stopped(
    token: &TokenRecord,
    intent: &Intent,
    kills: &KillState,
    point: StopPoint,
) -> Result<(), Denial> {
    if kills.kills.is_empty() {
        return Ok(());
    }
    if let Some(code) = kills.stops_grant(intent.grant(), point) {
        return Err(Denial::new(code, "the kill switch stops the grant"));
    }
    let line = token.line();
    let ids: Vec<&str> = std::iter::once(&token.id).chain(&line).map(|id| id.as_str()).collect();
    let thumbprint = |bound: Confirmation| match bound {
        Confirmation::Jkt(thumbprint) | Confirmation::X5t(thumbprint) => thumbprint.to_string(),
    };
    let keys: Vec<String> = token.keys().into_iter().map(thumbprint).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let delegator = token.root.as_ref().and_then(|root| match root {
        Principal::Person(person) => Some(person.as_str()),
        Principal::Agent(_) => None,
    });
    let holders: Vec<_> = token.holders().collect();
    let facts = CredentialFacts { ids: &ids, keys: &keys, delegator, holders: &holders };
    match kills.stops_credential(&facts, point) {
        Some(code) => Err(Denial::new(code, "the kill switch stops the token or its chain")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
