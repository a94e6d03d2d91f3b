//! How long a bundle is used that cannot be fetched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::{Bundle, UnverifiedJwtSvid};
use marque_testkit::{START, ScratchTrustDomain};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::endpoint::{Answer, Endpoint, of};
use super::turns::Following;
use super::{Own, Run, document_of, partner, partner_name, server_id, spiffe, until, web};

const AUDIENCE: &str = "https://service.example.org";
const SECOND: Duration = Duration::from_secs(1);
/// How often the bundles of these tests want to be fetched.
const TURN: Duration = Duration::from_secs(90);

/// `[[federation]]` by `https_web` whose bundle is used for so long.
fn used_for(max_staleness: &str, url: &str, ca_file: &Path) -> String {
    format!("{}max_staleness = \"{max_staleness}\"\n", web(url, ca_file))
}

fn bundle(partner: &ScratchTrustDomain, sequence: u64) -> Arc<Bundle> {
    let document = document_of(partner, sequence, 90);
    Arc::new(Bundle::parse(partner_name(), document.as_bytes()).unwrap())
}

/// Whether an SVID of the partner verifies by what is here.
fn verifies(run: &Run, partner: &ScratchTrustDomain) -> bool {
    let ends = START + Duration::from_secs(30 * 24 * 3600);
    let svid = partner.jwt_svid(&partner.id("/agent/x"), &[AUDIENCE], ends);
    let svid = UnverifiedJwtSvid::parse(svid.expose_token()).unwrap();
    run.present().is_some_and(|bundle| svid.verify(&bundle, AUDIENCE, START).is_ok())
}

#[tokio::test]
async fn janssen_a_bundle_that_was_not_refreshed_for_too_long_verifies_nothing_until_it_is() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&used_for("5m", &endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.document(document_of(&partner, 2, 90));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    assert!(verifies(&run, &partner));
    endpoint.answer("/bundle", Answer::Status(503));
    for _turn in 0..3 {
        following.next_after(TURN, &endpoint).await;
    }
    // Four and a half minutes old by now, and in use to the last second of the fifth.
    let mut changes = run.bundles.subscribe();
    changes.mark_unchanged();
    own.clock.advance(29 * SECOND);
    tokio::task::yield_now().await;
    assert!(verifies(&run, &partner) && !changes.has_changed().unwrap());
    own.clock.advance(SECOND);
    until("the withdrawal", || !verifies(&run, &partner)).await;
    assert!(changes.has_changed().unwrap(), "everybody is told");
    assert!(changes.borrow_and_update().is_empty());
    // A failure more brings nothing back, and the same bundle does.
    own.clock.advance(60 * SECOND);
    following.fetched(&endpoint, 5).await;
    assert!(!verifies(&run, &partner) && !changes.has_changed().unwrap());
    endpoint.document(document_of(&partner, 2, 90));
    following.next_after(TURN, &endpoint).await;
    assert!(verifies(&run, &partner));
    assert_eq!(changes.borrow_and_update().len(), 1, "everybody is told of that, too");
}

#[tokio::test]
async fn oauth_4_9_each_refresh_of_the_same_bundle_begins_its_time_anew() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&used_for("5m", &endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.document(document_of(&partner, 2, 90));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    let mut changes = run.bundles.subscribe();
    changes.mark_unchanged();
    for _turn in 0..8 {
        following.next_after(TURN, &endpoint).await;
        assert!(verifies(&run, &partner));
    }
    assert!(!changes.has_changed().unwrap());
}

#[tokio::test]
async fn oauth_4_9_a_bundle_is_fetched_twice_within_its_time_whatever_it_says() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&used_for("1h", &endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.document(document_of(&partner, 2, 24 * 3600));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    // Three times, even.
    following.next_after(Duration::from_secs(1200), &endpoint).await;
}

