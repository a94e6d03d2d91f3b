//! When a bundle is fetched.

use std::sync::Arc;
use std::time::Duration;

use marque_testkit::FixedClock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::endpoint::{Answer, Endpoint};
use super::{Own, Run, document_of, partner, until, web};

/// A relationship that follows its turns.
pub(super) struct Following {
    clock: FixedClock,
    _task: AbortOnDropHandle<()>,
}

impl Following {
    pub(super) fn begin(own: &Own, run: &Run) -> Self {
        let relationship = Arc::clone(&run.relationships[0]);
        let task = tokio::spawn(async move { relationship.follow(CancellationToken::new()).await });
        Self { clock: own.clock.clone(), _task: AbortOnDropHandle::new(task) }
    }

    /// Waits until as many fetches were made and the next one is awaited.
    pub(super) async fn fetched(&self, endpoint: &Endpoint, times: usize) {
        until("the fetch", || endpoint.asked().len() == times && self.clock.sleepers() == 1).await;
    }

    /// The next fetch comes after exactly this time.
    pub(super) async fn next_after(&self, wait: Duration, endpoint: &Endpoint) {
        let before = endpoint.asked().len();
        self.clock.advance(wait - Duration::from_secs(1));
        // Whoever would wake too early has its chance, and is then no longer asleep.
        tokio::task::yield_now().await;
        assert_eq!(self.clock.sleepers(), 1, "awake earlier than after {wait:?}");
        assert_eq!(endpoint.asked().len(), before, "earlier than after {wait:?}");
        self.clock.advance(Duration::from_secs(1));
        self.fetched(endpoint, before + 1).await;
    }
}

#[tokio::test]
async fn fe_2_a_bundle_is_fetched_at_once_and_then_as_often_as_it_says() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.document(document_of(&partner, 2, 120));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    assert_eq!(run.sequence(), Some(2));
    endpoint.document(document_of(&partner, 3, 1));
    following.next_after(Duration::from_secs(120), &endpoint).await;
    assert_eq!(run.sequence(), Some(3));
    // No more often than each minute, whatever it says.
    endpoint.document(document_of(&partner, 4, 30 * 24 * 3600));
    following.next_after(Duration::from_secs(60), &endpoint).await;
    // And no more seldom than each day.
    endpoint.document(document_of(&partner, 5, 300).replace("\"spiffe_refresh_hint\":300,", ""));
    following.next_after(Duration::from_secs(24 * 3600), &endpoint).await;
    assert_eq!(run.sequence(), Some(5));
    // Five minutes where it says nothing.
    following.next_after(Duration::from_secs(300), &endpoint).await;
}

#[tokio::test]
async fn fe_2_a_failure_waits_for_the_next_turn_and_the_bundle_before_stays() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.answer("/bundle", Answer::Status(500));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    assert_eq!(run.sequence(), None);
    endpoint.document(document_of(&partner, 2, 120));
    following.next_after(Duration::from_secs(300), &endpoint).await;
    assert_eq!(run.sequence(), Some(2));
    for answer in [Answer::Status(500), Answer::Document("{}".to_owned()), Answer::Status(404)] {
        endpoint.answer("/bundle", answer);
        following.next_after(Duration::from_secs(120), &endpoint).await;
        assert_eq!(run.sequence(), Some(2));
    }
    endpoint.document(document_of(&partner, 3, 120));
    following.next_after(Duration::from_secs(120), &endpoint).await;
    assert_eq!(run.sequence(), Some(3));
}

#[tokio::test]
async fn fe_8_a_key_that_was_removed_is_gone_with_the_next_fetch_and_everybody_is_told() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.document(document_of(&partner, 2, 60));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    let mut changes = run.bundles.subscribe();
    changes.mark_unchanged();
    following.next_after(Duration::from_secs(60), &endpoint).await;
    assert!(!changes.has_changed().unwrap(), "the same again is no news");
    endpoint.document("{\"keys\":[],\"spiffe_sequence\":3,\"spiffe_refresh_hint\":60}".to_owned());
    following.next_after(Duration::from_secs(60), &endpoint).await;
    assert!(changes.has_changed().unwrap());
    let present = run.present().unwrap();
    assert!(present.x509_authorities().is_empty() && present.jwt_authorities().is_empty());
}

#[tokio::test]
async fn a_relationship_ends_with_the_daemon_even_in_the_middle_of_a_fetch() {
    let own = Own::new();
    let endpoint = Endpoint::web().await;
    let run = own.start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.answer("/bundle", Answer::Silence);
    let stop = CancellationToken::new();
    let (relationship, token) = (Arc::clone(&run.relationships[0]), stop.clone());
    let task = tokio::spawn(async move { relationship.follow(token).await });
    until("the fetch", || endpoint.asked().len() == 1).await;
    stop.cancel();
    tokio::time::timeout(super::PATIENCE, task).await.unwrap().unwrap();
}
