//! Lifting kills, for people who logged in: the groups of the document say who may, and a second factor says that it is them.
//!
//! Absent: that it takes two people, which is the kill switch's own rule for every door.

use std::sync::Arc;

use marque_intent::kill::{KillMode, KillState};
use marque_intent::{Decider, Denial, DenialCode, Reason};

use super::session::Session;
use super::{Approvers, DecisionError};
use crate::issuer::kill::{KillError, LiftAsk};

/// Why nothing was asked for or lifted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LiftError {
    /// This person may not, or not by this login.
    #[error("the person may not lift kills")]
    NotTheirs(#[source] DecisionError),
    /// The kill switch refuses it.
    #[error(transparent)]
    Kill(#[from] KillError),
}

/// How the kill switch stands.
pub(crate) struct Standing {
    /// What is killed.
    pub(crate) state: Arc<KillState>,
    /// Whether something is in force at this replica alone.
    pub(crate) kept_here_only: bool,
    /// The wishes that may be confirmed.
    pub(crate) asks: Vec<LiftAsk>,
}

impl Approvers {
    /// The kills that stand, and who wants them lifted.
    ///
    /// # Errors
    /// The person may not lift kills, or the store cannot be read.
    pub(crate) async fn kills(&self, session: &Session) -> Result<Standing, LiftError> {
        self.may_lift(&self.decider(session))?;
        let asks = self.kill_switch.lift_asks().await?;
        Ok(self.standing(self.kill_switch.state(), asks))
    }

    /// Asks for a kill to be lifted, or relaxed to a mode that stops less.
    ///
    /// # Errors
    /// The person may not lift kills or has shown no second factor lately, or the kill switch refuses it.
    pub(crate) async fn ask_lift(
        &self,
        session: &Session,
        kill: &str,
        (to, reason): (Option<KillMode>, Reason),
    ) -> Result<LiftAsk, LiftError> {
        let who = self.lifter(session)?;
        Ok(self.kill_switch.ask_lift(kill, to, reason, &who).await?)
    }

    /// Confirms what somebody else asked for.
    ///
    /// # Errors
    /// As for [`Self::ask_lift`]; and whoever asked does not confirm.
    pub(crate) async fn confirm_lift(
        &self,
        session: &Session,
        ask: &str,
    ) -> Result<Standing, LiftError> {
        let who = self.lifter(session)?;
        let state = self.kill_switch.confirm_lift(ask, &who).await?;
        Ok(self.standing(state, Vec::new()))
    }

    fn standing(&self, state: Arc<KillState>, asks: Vec<LiftAsk>) -> Standing {
        Standing { state, kept_here_only: self.kill_switch.kept_here_only(), asks }
    }

    /// The person, where they may lift kills and have lately shown that it is them.
    fn lifter(&self, session: &Session) -> Result<Decider, LiftError> {
        let who = self.decider(session);
        self.may_lift(&who)?;
        match who.mfa {
            Some(_) => Ok(who),
            None => Err(LiftError::NotTheirs(DecisionError::MfaNeeded)),
        }
    }

    fn may_lift(&self, who: &Decider) -> Result<(), LiftError> {
        let login = self.document.approver_login();
        let groups = login.into_iter().flat_map(|login| login.lift_groups());
        if groups.into_iter().any(|group| who.groups.iter().any(|own| own.as_str() == group)) {
            return Ok(());
        }
        let detail = "kills are lifted by members of `lift_groups` in [approver_login], or by local operators";
        let denial = Denial::new(DenialCode::ApproverNotEligible, detail);
        Err(LiftError::NotTheirs(DecisionError::Denied(denial)))
    }
}
