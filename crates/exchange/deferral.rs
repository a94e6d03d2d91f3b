//! Deferrals: token requests that wait for an approver (draft-ietf-oauth-deferred-token-response-01; OpenID CIBA Core 1.0
//! in its polling form).
//!
//! A deferral keeps what the first request asked and proved, so that a poll carries nothing but the code and who asks.
//! Kept is the digest of the code, never the code, and never a token. Deliberately absent: the decision. A deferral that
//! is collected goes through every check of an exchange that was never deferred.

mod code;
mod idempotency;
mod request;
mod service;
mod store;

use std::time::Duration;

use jiff::Timestamp;
use marque_intent::{Digest, Intent, IntentId, State};
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

pub use self::code::{DEFERRAL_CODE_LEN, DeferralCode};
pub(crate) use self::idempotency::idempotency_key;
pub(crate) use self::request::{CompletionMode, PollRequest, Shown};
pub(crate) use self::service::{NewDeferral, Waiting};
pub use self::store::{Cancellation, DeferralStore, OpenedDeferral, Polled};
use crate::{Asked, Confirmation, Offers};

/// The grant type of a poll with a deferral code.
pub const GRANT_TYPE_DEFERRED: &str = "urn:ietf:params:oauth:grant-type:deferred";
/// The grant type of a poll with an authentication request id.
pub const GRANT_TYPE_CIBA: &str = "urn:openid:params:grant-type:ciba";
/// The token type of a deferral code, as a hint at the revocation endpoint.
pub const TOKEN_TYPE_DEFERRAL_CODE: &str = "urn:ietf:params:oauth:token-type:deferral-code";

/// How many deferrals of one agent may be open at a time.
pub const MAX_OPEN_DEFERRALS_PER_AGENT: usize = 16;
/// How many deferrals of one agent are kept, ended ones included: a further one forgets the oldest that ended.
pub const MAX_KEPT_DEFERRALS_PER_AGENT: usize = 64;
/// How long a client waits between two polls.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How much longer it waits from then on for each poll that came too early (RFC 8628 §3.5).
pub const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);
/// How long an ended deferral is kept, so that a late poll learns what became of it.
pub const DEFERRAL_RETENTION: Duration = Duration::from_secs(60 * 60);

/// One token request that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deferral {
    /// The digest of the code.
    pub code: Digest,
    /// By which protocol it is collected.
    pub kind: DeferralKind,
    /// The only client that may poll.
    pub client: SpiffeId,
    /// The key that every poll must prove, where the first request proved one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Confirmation>,
    /// The intent that it waits for.
    pub intent: IntentId,
    /// What the first request asked for.
    pub asked: Asked,
    /// Where it stands. Whether the intent was approved is the intent's to say.
    pub state: DeferralState,
    /// When the code was given.
    pub opened_at: Timestamp,
    /// When the code ends.
    pub expires_at: Timestamp,
    /// How long the client waits between two polls, in seconds.
    pub interval_s: u64,
    /// When it last polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polled_at: Option<Timestamp>,
}

/// By which protocol a deferral is collected. A code of one is none of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeferralKind {
    /// The deferred token response: a `deferral_code`.
    DeferredTokenResponse,
    /// CIBA: an `auth_req_id`.
    Ciba,
}

impl DeferralKind {
    /// Whether it is in use.
    pub const fn is_offered(self, offers: &Offers) -> bool {
        match self {
            Self::DeferredTokenResponse => offers.deferred,
            Self::Ciba => offers.ciba,
        }
    }
}

/// Where a deferral stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeferralState {
    /// It may be polled.
    Open,
    /// Its token was issued.
    Redeemed,
    /// The client withdrew it.
    Cancelled,
}

