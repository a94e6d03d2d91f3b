//! Streams of answers that are made one after the other, from what their call keeps.

use std::future::Future;

use futures::stream::BoxStream;
use tonic::Status;

/// What one call keeps while it is answered.
pub(super) trait Answers: Sized + Send + 'static {
    /// One message of the stream.
    type Answer: Send + 'static;

    /// The next answer; `None` after the last. Nothing follows a refusal.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Answer>, Status>> + Send;

    /// All of them, each made when the transport has room for it.
    fn stream(self) -> BoxStream<'static, Result<Self::Answer, Status>> {
        Box::pin(futures::stream::unfold(Some(self), async |answers| {
            let mut answers = answers?;
            match answers.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(answers))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        }))
    }
}
