//! Two replicas on one store, a receiver on a real socket, and a clock that stands still until a test moves it.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use axum::http::{HeaderMap, StatusCode};
use marque_audit::{Event, EventKind, LogStore as _};
use marque_store::SqliteStore;
use marque_testkit::{FixedClock, SeededRandom, TempDir, temp_dir, until};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::federation::tests::DOCUMENT;

struct Stage {
    clock: FixedClock,
    store: Arc<Store>,
    document: TrustDomainDocument,
    folder: TempDir,
    /// Which records came with each push, and what is answered.
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
            told.0.push(headers["marque-records"].to_str().unwrap().to_owned());
            told.1
        };
        let app = axum::Router::new().fallback(hook);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let text = format!(
            "{DOCUMENT}\n[[audit.sinks]]\nname = \"siem\"\nsends = \"records\"\nformat = \"ocsf\"\n\
             to = \"{url}\"\n"
        );
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text).unwrap();
        let file = folder.path().join("marque.sqlite");
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let store = SqliteStore::open(&file, document.name(), shared).await.unwrap();
        Self { clock, store: Arc::new(store), document, folder, told }
    }

    fn replica(&self, seed: u64) -> (Arc<Sinks>, CancellationToken) {
        let parts = SinksParts {
            store: Arc::clone(&self.store),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(seed)),
        };
        let sinks = Arc::new(Sinks::open(&self.document, self.folder.path(), parts).unwrap());
        let stop = CancellationToken::new();
        for pusher in sinks.pushers(&stop) {
            tokio::spawn(pusher);
        }
        (sinks, stop)
    }

    async fn happens(&self) {
        self.store.append(Event::new(EventKind::PostureSet, self.clock.now())).await.unwrap();
    }

    fn answers(&self, status: u16) {
        self.told.lock().unwrap().1 = StatusCode::from_u16(status).unwrap();
    }

    fn pushes(&self) -> Vec<String> {
        self.told.lock().unwrap().0.clone()
    }
}

async fn view(sinks: &Sinks) -> SinkView {
    sinks.views().await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_push_once_from_the_beginning_and_the_other_goes_on_where_one_stopped() {
    let stage = Stage::new().await;
    stage.happens().await;
    stage.happens().await;
    let (first, stop) = stage.replica(1);
    until("the first push", async || stage.pushes() == ["0-1"]).await;
    until("its cursor", async || view(&first).await.behind == 0).await;
    let (second, _stop) = stage.replica(2);
    stop.cancel();
    stage.happens().await;
    until("the push by the other", async || {
        stage.clock.advance(crate::cursor::TURN);
        stage.pushes() == ["0-1", "2-2"]
    })
    .await;
    until("its cursor", async || view(&second).await.behind == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_comes_again_after_a_pause_and_nothing_is_left_out() {
    let stage = Stage::new().await;
    stage.answers(503);
    stage.happens().await;
    let (sinks, _stop) = stage.replica(1);
    for tries in 1..=10_u32 {
        until("a failure", async || view(&sinks).await.failed == tries).await;
        let seen = view(&sinks).await;
        assert_eq!((seen.behind, seen.failure.as_deref()), (1, Some("answered with status 503")));
        let pause = crate::cursor::pause(tries, crate::cursor::LONGEST_PAUSE);
        assert_eq!(seen.retry_at, Some(stage.clock.now() + pause));
        if tries == 10 {
            stage.answers(200);
            stage.happens().await;
        }
        stage.clock.advance(pause);
    }
    // What failed so often goes out one by one.
    until("the first record", async || view(&sinks).await.behind == 1).await;
    stage.clock.advance(Duration::from_secs(1));
    until("the second record", async || view(&sinks).await.behind == 0).await;
    assert!(stage.pushes().ends_with(&["0-0".to_owned(), "1-1".to_owned()]));
    let seen = view(&sinks).await;
    assert_eq!((seen.failed, seen.failure, seen.delivered_at), (0, None, Some(stage.clock.now())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_a_server_comes_again_in_halves() {
    let stage = Stage::new().await;
    stage.answers(413);
    for _ in 0..pusher::LEAVES {
        stage.happens().await;
    }
    let (sinks, _stop) = stage.replica(1);
    until("a failure", async || view(&sinks).await.failed == 1).await;
    stage.answers(200);
    stage.clock.advance(Duration::from_secs(1));
    until("the first half", async || view(&sinks).await.behind == 128).await;
    assert_eq!(stage.pushes(), ["0-255", "0-127"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_are_as_far_apart_as_the_sink_wants_unless_full_ones_wait() {
    let stage = Stage::new().await;
    let (sinks, _stop) = stage.replica(1);
    stage.happens().await;
    until("the first push", async || view(&sinks).await.delivered_at.is_some()).await;
    for _ in 0..=2 * pusher::LEAVES {
        stage.happens().await;
    }
    stage.clock.advance(Duration::from_secs(1));
    until("all that is full", async || view(&sinks).await.behind == 1).await;
    assert_eq!(stage.pushes()[1..], ["1-256", "257-512"]);
    stage.clock.advance(Duration::from_secs(1));
    until("the rest", async || view(&sinks).await.behind == 0).await;
    assert_eq!(stage.pushes().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_a_clock_ahead_has_taken_is_over() {
    let stage = Stage::new().await;
    stage.happens().await;
    let tomorrow = stage.clock.now() + Duration::from_secs(86_400);
    let first = crate::cursor::Cursor::first(0, "another", tomorrow);
    crate::cursor::begin(&stage.store, (state::CURSORS, "siem"), &first).await.unwrap();
    let (sinks, _stop) = stage.replica(1);
    until("the push", async || view(&sinks).await.behind == 0).await;
}
