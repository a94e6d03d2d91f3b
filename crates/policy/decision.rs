//! The question and the trait that answers it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_intent::{
    Approver, Delegator, Digest, Evidence, Grant, GroupName, Playbook, Ruling, Verdict,
};
use marque_spiffe::Environment;
use serde_json::Value;

use crate::veto::Veto;

/// Whether something may be done with a grant. Everything in it was resolved, found out or authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The grant that would be given, or is there, with agent, ticket, times and risk.
    pub grant: &'a Grant,
    /// The playbook that it comes from, as it is now.
    pub playbook: &'a Playbook,
    /// What is known now. At a request that is what the grant pins.
    pub evidence: &'a Evidence,
    /// The environment that the trust domain's document declares.
    pub environment: Environment,
    /// Who wants to do what.
    pub act: Act<'a>,
    /// Now.
    pub now: Timestamp,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub enum Act<'a> {
    /// The agent asks for the grant.
    Request,
    /// A person approves it.
    Approve {
        /// Who.
        approver: &'a Approver,
        /// The groups that they are in.
        groups: &'a BTreeSet<GroupName>,
        /// How many have approved before.
        approvals: u32,
        /// Whether they proved themselves with a second factor, where the edge knows it.
        mfa: Option<bool>,
    },
    /// The agent is about to get a token of it.
    Use {
        /// On whose behalf; the agent's own if none.
        delegator: Option<&'a Delegator>,
        /// How many approved.
        approvals: u32,
        /// How many uses are left, this one with them.
        uses_left: u32,
        /// Whether it was approved by policy and not by a person: then what a person would be asked for now is refused.
        by_policy: bool,
    },
}

impl Act<'_> {
    /// The name of the action in policies.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Approve { .. } => "approve",
            Self::Use { .. } => "use",
        }
    }
}

/// Answers questions, without side effects.
pub trait DecisionPoint: fmt::Debug + Send + Sync {
    /// Decides one question. A `use` is decided as a `request` too: what would be refused now is refused.
    ///
    /// # Errors
    /// The policies could not be evaluated. Callers refuse then (`policy_error`): no answer is never a yes.
    fn decide(&self, question: &Question<'_>) -> Result<Verdict, PolicyError>;

    /// What would come of a request if nothing forbade it, and where nothing permits it either, if the playbook alone
    /// decided: what a playbook that is only observed goes by.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    fn if_nothing_forbade(&self, question: &Question<'_>) -> Result<Ruling, PolicyError>;

    /// The part of [`Self::decide`] that may take its time, to be asked apart from everybody else's work; `None` where there
    /// is none.
    fn slow(&self) -> Option<Arc<dyn SlowRules>> {
        None
    }

    /// [`Self::decide`] without [`Self::slow`].
    ///
    /// # Errors
    /// As for [`Self::decide`].
    fn decide_quickly(&self, question: &Question<'_>) -> Result<Verdict, PolicyError> {
        self.decide(question)
    }

    /// What pins the policies that decide.
    fn set_digest(&self) -> &Digest;
}

/// Rules that may take their time. They refuse what the others permit, and nothing else.
pub trait SlowRules: fmt::Debug + Send + Sync {
    /// A veto unless they allow; the question is [`Question::to_json`].
    ///
    /// # Errors
    /// They could not be evaluated, or not in time.
    fn veto(&self, question: &Value) -> Result<Option<Veto>, PolicyError>;
}

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The question does not fit the schema.
    #[error("the question does not fit the policy schema")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Policies failed to evaluate.
    #[error("policies could not be evaluated: {0}")]
    Evaluation(String),
    /// So many questions were asked that this one's turn did not come in time.
    #[error("the policies that take their time had none within {}ms", .0.as_millis())]
    Busy(Duration),
    /// The process stops, or the evaluation broke off.
    #[error("the evaluation of policies broke off")]
    Stopped,
}
