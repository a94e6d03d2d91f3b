use std::sync::Arc;

use marque_spiffe::SpiffeIdPattern;
use serde_json::json;

use super::{Scene, entry, id, is_refused, names, now, selectors};
use crate::{Workload, WorkloadError};

fn limited(scene: &Scene, patterns: &[&str]) -> Workload {
    let patterns: Vec<SpiffeIdPattern> =
        patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    scene.workload.limited_to(Arc::from(patterns))
}

#[tokio::test]
async fn an_identity_out_of_scope_is_not_there_when_the_default_and_the_hints_are_chosen() {
    let scene = Scene::new(vec![
        entry("a", json!({ "hint": "main" })),
        entry("b", json!({ "hint": "main" })),
    ]);
    let all = now(scene.subscribe().next()).unwrap();
    assert_eq!(names(&all), ["/a", "/b"]);
    assert!(all.svids[1].hint.is_none());
    let view = limited(&scene, &["spiffe://example.org/b"]);
    let scoped = now(view.subscribe_x509(selectors(&["unix:uid:1"])).next()).unwrap();
    assert_eq!(names(&scoped), ["/b"]);
    assert_eq!(scoped.svids[0].hint, "main".parse().ok());
    assert!(Arc::ptr_eq(&scoped.svids[0].material, &all.svids[1].material), "minted twice");
}

#[tokio::test]
async fn whoever_may_see_nothing_gets_nothing_of_any_kind() {
    let scene = Scene::with_one_agent();
    let audience = ["x".to_owned()];
    for patterns in [&[][..], &["spiffe://example.org/b"], &["spiffe://example.org/*/*"]] {
        let view = limited(&scene, patterns);
        let caller = selectors(&["unix:uid:1"]);
        assert!(is_refused(&now(view.subscribe_x509(caller.clone()).next())));
        let mut bundles = view.subscribe_bundles(caller.clone());
        assert!(matches!(bundles.next().await, Some(Err(WorkloadError::NotEntitled))));
        for named in [None, Some(&id("a"))] {
            let refused = view.jwt_svids(&caller, &audience, named).await;
            assert!(matches!(refused, Err(WorkloadError::NotEntitled)));
        }
        assert!(view.identities(&caller).is_empty());
    }
    assert_eq!(scene.issuer.minted(), 0);
}
