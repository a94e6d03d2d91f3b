//! The security header: proof that a request was meant for this socket.
//!
//! A process that can be talked into sending a request to an address of somebody else's choice (server-side request
//! forgery) cannot be talked into this header as easily (WE-2). It covers every method of every service on the
//! socket, unknown ones included.

use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::error;

/// Refuses requests that lack the header, before anything else looks at them.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequireHeader {
    name: Option<&'static str>,
}

impl RequireHeader {
    /// Requires `name` to be there once, with the value `true`; nothing at all for `None`.
    pub(super) fn new(name: Option<&'static str>) -> Self {
        Self { name }
    }
}

impl<S> Layer<S> for RequireHeader {
    type Service = HeaderRequired<S>;

    fn layer(&self, inner: S) -> HeaderRequired<S> {
        HeaderRequired { name: self.name, inner }
    }
}

/// A service behind [`RequireHeader`].
#[derive(Debug, Clone)]
pub(super) struct HeaderRequired<S> {
    name: Option<&'static str>,
    inner: S,
}

impl<S> Service<Request<Body>> for HeaderRequired<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.name {
            Some(name) if !is_true_once(request.headers(), name) => {
                Either::Right(ready(Ok(error::missing_security_header(name).into_http())))
            }
            _ => Either::Left(self.inner.call(request)),
        }
    }
}

fn is_true_once(headers: &HeaderMap, name: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    matches!((values.next(), values.next()), (Some(value), None) if value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| ("workload.spiffe.io".parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_one_value_true_passes() {
        assert!(is_true_once(&headers(&["true"]), "workload.spiffe.io"));
        for refused in
            [&[][..], &["True"], &["1"], &["true,true"], &["true", "true"], &["true", "false"]]
        {
            assert!(!is_true_once(&headers(refused), "workload.spiffe.io"), "{refused:?}");
        }
    }
}
