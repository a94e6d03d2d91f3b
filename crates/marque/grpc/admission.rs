//! What every call passes before a service sees it: the limits, and the wait until the connection's process has proved
//! itself. What every answer passes after: a caller that is not the process which connected ends its connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use marque_audit::Correlation;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, Span};

use super::accounts::{CallPlace, ConnectionPlace};
use super::live::LiveLimits;
use super::standing::Standing;
use crate::{error, telemetry};

/// What HTTP/2 counts for each header besides its name and value (RFC 9113 §10.5.1).
const HEADER_OVERHEAD: usize = 32;
const GRPC_STATUS: &str = "grpc-status";
/// The metadata that tells a caller how its request is called in the log.
const REQUEST_ID: &str = "marque-request-id";
/// The longest path of a method that is told of.
const MAX_PATH: usize = 96;

/// The services of one connection.
#[derive(Debug, Clone)]
pub(super) struct Admission<S, W> {
    arrival: Arc<Arrival<W>>,
    services: S,
}

/// What is known of one connection. Every request on it is told `who` is at the other end.
#[derive(Debug)]
pub(super) struct Arrival<W> {
    pub(super) who: W,
    pub(super) standing: Arc<Standing>,
    pub(super) place: ConnectionPlace,
    pub(super) limits: LiveLimits,
}

impl<S, W> Admission<S, W> {
    pub(super) fn new(arrival: Arc<Arrival<W>>, services: S) -> Self {
        Self { arrival, services }
    }
}

impl<S, W> hyper::service::Service<Request<Incoming>> for Admission<S, W>
where
    W: Clone + Send + Sync + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (arrival, services) = (Arc::clone(&self.arrival), self.services.clone());
        arrival.standing.ask();
        Box::pin(async move {
            Ok(match arrival.admit(&request).await {
                Ok(call) => arrival.serve(call, services, request).await,
                Err(status) => status.into_http(),
            })
        })
    }
}

impl<W: Clone + Send + Sync + 'static> Arrival<W> {
    /// A place for the call, once it is known who makes it.
    async fn admit(&self, request: &Request<Incoming>) -> Result<CallPlace, Status> {
        let call = self.place.call().map_err(error::over_limit)?;
        let most = self.limits.now().header_list_bytes;
        if header_list_bytes(request) > most {
            return Err(error::headers_too_large(most));
        }
        self.standing.proven().await.map_err(|_refused| error::unproven_peer())?;
        Ok(call)
    }

    async fn serve<S>(
        &self,
        call: CallPlace,
        services: S,
        request: Request<Incoming>,
    ) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.who.clone());
        request.extensions_mut().insert(call.rate());
        let correlation = telemetry::request(request.headers());
        let span = correlation.enter(|| rpc_span(request.uri().path(), &correlation));
        let served = services.oneshot(request).instrument(span.clone());
        let Ok(mut response) = correlation.scope(served).await;
        // Always a header value: it is hexadecimal.
        if let Ok(id) = HeaderValue::try_from(correlation.request.to_string()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        match code(response.headers()) {
            Some(Code::Unauthenticated) => self.standing.disown(),
            // How tonic's decoder says that a message is longer than it may be; nobody else does here.
            Some(Code::OutOfRange) => {
                return error::message_too_large(self.limits.now().message_bytes).into_http();
            }
            _ => {}
        }
        let standing = Arc::clone(&self.standing);
        let of = (correlation, span);
        response.map(|answer| Body::new(Answer { answer, standing, of, _call: call }))
    }
}

/// The answer to a call, which holds the call's place until it is over.
struct Answer {
    answer: Body,
    standing: Arc<Standing>,
    /// The request that it answers: what a stream does later is done for it, too.
    of: (Correlation, Span),
    _call: CallPlace,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (correlation, span) = self.of.clone();
        let answer = Pin::new(&mut self.answer);
        let polled = span.in_scope(|| correlation.enter(|| answer.poll_frame(context)));
        let frame = std::task::ready!(polled);
        if let Some(Ok(frame)) = &frame
            && frame.trailers_ref().and_then(code) == Some(Code::Unauthenticated)
        {
            self.standing.disown();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

/// The span of a call. A path that is none of ours is the caller's own text.
fn rpc_span(path: &str, correlation: &Correlation) -> Span {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._".contains(&byte);
    let known = path.len() <= MAX_PATH && path.bytes().all(plain);
    tracing::info_span!(
        "rpc",
        path = if known { path } else { "other" },
        request_id = %correlation.request,
        trace_id = %correlation.trace,
    )
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// The size of the request's headers as HTTP/2 counts it, pseudo-headers included.
fn header_list_bytes<T>(request: &Request<T>) -> u32 {
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let scheme = uri.scheme_str().map_or(0, str::len);
    let names = ":method:path:authority:scheme".len();
    let pseudo = names + request.method().as_str().len() + path + authority + scheme;
    let fields = request.headers().iter();
    let fields: usize =
        fields.map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD).sum();
    u32::try_from(pseudo + 4 * HEADER_OVERHEAD + fields).unwrap_or(u32::MAX)
}
