//! The wait for an approver: one question after the other, until somebody decided, the time is over, or we are stopped.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::super::failure::Failure;
use super::super::output::visible;
use super::answers::Step;
use crate::client::Answer;

/// How much longer the pause is after each `slow_down` (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What became of a wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// It is the token.
    Token(Value),
    /// Nobody decided in time.
    Nobody,
    /// Somebody stopped it.
    Stopped,
}

/// Asks every `interval`, the last time when `limit` is over.
///
/// No question is given up half-way: its answer may be the one token that there is.
///
/// # Errors
/// The refusal, where the issuer refuses. Trouble of the issuer, or on the way to it, ends no wait.
pub(super) async fn poll(
    mut interval: Duration,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<Answer, Failure>,
    stopped: impl Future<Output = ()>,
) -> Result<Waited, Failure> {
    let mut stopped = pin!(stopped);
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(Waited::Nobody);
        }
        tokio::select! {
            () = stopped.as_mut() => return Ok(Waited::Stopped),
            () = tokio::time::sleep(pause(interval, left)) => {}
        }
        let step = ask().await.and_then(|answer| match Step::of(&answer) {
            Step::Refused(failure) if answer.is_of_the_moment() => Err(failure),
            step => Ok(step),
        });
        match step {
            Ok(Step::Token(answer)) => return Ok(Waited::Token(answer)),
            Ok(Step::Refused(failure)) => return Err(failure),
            Ok(Step::Pending | Step::Deferred(_)) => tell("still waiting"),
            Ok(Step::SlowDown) => {
                interval = interval.saturating_add(SLOWER);
                tell(&format!("asked too often; from now on every {}s", interval.as_secs()));
            }
            // RFC 8628 §3.5: what cannot be reached, or cannot answer, is asked less often, and the wait goes on.
            Err(failure) => {
                interval = interval.saturating_mul(2).min(LONGEST_PAUSE);
                failure.warn("asking again, less often");
            }
        }
    }
}

/// How long until the next question. The last one comes when the time is over, and never early: the answer to an early one
/// is `slow_down`, whatever was decided.
fn pause(interval: Duration, left: Duration) -> Duration {
    if left < interval.saturating_mul(2) { left } else { interval }
}

/// Comes when somebody ends this program, as Ctrl-C and `timeout` do.
pub(super) fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// How it goes, for whoever looks on.
pub(super) fn tell(text: &str) {
    use std::io::Write as _;

    // With standard error closed nobody looks on.
    drop(writeln!(anstream::stderr(), "{}", visible(text)));
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);
    const HOUR: Duration = Duration::from_secs(3600);

    fn answer(status: u16, body: Value) -> Result<Answer, Failure> {
        Ok(Answer { status, body })
    }

    fn token() -> Value {
        json!({ "access_token": "x" })
    }

    /// Polls for what answers so, one answer after the other.
    async fn polled<const N: usize>(
        interval: Duration,
        limit: Duration,
        answers: [Result<Answer, Failure>; N],
    ) -> Result<Waited, Failure> {
        let mut answers = answers.into_iter();
        let ask = async || answers.next().expect("another question");
        let polled = poll(interval, limit, ask, pending()).await;
        assert_eq!(answers.len(), 0, "all were asked for");
        polled
    }

    #[tokio::test]
    async fn the_last_question_comes_when_the_time_is_over() {
        let first = polled(HOUR, MOMENT, [answer(200, token())]).await;
        assert_eq!(first.expect("an answer"), Waited::Token(token()));
        let undecided = json!({ "error": "authorization_pending" });
        let nobody = polled(HOUR, MOMENT, [answer(400, undecided)]).await;
        assert_eq!(nobody.expect("no refusal"), Waited::Nobody);
    }

    #[test]
    fn no_question_comes_early() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(seconds(5), seconds(2700)), seconds(5));
        assert_eq!(pause(seconds(5), seconds(10)), seconds(5));
        // After five seconds less than five would be left.
        assert_eq!(pause(seconds(5), seconds(9)), seconds(9));
        assert_eq!(pause(seconds(5), seconds(4)), seconds(4));
    }

    #[tokio::test]
    async fn an_issuer_in_trouble_does_not_end_the_wait() {
        let troubled = [
            answer(503, json!({ "error": "temporarily_unavailable" })),
            answer(500, json!({ "error": "server_error" })),
            answer(408, Value::Null),
            Err(Failure::failed("cannot ask the issuer")),
            answer(200, token()),
        ];
        let waited = polled(MOMENT, HOUR, troubled).await;
        assert_eq!(waited.expect("an answer"), Waited::Token(token()));
        let refused = [answer(400, json!({ "error": "expired_token" }))];
        polled(MOMENT, HOUR, refused).await.expect_err("a refusal ends it");
    }

    #[tokio::test]
    async fn who_stops_the_wait_still_gets_the_answer_that_was_on_its_way() {
        let stop = Notify::new();
        for (last, became) in [
            (answer(200, token()), Waited::Token(token())),
            (answer(400, json!({ "error": "authorization_pending" })), Waited::Stopped),
        ] {
            let mut last = Some(last);
            let ask = async || {
                stop.notify_one();
                tokio::task::yield_now().await;
                last.take().expect("one question")
            };
            let waited = poll(Duration::from_millis(50), HOUR, ask, stop.notified()).await;
            assert_eq!(waited.expect("no refusal"), became);
        }
    }
}
