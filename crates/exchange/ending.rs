//! How tokens end before their time, as pure rules: revocation with all that derives, and the only use of a token that has
//! but one. Storage runs them inside its transactions, on the records as they are there.
//!
//! Deliberately absent: storage, and whether a token is live otherwise ([`is_live`]).

use std::collections::BTreeMap;

use marque_audit::{Event, EventKind};
use marque_intent::{Denial, DenialCode, Intent, KillState};

use crate::{Revoker, TokenId, TokenRecord, TokenRevocation, TokenUse, is_live};

/// Records that changed, and the events that belong into the same transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ended {
    /// The records as they are to be kept, the token that was named first.
    pub tokens: Vec<TokenRecord>,
    /// What happened to them.
    pub events: Vec<Event>,
}

/// Revokes a token and whatever derives from it, through however many others. `derived` are the tokens of its intent that
/// derive from another, those that ended among them: what derives from them ends too. What is revoked already stays as it
/// is.
///
/// # Errors
/// The event of a refusal: the client neither holds the token nor held one that it derives from.
pub fn revoke<'a>(
    token: &'a TokenRecord,
    derived: impl IntoIterator<Item = &'a TokenRecord>,
    order: &TokenRevocation,
) -> Result<Ended, Box<Event>> {
    if let Revoker::Client(client) = &order.by
        && !token.holders().any(|holder| holder == client)
    {
        return Err(Box::new(refusal(token, order)));
    }
    let family = family(token, derived);
    let standing = family.into_iter().filter(|record| record.revoked_at.is_none());
    let (tokens, events) = standing
        .map(|record| {
            let revoked = TokenRecord { revoked_at: Some(order.now), ..record.clone() };
            let event = revocation(&revoked, token, order);
            (revoked, event)
        })
        .unzip();
    Ok(Ended { tokens, events })
}

/// The token and all that derive from it, nearest first.
fn family<'a>(
    token: &'a TokenRecord,
    derived: impl IntoIterator<Item = &'a TokenRecord>,
) -> Vec<&'a TokenRecord> {
    let mut children: BTreeMap<&TokenId, Vec<&TokenRecord>> = BTreeMap::new();
    for record in derived.into_iter().filter(|record| record.id != token.id) {
        if let Some(parent) = &record.parent {
            children.entry(parent).or_default().push(record);
        }
    }
    let mut family = vec![token];
    let mut looked_at = 0;
    // Each is looked at once, and its children are taken away when they are found: a ring of them has an end.
    while let Some(record) = family.get(looked_at) {
        looked_at += 1;
        family.extend(children.remove(&record.id).into_iter().flatten());
    }
    family
}

fn revocation(record: &TokenRecord, named: &TokenRecord, order: &TokenRevocation) -> Event {
    let event = about(EventKind::TokenRevoked, record, order);
    let event = match &order.by {
        Revoker::Client(_) => event,
        Revoker::Operator { reason, .. } => event.with_detail("reason", reason.as_str()),
    };
    if record.id == named.id { event } else { event.with_detail("with", named.id.as_str()) }
}

fn refusal(token: &TokenRecord, order: &TokenRevocation) -> Event {
    let code = DenialCode::GrantNotBoundToSession;
    about(EventKind::ChangeRefused, token, order)
        .with_denial(code.as_str(), code.class().as_str())
        .with_detail("change", "revoke_token")
}

fn about(kind: EventKind, record: &TokenRecord, order: &TokenRevocation) -> Event {
    let actor = match &order.by {
        Revoker::Client(client) => client.to_string(),
        Revoker::Operator { actor, .. } => actor.clone(),
    };
    Event::new(kind, order.now)
        .with_agent(record.client.clone())
        .with_intent(record.intent.as_str())
        .with_token_id(record.id.as_str())
        .with_actor(actor)
}

/// Makes the only use of a token.
///
/// # Errors
/// The token is not live, or may be used more than once.
pub fn use_up(
    token: &TokenRecord,
    intent: &Intent,
    kills: &KillState,
    order: &TokenUse,
) -> Result<Ended, Denial> {
    is_live(token, intent, kills, order.now)?;
    if !token.single_use {
        return Err(Denial::new(DenialCode::InvalidRequest, "the token has more than one use"));
    }
    let used = TokenRecord { used_at: Some(order.now), ..token.clone() };
    let event = Event::new(EventKind::TokenUsed, order.now)
        .with_agent(token.client.clone())
        .with_intent(token.intent.as_str())
        .with_token_id(token.id.as_str())
        .with_actor(order.by.as_str());
    Ok(Ended { tokens: vec![used], events: vec![event] })
}
