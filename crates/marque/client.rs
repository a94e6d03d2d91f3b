//! A small HTTPS client for the command line and the demo: the issuer's own certificate authority, no other root.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::crypto::ring;
use serde_json::Value;
use ureq::middleware::MiddlewareNext;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, SendBody};

use crate::config;

/// How long one call may take, connection set-up included.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// An HTTPS client that trusts one certificate authority.
#[derive(Clone, Debug)]
pub struct HttpClient {
    agent: Agent,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The JSON body; `Null` where there is none.
    pub body: Value,
}

impl Answer {
    /// Whether the status is a success (2xx).
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it says nothing of the request: the server is in trouble (5xx) or it took too long (408).
    #[must_use]
    pub fn is_of_the_moment(&self) -> bool {
        self.status == 408 || (500..600).contains(&self.status)
    }
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The CA file cannot be used.
    #[error("read the certificate authority `{file}`")]
    CertificateAuthority {
        /// The file.
        file: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The call failed before an answer came.
    #[error("call `{url}`")]
    Call {
        /// The address called.
        url: String,
        /// What failed.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The answer is not JSON.
    #[error("read the answer of `{url}`")]
    Answer {
        /// The address called.
        url: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl HttpClient {
    /// A client that trusts the certificates in `ca_file` (PEM) and nothing else.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn new(ca_file: &Path) -> Result<Self, ClientError> {
        Ok(Self::with_tls(tls(ca_file)?))
    }

    /// A client for plain HTTP on loopback.
    #[must_use]
    pub fn plain() -> Self {
        Self::with_tls(TlsConfig::default())
    }

    fn with_tls(tls: TlsConfig) -> Self {
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(CALL_TIMEOUT))
            .middleware(traced)
            .build();
        Self { agent: config.new_agent() }
    }

    /// `GET`, with a bearer token if one is given.
    ///
    /// # Errors
    /// When no answer comes or it is not JSON.
    pub fn get(&self, url: &str, bearer: Option<&str>) -> Result<Answer, ClientError> {
        let mut request = self.agent.get(url);
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(url, request.call())
    }

    /// `POST` of a form.
    ///
    /// # Errors
    /// When no answer comes or it is not JSON.
    pub fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Result<Answer, ClientError> {
        answer(url, self.agent.post(url).send_form(fields.iter().copied()))
    }

    /// `POST` of a JSON document with a bearer token.
    ///
    /// # Errors
    /// When no answer comes or it is not JSON.
    pub fn post_json(&self, url: &str, bearer: &str, body: &Value) -> Result<Answer, ClientError> {
        self.send_json(url, Some(bearer), body)
    }

    /// `POST` of a JSON document, with a bearer token if one is given.
    ///
    /// # Errors
    /// When no answer comes or it is not JSON.
    pub fn send_json(
        &self,
        url: &str,
        bearer: Option<&str>,
        body: &Value,
    ) -> Result<Answer, ClientError> {
        self.send_json_once(url, bearer, body, None)
    }

    /// `POST` of a JSON document under an idempotency key, if one is given.
    ///
    /// # Errors
    /// When no answer comes or it is not JSON.
    pub fn send_json_once(
        &self,
        url: &str,
        bearer: Option<&str>,
        body: &Value,
        key: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.agent.post(url);
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(url, request.send_json(body))
    }
}

/// Puts the request into the trace that whoever runs the command has named.
fn traced(
    mut request: http::Request<SendBody<'_>>,
    next: MiddlewareNext<'_>,
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    let named = config::traceparent().and_then(|named| HeaderValue::try_from(named).ok());
    if let Some(named) = named {
        request.headers_mut().insert("traceparent", named);
    }
    next.handle(request)
}

/// TLS that trusts the certificates in `ca_file` (PEM) and nothing else.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub(crate) fn tls(ca_file: &Path) -> Result<TlsConfig, ClientError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        ClientError::CertificateAuthority { file: ca_file.display().to_string(), source }
    };
    let pem = std::fs::read(ca_file).map_err(|error| failed(Box::new(error)))?;
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| failed(Box::new(error)))? {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err(failed("no certificate in the file".into()));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build())
}

fn answer(
    url: &str,
    result: Result<http::Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, ClientError> {
    let mut response = result
        .map_err(|source| ClientError::Call { url: url.to_owned(), source: Box::new(source) })?;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Answer {
        url: url.to_owned(),
        source,
    };
    let bytes = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_vec()
        .map_err(|error| failed(Box::new(error)))?;
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).map_err(|error| failed(Box::new(error)))?
    };
    Ok(Answer { status: response.status().as_u16(), body })
}
