//! Tests against an issuer that does as it is told, with a clock that stands still.

mod authority;
mod bundles;
mod issuer;
mod jwt;
mod quiescence;
mod renewal;
mod scope;
mod splay;
mod streams;
mod terms;
mod wit;
mod x509;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use marque_registry::{Entry, EntrySource, NewEntry, Registry, TrustDomainDocument};
use marque_spiffe::{Selector, SelectorSet, SpiffeId};
use marque_testkit::FixedClock;
use serde_json::json;

use self::issuer::FakeIssuer;
use crate::{Workload, WorkloadError, WorkloadLimits, X509Subscription, X509Update};

const DOCUMENT: &str = concat!(
    include_str!("../registry/folder/tests/trust-domain.toml"),
    "[[federation]]\ntrust_domain = \"partner.org\"\nenvironment = \"non-production\"\nbundle = \"x\"\n",
    "[[federation]]\ntrust_domain = \"other.org\"\nenvironment = \"non-production\"\nbundle = \"y\"\n",
);

/// One trust domain, its issuer, and what is served of it.
struct Scene {
    clock: FixedClock,
    issuer: Arc<FakeIssuer>,
    workload: Workload,
}

impl Scene {
    /// The trust domain `example.org` with these entries.
    fn new(entries: Vec<Entry>) -> Self {
        Self::with_limits(entries, WorkloadLimits::default())
    }

    fn with_limits(entries: Vec<Entry>, limits: WorkloadLimits) -> Self {
        let document = TrustDomainDocument::parse("test".as_ref(), DOCUMENT).unwrap();
        let registry = Registry::new(Arc::new(document), entries).unwrap();
        let clock = FixedClock::default();
        let issuer = Arc::new(FakeIssuer::new(registry, clock.clone()));
        let workload = Workload::with_limits(issuer.clone(), Arc::new(clock.clone()), limits);
        Self { clock, issuer, workload }
    }

    /// One agent, `spiffe://example.org/a`, for the selector `unix:uid:1`.
    fn with_one_agent() -> Self {
        Self::new(vec![entry("a", json!({}))])
    }

    /// The same, and the agent gets the bundle of `partner.org`.
    fn with_a_federating_agent() -> Self {
        Self::new(vec![entry("a", json!({"federates_with": ["partner.org"]}))])
    }

    fn subscribe(&self) -> X509Subscription {
        self.workload.subscribe_x509(selectors(&["unix:uid:1"]))
    }

    /// Moves the clock to this share of an hour, the lifetime of what is minted.
    fn at_per_cent(&self, per_cent: u32) {
        self.clock.set(marque_testkit::START + Duration::from_mins(60) * per_cent / 100);
    }
}

/// An entry for `unix:uid:1`, with some fields set otherwise.
fn entry(id: &str, mut fields: serde_json::Value) -> Entry {
    let mut new = json!({
        "spiffe_id": format!("spiffe://example.org/{id}"),
        "selectors": ["unix:uid:1"],
        "role": "agent",
        "owner": "tests",
        "expires_at": "2031-01-01T00:00:00Z",
    });
    new.as_object_mut().unwrap().append(fields.as_object_mut().unwrap());
    let new: NewEntry = serde_json::from_value(new).unwrap();
    new.into_entry(id.parse().unwrap(), EntrySource::Admin).unwrap()
}

fn id(name: &str) -> SpiffeId {
    format!("spiffe://example.org/{name}").parse().unwrap()
}

fn selectors(texts: &[&str]) -> SelectorSet {
    texts.iter().map(|text| text.parse::<Selector>().unwrap()).collect()
}

/// The names in an update, in its order.
fn names(update: &X509Update) -> Vec<&str> {
    update.svids.iter().map(|svid| svid.material.spiffe_id.path()).collect()
}

/// What a stream says at once, without waiting.
fn now<T>(next: impl Future<Output = Option<T>>) -> T {
    at_once(next).expect("an answer at once").expect("a stream that has not ended")
}

/// Whether a stream has nothing to say.
fn is_quiet<T>(next: impl Future<Output = T>) -> bool {
    at_once(next).is_none()
}

/// What a future gives without waiting. Unconstrained, because a task that polls much is made to
/// wait by its runtime now and then.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::task::unconstrained(future).now_or_never()
}

fn is_refused<T>(outcome: &Result<T, WorkloadError>) -> bool {
    matches!(outcome, Err(WorkloadError::NotEntitled))
}

/// Lets other tasks run until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
