//! A collector of OpenTelemetry that keeps the bytes it is sent, or takes nothing, or never answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How it treats whoever sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Keeps everything.
    Takes,
    /// Refuses everything.
    Refuses,
    /// Reads everything and answers nothing.
    Hangs,
}

/// A running collector.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) url: String,
    taken: Arc<Mutex<Vec<(String, Bytes)>>>,
    serving: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start(manner: Manner) -> Self {
        let taken: Arc<Mutex<Vec<(String, Bytes)>>> = Arc::default();
        let keep = Arc::clone(&taken);
        let router = Router::new().fallback(async move |uri: Uri, body: Bytes| {
            keep.lock().expect("the messages").push((uri.path().to_owned(), body));
            match manner {
                Manner::Takes => StatusCode::OK,
                Manner::Refuses => StatusCode::BAD_REQUEST,
                Manner::Hangs => std::future::pending().await,
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the collector serves");
        });
        Self { url, taken, serving }
    }

    /// What came for one path so far, one after the other.
    pub(crate) fn taken(&self, path: &str) -> Vec<u8> {
        let taken = self.taken.lock().expect("the messages");
        let of_path = taken.iter().filter(|(to, _)| to == path);
        of_path.flat_map(|(_, body)| body.iter().copied()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
