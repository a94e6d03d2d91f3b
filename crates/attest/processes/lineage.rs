use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::role::{Stage, Started, hear};
use super::{NOBODY, is_root, unix_attestors};
use crate::{AttestError, Attestor, Attestors, MAX_LINEAGE, Peer, ProcessPin};

/// Kills one process when it comes to attest another.
#[derive(Debug)]
struct KillWhenAsked {
    killed: i32,
    about: i32,
}

impl Attestor for KillWhenAsked {
    fn kind(&self) -> &'static str {
        "kill"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(async move {
            if process.pid() == self.about {
                let killed = ProcessPin::open(self.killed)?;
                kill(Pid::from_raw(self.killed), Signal::SIGKILL).unwrap();
                killed.exited().await;
            }
            Ok(SelectorSet::default())
        })
    }
}

/// What a process finds out about its own ancestors, played under another user.
pub(super) fn judge_own(answer: &UnixStream) {
    let (own, _other) = UnixStream::pair().unwrap();
    let peer = Peer::capture(&own).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let verdict = match runtime.block_on(unix_attestors().attest_lineage(&peer)) {
        Ok(_) => "told".to_owned(),
        Err(AttestError::HiddenAncestor { .. }) => "hidden".to_owned(),
        Err(other) => other.to_string(),
    };
    writeln!(&*answer, "{verdict}").unwrap();
}

fn pid(started: &Started) -> i32 {
    i32::try_from(started.0.id()).unwrap()
}

#[tokio::test]
async fn a_lineage_is_the_peer_and_every_ancestor() {
    let stage = Stage::new();
    let started = stage.start_self("parent-of obey");
    let actor = stage.accept();
    let lineage = unix_attestors().attest_lineage(&actor.peer).await.unwrap();
    let pids: Vec<_> = lineage.iter().map(|attestation| attestation.pid).collect();
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(pids[..3], [actor.pid(), pid(&started), own]);
    let last = ProcessPin::open(*pids.last().unwrap()).unwrap();
    assert_eq!(last.parent().unwrap(), None);
    // The selectors are each process's own: here, all three run the same program.
    assert_eq!(lineage[0].fingerprint, lineage[1].fingerprint);
    actor.send("exit");
}

#[tokio::test]
async fn a_parent_that_exits_meanwhile_is_an_error() {
    let stage = Stage::new();
    let started = stage.start_self("parent-of obey");
    let actor = stage.accept();
    // Killed before, while and after it is its turn: each time the chain no longer stands.
    let attestors =
        Attestors::new(vec![Box::new(KillWhenAsked { killed: pid(&started), about: actor.pid() })]);
    let error = attestors.attest_lineage(&actor.peer).await.unwrap_err();
    assert!(
        matches!(error, AttestError::Exited { pid: parent } if parent == pid(&started)),
        "{error}"
    );
    actor.send("exit");
}

#[tokio::test]
async fn a_parent_that_exits_after_its_turn_is_an_error() {
    let stage = Stage::new();
    let started = stage.start_self("parent-of obey");
    let actor = stage.accept();
    let own = i32::try_from(std::process::id()).unwrap();
    let attestors =
        Attestors::new(vec![Box::new(KillWhenAsked { killed: pid(&started), about: own })]);
    let error = attestors.attest_lineage(&actor.peer).await.unwrap_err();
    assert!(
        matches!(error, AttestError::Exited { pid: parent } if parent == pid(&started)),
        "{error}"
    );
    actor.send("exit");
}

#[tokio::test]
async fn a_lineage_at_the_limit_is_attested_and_one_past_it_is_refused() {
    let (own, _other) = UnixStream::pair().unwrap();
    let above = unix_attestors().attest_lineage(&Peer::capture(&own).unwrap()).await.unwrap();
    // Below this process: so many in a line, and the one that connects.
    let fitting = MAX_LINEAGE - above.len() - 1;
    for count in [fitting, fitting + 1] {
        let stage = Stage::new();
        let _started = stage.start_self(&format!("line-of {count} obey"));
        let actor = stage.accept();
        match unix_attestors().attest_lineage(&actor.peer).await {
            Ok(lineage) => assert_eq!((count, lineage.len()), (fitting, MAX_LINEAGE)),
            Err(AttestError::LineageTooLong { limit: MAX_LINEAGE, .. }) => {
                assert_eq!(count, fitting + 1);
            }
            Err(other) => panic!("{other}"),
        }
        actor.send("exit");
    }
}

#[test]
fn an_ancestor_of_the_own_user_that_hides_is_refused_unless_another_user_started_it() {
    if !is_root() {
        return;
    }
    for (part, expected) in [
        // Started by root and given up its rights, as a session server does.
        ("hidden-parent-of judge-own-lineage", "told"),
        // Started by its own user: it may be an agent.
        ("parent-of hidden-parent-of judge-own-lineage", "hidden"),
        ("parent-of parent-of judge-own-lineage", "told"),
    ] {
        let stage = Stage::new();
        let program = stage.copy_of_this_binary("actor");
        let mut command = stage.command(&program, part);
        let _started = Started(command.uid(NOBODY).gid(NOBODY).spawn().unwrap());
        assert_eq!(hear(&stage.accept_unpinned()), expected, "{part}");
    }
}
