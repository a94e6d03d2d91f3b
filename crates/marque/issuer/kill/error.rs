//! Why the kill switch did not do what somebody wanted of it.

use jiff::Timestamp;
use marque_intent::kill::KillMode;

/// What was refused, or failed.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// A kill would have ended before it began.
    #[error("the end `{0}` is not in the future; leave it out, or give a later one")]
    EndsBefore(Timestamp),
    /// It would stop nothing: what it names is known only when tokens are issued.
    #[error(
        "`{mode}` stops nothing of a {scope}, which is not known when an intent is asked for; use \
         `stop_issuance` or `stop`"
    )]
    NoEffect {
        /// What was asked for.
        mode: KillMode,
        /// The kind of what it names.
        scope: &'static str,
    },
    /// No kill of this id or epoch stands.
    #[error("no kill `{0}` stands; `marque kill list` shows those that do")]
    NotStanding(String),
    /// It would stop something that the kill does not stop, or nothing less than it.
    #[error("`{to}` stops no less than `{from}`; a recovery goes by steps that stop less")]
    NoStep {
        /// What the kill's mode is.
        from: KillMode,
        /// What was asked for.
        to: KillMode,
    },
    /// Nobody asked for this lift, or it was too long ago.
    #[error("nobody asked for the lift `{0}`, or it has ended; ask again with `marque kill lift`")]
    NotAsked(String),
    /// Who asked for it wanted to confirm it.
    #[error("who asked for a lift does not confirm it: another person does")]
    SamePerson,
    /// Something else was done at the same time.
    #[error("somebody else changed it at the same time; look again with `marque kill list`")]
    Raced,
    /// Nothing is known of what is live, or it could not be kept.
    #[error("the store is not available")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl KillError {
    /// Storage failed.
    pub(super) fn store(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Store(Box::new(source))
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EndsBefore(_) => "kill_ends_before",
            Self::NoEffect { .. } => "kill_mode_without_effect",
            Self::NotStanding(_) => "kill_not_standing",
            Self::NoStep { .. } => "lift_no_step",
            Self::NotAsked(_) => "lift_not_asked",
            Self::SamePerson => "lift_needs_another_person",
            Self::Raced => "kill_raced",
            Self::Store(_) => "store_unavailable",
        }
    }
}
