//! Whether an intent still holds up what was asked for under it.

use jiff::Timestamp;

use super::{Intent, State};
use crate::denial::{Denial, DenialCode};
use crate::parent::ParentIntent;

impl Intent {
    /// Whether this is the intent of that link, and alive: then what hangs on it may go on.
    ///
    /// # Errors
    /// It is another one, or in another form (`chain_invalid`), or it has ended: then by its own code.
    pub fn holds_up(&self, link: &ParentIntent, now: Timestamp) -> Result<(), Denial> {
        let same = *self.id() == link.id
            && *self.grant.digest() == link.digest
            && *self.agent() == link.agent;
        let approved = !matches!(self.state, State::Pending | State::Denied)
            && self.approvals.iter().all(|approval| approval.digest() == self.grant.digest());
        if !same || !approved {
            let detail = format!("`{}` above is not what it was, or was never approved", link.id);
            return Err(Denial::new(DenialCode::ChainInvalid, detail));
        }
        match self.ended_code(now) {
            // What it lent before it spent its own last use is still there.
            None | Some(DenialCode::GrantConsumed) => Ok(()),
            Some(code) => {
                let detail = format!("`{}` above has ended ({code})", link.id);
                Err(Denial::new(DenialCode::ChainInvalid, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests;
