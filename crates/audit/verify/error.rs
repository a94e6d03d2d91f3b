use crate::log::AlteredLeaf;
use crate::{AuditError, LogError};

/// What is wrong with a log. The variants are the kinds of tampering; [`VerifyError::seq`] names the leaf.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no checkpoint to verify against.
    #[error("the log has no checkpoint yet")]
    NoCheckpoint,
    /// The checkpoint was not signed by the expected key: forged, or signed again with another key.
    #[error("the checkpoint cannot be trusted")]
    Checkpoint(#[source] AuditError),
    /// The same of the older checkpoint.
    #[error("the older checkpoint cannot be trusted")]
    OlderCheckpoint(#[source] AuditError),
    /// The log is shorter than it was.
    #[error(
        "the log was cut back: an older checkpoint covers {older} leaves, the newer one only {newer}"
    )]
    Shrunk {
        /// Leaves that the older checkpoint covers.
        older: u64,
        /// Leaves that the newer checkpoint covers.
        newer: u64,
    },
    /// The end of the log is gone.
    #[error("the log was truncated: its checkpoint covers {covered} leaves, {found} are there")]
    Truncated {
        /// Leaves that the checkpoint covers.
        covered: u64,
        /// Leaves that are there.
        found: u64,
    },
    /// One leaf is not what was recorded.
    #[error("leaf {seq} was altered")]
    Altered {
        /// Its number.
        seq: u64,
        /// How it shows.
        #[source]
        source: AlteredLeaf,
    },
    /// A leaf was dropped, added or moved.
    #[error("leaf {expected} is missing, leaf {found} stands in its place")]
    Gap {
        /// The number that had to come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A leaf of another trust domain's log.
    #[error("leaf {seq} belongs to the log of another trust domain")]
    OtherLog {
        /// Its number.
        seq: u64,
    },
    /// A leaf was recorded before the one in front of it.
    #[error("leaf {seq} was recorded earlier than the leaf before it")]
    TimeWentBack {
        /// Its number.
        seq: u64,
    },
    /// A leaf names a checkpoint that the leaves before it do not have.
    #[error("leaf {seq} names a checkpoint of the log that the leaves before it do not have")]
    OtherCheckpoint {
        /// Its number.
        seq: u64,
    },
    /// A token was issued and no approved intent with a use left allows it.
    #[error("leaf {seq} issues a token without an approved intent that has a use left")]
    UseWithoutGrant {
        /// Its number.
        seq: u64,
    },
    /// An intent was approved that had been approved before, which would give its uses back.
    #[error("leaf {seq} approves an intent that was approved before")]
    ApprovedTwice {
        /// Its number.
        seq: u64,
    },
    /// A token was issued although a kill stopped its agent, its playbook or everything.
    #[error("leaf {seq} issues a token that a kill before it stops")]
    UseAfterKill {
        /// Its number.
        seq: u64,
    },
    /// A token was issued under another grant than the approved one.
    #[error("leaf {seq} issues a token for another grant than was approved")]
    OtherGrant {
        /// Its number.
        seq: u64,
    },
    /// A token lives longer than the grant it was issued under.
    #[error("leaf {seq} issues a token that outlives its grant")]
    OutlivesGrant {
        /// Its number.
        seq: u64,
    },
    /// A token may be shown to somebody whom its grant does not name.
    #[error("leaf {seq} issues a token for an audience that its grant does not have")]
    OtherAudience {
        /// Its number.
        seq: u64,
    },
    /// A token was used or derived from that no leaf before it issues, or issues for this intent.
    #[error("leaf {seq} uses or derives from a token that was never issued")]
    UnknownToken {
        /// Its number.
        seq: u64,
    },
    /// A token was used or derived from after it was revoked or used up, or its intent had ended.
    #[error("leaf {seq} uses or derives from a token that had ended")]
    EndedToken {
        /// Its number.
        seq: u64,
    },
    /// A token lives longer than the one that it derives from.
    #[error("leaf {seq} derives a token that outlives its parent")]
    OutlivesParent {
        /// Its number.
        seq: u64,
    },
    /// What an older checkpoint covers is no longer what it was: the history was written anew, or the log forked.
    #[error(
        "the history was rewritten: an older checkpoint states another root for the first {before} leaves"
    )]
    Rewritten {
        /// The older checkpoint's size.
        before: u64,
    },
    /// Leaves were altered together with the hashes beside them, so that no single one can be named.
    #[error(
        "the leaves from {from} to before {to} are not those which the checkpoint was signed for"
    )]
    Root {
        /// The first leaf that may be altered.
        from: u64,
        /// The checkpoint's size.
        to: u64,
    },
    /// The leaves could not be read.
    #[error("the log cannot be read")]
    Read(#[source] LogError),
}

impl VerifyError {
    /// A stable name of the kind of finding, for machines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoCheckpoint => "no_checkpoint",
            Self::Checkpoint(_) => "checkpoint_untrusted",
            Self::OlderCheckpoint(_) => "older_checkpoint_untrusted",
            Self::Shrunk { .. } => "shrunk",
            Self::Truncated { .. } => "truncated",
            Self::Altered { .. } => "leaf_altered",
            Self::Gap { .. } => "leaf_missing",
            Self::OtherLog { .. } => "leaf_of_another_log",
            Self::TimeWentBack { .. } => "time_went_back",
            Self::OtherCheckpoint { .. } => "checkpoint_differs",
            Self::UseWithoutGrant { .. } => "use_without_grant",
            Self::ApprovedTwice { .. } => "approved_twice",
            Self::UseAfterKill { .. } => "use_after_kill",
            Self::OtherGrant { .. } => "use_of_another_grant",
            Self::OutlivesGrant { .. } => "token_outlives_grant",
            Self::OtherAudience { .. } => "token_for_another_audience",
            Self::UnknownToken { .. } => "unknown_token",
            Self::EndedToken { .. } => "use_of_an_ended_token",
            Self::OutlivesParent { .. } => "token_outlives_parent",
            Self::Rewritten { .. } => "history_rewritten",
            Self::Root { .. } => "root_mismatch",
            Self::Read(_) => "unreadable",
        }
    }

    /// The number of the leaf at which it shows, where there is one.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Altered { seq, .. }
            | Self::OtherLog { seq }
            | Self::TimeWentBack { seq }
            | Self::OtherCheckpoint { seq }
            | Self::UseWithoutGrant { seq }
            | Self::ApprovedTwice { seq }
            | Self::UseAfterKill { seq }
            | Self::OtherGrant { seq }
            | Self::OutlivesGrant { seq }
            | Self::OtherAudience { seq }
            | Self::UnknownToken { seq }
            | Self::EndedToken { seq }
            | Self::OutlivesParent { seq } => Some(*seq),
            Self::Gap { expected, .. } => Some(*expected),
            Self::Truncated { found, .. } => Some(*found),
            Self::NoCheckpoint
            | Self::Checkpoint(_)
            | Self::OlderCheckpoint(_)
            | Self::Shrunk { .. }
            | Self::Rewritten { .. }
            | Self::Root { .. }
            | Self::Read(_) => None,
        }
    }
}

impl From<LogError> for VerifyError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Altered { seq, source } => Self::Altered { seq, source },
            LogError::Gap { expected, found } => Self::Gap { expected, found },
            unreadable @ (LogError::Unavailable(_)
            | LogError::Refused(_)
            | LogError::Damaged(_)) => Self::Read(unreadable),
        }
    }
}
