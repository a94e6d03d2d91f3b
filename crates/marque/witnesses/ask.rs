//! One submission to a witness, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use marque_audit::witness::{self, ADD_CHECKPOINT, AnswerError, MAX_ANSWER_BYTES, SIZE_MEDIA_TYPE};
use marque_audit::{AuditError, Cosignature, CosignerKey, Hash, SignedCheckpoint, TreeError};
use rustls::ClientConfig;

use crate::outgoing::{Destination, OutgoingError, OutgoingLimits};

/// What one call may cost.
const LIMITS: OutgoingLimits =
    OutgoingLimits { time: Duration::from_secs(25), bytes: MAX_ANSWER_BYTES };

/// Where a witness takes checkpoints.
#[derive(Debug)]
pub(super) struct Door(Destination);

/// What a witness said.
#[derive(Debug)]
pub(super) enum Answer {
    /// That it is consistent with all that it saw.
    Cosigned(Cosignature),
    /// That it has cosigned so many leaves, and not as many as the proof is from.
    Has(u64),
    /// That it is not consistent with what it saw.
    Fork,
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotCosigned {
    #[error(transparent)]
    Call(#[from] OutgoingError),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("make the proof that the log has only grown")]
    Tree(#[from] TreeError),
    #[error("what the witnesses are shown is not the log's own checkpoint")]
    Kept(#[source] AuditError),
    #[error(
        "the witness does not know this log (404): tell whoever runs it the origin and the key of the log"
    )]
    UnknownLog,
    #[error(
        "the witness knows another key of this log (403): tell whoever runs it the key of `marque audit info`"
    )]
    UnknownKey,
    #[error("answered with status {0}")]
    Status(StatusCode),
    #[error("answered with 409 and no size")]
    NoSize,
    #[error("names the size that it was told, or another one each time: {0}")]
    OtherSize(u64),
    #[error("the answer is no cosignature of the checkpoint by the witness's key")]
    Answer(#[from] AnswerError),
    #[error("has seen another history of the log: {0}")]
    Fork(&'static str),
}

impl Door {
    pub(super) fn new(prefix: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, OutgoingError> {
        let url = format!("{}/{ADD_CHECKPOINT}", prefix.trim_end_matches('/'));
        Destination::new(&url, tls).map(Self)
    }

    /// Submits a checkpoint with the proof from the `old` size that the witness has cosigned.
    pub(super) async fn submit(
        &self,
        (old, proof): (u64, &[Hash]),
        checkpoint: &SignedCheckpoint,
        key: &CosignerKey,
    ) -> Result<Answer, NotCosigned> {
        // No log that fits into 64 bits has a longer proof than a witness takes.
        let body = witness::request(old, proof, checkpoint).unwrap_or_default();
        let request = Request::post("/")
            .header(header::USER_AGENT, concat!("marque/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(body.into_bytes())?;
        let answer = self.0.send(request, LIMITS).await?;
        match answer.status() {
            StatusCode::OK => {
                Ok(Answer::Cosigned(witness::cosignature(answer.body(), checkpoint, key)?))
            }
            StatusCode::CONFLICT => {
                let media_type = answer.headers().get(header::CONTENT_TYPE);
                let is_size = media_type.is_some_and(|found| found == SIZE_MEDIA_TYPE);
                match witness::size(answer.body()).filter(|_| is_size) {
                    Some(size) => Ok(Answer::Has(size)),
                    // Of the same size there is nothing to tell but that the roots differ.
                    None if old == checkpoint.checkpoint().size => Ok(Answer::Fork),
                    None => Err(NotCosigned::NoSize),
                }
            }
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::Fork),
            StatusCode::NOT_FOUND => Err(NotCosigned::UnknownLog),
            StatusCode::FORBIDDEN => Err(NotCosigned::UnknownKey),
            other => Err(NotCosigned::Status(other)),
        }
    }
}
