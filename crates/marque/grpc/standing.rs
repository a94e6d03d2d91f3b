//! How a connection stands: whether the process that was pinned has proved that it is the one that speaks.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const UNPROVEN: u8 = 0;
const PROVEN: u8 = 1;
const REFUSED: u8 = 2;

/// The standing of one connection. It is refused for good: nothing makes it proven again.
#[derive(Debug, Default)]
pub(super) struct Standing {
    state: AtomicU8,
    changed: Notify,
    /// Whether something else than the process proves the connection.
    is_lasting: bool,
    /// Whether anything was asked on it.
    asked: CancellationToken,
}

/// The connection is not, or no longer, that of the process which was pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// Why a connection was refused: the label of the metric `marque_pin_refusals_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The process could not be pinned when the connection was accepted.
    Capture,
    /// Somebody else wrote on the connection, or sent descriptors.
    Sender,
    /// The challenge was not answered in time.
    Unproven,
    /// A caller was found not to be the process that connected.
    Attestation,
    /// What a broker proved itself by has ended.
    Ended,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Sender => "sender",
            Self::Unproven => "unproven",
            Self::Attestation => "attestation",
            Self::Ended => "ended",
        }
    }

    pub(super) fn count(self) {
        metrics::counter!("marque_pin_refusals_total", "reason" => self.as_str()).increment(1);
    }
}

impl Standing {
    /// Of a connection that was proven in another way.
    pub(super) fn proven_already() -> Self {
        Self { state: AtomicU8::new(PROVEN), is_lasting: true, ..Self::default() }
    }

    /// Something is asked on the connection.
    pub(super) fn ask(&self) {
        self.asked.cancel();
    }

    /// Waits until something was asked.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// A service has found that the caller is not the process which connected.
    pub(super) fn disown(&self) {
        if !self.is_lasting {
            self.refuse(Reason::Attestation);
        }
    }

    /// The process has answered the challenge.
    pub(super) fn prove(&self) {
        if self.change(UNPROVEN, PROVEN) {
            self.changed.notify_waiters();
        }
    }

    /// The process is not the one that speaks.
    pub(super) fn refuse(&self, reason: Reason) {
        if self.state.swap(REFUSED, Ordering::AcqRel) != REFUSED {
            reason.count();
            self.changed.notify_waiters();
        }
    }

    /// Refuses the connection unless it is proven by now; says whether it did.
    pub(super) fn require_proof(&self) -> bool {
        let refused = self.change(UNPROVEN, REFUSED);
        if refused {
            Reason::Unproven.count();
            self.changed.notify_waiters();
        }
        refused
    }

    /// Waits until the challenge is answered.
    pub(super) async fn proven(&self) -> Result<(), Refused> {
        match self.until(|state| state != UNPROVEN).await {
            PROVEN => Ok(()),
            _refused => Err(Refused),
        }
    }

    /// Waits until the connection is refused.
    pub(super) async fn refused(&self) {
        self.until(|state| state == REFUSED).await;
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    async fn until(&self, reached: impl Fn(u8) -> bool) -> u8 {
        loop {
            // Listening begins before the look, so that no change falls in between.
            let changed = self.changed.notified();
            let state = self.state.load(Ordering::Acquire);
            if reached(state) {
                return state;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_the_proof_learns_of_it_and_of_the_refusal() {
        let standing = Standing::default();
        assert_eq!(standing.proven().now_or_never(), None);
        let (told, ()) = futures::join!(standing.proven(), async { standing.prove() });
        assert_eq!(told, Ok(()));
        assert_eq!(standing.refused().now_or_never(), None);
        let ((), ()) =
            futures::join!(standing.refused(), async { standing.refuse(Reason::Sender) });
        assert_eq!(standing.proven().await, Err(Refused));
    }

    #[tokio::test]
    async fn what_is_proven_in_another_way_outlives_a_caller_that_is_not_known() {
        let standing = Standing::proven_already();
        standing.disown();
        assert_eq!(standing.proven().await, Ok(()));
        let standing = Standing::default();
        standing.prove();
        standing.disown();
        assert_eq!(standing.proven().await, Err(Refused));
    }

    #[tokio::test]
    async fn a_refusal_is_for_good_and_a_proof_in_time_is_no_refusal() {
        let standing = Standing::default();
        assert!(standing.require_proof());
        standing.prove();
        assert_eq!(standing.proven().await, Err(Refused));
        let standing = Standing::default();
        standing.prove();
        assert!(!standing.require_proof());
        assert_eq!(standing.proven().await, Ok(()));
    }
}
