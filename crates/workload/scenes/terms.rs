//! The folder was read anew: SVIDs that are cached by the lifetimes and the issuer of the document of now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use marque_registry::TrustDomainDocument;
use serde_json::json;

use super::issuer::Mood;
use super::{DOCUMENT, Scene, entry, is_quiet, now, selectors};

impl Scene {
    /// Puts a document in force that differs from [`DOCUMENT`] like this.
    fn read_anew(&self, change: impl FnOnce(&str) -> String) {
        let text = change(DOCUMENT);
        assert_ne!(text, DOCUMENT);
        let document = Arc::new(TrustDomainDocument::parse("test".as_ref(), &text).unwrap());
        let entries = self.issuer.registry.snapshot().entries().to_vec();
        let entries = entries.iter().map(|entry| entry.as_ref().clone()).collect();
        self.issuer.registry.replace_folder(document, (entries, Vec::new())).unwrap();
        self.issuer.publish(|_state| {});
    }

    fn with_lifetime(&self, name: &'static str, length: &str) {
        self.read_anew(|text| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ="))).unwrap();
            text.replace(line, &format!("{name} = \"{length}\""))
        });
    }
}

#[tokio::test]
async fn a_shorter_lifetime_has_open_streams_and_cached_svids_renewed_and_a_longer_one_nobody() {
    let scene = Scene::with_one_agent();
    let mut x509 = scene.subscribe();
    let mut wit = scene.workload.subscribe_wit(selectors(&["unix:uid:1"]), None);
    let first = now(x509.next()).unwrap();
    now(wit.next()).unwrap();
    scene.with_lifetime("x509_svid", "30m");
    *scene.issuer.lifetime.lock().unwrap() = Duration::from_mins(30);
    let second = now(x509.next()).unwrap();
    assert!(second.svids[0].material.not_after < first.svids[0].material.not_after);
    // Those are by the lifetime of X.509-SVIDs, where the document gives them none.
    now(wit.next()).unwrap();
    assert_eq!(scene.issuer.minted(), 4);
    scene.with_lifetime("x509_svid", "2h");
    assert!(is_quiet(x509.next()) && is_quiet(wit.next()));
    assert!(is_quiet(x509.next()));
    assert_eq!(scene.issuer.minted(), 4);
}

#[tokio::test]
async fn an_entry_with_a_lifetime_of_its_own_keeps_its_svids() {
    let own = json!({"x509_lifetime": "20m", "jwt_lifetime": "2m"});
    let scene = Scene::new(vec![entry("a", own)]);
    *scene.issuer.lifetime.lock().unwrap() = Duration::from_mins(20);
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    scene.with_lifetime("x509_svid", "25m");
    assert!(is_quiet(stream.next()));
    assert_eq!(scene.issuer.minted(), 1);
}

#[tokio::test]
async fn what_is_too_long_is_served_until_there_is_another() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    let first = now(stream.next()).unwrap();
    scene.issuer.is(Mood::Failing);
    scene.with_lifetime("x509_svid", "30m");
    assert!(is_quiet(stream.next()), "the one that it has is valid still");
    let again = now(scene.subscribe().next()).unwrap();
    assert!(Arc::ptr_eq(&first.svids[0].material, &again.svids[0].material));
    scene.issuer.is(Mood::Willing);
    *scene.issuer.lifetime.lock().unwrap() = Duration::from_mins(30);
    scene.clock.set(marque_testkit::START + Duration::from_secs(6));
    let second = now(stream.next()).unwrap();
    assert!(!Arc::ptr_eq(&first.svids[0].material, &second.svids[0].material));
}

#[tokio::test]
async fn a_jwt_svid_is_minted_anew_when_another_issuer_stands_in_it() {
    let scene = Scene::with_one_agent();
    *scene.issuer.lifetime.lock().unwrap() = Duration::from_mins(4);
    let ask = async || {
        let (who, audience) = (selectors(&["unix:uid:1"]), ["a".to_owned()]);
        scene.workload.jwt_svids(&who, &audience, None).await.unwrap();
        scene.issuer.asked.load(Ordering::Relaxed)
    };
    assert_eq!((ask().await, ask().await), (1, 1));
    let named = |issuer: &str| format!("{DOCUMENT}[oidc_discovery]\nissuer = \"{issuer}\"\n");
    scene.read_anew(|_text| named("https://oidc.example.org/a"));
    assert_eq!((ask().await, ask().await), (2, 2));
    // Another line is no other issuer.
    scene.read_anew(|_text| named("https://oidc.example.org/a").replace("[oidc", "\n\n[oidc"));
    assert_eq!(ask().await, 2);
    scene.read_anew(|_text| named("https://oidc.example.org/b"));
    assert_eq!(ask().await, 3);
    scene.with_lifetime("jwt_svid", "3m");
    assert_eq!(ask().await, 4);
}
