//! The phases of a long task: each is a grant of its own with a decision of its own (M 54), so that what prepares never
//! executes (M 45).
//!
//! Absent: how the earlier intents are found, which is the caller's.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::Playbook;
use crate::denial::{Denial, DenialCode};
use crate::lifecycle::{Intent, Outcome, State, plus};
use crate::request::IntentRequest;
use crate::short_name::short_name;

/// When a phase is asked for again whose predecessor's post-check has not answered.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

short_name! {
    /// A phase's name: 1 to 32 of `a-z 0-9 -`.
    PhaseName up to 32;
    /// The text is not the name of a phase.
    PhaseNameError "a phase's name has 1 to 32 of the characters `a-z`, `0-9` and `-`"
}

/// One phase of a playbook: its name, and what has to be done before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub(super) name: PhaseName,
    pub(super) needs: BTreeSet<PhaseName>,
    pub(super) within: Option<Duration>,
}

impl Phase {
    /// The name.
    #[must_use]
    pub const fn name(&self) -> &PhaseName {
        &self.name
    }

    /// The phases that have to be completed with success before it.
    #[must_use]
    pub const fn needs(&self) -> &BTreeSet<PhaseName> {
        &self.needs
    }

    /// How long ago those may have been completed; absent where it needs none.
    #[must_use]
    pub const fn within(&self) -> Option<Duration> {
        self.within
    }

    /// Whether `request` for this phase comes in its order: of the agent's `earlier` intents, one for each phase that it
    /// needs was completed with success, of the same playbook by content, with the same parameters and the same ticket,
    /// and not too long ago.
    ///
    /// # Errors
    /// `phase_order`, which names the phase that is missing, or `upstream_unreachable` while its post-check has not answered.
    pub fn check_order(
        &self,
        playbook: &Playbook,
        request: &IntentRequest,
        earlier: &[Intent],
        now: Timestamp,
    ) -> Result<(), Denial> {
        let is_of = |needed: &PhaseName, intent: &Intent| {
            let done = intent.grant();
            let recent = self.within.is_none_or(|within| now <= plus(intent.changed_at(), within));
            intent.state() == State::Completed
                && recent
                && done.conditions.provisions.phase.as_ref() == Some(needed)
                && done.playbook.id == playbook.id
                && done.playbook.digest == playbook.digest
                && done.parameters == *request.parameters()
                && done.ticket.as_ref() == request.ticket()
        };
        let any = |needed: &PhaseName, counts: &dyn Fn(&Intent) -> bool| {
            earlier.iter().any(|intent| is_of(needed, intent) && counts(intent))
        };
        let succeeded = |intent: &Intent| intent.outcome() == Some(Outcome::Success);
        let in_question = |intent: &Intent| intent.awaits_post_check().is_some();
        match self.needs.iter().find(|needed| !any(needed, &succeeded)) {
            None => Ok(()),
            Some(needed) if any(needed, &in_question) => {
                let detail = format!("whether phase `{needed}` was done is being asked");
                Err(Denial::new(DenialCode::UpstreamUnreachable, detail).after(ASKED_AGAIN))
            }
            Some(needed) => {
                let detail = format!(
                    "phase `{}` needs phase `{needed}` completed with success before, for the same parameters",
                    self.name
                );
                Err(Denial::new(DenialCode::PhaseOrder, detail))
            }
        }
    }
}

impl Playbook {
    /// The phases, if it is staged.
    pub fn phases(&self) -> impl Iterator<Item = &Phase> {
        self.phases.iter().filter_map(|phase| phase.phase.as_ref())
    }

    /// The phase that this is the playbook of; absent where it is the playbook of a whole task.
    #[must_use]
    pub const fn phase(&self) -> Option<&Phase> {
        self.phase.as_ref()
    }

    /// The playbook as it is in one phase: with that phase's scopes, actions, tools, numbers and approval. A playbook
    /// without phases is its own only one, and is asked for without a name.
    ///
    /// # Errors
    /// `phase_order`: a phase has to be named and is not, or there is none of that name.
    pub fn in_phase(&self, asked: Option<&PhaseName>) -> Result<&Self, Denial> {
        let refused = |detail: String| Err(Denial::new(DenialCode::PhaseOrder, detail));
        match asked {
            None if self.phases.is_empty() => Ok(self),
            None => {
                let names: Vec<_> = self.phases().map(|phase| phase.name.as_str()).collect();
                refused(format!("the request names no `phase`; there are `{}`", names.join("`, `")))
            }
            Some(name) => {
                let of = |playbook: &&Self| playbook.phase().is_some_and(|one| one.name == *name);
                match self.phases.iter().map(AsRef::as_ref).find(of) {
                    Some(playbook) => Ok(playbook),
                    None => refused(format!("the playbook has no phase `{name}`")),
                }
            }
        }
    }
}
