//! What may be fetched, and what takes the place of what.

use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::BundleSource as _;
use marque_testkit::{START, ScratchTrustDomain};

use super::super::bundles::{MAX_BYTES, RefusedBundle, Taken};
use super::super::fetch::FetchLimits;
use super::endpoint::{Answer, Endpoint};
use super::{KeptBundles, Own, PARTNER, document_of, partner, partner_name, web};

#[tokio::test]
async fn fe_2_a_bundle_that_went_back_or_changed_in_silence_is_refused() {
    let (own, partner, other) = (Own::new(), partner(), partner());
    let endpoint = Endpoint::web().await;
    let run = own.start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    endpoint.document(document_of(&partner, 5, 300));
    run.refresh().await.unwrap();
    endpoint.document(document_of(&partner, 4, 300));
    let said = run.refused().await;
    assert!(said.contains("went back from 5 to 4"), "{said}");
    endpoint.document(document_of(&other, 5, 300));
    let said = run.refused().await;
    assert!(said.contains("changed without a new sequence 5"), "{said}");
    endpoint.document(document_of(&partner, 5, 300));
    run.refresh().await.unwrap();
    endpoint.document(document_of(&other, 6, 300));
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(6));
}

#[tokio::test]
async fn fe_2_the_last_good_bundle_outlives_a_restart_while_the_server_is_down() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let text = web(&endpoint.url("/bundle"), &endpoint.ca_file);
    endpoint.document(document_of(&partner, 5, 300));
    let run = own.start(&text, &[]);
    run.refresh().await.unwrap();
    let before = run.present();
    endpoint.answer("/bundle", Answer::Status(503));
    assert!(run.refused().await.contains("status 503"));
    let run = own.start(&text, &[]);
    assert_eq!((run.sequence(), run.present()), (Some(5), before));
    assert!(run.refused().await.contains("status 503"));
    endpoint.document(document_of(&partner, 6, 300));
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(6));
    // A file of the folder that is older than what was fetched does not win, and a newer one does.
    let file = |sequence| {
        let document = document_of(&partner, sequence, 300);
        Arc::new(marque_spiffe::Bundle::parse(partner_name(), document.as_bytes()).unwrap())
    };
    assert_eq!(own.start(&text, &[file(5)]).sequence(), Some(6));
    assert_eq!(own.start(&text, &[file(7)]).sequence(), Some(7));
}

#[tokio::test]
async fn a_kept_bundle_that_was_spoilt_is_left_aside() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let text = web(&endpoint.url("/bundle"), &endpoint.ca_file);
    endpoint.document(document_of(&partner, 5, 300));
    own.start(&text, &[]).refresh().await.unwrap();
    std::fs::write(own.kept(), "{\"keys\": [").unwrap();
    let run = own.start(&text, &[]);
    assert_eq!(run.sequence(), None);
    run.refresh().await.unwrap();
    assert_eq!(run.sequence(), Some(5));
}

#[tokio::test]
async fn fe_8_a_relationship_that_was_removed_leaves_nothing_behind() {
    let (own, partner) = (Own::new(), partner());
    let endpoint = Endpoint::web().await;
    let text = web(&endpoint.url("/bundle"), &endpoint.ca_file);
    endpoint.document(document_of(&partner, 5, 300));
    own.start(&text, &[]).refresh().await.unwrap();
    assert!(own.kept().exists());
    let run = own.start("", &[]);
    assert_eq!((run.present(), run.relationships.len()), (None, 0));
    assert!(!own.kept().exists());
    // Nor does it come back with the keys of then.
    assert_eq!(own.start(&text, &[]).present(), None);
    // A relationship that is only a file is not fetched, and what was fetched is not used.
    own.start(&text, &[]).refresh().await.unwrap();
    let file = format!(
        "[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\n"
    );
    let run = own.start(&file, &[partner.bundle()]);
    assert_eq!((run.sequence(), run.relationships.len()), (Some(1), 0));
    assert!(!own.kept().exists());
}

