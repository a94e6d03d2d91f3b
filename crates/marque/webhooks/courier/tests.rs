//! Two replicas on one store, a receiver on a real socket, and a clock that stands still until a test moves it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Mutex;

use axum::http::{HeaderMap, StatusCode};
use marque_audit::{Event, EventKind};
use marque_intent::PlaybookSet;
use marque_registry::TrustDomainDocument;
use marque_spiffe::{Clock, Environment};
use marque_store::{SqliteStore, Store};
use marque_testkit::{FixedClock, SeededRandom, TempDir, temp_dir, until};

use super::super::WebhooksParts;
use super::*;
use crate::federation::tests::DOCUMENT;

/// 24 bytes.
const SECRET: &str = "whsec_bWFycXVlLWNvdXJpZXItdGVzdHMtMDAwMQ==";

struct Stage {
    clock: FixedClock,
    store: Arc<Store>,
    document: Arc<TrustDomainDocument>,
    folder: TempDir,
    /// The ids of the messages that came, and what is answered to each.
    told: Arc<Mutex<(Vec<String>, StatusCode)>>,
}

impl Stage {
    async fn new() -> Self {
        let (clock, folder) = (FixedClock::default(), temp_dir());
        let told = Arc::new(Mutex::new((Vec::new(), StatusCode::OK)));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let receiver = Arc::clone(&told);
        let hook = async move |headers: HeaderMap| {
            let mut told = receiver.lock().unwrap();
            told.0.push(headers["webhook-id"].to_str().unwrap().to_owned());
            told.1
        };
        let app = axum::Router::new().fallback(hook);
        tokio::spawn(async move { axum::serve(listener, app).await });
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        let text = format!(
            "{DOCUMENT}\n[[webhooks]]\nname = \"bus\"\nurl = \"{url}\"\nsecret_file = \"secret\"\n\
             events = [\"policy.observed\"]\n"
        );
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text).unwrap();
        let file = folder.path().join("marque.sqlite");
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let store = SqliteStore::open(&file, document.name(), shared).await.unwrap();
        Self { clock, store: Arc::new(store), document: Arc::new(document), folder, told }
    }

    /// One more replica, which follows the log until it is stopped.
    fn replica(&self, seed: u64) -> (Arc<Webhooks>, CancellationToken) {
        let trust_domain = self.document.name().clone();
        let parts = WebhooksParts {
            issuer: "https://localhost:8443".parse().unwrap(),
            playbooks: Arc::new(PlaybookSet::empty(trust_domain, Environment::NonProduction)),
            store: Arc::clone(&self.store),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(seed)),
        };
        let webhooks = Arc::new(Webhooks::open(&self.document, self.folder.path(), parts).unwrap());
        let stop = CancellationToken::new();
        for courier in webhooks.couriers(&stop) {
            tokio::spawn(courier);
        }
        (webhooks, stop)
    }

    /// Has something happen, and something of which nobody is told.
    async fn happens(&self) {
        for kind in [EventKind::PolicyObserved, EventKind::PostureSet] {
            self.store.append(Event::new(kind, self.clock.now())).await.unwrap();
        }
    }

    fn answers(&self, status: u16) {
        self.told.lock().unwrap().1 = StatusCode::from_u16(status).unwrap();
    }

    fn ids(&self) -> Vec<String> {
        self.told.lock().unwrap().0.clone()
    }
}

async fn view(webhooks: &Webhooks) -> WebhookView {
    webhooks.views().await.unwrap().remove(0)
}

/// The first replica has begun at the end of the log.
async fn begun(stage: &Stage) {
    until("a cursor", async || {
        stage.store.kept(CURSORS, "bus", stage.clock.now()).await.unwrap().is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_tell_once_and_the_other_goes_on_where_one_stopped() {
    let stage = Stage::new().await;
    let (first, stop) = stage.replica(1);
    begun(&stage).await;
    let (second, _go_on) = stage.replica(2);
    for _ in 0..5 {
        stage.happens().await;
    }
    until("all of it", async || view(&first).await.behind == 0).await;
    let told = stage.ids();
    let different: std::collections::BTreeSet<&String> = told.iter().collect();
    assert_eq!((told.len(), different.len()), (5, 5), "{told:?}");
    stop.cancel();
    stage.happens().await;
    stage.clock.advance(cursor::TURN);
    until("the sixth", async || {
        stage.clock.advance(LOOK);
        view(&second).await.behind == 0
    })
    .await;
    assert_eq!(stage.ids().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_put_aside_and_sent_again_when_somebody_says_so() {
    let stage = Stage::new().await;
    let (webhooks, _stop) = stage.replica(1);
    begun(&stage).await;
    stage.answers(500);
    stage.happens().await;
    for tries in 1..MAX_TRIES {
        until("a failure", async || view(&webhooks).await.failed == tries).await;
        stage.clock.advance(cursor::pause(tries, cursor::LONGEST_PAUSE));
    }
    until("the end of the tries", async || !view(&webhooks).await.dead.is_empty()).await;
    let aside = view(&webhooks).await;
    assert_eq!(aside.dead.len(), 1);
    assert_eq!(aside.dead[0].failure, "answered with status 500");
    let ids = stage.ids();
    assert_eq!(ids.len(), usize::try_from(MAX_TRIES).unwrap());
    assert!(ids.iter().all(|id| *id == ids[0]), "one message: {ids:?}");
    // As long as it is not taken, it stays.
    assert!(matches!(webhooks.redeliver("bus", None).await, Err(WebhookError::NotTaken(_))));
    assert_eq!(view(&webhooks).await.dead.len(), 1);
    stage.answers(200);
    // The next one does not wait for it.
    stage.happens().await;
    until("the next", async || view(&webhooks).await.behind == 0).await;
    assert_ne!(stage.ids().last(), ids.first());
    assert_eq!(webhooks.redeliver("bus", Some(aside.dead[0].leaf)).await.unwrap(), 1);
    assert_eq!(stage.ids().last(), ids.first(), "the same message");
    assert_eq!(view(&webhooks).await.dead, []);
    assert_eq!(webhooks.redeliver("bus", None).await.unwrap(), 0);
    let gone = webhooks.redeliver("bus", Some(aside.dead[0].leaf)).await;
    assert!(matches!(gone, Err(WebhookError::NotFound)));
}
