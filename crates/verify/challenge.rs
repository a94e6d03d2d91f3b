//! The answer to a request that is refused: status and `WWW-Authenticate` (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1).

use std::fmt::{self, Write as _};

use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use marque_jose::Algorithm;

use crate::credentials::{DPOP_NONCE, Scheme};
use crate::refusal::{ProofFault, Refusal, TokenFault};
use crate::settings::Binding;

/// What every challenge of this server says.
#[derive(Debug)]
pub(crate) struct Challenger {
    /// Where the protected resource metadata is.
    pub(crate) resource_metadata: String,
    /// Which tokens are accepted by how they are bound: what is not, is not asked for.
    pub(crate) binding: Binding,
}

/// A refusal with the headers of its answer. It becomes a response with an empty body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    refusal: Refusal,
    challenges: Vec<HeaderValue>,
    nonce: Option<HeaderValue>,
}

impl Challenger {
    /// The refusal of a request that showed its token by `scheme`; `scopes` are what the request needs.
    pub(crate) fn refused(
        &self,
        refusal: Refusal,
        scheme: Option<Scheme>,
        scopes: &[&str],
    ) -> Refused {
        let dpop = matches!(scheme, Some(Scheme::Dpop))
            || matches!(
                refusal,
                Refusal::Proof(ProofFault::Malformed)
                    | Refusal::Token(TokenFault::Downgrade | TokenFault::NotBound)
            );
        let schemes: &[Scheme] = match refusal {
            Refusal::Unavailable(_) => &[],
            Refusal::Proof(_) => &[Scheme::Dpop],
            _ if self.binding == Binding::Dpop => &[Scheme::Dpop],
            _ if !self.binding.admits_dpop() => &[Scheme::Bearer],
            Refusal::NoToken => &[Scheme::Bearer, Scheme::Dpop],
            _ if dpop => &[Scheme::Dpop],
            _ => &[Scheme::Bearer],
        };
        let challenge = |scheme: &Scheme| self.challenge(*scheme, refusal, scopes);
        Refused { refusal, challenges: schemes.iter().filter_map(challenge).collect(), nonce: None }
    }

    /// Every text here is the configuration's or a constant; a scope that is none ends the challenge.
    fn challenge(&self, scheme: Scheme, refusal: Refusal, scopes: &[&str]) -> Option<HeaderValue> {
        let mut text = match scheme {
            Scheme::Bearer => "Bearer ".to_owned(),
            Scheme::Dpop => format!("DPoP algs=\"{}\", ", algorithms()),
        };
        if let Some(error) = refusal.error() {
            let description = refusal.description();
            write!(text, "error=\"{error}\", error_description=\"{description}\", ").ok()?;
        }
        let says_scope = matches!(refusal, Refusal::NoToken | Refusal::Rights(_));
        if says_scope && !scopes.is_empty() {
            write!(text, "scope=\"{}\", ", scopes.join(" ")).ok()?;
        }
        write!(text, "resource_metadata=\"{}\"", self.resource_metadata).ok()?;
        HeaderValue::from_str(&text).ok()
    }
}

/// The algorithms of DPoP proofs, as one text.
fn algorithms() -> String {
    let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
    names.join(" ")
}

impl Refused {
    /// Why.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.refusal.status()
    }

    /// The values of `WWW-Authenticate`.
    #[must_use]
    pub fn challenges(&self) -> &[HeaderValue] {
        &self.challenges
    }

    /// The same, with a nonce for the next proof (RFC 9449 §9).
    pub(crate) fn with_nonce(self, nonce: Option<HeaderValue>) -> Self {
        Self { nonce, ..self }
    }

    /// The answer.
    #[must_use]
    pub fn into_response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self.refusal, Refusal::Unavailable(_)) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if let Some(nonce) = self.nonce {
            headers.insert(DPOP_NONCE, nonce);
        }
        for challenge in self.challenges {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl std::error::Error for Refused {}
