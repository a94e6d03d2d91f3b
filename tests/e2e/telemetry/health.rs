//! Health that is true, on a listener of its own.

use std::fs;

use serde_json::{Value, json};

use super::{DOMAIN, in_words, root};
use crate::fleet::{self, Fleet};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::http::{Call, Http};
use crate::support::telemetry::{Numbers, ask, try_ask};
use crate::support::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_told_on_a_listener_of_their_own() {
    let daemon = Daemon::start().await;
    assert_eq!(ask(&daemon, "/live").await.body, "alive\n");
    let ready = ask(&daemon, "/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)), "{ready:?}");
    let names = ready.json()["trust_domains"].as_array().unwrap().len();
    assert_eq!((names, ready.content_type.as_str()), (2, "application/json"));
    let metrics = ask(&daemon, "/metrics").await;
    assert_eq!(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(ask(&daemon, "/v1/intents").await.status, 404);
    // Nothing is exported that the documentation does not describe, label for label.
    let page = fs::read_to_string(root("docs/telemetry.md")).unwrap();
    for (name, labels) in Numbers::read(&metrics.body).names() {
        let own = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let own = own.filter(|own| page.contains(&format!("| `{own}"))).unwrap_or(&name);
        let labels: Vec<_> = labels.into_iter().filter(|label| label != "le").collect();
        let row = page.lines().find(|line| {
            line.starts_with(&format!("| `{own}{{")) || line.starts_with(&format!("| `{own}`"))
        });
        let row = row.unwrap_or_else(|| panic!("docs/telemetry.md says nothing of {name}"));
        assert!(
            labels.iter().all(|label| row.contains(label.as_str())),
            "{name} {labels:?}: {row}"
        );
    }
    // The endpoints file says where, for `marque dev` a socket.
    let endpoints: Value =
        serde_json::from_slice(&fs::read(daemon.endpoints_file()).unwrap()).unwrap();
    let at = endpoints["telemetry"].as_str().unwrap();
    assert!(at.starts_with("unix:/") && at.ends_with("/telemetry.sock"), "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_told_of_and_nothing_listens_where_it_is_off() {
    let listen = |at: &str| vec!["--telemetry-listen".to_owned(), at.to_owned()];
    let daemon = Daemon::start_told(|_| {}, listen("127.0.0.1:0")).await;
    let endpoints: Value =
        serde_json::from_slice(&fs::read(daemon.endpoints_file()).unwrap()).unwrap();
    let url = format!("{}/ready", endpoints["telemetry"].as_str().unwrap());
    let answer = tokio::task::spawn_blocking(move || {
        ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap()
    });
    assert!(answer.await.unwrap().contains("\"ready\":true"));
    drop(daemon);
    let daemon = Daemon::start_told(|_| {}, listen("off")).await;
    assert!(!daemon.data_dir().join("telemetry.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_store_cannot_be_written_is_not_ready_and_says_why() {
    let daemon = Daemon::start().await;
    let file = daemon.data_dir().join(PRODUCTION).join("private/marque.sqlite");
    let holder = rusqlite::Connection::open(file).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ready = until("a daemon that is not ready", async || {
        let ready = ask(&daemon, "/ready").await;
        (ready.status == 503).then_some(ready)
    })
    .await;
    let told = ready.json();
    let domains = told["trust_domains"].as_array().unwrap();
    let of = |name: &str| domains.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of(PRODUCTION)["reasons"][0]["code"], "store_unwritable", "{told}");
    assert_eq!(of(NON_PRODUCTION)["ready"], true, "{told}");
    let status = daemon.operator(PRODUCTION).json(&["status"]).await;
    assert_eq!(status[0]["ready"], false, "{status}");
    assert_eq!(status[0]["not_ready"][0]["code"], "store_unwritable", "{status}");
    let said = in_words(&daemon, &["status"]).await;
    assert!(said.contains("no: store_unwritable: "), "{said:?}");
    let edge = format!("{}/ready", daemon.place(PRODUCTION).issuer_url);
    assert_eq!(daemon.http(PRODUCTION).send(Call::get(&edge)).await.status, 503);
    let numbers = Numbers::of(&daemon).await;
    let reason = [DOMAIN, ("reason", "store_unwritable")];
    assert_eq!(
        (numbers.sum("marque_ready", &[DOMAIN]), numbers.sum("marque_not_ready", &reason)),
        (0.0, 1.0)
    );
    holder.execute_batch("ROLLBACK").unwrap();
    until("a daemon that is ready again", async || {
        (ask(&daemon, "/ready").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_from_its_database_is_not_ready_and_says_why() {
    let Some(server) = fleet::database() else { return };
    let fleet = Fleet::new(&server).await;
    let replica = fleet.start("a").await;
    let http = Http::trusting(&replica.place.ca_file);
    let edge = format!("{}/ready", replica.place.issuer_url);
    assert_eq!(http.send(Call::get(&edge)).await.status, 200);
    let url = fs::read_to_string(fleet.path("store")).unwrap();
    let name = url.trim().rsplit_once('/').unwrap().1.to_owned();
    let (client, connection) =
        tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // One after the other: who is sent away must not come back before the door is shut.
    for query in [
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
    ] {
        client.simple_query(&query).await.unwrap();
    }
    until("a replica that is not ready, with both reasons", async || {
        let status = replica.operator().json(&["status"]).await;
        let codes: Vec<_> = status[0]["not_ready"]
            .as_array()?
            .iter()
            .map(|reason| reason["code"].clone())
            .collect();
        let both = ["store_unwritable", "kills_unheard"];
        both.iter().all(|code| codes.contains(&json!(code))).then_some(())
    })
    .await;
    assert_eq!(http.send(Call::get(&edge)).await.status, 503);
    let back = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    client.simple_query(&back).await.unwrap();
    until("a replica that is ready again", async || {
        (http.send(Call::get(&edge)).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_takes_its_socket_away() {
    let mut daemon = Daemon::start().await;
    let socket = daemon.data_dir().join("telemetry.sock");
    assert!(try_ask(&socket, "/live").await.is_ok());
    daemon.stop().await;
    assert!(!socket.exists());
}
