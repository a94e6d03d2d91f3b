//! Attestors that are replaced while a stream is about to send an update.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use marque_attest::{AttestError, Attestor, Attestors, ProcessPin};
use marque_registry::EntryRole;
use marque_spiffe::{Selector, SelectorSet};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::super::super::serve::Limits;
use super::super::super::stage::{PATIENCE, Stage};
use super::{proper, proto, raw};

/// Tells the caller's user so many times, then says that it is stuck and never answers.
#[derive(Debug)]
struct Sticking {
    answers: u32,
    asked: AtomicU32,
    stuck: Arc<Notify>,
}

impl Sticking {
    fn after(answers: u32, stuck: &Arc<Notify>) -> Attestors {
        let (asked, stuck) = (AtomicU32::new(0), Arc::clone(stuck));
        Attestors::new(vec![Box::new(Self { answers, asked, stuck })])
    }
}

impl Attestor for Sticking {
    fn kind(&self) -> &'static str {
        "unix"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(async move {
            if self.asked.fetch_add(1, Ordering::Relaxed) >= self.answers {
                self.stuck.notify_one();
                std::future::pending::<()>().await;
            }
            let uid: Selector = format!("unix:uid:{}", process.uid()).parse().unwrap();
            Ok([uid].into_iter().collect())
        })
    }
}

/// How many SVIDs are in each message of a stream whose attestors stick after so many answers, are replaced then, and find
/// the same.
async fn messages(answers: u32, expected: usize) -> Vec<usize> {
    let stuck = Arc::new(Notify::new());
    let stage = Stage::with("", Sticking::after(answers, &stuck));
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let told = async {
        let opened = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap();
        let (mut stream, mut told) = (opened.into_inner(), Vec::new());
        while told.len() < expected {
            told.push(stream.message().await.unwrap().unwrap().svids.len());
            if told.len() < expected {
                stage.register("/agent/b", EntryRole::Agent);
            }
        }
        told
    };
    let replace = async {
        stuck.notified().await;
        stage.attestors.replace(&Sticking::after(u32::MAX, &stuck));
    };
    let (told, ()) = timeout(PATIENCE, async { tokio::join!(told, replace) }).await.unwrap();
    told
}

#[tokio::test]
async fn what_a_stream_was_about_to_send_is_sent_when_the_attestors_are_replaced() {
    // Asked as the stream is opened, and before each of its messages.
    assert_eq!(messages(1, 1).await, [1]);
    assert_eq!(messages(2, 2).await, [1, 2]);
}
