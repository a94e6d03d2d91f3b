//! The use of a grant: one token for one use, however many ask at once.

use super::chain;
use super::intents::expired_first;
use super::open::{admit_use, clock_is_safe, end_below};
use super::pace::may_exchange;
use crate::Failure;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};
use marque_exchange::{
    Deferral, DeferralState, RedeemError, Redeemed, Redemption, in_transaction, is_not_stopped,
};
use marque_intent::pace::{Family, PaceKey};
use marque_intent::{Denial, DenialCode, Holding, IntentId, OpenBy, StopPoint, Use};

/// Redeems one use.
#[derive(Debug)]
pub(crate) struct Redeem {
    pub(crate) redemption: Redemption,
    /// Every intent above it.
    pub(crate) above: Vec<IntentId>,
}

/// Why no use was redeemed.
#[derive(Debug)]
pub(crate) enum NotRedeemed {
    Refused(Denial),
    /// The deferral that it would collect is not open.
    Spent,
}

impl From<NotRedeemed> for RedeemError {
    fn from(refused: NotRedeemed) -> Self {
        match refused {
            NotRedeemed::Refused(denial) => Self::Refused(denial),
            NotRedeemed::Spent => Self::Spent,
        }
    }
}

impl Transaction for Redeem {
    type Answer = Result<Redeemed, NotRedeemed>;

    fn keys(&self, keys: &mut Keys) {
        keys.intents.insert(self.redemption.intent.clone());
        keys.intents.extend(self.above.iter().cloned());
        keys.tokens.insert(self.redemption.token.id.clone());
        keys.deferrals.extend(self.redemption.deferral);
        keys.below.insert(self.redemption.intent.clone());
        keys.open.extend(
            self.redemption
                .facts()
                .delegator
                .map(|person| Holding { by: OpenBy::Delegator, name: person.to_owned() }),
        );
        keys.pace.insert(PaceKey::Family(Family::of(&self.redemption.agent)));
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        let Redemption {
            intent,
            agent,
            grant_digest,
            carried: _,
            deferral: _,
            token,
            transaction,
            proofs: _,
            now,
        } = &self.redemption;
        let refused = |code, detail: &str| {
            Ok(Plan::nothing(Err(NotRedeemed::Refused(Denial::new(code, detail)))))
        };
        let Some(intent) = view.intent(intent)? else {
            return refused(DenialCode::GrantNotBoundToSession, "there is no such intent");
        };
        if token.intent != *intent.id() || token.client != *agent {
            return refused(
                DenialCode::GrantNotBoundToSession,
                "the token is of another intent or agent",
            );
        }
        if let Err(denial) = is_not_stopped(token, intent, view.kills(), StopPoint::Issue) {
            return Ok(Plan::nothing(Err(NotRedeemed::Refused(denial))));
        }
        if let Err(denial) = may_exchange(agent, view)? {
            return Ok(Plan::nothing(Err(NotRedeemed::Refused(denial))));
        }
        if let Err(denial) = chain::holds(view, intent, *now)? {
            return Ok(Plan::nothing(Err(NotRedeemed::Refused(denial))));
        }
        if view.has_token(&token.id) {
            return refused(DenialCode::IdempotencyConflict, "the token id was used before");
        }
        let Some(collected) = self.collected(view)? else {
            return Ok(Plan::nothing(Err(NotRedeemed::Spent)));
        };
        if let Err(denial) = clock_is_safe(view, *now) {
            return Ok(Plan::nothing(Err(NotRedeemed::Refused(denial))));
        }
        let mut writes = Writes::default();
        let intent = expired_first(intent, *now, &mut writes);
        end_below(view, &intent, *now, &mut writes)?;
        if let Err(denial) = admit_use(view, &intent, self.redemption.facts().delegator)? {
            return Ok(Plan { answer: Err(NotRedeemed::Refused(denial)), writes });
        }
        let wanted = Use {
            agent,
            grant_digest,
            token_id: token.id.as_str(),
            token_expires_at: token.expires_at,
            facts: self.redemption.facts(),
            epoch: view.kills().epoch,
        };
        let answer = intent.redeem(&wanted, *now).map(|(next, event)| {
            writes.events.push(in_transaction(event, transaction.as_ref()));
            writes.intents.push(next.clone());
            let token = view.placed(token);
            writes.tokens.push(token.clone());
            writes.deferrals.extend(collected);
            Redeemed { intent: next, token }
        });
        Ok(Plan { answer: answer.map_err(NotRedeemed::Refused), writes })
    }
}

impl Redeem {
    /// The deferral that it collects as it is afterwards, if it collects one; `None` for one that is not open.
    fn collected(&self, view: &View) -> Result<Option<Option<Deferral>>, Failure> {
        let Redemption { intent, agent, deferral: code, now, .. } = &self.redemption;
        let Some(code) = code else { return Ok(Some(None)) };
        let own = |deferral: &&Deferral| {
            deferral.client == *agent && deferral.intent == *intent && deferral.is_open(*now)
        };
        let open = view.deferral(code)?.filter(own);
        Ok(open.map(|open| Some(Deferral { state: DeferralState::Redeemed, ..open.clone() })))
    }
}
