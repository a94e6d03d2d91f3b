use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::Bundle;
use marque_testkit::ScratchTrustDomain;

use super::{HttpLimits, Server, door::FakeDoor};

fn bundle(domain: &ScratchTrustDomain, sequence: u64) -> Arc<Bundle> {
    let bundle = Bundle::builder(domain.trust_domain().clone());
    let bundle = bundle.x509_authority(domain.root().certificate().clone()).unwrap();
    Arc::new(bundle.sequence(sequence).refresh_hint(Duration::from_secs(600)).build())
}

#[tokio::test]
async fn fe_6_anybody_gets_the_newest_bundle_without_a_credential() {
    let server = Server::start().await;
    for sequence in [3, 4] {
        let domain = ScratchTrustDomain::new("prod.example.org");
        let newest = bundle(&domain, sequence);
        *server.door.bundle.lock().unwrap() = Arc::clone(&newest);
        let answer = server.get("/spiffe/bundle", "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=150"));
        assert_eq!(answer.json()["spiffe_sequence"], sequence);
        assert_eq!(answer.json()["spiffe_refresh_hint"], 600);
        let read = Bundle::parse(domain.trust_domain().clone(), &answer.body).unwrap();
        assert_eq!(read, *newest);
    }
    // A credential makes no difference, and a bad one is not looked at.
    let answer = server.get("/spiffe/bundle", "authorization: Bearer nonsense\r\n").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn fe_6_the_bundle_is_there_to_be_read_and_for_nothing_else() {
    let server = Server::start().await;
    assert_eq!(server.post("/spiffe/bundle", "", "").await.status, 405);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let head = format!(
            "{method} /spiffe/bundle HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(server.ask(head.as_bytes()).await.status, 405, "{method}");
    }
    for path in ["/spiffe", "/spiffe/bundle/", "/spiffe/bundles"] {
        assert_eq!(server.get(path, "").await.status, 404, "{path}");
    }
    let server =
        Server::with(FakeDoor::at("https://localhost:8443/prod/a"), HttpLimits::default()).await;
    assert_eq!(server.get("/prod/a/spiffe/bundle", "").await.status, 200);
    assert_eq!(server.get("/spiffe/bundle", "").await.status, 404);
}

#[tokio::test]
async fn a_key_set_is_cached_no_longer_than_the_refresh_hint_of_the_bundle() {
    let server = Server::start().await;
    let domain = ScratchTrustDomain::new("prod.example.org");
    for (hint, age) in [(1, 1), (299, 299), (300, 300), (301, 300)] {
        let bundle = Bundle::builder(domain.trust_domain().clone());
        let bundle = bundle.refresh_hint(Duration::from_secs(hint)).build();
        *server.door.bundle.lock().unwrap() = Arc::new(bundle);
        let answer = server.get("/oauth2/jwks", "").await;
        let expected = format!("public, max-age={age}");
        assert_eq!(answer.header("cache-control"), Some(expected.as_str()), "{hint}");
    }
}
