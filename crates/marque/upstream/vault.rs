//! The PKI secrets engine of Vault and OpenBao: `POST /v1/<mount>/root/sign-intermediate`.
//!
//! One request is one connection. The token is read anew for each and never shown. No redirect is followed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, header};
use marque_authority::{
    CertificateRequest, SignedAuthority, SignedAuthorityError, UpstreamAuthority, UpstreamError,
};
use marque_jose::json::{Limits, StrictJsonError, parse_object};
use marque_registry::VaultSettings;
use marque_spiffe::Clock;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::plain;
use crate::approvers::secret_line;
use crate::federation::{web, web_authorities};
use crate::outgoing::{Destination, OutgoingError, OutgoingLimits};

/// The largest answer, in bytes, and the deepest.
const ANSWER: Limits = Limits { max_bytes: 256 * 1024, max_depth: 16 };

/// A PKI secrets engine.
pub(super) struct Vault {
    destination: Destination,
    common_name: String,
    namespace: Option<HeaderValue>,
    folder: PathBuf,
    token_file: PathBuf,
    timeout: Duration,
}

/// Why it signed nothing.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the token cannot be read")]
    Token(#[source] anyhow::Error),
    #[error("the token is no value of a header")]
    TokenValue,
    #[error("the request cannot be made or answered")]
    Call(#[source] OutgoingError),
    #[error("it answered with status {status}: {said}")]
    Status { status: StatusCode, said: String },
    #[error("the answer is no JSON object")]
    Json(#[source] StrictJsonError),
    #[error("the answer has no `data.certificate`")]
    NoCertificate,
    #[error(
        "the answer cannot be used; the engine's chain has to end at its root (`issuing_ca` and `ca_chain`)"
    )]
    Chain(#[source] SignedAuthorityError),
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl Vault {
    /// Reads the authorities that are believed.
    pub(super) fn open(
        settings: &VaultSettings,
        trust_domain: &str,
        folder: &Path,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let tls = match settings.ca_file() {
            Some(file) => Some(web(web_authorities(&folder.join(file))?, Arc::clone(clock))?),
            None => None,
        };
        let server = settings.url().as_str().trim_end_matches('/');
        let url = format!("{server}/v1/{}/root/sign-intermediate", settings.mount());
        Ok(Self {
            destination: Destination::new(&url, tls)?,
            common_name: trust_domain.to_owned(),
            namespace: settings.namespace().map(HeaderValue::from_str).transpose()?,
            folder: folder.to_owned(),
            token_file: settings.token_file().to_owned(),
            timeout: settings.timeout(),
        })
    }

    async fn ask(&self, request: &CertificateRequest) -> Result<SignedAuthority, Refused> {
        let answer = self.call(request).await?;
        if answer.status() != StatusCode::OK {
            let said = parse_object(answer.body(), &ANSWER).ok();
            let said = said.and_then(|said| first_error(&said)).unwrap_or_default();
            return Err(Refused::Status { status: answer.status(), said });
        }
        let members = parse_object(answer.body(), &ANSWER).map_err(Refused::Json)?;
        let pem = certificates(&members).ok_or(Refused::NoCertificate)?;
        SignedAuthority::from_pem(pem.as_bytes()).map_err(Refused::Chain)
    }

    async fn call(&self, request: &CertificateRequest) -> Result<http::Response<Vec<u8>>, Refused> {
        let token = secret_line(&self.folder, &self.token_file).map_err(Refused::Token)?;
        let mut token = HeaderValue::from_str(token.expose_secret())
            .map_err(|_not_ascii| Refused::TokenValue)?;
        token.set_sensitive(true);
        let body = json!({
            "csr": request.pem,
            "common_name": self.common_name,
            "use_csr_values": true,
            "max_path_length": request.path_length,
            "format": "pem",
            "ttl": format!("{}s", request.lifetime.as_secs()),
        });
        let mut call = Request::post("/")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("marque/", env!("CARGO_PKG_VERSION")))
            .header("x-vault-request", "true")
            .header("x-vault-token", token);
        if let Some(namespace) = &self.namespace {
            call = call.header("x-vault-namespace", namespace);
        }
        let call = call
            .body(body.to_string().into_bytes())
            .map_err(|error| Refused::Call(OutgoingError::Request(error)))?;
        let limits = OutgoingLimits { time: self.timeout, bytes: ANSWER.max_bytes };
        self.destination.send(call, limits).await.map_err(Refused::Call)
    }
}

impl UpstreamAuthority for Vault {
    fn sign<'a>(
        &'a self,
        request: &'a CertificateRequest,
    ) -> BoxFuture<'a, Result<SignedAuthority, UpstreamError>> {
        async move { self.ask(request).await.map_err(UpstreamError::new) }.boxed()
    }
}

/// The certificate, what is above it, and who issued it, one after the other.
fn certificates(answer: &Map<String, Value>) -> Option<String> {
    let data = answer.get("data")?;
    let mut pem = data.get("certificate")?.as_str()?.to_owned();
    let above = data.get("ca_chain").and_then(Value::as_array);
    let above = above.into_iter().flatten().chain(data.get("issuing_ca"));
    for certificate in above.filter_map(Value::as_str) {
        pem.push('\n');
        pem.push_str(certificate);
    }
    Some(pem)
}

/// The first of `errors`, without control characters, cut.
fn first_error(answer: &Map<String, Value>) -> Option<String> {
    let said = answer.get("errors")?.as_array()?.first()?.as_str()?;
    Some(plain(said))
}

#[cfg(test)]
mod tests;
