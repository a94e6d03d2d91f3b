//! An HTTP server: a POST for each push, taken with a status of 2xx.
//!
//! Records go with `marque-records: <first>-<last>`, by which a receiver knows what it has had. A collector of OpenTelemetry
//! that takes a part (`partialSuccess`) is not asked again, as its protocol has it; that is told as an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, header};
use marque_audit::format::Format;
use rustls::ClientConfig;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{NotTaken, Push};
use crate::outgoing::{Destination, OutgoingError, OutgoingLimits};

/// What one call may cost.
const LIMITS: OutgoingLimits = OutgoingLimits { time: Duration::from_secs(25), bytes: 64 * 1024 };

#[derive(Debug)]
pub(super) struct HttpTarget {
    destination: Destination,
    /// The folder and the file with the token, which is read for each push.
    bearer: Option<(PathBuf, PathBuf)>,
}

impl HttpTarget {
    pub(super) fn new(
        url: &str,
        tls: Option<Arc<ClientConfig>>,
        bearer: Option<(&Path, &Path)>,
    ) -> Result<Self, OutgoingError> {
        let bearer = bearer.map(|(folder, file)| (folder.to_owned(), file.to_owned()));
        Ok(Self { destination: Destination::new(url, tls)?, bearer })
    }

    pub(super) async fn push(&self, push: Push<'_>) -> Result<(), NotTaken> {
        let answer = self.destination.send(self.request(push)?, LIMITS).await?;
        if !answer.status().is_success() {
            return Err(NotTaken::Status(answer.status().as_u16()));
        }
        if let Push::Records(leaves, Format::Otlp) = push {
            let rejected = rejected(answer.body());
            if rejected > 0 {
                let first = leaves.first().map(marque_audit::Leaf::seq);
                tracing::error!(rejected, first, "a collector rejected records of the log");
            }
        }
        Ok(())
    }

    fn request(&self, push: Push<'_>) -> Result<Request<Vec<u8>>, NotTaken> {
        let request = Request::post("/")
            .header(header::USER_AGENT, concat!("marque/", env!("CARGO_PKG_VERSION")));
        let request = match &self.bearer {
            Some((folder, file)) => {
                let token = crate::approvers::secret_line(folder, file);
                let token = token.map_err(|error| NotTaken::Bearer(format!("{error:#}")))?;
                let value = format!("Bearer {}", token.expose_secret());
                let mut value = HeaderValue::try_from(value).map_err(http::Error::from)?;
                value.set_sensitive(true);
                request.header(header::AUTHORIZATION, value)
            }
            None => request,
        };
        Ok(match push {
            Push::Checkpoint(_, text) | Push::Cosigned(_, text) => request
                .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
                .body(text.as_bytes().to_vec())?,
            Push::Records(leaves, format) => {
                let (body, media_type) = format.body(leaves)?;
                let number = |leaf: Option<&marque_audit::Leaf>| leaf.map_or(0, |leaf| leaf.seq());
                let records = format!("{}-{}", number(leaves.first()), number(leaves.last()));
                request
                    .header(header::CONTENT_TYPE, media_type)
                    .header("marque-records", records)
                    .body(body.into_bytes())?
            }
        })
    }
}

/// How many records the collector did not take: `partialSuccess.rejectedLogRecords`, text or a number.
fn rejected(answer: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = answer.pointer("/partialSuccess/rejectedLogRecords").unwrap_or(&Value::Null);
    rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_when_it_is_there_and_missed_when_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let bearer = Some((folder.path(), Path::new("token")));
        let target = HttpTarget::new("http://127.0.0.1:9/", None, bearer).unwrap();
        let request = || target.request(Push::Checkpoint(7, "note"));
        assert!(matches!(request(), Err(NotTaken::Bearer(_))));
        std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
        assert_eq!(request().unwrap().headers()[header::AUTHORIZATION], "Bearer t0ken");
    }

    #[test]
    fn what_a_collector_rejects_is_read_in_either_spelling() {
        for (answer, many) in [
            (r#"{"partialSuccess":{"rejectedLogRecords":"3"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedLogRecords":3}}"#, 3),
            (r#"{"partialSuccess":{}}"#, 0),
            ("{}", 0),
            ("", 0),
            ("\u{0}", 0),
        ] {
            assert_eq!(rejected(answer.as_bytes()), many, "{answer}");
        }
    }
}