impl DeferralState {
    /// The name in a column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redeemed => "redeemed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Deferral {
    /// Whether it still counts against [`MAX_OPEN_DEFERRALS_PER_AGENT`].
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == DeferralState::Open && now < self.expires_at
    }

    /// Whether `other` asks for the very same thing: then it is the request of a client that lost the answer.
    pub fn asks_like(&self, other: &Self) -> bool {
        let Self { kind, client, binding, intent, asked, .. } = self;
        *kind == other.kind
            && *client == other.client
            && *binding == other.binding
            && *intent == other.intent
            && *asked == other.asked
    }

    /// One poll: the deferral after it, and whether it came too early. The first may come at once. A poll that comes too
    /// early makes the interval longer, and the wait begins anew.
    #[must_use]
    pub fn polled(&self, now: Timestamp) -> (Self, Pace) {
        let earliest = self.polled_at.map(|last| {
            last.checked_add(Duration::from_secs(self.interval_s)).unwrap_or(Timestamp::MAX)
        });
        let pace = if earliest.is_some_and(|earliest| now < earliest) {
            Pace::TooFast
        } else {
            Pace::Kept
        };
        let longer = match pace {
            Pace::Kept => 0,
            Pace::TooFast => SLOW_DOWN_STEP.as_secs(),
        };
        let next = Self {
            polled_at: Some(now),
            interval_s: self.interval_s.saturating_add(longer),
            ..self.clone()
        };
        (next, pace)
    }

    /// Until when it is kept.
    pub fn kept_until(&self) -> Timestamp {
        self.expires_at.checked_add(DEFERRAL_RETENTION).unwrap_or(Timestamp::MAX)
    }
}

/// An approver may take until the request ends, and the first use may be as late after that as the grant says.
pub(crate) fn collectable_until(intent: &Intent, now: Timestamp) -> Timestamp {
    let grant = intent.grant();
    let decided = match intent.state() {
        State::Pending => intent.expires_at().unwrap_or(now),
        _ => now,
    };
    let end = decided.checked_add(grant.start_within).unwrap_or(grant.not_after);
    let end = end.min(grant.not_after);
    Timestamp::from_second(end.as_second()).unwrap_or(end)
}

/// Whether a poll kept the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// It did.
    Kept,
    /// It came too early.
    TooFast,
}

#[cfg(test)]
mod tests {
    use marque_testkit::START;

    use super::*;

    fn deferral() -> Deferral {
        Deferral {
            code: Digest::of(b"code"),
            kind: DeferralKind::DeferredTokenResponse,
            client: "spiffe://prod.example.org/agent/a".parse().unwrap(),
            binding: None,
            intent: "int_00000000000000000000000000".parse().unwrap(),
            asked: Asked::default(),
            state: DeferralState::Open,
            opened_at: START,
            expires_at: START + Duration::from_secs(600),
            interval_s: POLL_INTERVAL.as_secs(),
            polled_at: None,
        }
    }

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn oauth_18_3_the_first_poll_may_come_at_once_and_each_early_one_adds_five_seconds() {
        let (once, pace) = deferral().polled(START);
        assert_eq!((pace, once.interval_s), (Pace::Kept, 5));
        let (early, pace) = once.polled(after(4));
        assert_eq!((pace, early.interval_s), (Pace::TooFast, 10));
        // The wait begins anew with the early one, and is the longer one.
        let (early, pace) = early.polled(after(13));
        assert_eq!((pace, early.interval_s), (Pace::TooFast, 15));
        let (kept, pace) = early.polled(after(28));
        assert_eq!((pace, kept.interval_s), (Pace::Kept, 15));
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_lock_a_client_out() {
        let (polled, _) = deferral().polled(after(300));
        let (back, pace) = polled.polled(START);
        assert_eq!(pace, Pace::TooFast);
        assert_eq!(back.polled(after(10)).1, Pace::Kept);
    }

    #[test]
    fn a_deferral_is_open_until_its_code_ends_or_something_became_of_it() {
        let open = deferral();
        assert!(open.is_open(after(599)) && !open.is_open(after(600)));
        for state in [DeferralState::Redeemed, DeferralState::Cancelled] {
            assert!(!Deferral { state, ..deferral() }.is_open(START), "{state:?}");
        }
    }

    #[test]
    fn a_deferral_reads_back_from_json_and_nothing_unknown_with_it() {
        let mut json = serde_json::to_value(deferral()).unwrap();
        assert_eq!(serde_json::from_value::<Deferral>(json.clone()).unwrap(), deferral());
        json["token"] = "x".into();
        assert!(serde_json::from_value::<Deferral>(json).is_err());
    }
}
