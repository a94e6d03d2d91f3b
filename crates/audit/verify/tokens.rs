//! Every use of a token and every token that derives from one has a token that stands: the part of the verification that
//! follows tokens after their issue.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::VerifyError;
use super::bearing::Bearing;
use crate::Event;

/// The tokens so far.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    known: HashMap<String, Token>,
    ended_intents: HashSet<String>,
}

#[derive(Debug)]
struct Token {
    intent: Option<String>,
    expires_at: Option<Timestamp>,
    /// It was revoked, or its only use was made.
    ended: bool,
}

impl Tokens {
    /// Takes up what an event says of a token, or of the intent of some.
    pub(super) fn record(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        match Bearing::from(event.kind) {
            Bearing::Issues => self.add(event),
            Bearing::Derives => {
                let derived = self.derive(seq, event);
                self.add(event);
                return derived;
            }
            Bearing::Uses => {
                let token = self.standing(seq, event.token_id.as_deref())?;
                token.ended = true;
            }
            Bearing::Revokes => {
                let token = event.token_id.as_ref().and_then(|id| self.known.get_mut(id));
                token.into_iter().for_each(|token| token.ended = true);
            }
            Bearing::EndsIntent => self.ended_intents.extend(event.intent.clone()),
            Bearing::Approves | Bearing::Kills | Bearing::Lifts | Bearing::Nothing => {}
        }
        Ok(())
    }

    fn add(&mut self, event: &Event) {
        if let Some(id) = &event.token_id {
            let token =
                Token { intent: event.intent.clone(), expires_at: event.expires_at, ended: false };
            self.known.insert(id.clone(), token);
        }
    }

    /// The parent stands, is of the same intent, and is not outlived.
    fn derive(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        let parent = event.detail.get("parent").and_then(|parent| parent.as_str());
        let parent = self.standing(seq, parent)?;
        if parent.intent != event.intent {
            return Err(VerifyError::UnknownToken { seq });
        }
        match (event.expires_at, parent.expires_at) {
            (Some(own), Some(parents)) if own > parents => Err(VerifyError::OutlivesParent { seq }),
            _ => Ok(()),
        }
    }

    fn standing(&mut self, seq: u64, id: Option<&str>) -> Result<&mut Token, VerifyError> {
        let token = id.and_then(|id| self.known.get_mut(id));
        let token = token.ok_or(VerifyError::UnknownToken { seq })?;
        let intent_ended =
            token.intent.as_ref().is_some_and(|intent| self.ended_intents.contains(intent));
        if token.ended || intent_ended {
            return Err(VerifyError::EndedToken { seq });
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventKind;
    use crate::testing::{at, event};

    const ONE: &str = "tok_1";
    const TWO: &str = "tok_2";

    fn issued(id: &str) -> Event {
        event(EventKind::TokenIssued, "int_1", 1).with_token_id(id).with_expires_at(at(100))
    }

    fn derived(id: &str, parent: &str) -> Event {
        event(EventKind::TokenDerived, "int_1", 2)
            .with_token_id(id)
            .with_expires_at(at(100))
            .with_detail("parent", parent)
    }

    fn of(kind: EventKind, id: &str) -> Event {
        event(kind, "int_1", 3).with_token_id(id)
    }

    fn told(events: &[Event]) -> Result<(), (&'static str, u64)> {
        let mut tokens = Tokens::default();
        (0..).zip(events).try_for_each(|(seq, event)| {
            tokens.record(seq, event).map_err(|error| (error.kind(), error.seq().unwrap()))
        })
    }

    #[test]
    fn oauth_12_4_a_log_in_which_a_dead_token_is_used_or_derived_from_does_not_verify() {
        let revoked = || of(EventKind::TokenRevoked, ONE);
        let used = || of(EventKind::TokenUsed, ONE);
        let completed = || event(EventKind::IntentCompleted, "int_1", 3);
        for (name, events) in [
            ("derived_from_revoked", vec![issued(ONE), revoked(), derived(TWO, ONE)]),
            ("derived_from_used", vec![issued(ONE), used(), derived(TWO, ONE)]),
            ("derived_after_the_intent", vec![issued(ONE), completed(), derived(TWO, ONE)]),
            ("used_twice", vec![issued(ONE), used(), used()]),
            ("used_after_revocation", vec![issued(ONE), revoked(), used()]),
        ] {
            assert_eq!(told(&events), Err(("use_of_an_ended_token", 2)), "{name}");
        }
    }

    #[test]
    fn a_parent_is_known_of_the_same_intent_and_not_outlived() {
        assert_eq!(told(&[issued(ONE), derived(TWO, ONE)]), Ok(()));
        assert_eq!(told(&[derived(TWO, ONE)]), Err(("unknown_token", 0)));
        assert_eq!(told(&[of(EventKind::TokenUsed, ONE)]), Err(("unknown_token", 0)));
        let foreign = derived(TWO, ONE).with_intent("int_2");
        assert_eq!(told(&[issued(ONE), foreign]), Err(("unknown_token", 1)));
        let longer = derived(TWO, ONE).with_expires_at(at(101));
        assert_eq!(told(&[issued(ONE), longer]), Err(("token_outlives_parent", 1)));
    }

    #[test]
    fn a_token_that_derives_from_the_last_one_is_used_and_revoked_like_any() {
        let events = [
            issued(ONE),
            derived(TWO, ONE),
            derived("tok_3", TWO),
            of(EventKind::TokenUsed, "tok_3"),
            of(EventKind::TokenRevoked, ONE),
            of(EventKind::TokenRevoked, TWO),
            of(EventKind::TokenRevoked, "tok_unheard_of"),
        ];
        assert_eq!(told(&events), Ok(()));
    }
}
