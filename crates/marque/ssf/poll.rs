//! A receiver fetches what waits for it, and says what it has (RFC 8936).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::LogStore as _;
use marque_jose::json::{Limits, StrictJsonError, parse_object};
use marque_jose::present;
use marque_store::MAX_KEPT_LISTED;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outbox::{Aside, Outbox, Waiting, waiting};
use super::receiver::ReceiveError;
use super::{SignalError, Signals, Stream, count_sent, known_code};

/// The longest request that is read.
pub(crate) const MAX_POLL_BYTES: usize = 64 * 1024;
/// How many SETs one answer has at most.
const MAX_SETS: usize = 100;
/// How long an answer is waited for where nothing waits: less than a request may take (`HttpLimits::request`).
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often is looked what other replicas have kept.
const LOOK: Duration = Duration::from_millis(500);

/// What a receiver asks (RFC 8936 section 2.2).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PollRequest {
    #[serde(default, deserialize_with = "present")]
    max_events: Option<u32>,
    #[serde(default)]
    return_immediately: bool,
    #[serde(default)]
    ack: Vec<String>,
    #[serde(default)]
    set_errs: BTreeMap<String, SetErr>,
}

#[derive(Debug, Deserialize)]
struct SetErr {
    err: String,
}

/// What it is answered (RFC 8936 section 2.3).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PollAnswer {
    sets: BTreeMap<String, String>,
    more_available: bool,
}

impl PollRequest {
    /// Reads a request; members that are not known are ignored, as the specification has it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, PollParseError> {
        let limits = Limits { max_bytes: MAX_POLL_BYTES, max_depth: 4 };
        let members = parse_object(body, &limits).map_err(PollParseError::Json)?;
        serde_json::from_value(Value::Object(members)).map_err(|_mistyped| PollParseError::Members)
    }

    fn most(&self) -> usize {
        let asked = self.max_events.and_then(|most| usize::try_from(most).ok());
        asked.map_or(MAX_SETS, |most| most.min(MAX_SETS))
    }
}

/// Why something is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PollParseError {
    /// It is not a strict JSON object.
    #[error("the request is not a JSON object")]
    Json(#[source] StrictJsonError),
    /// A member has another type.
    #[error("a member of the request has another type")]
    Members,
}

impl Signals {
    /// Takes a receiver's word for what it has, and gives it what waits; later where nothing does.
    pub(crate) async fn poll(
        &self,
        name: &str,
        bearer: Option<&str>,
        request: &PollRequest,
    ) -> Result<PollAnswer, ReceiveError> {
        let stream = self.stream(name).filter(|stream| stream.delivery.destination.is_none());
        let is_known = |stream: &&std::sync::Arc<Stream>| {
            bearer.is_some_and(|bearer| stream.delivery.bearer.is(bearer))
        };
        let stream = stream.filter(is_known).ok_or(ReceiveError::Unauthenticated)?;
        let unavailable = |error: SignalError| ReceiveError::Unavailable(Box::new(error));
        self.acknowledge(stream, request).await.map_err(unavailable)?;
        let (most, began) = (request.most(), tokio::time::Instant::now());
        let mut grown = self.store.changed();
        loop {
            let now = self.clock.now();
            let waiting = waiting(&self.store, name, most.saturating_add(1), now).await;
            let Outbox { waiting, .. } = waiting.map_err(|error| unavailable(error.into()))?;
            let left = LONGEST_WAIT.saturating_sub(began.elapsed());
            let at_once = request.return_immediately || most == 0 || left.is_zero();
            if !waiting.is_empty() || at_once {
                return self.answer(stream, waiting, most).map_err(unavailable);
            }
            // What others have kept is told by nobody.
            let look = tokio::time::sleep(LOOK.min(left));
            tokio::select! {
                () = look => {}
                changed = grown.changed() => if changed.is_err() {
                    return Ok(PollAnswer::default());
                },
            }
        }
    }

    fn answer(
        &self,
        stream: &Stream,
        waiting: Vec<(marque_store::Kept, Waiting)>,
        most: usize,
    ) -> Result<PollAnswer, SignalError> {
        let mut answer =
            PollAnswer { more_available: waiting.len() > most, ..PollAnswer::default() };
        for (_, Waiting { claims, .. }) in waiting.into_iter().take(most) {
            let token = claims
                .said_by(self.issuer.as_str())
                .sign(&*self.signing.signer())
                .map_err(SignalError::unavailable)?;
            let jti = claims.jti().to_owned();
            answer.sets.insert(jti, token.expose_token().to_owned());
            count_sent(stream, "fetched");
        }
        Ok(answer)
    }

    /// What it has is gone; what it refuses is put aside.
    async fn acknowledge(&self, stream: &Stream, request: &PollRequest) -> Result<(), SignalError> {
        if request.ack.is_empty() && request.set_errs.is_empty() {
            return Ok(());
        }
        let now: Timestamp = self.clock.now();
        let name = stream.settings.name();
        let mut changes = Vec::new();
        let Outbox { waiting, .. } = waiting(&self.store, name, MAX_KEPT_LISTED, now).await?;
        for (row, one) in waiting {
            let (leaf, jti) = (one.leaf, one.claims.jti());
            if let Some(SetErr { err }) = request.set_errs.get(jti) {
                let code = known_code(err);
                tracing::error!(stream = name, leaf, code, "an event was put aside");
                count_sent(stream, "refused");
                let aside = Aside::of(&one, now, code.to_owned());
                changes.extend([row.taken_away(), aside.row(name)?]);
            } else if request.ack.iter().any(|taken| taken == jti) {
                count_sent(stream, "taken");
                changes.push(row.taken_away());
            }
        }
        // Where another poll said the same at the same time, nothing is left to do.
        self.store.keep(changes).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpLimits;

    #[test]
    fn an_empty_answer_comes_before_the_edge_ends_the_request() {
        let most = HttpLimits::default().request;
        assert!(LONGEST_WAIT + Duration::from_secs(2) < most, "{LONGEST_WAIT:?} of {most:?}");
    }
}
