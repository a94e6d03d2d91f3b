use std::sync::Arc;
use std::time::Duration;

use marque_jose::Signer;
use marque_spiffe::{Bundle, SpiffeId};
use marque_testkit::{START, ScratchSigner, ScratchTrustDomain};
use serde_json::json;

use super::issuer::Mood;
use super::{Scene, at_once, entry, id, is_refused, selectors, until};
use crate::{
    BundleSet, InvalidAudience, JwtSvidMaterial, MAX_AUDIENCE_BYTES, MAX_AUDIENCES, WorkloadError,
    WorkloadLimits,
};

type Fetched = Result<Vec<Arc<JwtSvidMaterial>>, WorkloadError>;

impl Scene {
    fn jwt_of(&self, audience: &[&str], spiffe_id: Option<&SpiffeId>) -> Fetched {
        let audience: Vec<_> = audience.iter().map(|text| (*text).to_owned()).collect();
        let caller = selectors(&["unix:uid:1"]);
        let fetched = self.workload.jwt_svids(&caller, &audience, spiffe_id);
        let fetched = at_once(fetched).expect("an answer at once")?;
        Ok(fetched.into_iter().map(|(svid, _)| svid).collect())
    }

    /// The one JWT-SVID for one audience.
    fn jwt(&self, audience: &str) -> Result<Arc<JwtSvidMaterial>, WorkloadError> {
        Ok(self.jwt_of(&[audience], None)?.remove(0))
    }
}

#[tokio::test]
async fn a_jwt_svid_is_for_the_caller_and_the_audience() {
    let scene = Scene::with_one_agent();
    let svid = scene.jwt("db").unwrap();
    assert_eq!(svid.spiffe_id, id("a"));
    let caller = selectors(&["unix:uid:1"]);
    let token = svid.token.expose_token();
    let valid = scene.workload.validate_jwt_svid(&caller, token, "db").unwrap();
    assert_eq!(valid.id(), &id("a"));
    assert!(!format!("{svid:?}").contains(token));
}

