//! One SET to one receiver (RFC 8935). Absent: when, and how often.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use marque_jose::SignError;
use marque_jose::json::{Limits, parse_object};
use marque_registry::{SsfDelivery, SsfStream};
use marque_spiffe::Clock;
use marque_ssf::{SET_MEDIA_TYPE, SetClaims, SetErrorCode};

use super::bearer::Bearer;
use super::{Signals, Stream, count_sent, known_code};
use crate::federation::{web, web_authorities};
use crate::outgoing::{Destination, OutgoingError, OutgoingLimits};

/// What one call may cost.
const LIMITS: OutgoingLimits = OutgoingLimits { time: Duration::from_secs(10), bytes: 16 * 1024 };

/// How a stream is delivered.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) bearer: Bearer,
    /// Where it is pushed; absent where it is fetched.
    pub(super) destination: Option<Destination>,
}

/// Why a SET was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// The receiver refuses this very SET, now and later.
    #[error("refused with `{0}`")]
    Refused(&'static str),
    /// The receiver refuses it for now: who we are to it, and our keys, may be put right.
    #[error("refused with `{0}`")]
    RefusedForNow(&'static str),
    /// It answered something else than that it has it.
    #[error("answered with status {0}")]
    Status(u16),
    /// No answer.
    #[error(transparent)]
    Call(#[from] OutgoingError),
    /// Nothing was sent.
    #[error("the event cannot be signed")]
    Sign(#[source] SignError),
}

impl NotTaken {
    /// Which rule broke, in one line; nothing that the receiver wrote.
    pub(super) fn told(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

impl Delivery {
    pub(super) fn open(
        stream: &SsfStream,
        folder: &Path,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let bearer = Bearer::open(folder, stream.secret_file())?;
        let destination = match stream.delivery() {
            SsfDelivery::Poll => None,
            SsfDelivery::Push { endpoint, ca_file } => {
                let tls = match ca_file {
                    Some(file) => {
                        Some(web(web_authorities(&folder.join(file))?, Arc::clone(clock))?)
                    }
                    None => None,
                };
                Some(Destination::new(endpoint.as_str(), tls)?)
            }
        };
        Ok(Self { bearer, destination })
    }
}

impl Signals {
    /// Sends a SET.
    pub(super) async fn push(
        &self,
        stream: &Stream,
        destination: &Destination,
        claims: &SetClaims,
    ) -> Result<(), NotTaken> {
        let sent = self.post(stream, destination, claims).await;
        count_sent(
            stream,
            match &sent {
                Ok(()) => "taken",
                Err(NotTaken::Refused(_)) => "refused",
                Err(_) => "not_taken",
            },
        );
        sent
    }

    async fn post(
        &self,
        stream: &Stream,
        destination: &Destination,
        claims: &SetClaims,
    ) -> Result<(), NotTaken> {
        let token = claims
            .said_by(self.issuer.as_str())
            .sign(&*self.signing.signer())
            .map_err(NotTaken::Sign)?;
        let bearer = HeaderValue::try_from(stream.delivery.bearer.expose_header());
        let mut bearer = bearer.map_err(|error| OutgoingError::Request(error.into()))?;
        bearer.set_sensitive(true);
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, SET_MEDIA_TYPE)
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, bearer)
            .header(header::USER_AGENT, concat!("marque/", env!("CARGO_PKG_VERSION")))
            .body(token.expose_token().as_bytes().to_vec())
            .map_err(OutgoingError::Request)?;
        let answer = destination.send(request, LIMITS).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST => Err(refusal(answer.body())),
            status => Err(NotTaken::Status(status.as_u16())),
        }
    }
}

/// What a 400 means: some codes are about the SET, and some about who sends it, for whom, and under which key, all of which
/// may be put right.
fn refusal(body: &[u8]) -> NotTaken {
    let code = parse_object(body, &Limits::TOKEN).ok();
    let code = code.as_ref().and_then(|answer| answer.get("err")?.as_str()).map(known_code);
    let about_us = [
        SetErrorCode::InvalidKey,
        SetErrorCode::InvalidIssuer,
        SetErrorCode::InvalidAudience,
        SetErrorCode::AuthenticationFailed,
        SetErrorCode::AccessDenied,
    ];
    match code {
        Some(code) if about_us.iter().any(|about_us| about_us.as_str() == code) => {
            NotTaken::RefusedForNow(code)
        }
        Some(code) => NotTaken::Refused(code),
        None => NotTaken::Status(StatusCode::BAD_REQUEST.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_event_itself_is_refused_for_good() {
        let of = |code: &str| refusal(format!("{{\"err\":\"{code}\"}}").as_bytes());
        for code in [
            "invalid_key",
            "invalid_issuer",
            "invalid_audience",
            "authentication_failed",
            "access_denied",
        ] {
            let error = of(code);
            assert!(matches!(error, NotTaken::RefusedForNow(told) if told == code), "{error}");
        }
        for code in ["invalid_request", "something_else"] {
            assert!(matches!(of(code), NotTaken::Refused(_)), "{code}");
        }
        for body in ["", "[]", "{}", "{\"err\":1}"] {
            assert!(matches!(refusal(body.as_bytes()), NotTaken::Status(400)), "{body}");
        }
    }
}