#[tokio::test]
async fn oauth_4_9_what_is_refused_is_no_refresh() {
    let (own, partner, other) = (Own::new(), partner(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&used_for("5m", &endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.document(document_of(&partner, 5, 90));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    // It answers, with what went back, with another one of the same number, and with nothing of the kind.
    for document in [document_of(&partner, 4, 90), document_of(&other, 5, 90), "{}".to_owned()] {
        endpoint.document(document);
        following.next_after(TURN, &endpoint).await;
    }
    own.clock.advance(30 * SECOND);
    until("the withdrawal", || !verifies(&run, &partner)).await;
}

#[tokio::test]
async fn one_failure_withdraws_no_bundle_however_seldom_it_wants_to_be_fetched() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&used_for("5m", &endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    let bundle = document_of(&partner, 2, 24 * 3600);
    endpoint.document(bundle.clone());
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    let mut changes = run.bundles.subscribe();
    changes.mark_unchanged();
    for _failure in 0..3 {
        endpoint.answer("/bundle", Answer::Status(503));
        following.next_after(Duration::from_secs(100), &endpoint).await;
        endpoint.document(bundle.clone());
        following.next_after(Duration::from_secs(100), &endpoint).await;
        assert!(verifies(&run, &partner));
    }
    assert!(!changes.has_changed().unwrap());
}

#[tokio::test]
async fn oauth_4_9_a_restart_makes_no_bundle_younger() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let text = used_for("1h", &endpoint.url("/bundle"), &endpoint.ca_file);
    endpoint.document(document_of(&partner, 5, 90));
    own.start(&text, &[]).refresh().await.unwrap();
    own.clock.advance(Duration::from_secs(1800));
    own.start(&text, &[]).refresh().await.unwrap();
    endpoint.answer("/bundle", Answer::Status(503));
    // An hour from the last refresh, and not from the first.
    own.clock.advance(Duration::from_secs(3599));
    assert!(verifies(&own.start(&text, &[]), &partner));
    own.clock.advance(SECOND);
    let run = own.start(&text, &[]);
    assert!(!verifies(&run, &partner));
    // Nor does the file that it began with, which is no newer.
    assert!(!verifies(&own.start(&text, &[bundle(&partner, 5)]), &partner));
    endpoint.document(document_of(&partner, 5, 90));
    run.refresh().await.unwrap();
    assert!(verifies(&run, &partner));
    // A newer file is somebody's word of today.
    own.clock.advance(Duration::from_secs(3600));
    let run = own.start(&text, &[bundle(&partner, 6)]);
    assert!(verifies(&run, &partner));
}

#[tokio::test]
async fn oauth_4_9_a_bundle_of_a_file_counts_from_when_it_was_seen_first_however_often_it_is_read()
{
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    endpoint.answer("/bundle", Answer::Status(503));
    let text = used_for("1h", &endpoint.url("/bundle"), &endpoint.ca_file);
    let read = |sequence: u64| own.start(&text, &[bundle(&partner, sequence)]);
    assert!(verifies(&read(5), &partner));
    own.clock.advance(Duration::from_secs(3599));
    assert!(verifies(&read(5), &partner), "to its last second");
    own.clock.advance(SECOND);
    assert!(!verifies(&read(5), &partner), "another reading makes it no younger");
    // A newer one is young, and the one before has not become so meanwhile.
    assert!(verifies(&read(6), &partner));
    assert!(!verifies(&read(5), &partner));
    // What does not say since when is as old as can be.
    std::fs::write(own.folder.path().join("kept/partner.example.org.seen"), "?").unwrap();
    assert!(!verifies(&read(6), &partner));
    // Its endpoint makes it young again.
    endpoint.document(document_of(&partner, 6, 90));
    let run = read(6);
    run.refresh().await.unwrap();
    assert!(verifies(&run, &partner));
}

#[tokio::test]
async fn oauth_4_9_a_kept_bundle_that_does_not_say_its_age_or_is_of_tomorrow_gains_nothing() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let text = used_for("1h", &endpoint.url("/bundle"), &endpoint.ca_file);
    endpoint.document(document_of(&partner, 5, 90));
    own.start(&text, &[]).refresh().await.unwrap();
    let kept = std::fs::read_to_string(own.kept()).unwrap();
    let at = |second: &str| {
        let member = format!("\"marque_refreshed_at\":{}", START.as_second());
        assert!(kept.contains(&member), "{kept}");
        let text = kept.replace(&member, &format!("\"marque_refreshed_at\":{second}"));
        std::fs::write(own.kept(), text).unwrap();
    };
    for second in ["null", "\"1\"", "1e300", "-1"] {
        at(second);
        assert!(!verifies(&own.start(&text, &[]), &partner), "{second}");
    }
    at(&(START.as_second() + 24 * 3600).to_string());
    let run = own.start(&text, &[]);
    assert!(verifies(&run, &partner));
    endpoint.answer("/bundle", Answer::Status(503));
    let asked = endpoint.asked().len();
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, asked + 1).await;
    own.clock.advance(Duration::from_secs(3600));
    until("the withdrawal", || !verifies(&run, &partner)).await;
}

