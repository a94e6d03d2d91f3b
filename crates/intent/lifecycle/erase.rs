//! Taking away what an agent wrote, when somebody has a right to that: the log has digests alone, and stays what it is.

use jiff::Timestamp;
use marque_audit::{Event, EventKind};

use super::Intent;
use crate::denial::{Denial, DenialCode};
use crate::text::Reason;

impl Intent {
    /// The intent without its justification and its agent's report. Where there is neither, nothing changes.
    ///
    /// # Errors
    /// It is open: whoever decides about it reads them.
    pub fn erased(
        &self,
        actor: &str,
        reason: &Reason,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        if !self.state.is_terminal() {
            let detail = "it is open, and whoever decides about it reads its texts; wait for its end, or end it";
            return Err(Denial::new(DenialCode::InvalidRequest, detail));
        }
        let texts =
            [("justification", self.justification.is_some()), ("report", self.report.is_some())];
        let texts: Vec<&str> =
            texts.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
        if texts.is_empty() {
            return Ok((self.clone(), Vec::new()));
        }
        let mut next = self.step(self.state, now);
        // When it ended is what clocks count from.
        next.changed_at = self.changed_at;
        (next.justification, next.report) = (None, None);
        let event = next
            .event(EventKind::PayloadErased, now)
            .with_actor(actor)
            .with_detail("erased", texts)
            .with_detail("reason", reason.as_str());
        Ok((next, vec![event]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ask, at, grant_with, start};
    use crate::text::Justification;

    fn reason() -> Reason {
        Reason::new("request 17 under the privacy policy").unwrap()
    }

    fn asked(justification: Option<&str>) -> Intent {
        let said = justification.map(|text| Justification::new(text).unwrap());
        Intent::open(grant_with(1, 1), said, ask(), start()).0
    }

    #[test]
    fn what_an_agent_wrote_goes_and_what_became_of_the_intent_stays() {
        let agent = asked(None).agent().clone();
        let (ended, _) = asked(Some("for Jane Roe")).cancel(&agent, at(1)).unwrap();
        let (erased, events) = ended.erased("operator:user1000", &reason(), at(5)).unwrap();
        assert_eq!(erased.justification(), None);
        assert_eq!((erased.state(), erased.changed_at()), (ended.state(), ended.changed_at()));
        assert_eq!(events[0].kind, EventKind::PayloadErased);
        assert_eq!(events[0].detail["erased"], serde_json::json!(["justification"]));
        let text = format!("{events:?}{}", serde_json::to_string(erased.course()).unwrap());
        assert!(!text.contains("Jane"), "{text}");
        // Once more changes nothing.
        assert_eq!(erased.erased("operator:user1000", &reason(), at(6)).unwrap(), (erased, vec![]));
    }

    #[test]
    fn the_texts_of_an_open_intent_stay() {
        let refused = asked(Some("soon")).erased("operator:user1000", &reason(), at(1));
        assert_eq!(refused.unwrap_err().code(), DenialCode::InvalidRequest);
    }

    #[test]
    fn what_is_sealed_is_not_kept_beside_with_an_intent_that_is_over() {
        let mut terms = grant_with(1, 1).terms().clone();
        terms.conditions.provisions.logging.prompt = crate::PromptKept::Sealed;
        let sealed = |verdict| {
            let grant = crate::Grant::seal(terms.clone()).unwrap();
            Intent::open(grant, Some(Justification::new("for Jane Roe").unwrap()), verdict, start())
        };
        let (open, events) = sealed(ask());
        assert!(open.justification().is_some(), "whoever decides reads it");
        assert!(!format!("{events:?}").contains("justification_digest"));
        let (ended, _) = open.cancel(&open.agent().clone(), at(1)).unwrap();
        assert_eq!(ended.justification(), None);
        let refused = crate::Ruling::Deny { code: DenialCode::RiskTooHigh, rules: Vec::new() };
        assert_eq!(sealed(refused).0.justification(), None);
    }
}
