use std::path::Path;
use std::time::Duration;

use marque_authority::Authority;
use marque_jose::sign_compact;
use marque_keys::MemoryKeys;
use marque_testkit::{SeededRandom, TempDir};
use serde_json::{Value, json};

use super::*;
use crate::cli::StoreOption;
use crate::clock::SystemClock;

const DOCUMENT: &str = include_str!("../../../registry/folder/tests/trust-domain.toml");

/// A trust domain's authority over a real store, with the guard that the daemon gives it.
async fn opened(folder: &TempDir) -> (Authority, Arc<marque_store::Store>, TrustDomainDocument) {
    let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), DOCUMENT).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = crate::issuer::store::open(
        &StoreOption::Sqlite,
        folder.path(),
        document.name(),
        Arc::clone(&clock),
    );
    let store = Arc::new(store.await.unwrap());
    let guard =
        guard(&document, Names { issuer: &issuer(), svids: None }, Arc::clone(&store) as _, &clock);
    let config = crate::issuer::lasting::authority_config(&document, None, guard);
    let (keys, random) = (Arc::new(MemoryKeys::new()), Arc::new(SeededRandom::new(1)));
    let authority = Authority::open(config, keys, Arc::clone(&store) as _, random, clock.now());
    let authority = authority.await.unwrap();
    (authority, store, document)
}

fn issuer() -> IssuerUrl {
    "https://issuer.example.org".parse().unwrap()
}

fn access_token(lasts: Duration) -> Value {
    let now = SystemClock.now().as_second();
    json!({ "iss": issuer().as_str(), "sub": "spiffe://prod.example.org/agent/a", "aud": "x",
        "client_id": "spiffe://prod.example.org/agent/a", "intent": { "id": "in_1" },
        "iat": now, "exp": now + i64::try_from(lasts.as_secs()).unwrap() })
}

#[tokio::test]
async fn a_key_that_is_asked_for_too_much_refuses_and_puts_it_on_record() {
    let folder = TempDir::new().unwrap();
    let (authority, store, document) = opened(&folder).await;
    let signer = authority.access_token_signer();
    let longest = document.max_access_token_lifetime();
    sign_compact(Some("at+jwt"), &access_token(longest), &*signer).unwrap();
    let mut grown = LogStore::changed(&*store);
    let before = *grown.borrow_and_update();

    let too_long = access_token(longest + Duration::from_secs(1));
    let refused = sign_compact(Some("at+jwt"), &too_long, &*signer).unwrap_err();
    let refusal = std::error::Error::source(&refused).unwrap().downcast_ref::<CeilingRefusal>();
    assert_eq!(refusal.unwrap().breach.as_str(), "lifetime");
    tokio::time::timeout(Duration::from_secs(20), grown.wait_for(|size| *size > before))
        .await
        .unwrap()
        .unwrap();
    let leaves = LogStore::leaves(&*store, before, 1).await.unwrap();
    let event = leaves[0].event();
    assert_eq!(event.kind, EventKind::SigningRefused);
    assert_eq!(event.detail["code"], "issuance_ceiling");
    assert_eq!(event.detail["slot"], "access-token-a-1");
    assert_eq!(event.detail["breach"], "lifetime");
}

#[tokio::test]
async fn no_access_token_is_signed_that_stands_on_no_intent() {
    let folder = TempDir::new().unwrap();
    let (authority, _store, _document) = opened(&folder).await;
    let mut claims = access_token(Duration::from_secs(60));
    claims.as_object_mut().unwrap().remove("intent");
    claims["scope"] = "admin".into();
    let signer = authority.access_token_signer();
    for typ in ["at+jwt", "txntoken+jwt"] {
        assert!(sign_compact(Some(typ), &claims, &*signer).is_err(), "{typ}");
    }
    for typ in ["JWT", "wit+jwt", "logout+jwt"] {
        let right = access_token(Duration::from_secs(60));
        assert!(sign_compact(Some(typ), &right, &*signer).is_err(), "{typ}");
    }
}
