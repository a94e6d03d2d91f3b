//! What became of an agent's report: the word of the post-check, where the grant pins one, beside the agent's own.

use jiff::Timestamp;
use marque_audit::{Event, EventKind};

use super::{Intent, Outcome, State};
use crate::denial::{Denial, DenialCode};
use crate::post_check::{PostCheck, PostCheckUrl};

impl Intent {
    /// How it went. By the agent's word, or `unknown` where it was used and ended without one; where a post-check has to
    /// agree: `failure` if it does not, and `unknown` as long as it says nothing.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.post_check {
            None | Some(PostCheck::Verified) => {
                self.outcome.or_else(|| self.is_unreported().then_some(Outcome::Unknown))
            }
            Some(PostCheck::Failed) => Some(Outcome::Failure),
            Some(PostCheck::Pending | PostCheck::Unreachable) => Some(Outcome::Unknown),
        }
    }

    /// How it went by the agent's word alone, if it gave it.
    #[must_use]
    pub fn reported_outcome(&self) -> Option<Outcome> {
        self.outcome.filter(|_| self.state == State::Completed)
    }

    /// What the post-check says of the report; absent where nothing was reported, or nobody is to be asked.
    #[must_use]
    pub fn post_check(&self) -> Option<PostCheck> {
        self.post_check
    }

    /// Where to ask whether the reported work was done, as long as nobody has.
    #[must_use]
    pub fn awaits_post_check(&self) -> Option<&PostCheckUrl> {
        let url = self.grant.conditions.provisions.post_check.as_ref();
        url.filter(|_| self.post_check == Some(PostCheck::Pending))
    }

    /// Records what the post-check says. Its first word stands: whoever asked a second time changes nothing.
    ///
    /// # Errors
    /// Nobody is to be asked about it.
    pub fn post_checked(
        &self,
        said: PostCheck,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        let Some(known) = self.post_check else {
            let detail = "no post-check is to be asked about it";
            return Err(Denial::new(DenialCode::InvalidRequest, detail));
        };
        if known != PostCheck::Pending || said == PostCheck::Pending {
            return Ok((self.clone(), Vec::new()));
        }
        let mut next = self.step(self.state, now);
        // When the work ended is what later phases and cooldowns count from.
        next.changed_at = self.changed_at;
        next.post_check = Some(said);
        let event = next.with_outcome(next.event(EventKind::IntentPostChecked, now));
        Ok((next, vec![event]))
    }

    /// How it went, with both words where there are two.
    pub(super) fn with_outcome(&self, mut event: Event) -> Event {
        if let Some(outcome) = self.outcome() {
            event = event.with_detail("outcome", outcome.as_str());
        }
        if let Some(said) = self.post_check {
            event = event.with_detail("post_check", said.as_str());
            if let Some(reported) = self.reported_outcome() {
                event = event.with_detail("reported_outcome", reported.as_str());
            }
        }
        event
    }
}
