//! The question and the trait that answers it.

use std::fmt;

use jiff::Timestamp;
use marque_intent::{Digest, Grant, Playbook, Ruling};
use marque_spiffe::Environment;

/// Whether a grant may be given. Everything in it was resolved or authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The grant that would be given, with agent, ticket, times and risk.
    pub grant: &'a Grant,
    /// The playbook that it comes from.
    pub playbook: &'a Playbook,
    /// The environment that the trust domain's document declares.
    pub environment: Environment,
    /// Now.
    pub now: Timestamp,
}

/// Answers questions, without side effects.
pub trait DecisionPoint: fmt::Debug + Send + Sync {
    /// Decides one question.
    ///
    /// # Errors
    /// The policies could not be evaluated. Callers refuse then (`policy_error`): no answer is never a yes.
    fn decide(&self, question: &Question<'_>) -> Result<Ruling, PolicyError>;

    /// What pins the policies that decide.
    fn set_digest(&self) -> &Digest;
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
}
