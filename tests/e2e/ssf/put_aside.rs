//! What cannot be told holds up nothing that can: it is put aside, and said and counted.

use super::*;
use crate::support::telemetry::Numbers;

async fn status(daemon: &Daemon) -> Value {
    daemon.operator(NON_PRODUCTION).json(&["ssf", "status"]).await[0].clone()
}

/// A daemon whose receiver is that one, with its stream at the end of the log.
async fn telling(receiver: &Receiver) -> Daemon {
    let daemon = Daemon::start_with(|trust_domains| {
        add(trust_domains, NON_PRODUCTION, &pushed(receiver, ""));
    })
    .await;
    until("a stream that is served", async || (status(&daemon).await["behind"] == 0).then_some(()))
        .await;
    daemon
}

async fn kill(daemon: &Daemon, name: &str) -> Value {
    let id = daemon.place(NON_PRODUCTION).id(&format!("/agent/{name}"));
    daemon.operator(NON_PRODUCTION).kill(&["agent", &id]).await;
    uri(&id)
}

fn put_aside(numbers: &Numbers) -> f64 {
    numbers.sum("marque_ssf_sets_total", &[("stream", "crm"), ("result", "put_aside")])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_a_receiver_chokes_on_holds_up_no_other() {
    let receiver = Receiver::start().await;
    receiver.chokes_on("credential-change");
    let daemon = telling(&receiver).await;
    kill(&daemon, "first").await;
    until("an event that is not taken", async || {
        (status(&daemon).await["failed"].as_u64() >= Some(1)).then_some(())
    })
    .await;
    // Alone it is tried again: nobody knows whether it is the event or the receiver.
    assert_eq!(status(&daemon).await["aside"], json!([]));
    let second = kill(&daemon, "second").await;
    receiver.hears("session-revoked", &second).await;
    let told = until("what was put aside", async || {
        let told = status(&daemon).await;
        told["aside"].as_array().is_some_and(|aside| !aside.is_empty()).then_some(told)
    })
    .await;
    assert_eq!(told["aside"][0]["failure"], "answered with status 500", "{told}");
    let jti = told["aside"][0]["jti"].as_str().expect("a name");
    let tried = receiver.sets().iter().filter(|set| set["jti"] == jti).count();
    assert!((6..24).contains(&tried), "it was sent {tried} times");
    assert!(put_aside(&Numbers::of(&daemon).await) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_loses_nothing() {
    let receiver = Receiver::start().await;
    receiver.answers(503, "");
    let daemon = telling(&receiver).await;
    let (first, second) = (kill(&daemon, "first").await, kill(&daemon, "second").await);
    // More often than one event is tried before it is asked whether it is the only one.
    let told = until("tries enough", async || {
        let told = status(&daemon).await;
        (told["failed"].as_u64() >= Some(5)).then_some(told)
    })
    .await;
    assert_eq!((&told["aside"], &told["waiting"]), (&json!([]), &json!(4)), "{told}");
    receiver.answers(202, "");
    for agent in [&first, &second] {
        receiver.hears("session-revoked", agent).await;
        receiver.hears("credential-change", agent).await;
    }
    assert_eq!(put_aside(&Numbers::of(&daemon).await), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_read_is_put_aside_and_the_stream_goes_on() {
    let receiver = Receiver::start().await;
    let daemon = telling(&receiver).await;
    let file = daemon.data_dir().join(NON_PRODUCTION).join("private/marque.sqlite");
    let meddler = rusqlite::Connection::open(file).expect("the database");
    meddler.busy_timeout(Duration::from_secs(10)).expect("patience");
    for (key, document) in [
        ("00000000000000000001//0000/set_one", "{\"claims\":1}"),
        ("00000000000000000002//0000/set_two", "no JSON"),
    ] {
        let row = "INSERT INTO kept (kind, key, version, until, document)
                   SELECT 'ssf_waiting/crm', ?1, 1, until, ?2 FROM kept WHERE kind = 'ssf_stream'";
        assert_eq!(meddler.execute(row, [key, document]).expect("a row"), 1);
    }
    let agent = kill(&daemon, "first").await;
    receiver.hears("session-revoked", &agent).await;
    let told = until("what was put aside", async || {
        let told = status(&daemon).await;
        (told["aside"].as_array().map(Vec::len) == Some(2)).then_some(told)
    })
    .await;
    for (at, (jti, leaf)) in [("set_one", 1), ("set_two", 2)].into_iter().enumerate() {
        let aside = &told["aside"][at];
        assert_eq!(
            (&aside["jti"], &aside["leaf"], &aside["failure"]),
            (&json!(jti), &json!(leaf), &json!("unreadable")),
            "{told}"
        );
    }
    assert_eq!(put_aside(&Numbers::of(&daemon).await), 2.0);
}
