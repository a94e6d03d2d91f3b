//! Process ids that mean something else: of another pid namespace, and used twice.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use super::is_root;
use super::role::{Stage, Started, hear};
use crate::{AttestError, Peer};

/// How many times a process id is used twice.
const ROUNDS: usize = 20;
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// A process of this program in a pid namespace of its own, of which it is the first.
fn in_a_new_namespace(stage: &Stage, part: &str) -> Started {
    let own = stage.command(&std::env::current_exe().unwrap(), part);
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(own.get_program()).args(own.get_args());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Started(command.spawn().unwrap())
}

/// Played in a namespace from which the other end of the connection cannot be seen.
pub(super) fn look_out(answer: &UnixStream) {
    let verdict = match Peer::capture(answer) {
        Err(AttestError::UnseenProcess) => "unseen".to_owned(),
        other => format!("{other:?}"),
    };
    writeln!(&*answer, "{verdict}").unwrap();
}

#[test]
fn a_process_of_an_unseen_namespace_is_refused() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let _started = in_a_new_namespace(&stage, "look-out");
    assert_eq!(hear(&stage.accept_unpinned()), "unseen");
}

/// Played by the first process of a namespace, which says what id the next one gets.
pub(super) fn use_ids_twice(answer: &UnixStream) {
    for round in 0..ROUNDS {
        let stage = Stage::new();
        let mut first = stage.start_self("obey");
        let earlier = stage.accept();
        earlier.send("exit");
        first.0.wait().unwrap();
        let (later, _second) = start_as(&stage, earlier.pid());
        assert_eq!(later.pid(), earlier.pid());
        // What was pinned stays the process that it was, and so does what was queued and not accepted yet.
        let pinned = earlier.peer.recheck().unwrap_err();
        assert!(matches!(pinned, AttestError::Exited { .. }), "round {round}: {pinned}");
        let queued = Peer::capture(&earlier.stream).unwrap_err();
        assert!(matches!(queued, AttestError::Exited { .. }), "round {round}: {queued}");
        later.peer.recheck().unwrap();
    }
    writeln!(&*answer, "refused {ROUNDS} times").unwrap();
}

/// Starts a process under an id that has become free.
fn start_as(stage: &Stage, pid: i32) -> (super::role::Actor, Started) {
    for _attempt in 0..100 {
        std::fs::write(LAST_PID, (pid - 1).to_string()).unwrap();
        let started = stage.start_self("obey");
        let actor = stage.accept();
        if actor.pid() == pid {
            return (actor, started);
        }
    }
    panic!("no process got the id {pid}");
}

#[test]
fn a_pid_that_is_used_twice_is_not_taken_for_the_first_process() {
    if !is_root() || !Path::new(LAST_PID).exists() {
        eprintln!("skipped: needs root and {LAST_PID}");
        return;
    }
    let stage = Stage::new();
    let _started = in_a_new_namespace(&stage, "use-ids-twice");
    assert_eq!(hear(&stage.accept_unpinned()), format!("refused {ROUNDS} times"));
}
