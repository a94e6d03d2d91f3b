//! What a request shows: its token, by exactly one `Authorization` header of exactly one form, the proofs beside it, and
//! the certificate of the TLS connection.
//!
//! Deliberately absent: tokens in a form body or a query string (RFC 6750 §2.2 and §2.3), and certificates in a header.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method, Uri};
use marque_jose::{CompactToken, Thumbprint, sha256};
use zeroize::Zeroizing;

use crate::refusal::RequestFault;

pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How a token was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
}

/// The certificate that the TLS client showed and proved in its handshake, by its SHA-256 thumbprint (RFC 8705 §3.1).
///
/// Whoever accepts the connection puts it into the request's extensions. Never make one from a header, unless the header
/// is of a proxy that removes the client's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate(Thumbprint);

impl ClientCertificate {
    /// The certificate by its DER.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Self {
        Self(Thumbprint::new(sha256(der)))
    }

    /// Its thumbprint.
    #[must_use]
    pub const fn thumbprint(&self) -> &Thumbprint {
        &self.0
    }
}

/// Everything of a request that the verifier looks at.
#[derive(Clone)]
pub struct Presentation {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) credentials: Result<Option<(Scheme, CompactToken)>, RequestFault>,
    pub(crate) proof: Proof,
    pub(crate) certificate: Option<ClientCertificate>,
}

/// The header `DPoP`.
#[derive(Clone)]
pub(crate) enum Proof {
    Absent,
    One(Zeroizing<String>),
    /// More than one header, or one that is no text.
    Malformed,
}

impl Presentation {
    /// Looks at a request.
    #[must_use]
    pub fn of<B>(request: &http::Request<B>) -> Self {
        Self::new(
            request.method(),
            original(request.extensions()).unwrap_or_else(|| request.uri()),
            request.headers(),
            request.extensions().get().copied(),
        )
    }

    /// The same from its parts. `uri` is as the client wrote it, before any router cut its path.
    #[must_use]
    pub fn new(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        certificate: Option<ClientCertificate>,
    ) -> Self {
        Self {
            method: method.clone(),
            path: uri.path().to_owned(),
            credentials: credentials(headers, uri.query()),
            proof: proof(headers),
            certificate,
        }
    }

    /// Whether a nonce for the next proof is of any use to the client.
    pub(crate) fn asks_for_nonce(&self) -> bool {
        !matches!(self.proof, Proof::Absent) || self.scheme() == Some(Scheme::Dpop)
    }

    /// How the token came, if one did.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.credentials.as_ref().ok()?.as_ref().map(|(scheme, _token)| *scheme)
    }
}

/// axum cuts the path of what is nested; a proof is about the whole.
#[cfg(feature = "axum")]
fn original(extensions: &http::Extensions) -> Option<&Uri> {
    extensions.get::<axum::extract::OriginalUri>().map(|original| &original.0)
}

#[cfg(not(feature = "axum"))]
const fn original(_extensions: &http::Extensions) -> Option<&'static Uri> {
    None
}

