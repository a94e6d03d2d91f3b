//! Tokens that derive from others: never from one that is dead, however close its end and the derivation are.

use jiff::Timestamp;
use marque_exchange::{
    Derivation, Derived, Ended, MAX_DERIVED_TOKENS, MAX_KEPT_DERIVED_TOKENS, TokenRecord, TokenUse,
    in_transaction, is_live, is_not_stopped, use_up,
};
use marque_intent::pace::{Family, PaceKey};
use marque_intent::{Denial, DenialCode, Derive as IntentDerive, Intent, StopPoint};

use super::open::clock_is_safe;
use super::pace::may_exchange;
use crate::Failure;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

/// Derives one token.
#[derive(Debug)]
pub(crate) struct Derive {
    pub(crate) derivation: Derivation,
}

impl Transaction for Derive {
    type Answer = Result<Derived, Denial>;

    fn keys(&self, keys: &mut Keys) {
        let token = &self.derivation.token;
        keys.intents.insert(token.intent.clone());
        keys.tokens.insert(token.id.clone());
        keys.tokens.extend(token.parent.clone());
        keys.families.insert(token.intent.clone());
        let agents = [&token.client, &self.derivation.requested_by];
        keys.pace.extend(agents.map(|agent| PaceKey::Family(Family::of(agent))));
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        let Derivation { grant_digest, token, transaction, now, .. } = &self.derivation;
        let (intent, parent) = match self.parent(view)? {
            Ok(found) => found,
            Err(denial) => return Ok(Plan::nothing(Err(denial))),
        };
        let room = room(view, intent, *now)?;
        let free = may_exchange(&token.client, view)?
            .and(may_exchange(&self.derivation.requested_by, view)?);
        let permitted = self.permitted(view, intent, parent).and(free).and(room);
        let permitted = clock_is_safe(view, *now).and(permitted).and_then(|()| {
            let wanted = IntentDerive {
                holder: &token.client,
                through: &token.through,
                grant_digest,
                token_id: token.id.as_str(),
                parent: parent.id.as_str(),
                token_expires_at: token.expires_at,
                facts: self.derivation.facts(),
                epoch: view.kills().epoch,
            };
            intent.derive(&wanted, *now)
        });
        let event = match permitted {
            Ok(event) => in_transaction(event, transaction.as_ref()),
            Err(denial) => return Ok(Plan::nothing(Err(denial))),
        };
        // To be exchanged is the only use of a token that has but one.
        let used = match parent.single_use.then(|| self.use_up(view, intent, parent)).transpose() {
            Ok(used) => used.unwrap_or_default(),
            Err(denial) => return Ok(Plan::nothing(Err(denial))),
        };
        let token = view.placed(token);
        // To derive is to be heard of.
        let (heard, told) =
            intent.heard(None, *now).unwrap_or_else(|_| (intent.clone(), Vec::new()));
        let writes = Writes {
            intents: if told.is_empty() { Vec::new() } else { vec![heard.clone()] },
            events: std::iter::once(event).chain(used.events).chain(told).collect(),
            tokens: vec![token.clone()],
            changed_tokens: used.tokens,
            ..Writes::default()
        };
        let answer = Ok(Derived { intent: heard, token });
        Ok(Plan { answer, writes })
    }
}

impl Derive {
    /// The intent and the token that this one is to derive from.
    fn parent<'a>(
        &self,
        view: &'a View,
    ) -> Result<Result<(&'a Intent, &'a TokenRecord), Denial>, Failure> {
        let token = &self.derivation.token;
        let parent = match &token.parent {
            Some(parent) => view.token(parent)?,
            None => None,
        };
        Ok(match (view.intent(&token.intent)?, parent) {
            (Some(intent), Some(parent)) => Ok((intent, parent)),
            _ => Err(stranger("there is no such intent or parent")),
        })
    }

    /// The parent as it is to be kept when its only use is to be exchanged.
    fn use_up(&self, view: &View, intent: &Intent, parent: &TokenRecord) -> Result<Ended, Denial> {
        let Derivation { requested_by, now, .. } = &self.derivation;
        let order = TokenUse {
            token: parent.id.clone(),
            intent: parent.intent.clone(),
            by: requested_by.clone(),
            now: *now,
        };
        use_up(parent, intent, view.kills(), &order)
    }

    /// The parent is live, and the token is no wider than it.
    fn permitted(&self, view: &View, intent: &Intent, parent: &TokenRecord) -> Result<(), Denial> {
        let Derivation { token, now, .. } = &self.derivation;
        is_live(parent, intent, view.kills(), *now)?;
        // A kill of the new holder, too: it may be none of those before it.
        is_live(token, intent, view.kills(), *now)?;
        is_not_stopped(token, intent, view.kills(), StopPoint::Issue)?;
        let own = token.client == parent.client && token.through == parent.through;
        if !own && !token.through.iter().eq(parent.holders()) {
            return Err(stranger("the token does not continue the chain of its parent"));
        }
        if parent.root.is_some() && token.root != parent.root {
            return Err(stranger("the token is on another's behalf than its parent"));
        }
        if token.ancestors != parent.line() {
            return Err(stranger("the token is of another line than its parent"));
        }
        if token.keys_above != parent.keys() {
            return Err(stranger("the token is bound by other keys than its parent"));
        }
        let audiences = token.kind.may_be_for(&token.audiences, parent);
        let bound = parent.confirmation.is_none() || token.confirmation.is_some();
        let uses = token.single_use || !parent.single_use;
        if !audiences || !bound || !uses || token.expires_at > parent.expires_at {
            return Err(Denial::new(
                DenialCode::ExceedsParentScope,
                "the token would be wider than its parent",
            ));
        }
        if view.has_token(&token.id) {
            return Err(Denial::new(
                DenialCode::IdempotencyConflict,
                "the token id was used before",
            ));
        }
        Ok(())
    }
}

/// Whether one more token may derive. Those that ended count too until they expire: every revocation and every derivation
/// looks at each, and holds up everybody else's for so long.
fn room(view: &View, intent: &Intent, now: Timestamp) -> Result<Result<(), Denial>, Failure> {
    let family: Vec<_> = view.family(intent.id())?.collect();
    let live = family.iter().filter(|record| is_live(record, intent, view.kills(), now).is_ok());
    Ok(if live.count() >= MAX_DERIVED_TOKENS {
        let detail = format!("{MAX_DERIVED_TOKENS} derived tokens of the intent are live");
        Err(Denial::new(DenialCode::ConcurrentGrantLimit, detail))
    } else if family.len() >= MAX_KEPT_DERIVED_TOKENS {
        let detail =
            format!("{MAX_KEPT_DERIVED_TOKENS} derived tokens of the intent have not expired");
        Err(Denial::new(DenialCode::RateLimited, detail))
    } else {
        Ok(())
    })
}

fn stranger(detail: &str) -> Denial {
    Denial::new(DenialCode::GrantNotBoundToSession, detail)
}
