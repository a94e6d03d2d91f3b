//! Connections that a process queues before it executes the trusted program, while nobody accepts them: the leading
//! implementation takes them for the trusted program's.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};

use super::part::{Part, Player, Words};
use super::{daemon, rounds};
use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::programs::copy_of_this_program;
use crate::support::wait::until;

const CONNECTIONS: usize = 60;

/// The state of every thread of a process, as `/proc` writes it.
fn states(pid: i32) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let state = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    tasks.filter_map(|task| state(task.ok()?)).collect()
}

async fn runs(pid: u32, program: &Path) {
    until("the trusted program to run", async || {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program).then_some(())
    })
    .await;
}

/// Has a thief queue connections while the daemon stands still, and execute the trusted program; what its helper, which
/// keeps the connections, then gets.
async fn round(daemon: &Daemon, trusted: &Path, words: Words, speaks: bool) -> String {
    let socket = daemon.place(PRODUCTION).workload_api_socket.clone();
    let then = trusted.to_owned();
    let part = Part::Queue { socket, connections: CONNECTIONS, words, speaks, then };
    let mut thief = Player::start(&copy_of_this_program("door-thief"), &part);
    kill(daemon.pid(), Signal::SIGSTOP).expect("SIGSTOP");
    until("the daemon to stand still", async || {
        states(daemon.pid().as_raw()).iter().all(|state| *state == 'T').then_some(())
    })
    .await;
    thief.go().await;
    assert_eq!(thief.said().await, "reads");
    thief.go().await;
    assert_eq!(thief.said().await, "executes the program");
    runs(thief.pid(), trusted).await;
    kill(daemon.pid(), Signal::SIGCONT).expect("SIGCONT");
    thief.said().await
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_sixty_connections_queued_before_the_exec_gets_an_identity() {
    let (daemon, trusted) = daemon().await;
    for _ in 0..rounds(1) {
        for words in [Words::Request, Words::Acknowledged, Words::Guessed] {
            for speaks in [false, true] {
                let told = round(&daemon, &trusted, words, speaks).await;
                let expected = format!("0 messages on {CONNECTIONS} connections");
                assert_eq!(told, expected, "{words:?}, helper speaks: {speaks}");
            }
        }
    }
    let mut honest = Workload::start(&trusted, daemon.place(PRODUCTION));
    let svid = honest.x509_svid().await.expect("the trusted program itself gets its identity");
    assert_eq!(svid["id"], daemon.place(PRODUCTION).id("/service/trusted"));
}