/// `Bearer` or `DPoP` (case-insensitive as every scheme, RFC 9110 §11.1), one space, a token of `b64token` characters,
/// and nothing else (RFC 6750 §2.1, RFC 9449 §7.1; CVE-2026-0707 was a parser that took more). Another scheme is as if no
/// token had come.
fn credentials(
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Option<(Scheme, CompactToken)>, RequestFault> {
    if query.is_some_and(|query| query.split('&').any(names_a_token)) {
        return Err(RequestFault::TokenInQuery);
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(RequestFault::TwoAuthorizations);
    }
    let text = value.to_str().map_err(|_not_text| RequestFault::Authorization)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let scheme = if scheme.eq_ignore_ascii_case("bearer") {
        Scheme::Bearer
    } else if scheme.eq_ignore_ascii_case("dpop") {
        Scheme::Dpop
    } else if scheme.bytes().all(is_token_character) && !scheme.is_empty() {
        return Ok(None);
    } else {
        return Err(RequestFault::Authorization);
    };
    if !is_b64token(token) {
        return Err(RequestFault::Authorization);
    }
    Ok(Some((scheme, CompactToken::from_string(token.to_owned()))))
}

fn names_a_token(pair: &str) -> bool {
    pair.split('=').next() == Some("access_token")
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn proof(headers: &HeaderMap) -> Proof {
    let mut values = headers.get_all(DPOP).iter();
    match (values.next(), values.next()) {
        (None, _) => Proof::Absent,
        (Some(value), None) => match value.to_str() {
            Ok(text) => Proof::One(Zeroizing::new(text.to_owned())),
            Err(_not_text) => Proof::Malformed,
        },
        (Some(_), Some(_)) => Proof::Malformed,
    }
}

impl fmt::Debug for Presentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presentation")
            .field("method", &self.method)
            .field("scheme", &self.scheme())
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&[u8]], uri: &str) -> Result<Option<(Scheme, String)>, RequestFault> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        let uri = uri.parse().unwrap();
        let shown = Presentation::new(&Method::GET, &uri, &headers, None);
        let credentials = shown.credentials?;
        Ok(credentials.map(|(scheme, token)| (scheme, token.expose_token().to_owned())))
    }

    #[test]
    fn a_token_comes_as_bearer_or_dpop_in_any_case() {
        for (value, scheme) in [
            ("Bearer a.b-c_d~e+f/g==", Scheme::Bearer),
            ("bearer a.b-c_d~e+f/g==", Scheme::Bearer),
            ("DPoP a.b-c_d~e+f/g==", Scheme::Dpop),
            ("dpop a.b-c_d~e+f/g==", Scheme::Dpop),
        ] {
            let read = read(&[value.as_bytes()], "/x").unwrap();
            assert_eq!(read, Some((scheme, "a.b-c_d~e+f/g==".to_owned())), "{value}");
        }
    }

    #[test]
    fn no_header_and_other_schemes_show_no_token() {
        assert_eq!(read(&[], "/x?access=1"), Ok(None));
        for value in ["Basic YTpi", "Negotiate", "Bearers x", "PoP x"] {
            assert_eq!(read(&[value.as_bytes()], "/"), Ok(None), "{value}");
        }
    }

    #[test]
    fn cve_2026_0707_whatever_else_is_malformed() {
        let long = [b"Bearer ".as_slice(), &[b'"'; 9]].concat();
        let table: [&[u8]; 18] = [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearer  x",
            b"Bearer\tx",
            b" Bearer x",
            b"Bearer x ",
            b"Bearer x y",
            b"Bearer x,Bearer y",
            b"Bearer x, DPoP y",
            b"Bearer =",
            b"Bearer x=y",
            b"Bearer \"x\"",
            b"Bearer {x}",
            b"Bearer x\xc3\xbc",
            b"Bearer: x",
            b"DPoP",
            &long,
        ];
        for value in table {
            let read = read(&[value], "/");
            assert_eq!(read, Err(RequestFault::Authorization), "{}", value.escape_ascii());
        }
        assert_eq!(read(&[b"Bearer x", b"Bearer x"], "/"), Err(RequestFault::TwoAuthorizations));
        assert_eq!(read(&[b"Bearer x", b"Basic x"], "/"), Err(RequestFault::TwoAuthorizations));
    }

    #[test]
    fn a_token_in_the_query_is_refused_with_and_without_the_header() {
        for uri in ["/?access_token=x", "/?a=b&access_token=x", "/?access_token"] {
            assert_eq!(read(&[], uri), Err(RequestFault::TokenInQuery), "{uri}");
            assert_eq!(read(&[b"Bearer x"], uri), Err(RequestFault::TokenInQuery), "{uri}");
        }
    }

    #[test]
    fn the_debug_form_shows_neither_token_nor_proof() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("DPoP secret"));
        headers.insert(DPOP, HeaderValue::from_static("secret"));
        let shown = Presentation::new(&Method::GET, &Uri::from_static("/x"), &headers, None);
        assert!(!format!("{shown:?}").contains("secret"));
    }
}
