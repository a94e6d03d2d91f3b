//! The use of a grant: one token for one use, however many ask at once.

use marque_exchange::Redemption;
use marque_intent::{Denial, DenialCode, Intent, Use};

use super::intents::expired_first;
use crate::Failure;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

/// Redeems one use.
#[derive(Debug)]
pub(crate) struct Redeem {
    pub(crate) redemption: Redemption,
}

impl Transaction for Redeem {
    type Answer = Result<Intent, Denial>;

    fn keys(&self, keys: &mut Keys) {
        keys.intents.insert(self.redemption.intent.clone());
        keys.tokens.insert(self.redemption.token.id.clone());
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        let Redemption { intent, agent, grant_digest, token, now } = &self.redemption;
        let refused = |code, detail: &str| Ok(Plan::nothing(Err(Denial::new(code, detail))));
        let Some(intent) = view.intent(intent)? else {
            return refused(DenialCode::GrantNotBoundToSession, "there is no such intent");
        };
        if token.intent != *intent.id() || token.client != *agent {
            return refused(
                DenialCode::GrantNotBoundToSession,
                "the token is of another intent or agent",
            );
        }
        if let Some(code) = view.kills().stops_grant(intent.grant()) {
            return refused(code, "the kill switch stops the grant");
        }
        if view.has_token(&token.id) {
            return refused(DenialCode::IdempotencyConflict, "the token id was used before");
        }
        let mut writes = Writes::default();
        let intent = expired_first(intent, *now, &mut writes);
        let wanted = Use {
            agent,
            grant_digest,
            token_id: token.id.as_str(),
            token_expires_at: token.expires_at,
            epoch: view.kills().epoch,
        };
        let answer = intent.redeem(&wanted, *now).map(|(next, event)| {
            writes.events.push(event);
            writes.intents.push(next.clone());
            writes.tokens.push(token.clone());
            next
        });
        Ok(Plan { answer, writes })
    }
}
