//! A tower layer that lets only verified requests through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use tower::{Layer, Service};

use crate::credentials::{DPOP, DPOP_NONCE, Presentation};
use crate::verifier::Verifier;

/// Verifies every request before the service sees it.
///
/// A request that passes has its [`VerifiedToken`](crate::VerifiedToken) among its extensions, and no longer the headers
/// `Authorization` and `DPoP`, so that no handler or proxy behind passes the token on. One that does not is answered here,
/// with an empty body.
#[derive(Debug, Clone)]
pub struct VerifyLayer {
    verifier: Arc<Verifier>,
    scopes: Arc<[String]>,
}

/// The service of a [`VerifyLayer`].
#[derive(Debug, Clone)]
pub struct Verify<S> {
    inner: S,
    layer: VerifyLayer,
}

impl VerifyLayer {
    /// A layer that demands a good token.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Self { verifier, scopes: Arc::default() }
    }

    /// The same, which also demands these scopes.
    #[must_use]
    pub fn with_scopes<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify { inner, layer: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Verify<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was ready is the one to call; its clone need not be (tower's `Service` says so).
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let VerifyLayer { verifier, scopes } = self.layer.clone();
        Box::pin(async move {
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            let shown = Presentation::of(&request);
            match verifier.verify(&shown, &scopes).await {
                Ok(token) => {
                    request.headers_mut().remove(AUTHORIZATION);
                    request.headers_mut().remove(DPOP);
                    request.extensions_mut().insert(token);
                    let mut response = inner.call(request).await?;
                    if let Some(nonce) = verifier.next_nonce(&shown) {
                        response.headers_mut().insert(DPOP_NONCE, nonce);
                    }
                    Ok(response)
                }
                Err(refused) => Ok(refused.into_response()),
            }
        })
    }
}
