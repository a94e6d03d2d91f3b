//! How documents of the issuer come here: its metadata, its keys, its status lists.
//!
//! What is fetched and how large it may be is decided elsewhere; a [`Fetch`] only brings it. Deliberately absent:
//! redirects, proxies of the environment, and any address that a request named.

#[cfg(feature = "ureq")]
mod https;

use std::error::Error;
use std::fmt;
use std::pin::Pin;

#[cfg(feature = "ureq")]
pub use https::{HttpsFetch, HttpsFetchError};

/// A document to bring.
#[derive(Debug, Clone, Copy)]
pub struct FetchRequest<'a> {
    /// An absolute `https` URL: of the configuration, or of a document that came from there.
    pub url: &'a str,
    /// The media type to ask for, as `Accept` says it.
    pub accept: &'static str,
    /// More bytes than these are never read.
    pub max_bytes: usize,
}

/// A document that came with status 200.
#[derive(Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its bytes, which nobody has looked at.
    pub body: Vec<u8>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
#[error("the document could not be fetched")]
pub struct FetchError(#[source] Box<dyn Error + Send + Sync>);

/// What a [`Fetch`] gives back.
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + 'a>>;

/// An HTTPS client.
///
/// An implementation authenticates the server, follows no redirect (a 3xx is an error), takes 200 alone for an answer,
/// has a limit in time for the whole call, and reads no more than [`FetchRequest::max_bytes`]. With the feature `ureq`
/// there is `HttpsFetch`, which does all that.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// Brings the document.
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a>;
}

impl FetchError {
    /// Wraps the reason.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched(<{} bytes>)", self.body.len())
    }
}
