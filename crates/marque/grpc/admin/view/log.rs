//! The log as it is shown.

use serde::Serialize;

use super::super::super::proto::admin as proto;

/// How the log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogInfoView {
    /// How many leaves it has.
    pub size: u64,
    /// The newest signed checkpoint; empty when there is none.
    pub checkpoint: String,
    /// The key that verifies checkpoints.
    pub verifier_key: String,
    /// The newest checkpoint that enough witnesses have cosigned; empty when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cosigned_checkpoint: String,
}

/// One leaf of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafView {
    /// Its number.
    pub seq: u64,
    /// Its bytes, exactly as hashed.
    pub bytes: Vec<u8>,
}

impl From<proto::GetLogInfoResponse> for LogInfoView {
    fn from(message: proto::GetLogInfoResponse) -> Self {
        let proto::GetLogInfoResponse { size, checkpoint, verifier_key, cosigned_checkpoint } =
            message;
        Self { size, checkpoint, verifier_key, cosigned_checkpoint }
    }
}

impl From<proto::StreamLeavesResponse> for LeafView {
    fn from(message: proto::StreamLeavesResponse) -> Self {
        let proto::StreamLeavesResponse { seq, leaf } = message;
        Self { seq, bytes: leaf }
    }
}