#[tokio::test]
async fn what_is_no_bundle_is_refused() {
    let endpoint = Endpoint::web().await;
    let run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    for (answer, expected) in [
        (Answer::Document("{}".to_owned()), "no array `keys`"),
        (Answer::Document("{\"keys\":[],\"keys\":[]}".to_owned()), "not a strict JSON object"),
        (Answer::Document(String::new()), "not a strict JSON object"),
        (Answer::Status(204), "status 204"),
        (Answer::Status(304), "status 304"),
        (Answer::Status(404), "status 404"),
    ] {
        endpoint.answer("/bundle", answer);
        let said = run.refused().await;
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn a_document_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let endpoint = Endpoint::web().await;
    let run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    let document = document_of(&partner(), 2, 300);
    let padded = |size: usize| format!("{document}{}", " ".repeat(size - document.len()));
    endpoint.document(padded(MAX_BYTES + 1));
    let said = run.refused().await;
    assert!(said.contains("at most 1048576 bytes"), "{said}");
    endpoint.document(padded(MAX_BYTES));
    run.refresh().await.unwrap();
}

#[tokio::test]
async fn a_server_that_goes_silent_costs_no_more_than_the_time_limit() {
    let endpoint = Endpoint::web().await;
    let mut run = Own::new().start(&web(&endpoint.url("/bundle"), &endpoint.ca_file), &[]);
    let relationship = Arc::get_mut(&mut run.relationships[0]).unwrap();
    assert_eq!(relationship.limits.time, Duration::from_secs(30));
    relationship.limits =
        FetchLimits { time: Duration::from_millis(300), ..FetchLimits::default() };
    endpoint.answer("/bundle", Answer::Silence);
    let said = run.refused().await;
    assert!(said.contains("no answer within 300ms"), "{said}");
}

#[test]
fn the_bundles_of_all_others_together_are_bounded() {
    let bundles = super::FederatedBundles::new(marque_spiffe::Environment::NonProduction, []);
    // Large by many authorities: each certificate counts.
    let large = |name: &str, authorities: usize| {
        let domain = ScratchTrustDomain::new(name);
        let mut bundle = marque_spiffe::Bundle::builder(name.parse().unwrap());
        for _ in 0..authorities {
            bundle = bundle.x509_authority(domain.root().certificate().clone()).unwrap();
        }
        Arc::new(bundle.sequence(1).build())
    };
    let one = large("one.example.org", 1).to_document().to_string().len();
    let most = MAX_BYTES / one;
    let replace = |bundle| bundles.replace(bundle, START);
    let names: Vec<_> = (0..most.div_ceil(250)).map(|n| format!("p{n}.example.org")).collect();
    let (last, others) = names.split_last().unwrap();
    for name in others {
        assert_eq!(replace(large(name, 250)), Ok(Taken::New));
    }
    let refused = replace(large(last, 1000)).unwrap_err();
    assert!(matches!(refused, RefusedBundle::TooMuch(bytes) if bytes > MAX_BYTES));
    assert_eq!(bundles.bundle(&last.parse().unwrap()), None);
    assert_eq!(replace(large(last, 1)), Ok(Taken::New));
    assert_eq!(
        replace(large(last, 2)).unwrap_err().to_string(),
        "the bundle does not follow the one before"
    );
}

#[test]
fn a_name_too_long_for_a_file_is_kept_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let kept = KeptBundles::new(folder.path().join("kept"));
    let name = "a".repeat(255);
    let domain = ScratchTrustDomain::new(&name);
    assert_eq!(kept.load(domain.trust_domain()), None);
    kept.save(&domain.bundle(), START).unwrap();
    let loaded = kept.load(domain.trust_domain()).unwrap();
    assert_eq!((&loaded.bundle, loaded.refreshed_at), (&*domain.bundle(), START));
    // A trust domain may be called like a way out of the folder.
    let dots = ScratchTrustDomain::new("..");
    kept.save(&dots.bundle(), START).unwrap();
    let files = || std::fs::read_dir(folder.path().join("kept")).unwrap().count();
    assert_eq!(files(), 2);
    kept.prune(&std::collections::BTreeSet::new()).unwrap();
    assert_eq!(files(), 0);
}
