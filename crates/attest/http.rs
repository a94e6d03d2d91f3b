//! A bounded HTTP/1.1 client over one connection that is already there. Deliberately absent:
//! redirects, connection pools, compression, and anything that would outlive its caller.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::source::SourceError;

/// One connection; it is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
    limit: usize,
}

/// A status and the whole body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Connection {
    /// Speaks over `stream`; answers of more than `limit` bytes are refused.
    pub(crate) async fn open<S>(stream: S, limit: usize) -> Result<Self, SourceError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(SourceError::Exchange)?;
        let driver = tokio::spawn(async move {
            // What breaks the connection breaks the request too, which tells it.
            connection.await.ok();
        });
        Ok(Self { sender, driver, limit })
    }

    pub(crate) async fn get(
        &mut self,
        host: &str,
        path: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, SourceError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().map_err(|_not_a_path| SourceError::OtherContainer)?;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(host);
        headers.insert(HOST, host.unwrap_or_else(|_odd| HeaderValue::from_static("localhost")));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        self.sender.ready().await.map_err(SourceError::Exchange)?;
        let answer = self.sender.send_request(request).await.map_err(SourceError::Exchange)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), self.limit).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => SourceError::Exchange(*error),
            Err(other) => {
                debug_assert!(other.is::<LengthLimitError>(), "the only other error");
                SourceError::TooLong { limit: self.limit }
            }
        })?;
        Ok(Answer { status, body: body.to_bytes() })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