#[tokio::test]
async fn a_jwt_svid_is_minted_again_at_half_life() {
    let scene = Scene::with_one_agent();
    let first = scene.jwt("db").unwrap();
    scene.at_per_cent(44);
    assert!(Arc::ptr_eq(&first, &scene.jwt("db").unwrap()));
    scene.at_per_cent(56);
    assert!(!Arc::ptr_eq(&first, &scene.jwt("db").unwrap()));
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn wa_10_each_audience_and_each_entry_has_its_own() {
    let scene = Scene::new(vec![entry("a", json!({})), entry("b", json!({}))]);
    let both = scene.jwt_of(&["db"], None).unwrap();
    let ids: Vec<_> = both.iter().map(|svid| &svid.spiffe_id).collect();
    assert_eq!(ids, [&id("a"), &id("b")]);
    let named = scene.jwt_of(&["db"], Some(&id("b"))).unwrap();
    assert!(named.len() == 1 && Arc::ptr_eq(&named[0], &both[1]));
    assert_eq!(scene.issuer.minted(), 2);
    for audience in [&["web"][..], &["db", "web"], &["web", "db"]] {
        scene.jwt_of(audience, Some(&id("a"))).unwrap();
    }
    assert_eq!(scene.issuer.minted(), 5);
}

#[tokio::test]
async fn the_last_valid_one_is_served_while_the_issuer_fails_and_never_past_its_end() {
    let scene = Scene::with_one_agent();
    let first = scene.jwt("db").unwrap();
    scene.issuer.is(Mood::Failing);
    scene.at_per_cent(99);
    assert!(Arc::ptr_eq(&first, &scene.jwt("db").unwrap()));
    let outcome = scene.jwt("another");
    assert!(matches!(outcome, Err(WorkloadError::Mint(_))), "{outcome:?}");
    scene.clock.set(first.expires_at);
    let outcome = scene.jwt("db");
    assert!(matches!(outcome, Err(WorkloadError::Mint(_))), "{outcome:?}");
}

#[tokio::test]
async fn wa_10_a_caller_is_refused_what_it_is_not_entitled_to() {
    let scene =
        Scene::new(vec![entry("a", json!({})), entry("b", json!({"selectors": ["unix:uid:2"]}))]);
    assert!(is_refused(&scene.jwt_of(&["db"], Some(&id("b")))));
    assert!(is_refused(&scene.jwt_of(&["db"], Some(&id("nobody")))));
    scene.jwt("db").unwrap();
    scene.issuer.kill(&id("a"));
    assert!(is_refused(&scene.jwt("db")), "a cached token is no entitlement");
    let nobody = selectors(&["unix:uid:3"]);
    let outcome = scene.workload.jwt_svids(&nobody, &["db".to_owned()], None).await;
    assert!(is_refused(&outcome));
}

#[tokio::test]
async fn an_issuer_that_refuses_is_believed_over_a_valid_token() {
    let scene = Scene::with_one_agent();
    scene.jwt("db").unwrap();
    scene.issuer.is(Mood::Refusing);
    scene.at_per_cent(56);
    assert!(is_refused(&scene.jwt("db")));
    scene.issuer.is(Mood::Failing);
    assert!(matches!(scene.jwt("db"), Err(WorkloadError::Mint(_))), "the old one is forgotten");
}

#[tokio::test]
async fn a_kill_that_comes_while_minting_is_heeded() {
    let scene = Arc::new(Scene::with_one_agent());
    let closed = scene.issuer.gate.acquire().await.unwrap();
    let fetch = tokio::spawn({
        let workload = scene.workload.clone();
        async move { workload.jwt_svids(&selectors(&["unix:uid:1"]), &["db".to_owned()], None).await }
    });
    until(|| scene.issuer.minted() == 1).await;
    scene.issuer.kill(&id("a"));
    drop(closed);
    assert!(is_refused(&fetch.await.unwrap()));
}

#[tokio::test]
async fn a_kill_that_comes_while_minting_takes_one_identity_of_several() {
    let scene = Scene::new(vec![entry("a", json!({})), entry("b", json!({}))]);
    let closed = scene.issuer.gate.acquire().await.unwrap();
    let workload = scene.workload.clone();
    let fetch = tokio::spawn(async move {
        let caller = selectors(&["unix:uid:1"]);
        workload.jwt_svids(&caller, &["db".to_owned()], None).await.unwrap()
    });
    until(|| scene.issuer.minted() == 2).await;
    scene.issuer.kill(&id("a"));
    drop(closed);
    let ids: Vec<_> = fetch.await.unwrap().iter().map(|(svid, _)| svid.spiffe_id.clone()).collect();
    assert_eq!(ids, [id("b")]);
}

#[tokio::test]
async fn many_callers_at_once_cost_one_minting() {
    let scene = Scene::with_one_agent();
    let closed = scene.issuer.gate.acquire().await.unwrap();
    let fetches: Vec<_> = (0..20)
        .map(|_| {
            let workload = scene.workload.clone();
            tokio::spawn(async move {
                let caller = selectors(&["unix:uid:1"]);
                workload.jwt_svids(&caller, &["db".to_owned()], None).await.unwrap().len()
            })
        })
        .collect();
    until(|| scene.issuer.minted() == 1).await;
    drop(closed);
    for fetch in fetches {
        assert_eq!(fetch.await.unwrap(), 1);
    }
    assert_eq!(scene.issuer.minted(), 1);
}

#[tokio::test]
async fn a_token_whose_key_is_gone_is_replaced_at_once() {
    let scene = Scene::with_one_agent();
    let first = scene.jwt("db").unwrap();
    let domain = Arc::clone(&scene.issuer.domain.lock().unwrap());
    let bundle = |signers: &[&ScratchSigner], sequence| {
        let empty = Bundle::builder(domain.trust_domain().clone()).sequence(sequence);
        let add = |builder: marque_spiffe::BundleBuilder, signer: &&ScratchSigner| {
            builder.jwt_authority(signer.key_id().clone(), signer.public_key().clone()).unwrap()
        };
        signers.iter().fold(empty, add).build()
    };
    let next = ScratchSigner::generate("next");
    scene.issuer.set_own_bundle(bundle(&[domain.signer(), &next], 2));
    assert!(Arc::ptr_eq(&first, &scene.jwt("db").unwrap()));
    scene.issuer.set_own_bundle(bundle(&[&next], 3));
    assert!(!Arc::ptr_eq(&first, &scene.jwt("db").unwrap()));
}

#[tokio::test]
async fn audiences_end_at_their_limits() {
    let scene = Scene::with_one_agent();
    let refused = |audience: &[&str]| match scene.jwt_of(audience, None) {
        Err(WorkloadError::InvalidAudience(error)) => Some(error),
        Ok(_) => None,
        Err(other) => panic!("{other}"),
    };
    let long = "x".repeat(MAX_AUDIENCE_BYTES + 1);
    assert_eq!(refused(&[]), Some(InvalidAudience::Missing));
    assert_eq!(refused(&["db", ""]), Some(InvalidAudience::Empty));
    assert_eq!(refused(&[&long]), Some(InvalidAudience::TooLong));
    assert_eq!(refused(&[long.strip_prefix('x').unwrap()]), None);
    for bad in ["a\nb", "a\"b", "a\\b", "a\u{7f}"] {
        assert_eq!(refused(&[bad]), Some(InvalidAudience::Characters));
    }
    assert_eq!(refused(&["x"; MAX_AUDIENCES + 1]), Some(InvalidAudience::TooMany));
    assert_eq!(refused(&["x"; MAX_AUDIENCES]), None);
}

#[tokio::test]
async fn hints_are_given_once() {
    let scene =
        Scene::new(vec![entry("a", json!({"hint": "one"})), entry("b", json!({"hint": "one"}))]);
    let caller = selectors(&["unix:uid:1"]);
    let fetched = scene.workload.jwt_svids(&caller, &["db".to_owned()], None).await.unwrap();
    let hints: Vec<_> = fetched.iter().map(|(_, hint)| hint.is_some()).collect();
    assert_eq!(hints, [true, false]);
}

#[tokio::test]
async fn no_more_tokens_are_kept_than_the_limit() {
    let limits = WorkloadLimits { jwt_svid_bytes: 3 * 2_100, ..WorkloadLimits::default() };
    let scene = Scene::with_limits(vec![entry("a", json!({}))], limits);
    for n in 0..10 {
        scene.jwt(&format!("audience-{n}")).unwrap();
    }
    let (_, kept) = scene.workload.shared.kept();
    assert!((1..=3).contains(&kept), "{kept}");
}

#[tokio::test]
async fn wa_12_a_token_is_verified_by_the_bundle_of_its_own_trust_domain_alone() {
    let scene = Scene::with_a_federating_agent();
    let caller = selectors(&["unix:uid:1"]);
    let (partner, stranger) =
        (ScratchTrustDomain::new("partner.org"), ScratchTrustDomain::new("stranger.org"));
    let own = Arc::clone(&scene.issuer.domain.lock().unwrap());
    scene.issuer.publish(|state| {
        state.bundles =
            Arc::new(BundleSet::new(own.bundle(), [partner.bundle(), stranger.bundle()]));
    });
    let end = START + Duration::from_secs(60);
    let validate =
        |token: &str, audience: &str| scene.workload.validate_jwt_svid(&caller, token, audience);
    let token = partner.jwt_svid(&partner.id("/x"), &["db"], end);
    assert_eq!(validate(token.expose_token(), "db").unwrap().id(), &partner.id("/x"));
    for (token, audience) in [
        (token.expose_token(), "web"),
        // Signed by one trust domain, about another.
        (partner.jwt_svid(&own.id("/x"), &["db"], end).expose_token(), "db"),
        (own.jwt_svid(&own.id("/x"), &["db"], START).expose_token(), "db"),
        ("a.b.c", "db"),
    ] {
        let outcome = validate(token, audience);
        assert!(matches!(outcome, Err(WorkloadError::InvalidToken(_))), "{outcome:?}");
    }
    let token = stranger.jwt_svid(&stranger.id("/x"), &["db"], end);
    let outcome = validate(token.expose_token(), "db");
    assert!(matches!(outcome, Err(WorkloadError::UnknownTrustDomain(_))), "{outcome:?}");
}

#[tokio::test]
async fn whoever_validates_needs_an_identity_itself() {
    let scene = Scene::with_one_agent();
    let svid = scene.jwt("db").unwrap();
    let nobody = selectors(&["unix:uid:3"]);
    let token = svid.token.expose_token();
    assert!(is_refused(&scene.workload.validate_jwt_svid(&nobody, token, "db")));
}

#[tokio::test]
async fn the_identities_of_a_caller_are_its_entries_in_order() {
    let scene = Scene::new(vec![entry("b", json!({})), entry("a", json!({}))]);
    let caller = selectors(&["unix:uid:1", "unix:gid:5"]);
    let ids = || -> Vec<String> {
        scene.workload.identities(&caller).iter().map(|entry| entry.id().to_string()).collect()
    };
    assert_eq!(ids(), ["a", "b"]);
    scene.issuer.kill(&id("a"));
    assert_eq!(ids(), ["b"]);
}
