//! Tokens after their issue: revoked with all that derives, used up, and forgotten long after their end.

use std::time::Duration;

use jiff::Timestamp;
use marque_exchange::{
    Ended, RevocationOutcome, TOKENS_KEPT_FOR, TokenRevocation, TokenUse, revoke, use_up,
};
use marque_intent::pace::HISTORY;
use marque_intent::{Denial, DenialCode};

use super::IDEMPOTENCY_LIFETIME;
use crate::Failure;
use crate::transaction::{Keys, OverRows, Plan, Transaction, View, Writes};

/// Revokes a token and its descendants.
#[derive(Debug)]
pub(crate) struct RevokeToken {
    pub(crate) order: TokenRevocation,
}

impl Transaction for RevokeToken {
    type Answer = RevocationOutcome;

    fn keys(&self, keys: &mut Keys) {
        keys.tokens.insert(self.order.token.clone());
        keys.families.insert(self.order.intent.clone());
    }

    fn plan(&self, view: &View) -> Result<Plan<RevocationOutcome>, Failure> {
        let found = view.token(&self.order.token)?;
        let Some(token) = found.filter(|token| token.intent == self.order.intent) else {
            return Ok(Plan::nothing(RevocationOutcome::Unknown));
        };
        Ok(match revoke(token, view.family(&self.order.intent)?, &self.order) {
            Ok(ended) => {
                let ids = ended.tokens.iter().map(|token| token.id.clone()).collect();
                Plan { answer: RevocationOutcome::Revoked(ids), writes: writes(ended) }
            }
            Err(refusal) => Plan {
                answer: RevocationOutcome::NotOwner,
                writes: Writes { events: vec![*refusal], ..Writes::default() },
            },
        })
    }
}

/// Makes the only use of a token.
#[derive(Debug)]
pub(crate) struct UseToken {
    pub(crate) order: TokenUse,
}

impl Transaction for UseToken {
    type Answer = Result<(), Denial>;

    fn keys(&self, keys: &mut Keys) {
        keys.tokens.insert(self.order.token.clone());
        keys.intents.insert(self.order.intent.clone());
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        let (token, intent) = (view.token(&self.order.token)?, view.intent(&self.order.intent)?);
        let (Some(token), Some(intent)) = (token, intent) else {
            let detail = "there is no such token";
            let denial = Denial::new(DenialCode::GrantNotBoundToSession, detail);
            return Ok(Plan::nothing(Err(denial)));
        };
        Ok(match use_up(token, intent, view.kills(), &self.order) {
            Ok(ended) => Plan { answer: Ok(()), writes: writes(ended) },
            Err(denial) => Plan::nothing(Err(denial)),
        })
    }
}

fn writes(ended: Ended) -> Writes {
    let Ended { tokens, events } = ended;
    Writes { events, changed_tokens: tokens, ..Writes::default() }
}

/// Forgets what ended long ago; answers how many rows.
#[derive(Debug)]
pub(crate) struct Prune {
    pub(crate) now: Timestamp,
    pub(crate) limit: usize,
}

impl Prune {
    fn before(&self, kept_for: Duration) -> Timestamp {
        self.now.checked_sub(kept_for).unwrap_or(Timestamp::MIN)
    }
}

impl Transaction for Prune {
    type Answer = usize;

    fn keys(&self, keys: &mut Keys) {
        keys.over = Some(Over {
            tokens_expired_before: self.before(TOKENS_KEPT_FOR),
            keys_created_before: self.before(IDEMPOTENCY_LIFETIME),
            now: self.now,
            denials_before: self.before(HISTORY),
            limit: self.limit,
        });
    }

    fn plan(&self, view: &View) -> Result<Plan<usize>, Failure> {
        let OverRows { tokens, idempotency, pace, denials, hushed } = view.over();
        let writes = Writes {
            // What was counted and not told of is told before it is forgotten.
            events: hushed.iter().filter_map(|one| one.told(view.now())).collect(),
            deleted_tokens: tokens.clone(),
            deleted_idempotency: idempotency.clone(),
            deleted_pace: pace.clone(),
            deleted_denials: denials.clone(),
            ..Writes::default()
        };
        let rows = [tokens.len(), idempotency.len(), pace.len(), denials.len()];
        Ok(Plan { answer: rows.into_iter().sum(), writes })
    }
}

/// Which rows are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) tokens_expired_before: Timestamp,
    pub(crate) keys_created_before: Timestamp,
    /// Rows of pace say nothing after their end.
    pub(crate) now: Timestamp,
    pub(crate) denials_before: Timestamp,
    /// At most so many of each.
    pub(crate) limit: usize,
}
