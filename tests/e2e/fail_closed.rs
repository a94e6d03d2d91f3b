//! While the log cannot be written nothing is answered that is not recorded, and nothing is recorded as done that was not:
//! another process holds the database's only write lock, as a full disk or a read-only one would hold up every commit.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::log;
use crate::support::oauth::{Client, restart};
use crate::support::python::interpreter;
use crate::support::tokens::claims;
use crate::support::wait::within;

/// Takes the write lock, says so, and holds it until its standard input ends.
const HOLD: &str = "import sqlite3, sys\n\
                    held = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n\
                    held.execute('BEGIN IMMEDIATE')\n\
                    print('held', flush=True)\n\
                    sys.stdin.read()\n\
                    held.execute('ROLLBACK')\n";

/// Keeps everybody from writing; `None` where there is no Python.
async fn hold(daemon: &Daemon) -> Option<Child> {
    let database = daemon.data_dir().join(NON_PRODUCTION).join("private/marque.sqlite");
    let mut child = Command::new(interpreter()?)
        .args(["-c", HOLD])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut said = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = within("the lock", said.next_line()).await.expect("a line");
    assert_eq!(line.as_deref(), Some("held"));
    Some(child)
}

async fn release(mut child: Child) {
    drop(child.stdin.take());
    assert!(within("the end of the lock", child.wait()).await.expect("its status").success());
}

fn of<'a>(leaves: &'a [Value], kind: &str) -> Vec<&'a Value> {
    leaves.iter().filter(|leaf| leaf["type"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_while_nothing_can_be_recorded() {
    let daemon = Daemon::start().await;
    let mut agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let before = log::export(&operator, &daemon.path("before")).await;
    let Some(held) = hold(&daemon).await else { return };

    // No token, no intent, no identity document and no change by an operator.
    let answer = agent.exchange(&intent).await;
    assert_eq!(answer.json()["error"], "temporarily_unavailable", "{answer:?}");
    assert_eq!(answer.json()["code"], "audit_unavailable", "{answer:?}");
    assert!(answer.json().get("access_token").is_none(), "{answer:?}");
    let answer = agent.ask(&restart()).await;
    assert_eq!(answer.json()["code"], "audit_unavailable", "{answer:?}");
    let svid = agent.workload.try_jwt_svid(&["https://other.example.org"]).await;
    assert!(svid.is_err(), "{svid:?}");
    let revoke = ["intent", "revoke", &intent, "--reason", "nobody can record it"];
    operator.run(&revoke).await.failed();
    let during = log::export(&operator, &daemon.path("during")).await;
    assert_eq!(during.len(), before.len());
    release(held).await;

    // The one use was not spent on what nobody got.
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    let after = log::export(&operator, &daemon.path("after")).await;
    let issued = of(&after, "org.marque.token.issued");
    assert_eq!(issued.len(), 1, "{issued:?}");
    assert_eq!(issued[0]["data"]["token_id"], claims(&token)["jti"]);
    assert_eq!(of(&after, "org.marque.intent.requested").len(), 1);
    assert!(of(&after, "org.marque.intent.revoked").is_empty());
}