#[tokio::test]
async fn oauth_4_9_a_stale_bundle_still_vouches_for_its_own_endpoint_so_that_it_can_come_back() {
    let (own, partner) = (Own::new(), partner());
    let id = server_id(&partner);
    let endpoint = of(&partner).await;
    let text = format!("{}max_staleness = \"5m\"\n", spiffe(&endpoint.url("/bundle"), &id));
    endpoint.answer("/bundle", Answer::Status(503));
    let run = own.start(&text, &[bundle(&partner, 1)]);
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    for _turn in 0..3 {
        following.next_after(TURN, &endpoint).await;
    }
    own.clock.advance(30 * SECOND);
    until("the withdrawal", || !verifies(&run, &partner)).await;
    endpoint.document(document_of(&partner, 2, 90));
    own.clock.advance(60 * SECOND);
    following.fetched(&endpoint, 5).await;
    assert!(verifies(&run, &partner));
}

#[tokio::test]
async fn oauth_4_9_a_bundle_of_a_file_alone_is_as_fresh_as_its_file() {
    let (own, partner) = (Own::new(), partner());
    let text = "[[federation]]\ntrust_domain = \"partner.example.org\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\n";
    let run = own.start(text, &[partner.bundle()]);
    own.clock.advance(Duration::from_secs(365 * 24 * 3600));
    assert!(verifies(&run, &partner));
    assert!(verifies(&own.start(text, &[partner.bundle()]), &partner));
}

#[tokio::test]
async fn oauth_4_9_operators_see_that_a_bundle_is_stale_and_when_it_was_fetched_last() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let value = |name: &str| {
        let labels = "{trust_domain=\"test.example.org\",federated=\"partner.example.org\"} ";
        let text = handle.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{labels}")));
        line.map(str::to_owned)
    };
    let stale = || value("marque_federated_bundle_stale");
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&used_for("5m", &endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.answer("/bundle", Answer::Status(503));
    let following = Following::begin(&own, &run);
    following.fetched(&endpoint, 1).await;
    assert_eq!(stale().as_deref(), Some("1"), "there is none");
    endpoint.document(document_of(&partner, 2, 90));
    // A third of its time where no bundle says how often.
    following.next_after(Duration::from_secs(100), &endpoint).await;
    assert_eq!(stale().as_deref(), Some("0"));
    let refreshed = value("marque_federated_bundle_refreshed_timestamp_seconds").unwrap();
    assert_eq!(refreshed.parse::<f64>().unwrap(), (START.as_second() + 100) as f64);
    endpoint.answer("/bundle", Answer::Status(503));
    for _turn in 0..3 {
        following.next_after(TURN, &endpoint).await;
    }
    own.clock.advance(30 * SECOND);
    until("the withdrawal", || stale().as_deref() == Some("1")).await;
}
