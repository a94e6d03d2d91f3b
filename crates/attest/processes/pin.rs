use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid};

use super::role::{Stage, Started};
use super::{NOBODY, is_root, unix_attestors};
use crate::{AttestError, Attestor, Attestors, Peer, ProcessPin};

/// An attestor that does something to the process while it is being attested.
struct Meanwhile<F>(F);

impl<F> std::fmt::Debug for Meanwhile<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl<F: Fn() + Send + Sync> Attestor for Meanwhile<F> {
    fn kind(&self) -> &'static str {
        "meanwhile"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(async move {
            (self.0)();
            if !process.is_alive() {
                process.exited().await;
            }
            Ok(SelectorSet::default())
        })
    }
}

#[tokio::test]
async fn a_peer_is_the_process_that_connected() {
    let stage = Stage::new();
    let started = stage.start_self("obey");
    let actor = stage.accept();
    assert_eq!(actor.pid(), i32::try_from(started.0.id()).unwrap());
    assert_eq!(actor.peer.uid(), Uid::effective().as_raw());
    assert_eq!(actor.peer.gid(), Gid::effective().as_raw());
    assert!(actor.peer.is_alive());
    actor.peer.recheck().unwrap();
    assert_eq!(unix_attestors().attest(&actor.peer).await.unwrap().pid, actor.pid());
}

#[tokio::test]
async fn a_program_run_after_the_connection_is_refused() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    actor.send("run cat");
    actor.send("are you cat");
    assert_eq!(actor.hear(), "are you cat");
    let error = unix_attestors().attest(&actor.peer).await.unwrap_err();
    assert!(matches!(error, AttestError::ExecutableChanged { .. }), "{error}");
}

#[tokio::test]
async fn a_program_run_during_attestation_is_refused() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let stream = actor.stream.try_clone().unwrap();
    let attestors = Attestors::new(vec![Box::new(Meanwhile(move || {
        use std::io::Write;
        writeln!(&stream, "run cat\nare you cat").unwrap();
        assert_eq!(super::role::hear(&stream), "are you cat");
    }))]);
    let error = attestors.attest(&actor.peer).await.unwrap_err();
    assert!(matches!(error, AttestError::ExecutableChanged { .. }), "{error}");
}

#[tokio::test]
async fn an_exit_during_attestation_is_refused() {
    let stage = Stage::new();
    let started = std::sync::Mutex::new(stage.start_self("obey"));
    let actor = stage.accept();
    let attestors = Attestors::new(vec![Box::new(Meanwhile(move || {
        let Started(child) = &mut *started.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }))]);
    let error = attestors.attest(&actor.peer).await.unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error}");
}

#[tokio::test]
async fn an_attestor_that_fails_because_the_process_ended_says_so() {
    let stage = Stage::new();
    let mut started = stage.start_self("obey");
    let actor = stage.accept();
    started.0.kill().unwrap();
    started.0.wait().unwrap();
    let error = unix_attestors().attest(&actor.peer).await.unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error}");
}

#[tokio::test]
async fn the_exit_of_a_peer_can_be_awaited() {
    let stage = Stage::new();
    let started = stage.start_self("obey");
    let actor = stage.accept();
    assert!(futures::FutureExt::now_or_never(actor.peer.exited()).is_none());
    actor.send("exit");
    // By everybody who waits, and by whoever comes later.
    futures::future::join(actor.peer.exited(), actor.peer.exited()).await;
    actor.peer.exited().await;
    // A zombie until its parent waits, and no longer alive all the same.
    assert!(!actor.peer.is_alive());
    drop(started);
}

#[test]
fn a_process_stopped_by_a_signal_is_alive() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    kill(Pid::from_raw(actor.pid()), Signal::SIGSTOP).unwrap();
    actor.peer.recheck().unwrap();
}

#[test]
fn a_pid_that_another_process_got_is_refused_by_its_start_time() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let earlier = actor.peer.process().as_if_started_earlier();
    let error = earlier.recheck().unwrap_err();
    assert!(matches!(error, AttestError::StartTimeChanged { .. }), "{error}");
}

#[test]
fn a_peer_that_is_gone_before_the_accept_is_refused() {
    let stage = Stage::new();
    let mut started = stage.start_self("obey");
    // The connection waits in the queue while its process ends and is reaped.
    let first = stage.accept();
    first.send("exit");
    started.0.wait().unwrap();
    let error = Peer::capture(&first.stream).unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error}");
}

#[test]
fn a_socket_without_credentials_is_refused() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = Peer::capture(&file).unwrap_err();
    assert!(matches!(error, AttestError::PeerCredentials(_)), "{error}");
}

#[test]
fn a_changed_user_is_refused_before_and_after_the_pin() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    actor.tell("become nobody");
    let expected = |error: AttestError| {
        assert!(
            matches!(error, AttestError::UserChanged { pinned: 0, found: NOBODY, .. }),
            "{error}"
        );
    };
    expected(actor.peer.recheck().unwrap_err());
    expected(Peer::capture(&actor.stream).unwrap_err());
}

#[test]
fn changed_supplementary_groups_are_refused() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let _started = stage.start_self("in-groups 51235 51236");
    let actor = stage.accept();
    assert_eq!(actor.peer.process().supplementary_groups(), [51_235, 51_236]);
    actor.tell("leave groups");
    let error = actor.peer.recheck().unwrap_err();
    assert!(matches!(error, AttestError::SupplementaryGroupsChanged { .. }), "{error}");
}

#[test]
fn too_many_supplementary_groups_are_refused() {
    if !is_root() {
        return;
    }
    for (count, accepted) in
        [(crate::MAX_SUPPLEMENTARY_GROUPS, true), (crate::MAX_SUPPLEMENTARY_GROUPS + 1, false)]
    {
        let stage = Stage::new();
        let groups: Vec<_> = (0..count).map(|gid| (60_000 + gid).to_string()).collect();
        let _started = stage.start_self(&format!("in-groups {}", groups.join(" ")));
        match Peer::capture(&stage.accept_unpinned()) {
            Ok(peer) => assert!(accepted, "{peer:?}"),
            Err(error) => {
                assert!(!accepted, "{error}");
                assert!(matches!(error, AttestError::TooManyGroups { .. }), "{error}");
            }
        }
    }
}

#[test]
fn another_user_is_seen_as_such() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let mut command = stage.command(&program, "obey");
    let _started = Started(command.uid(NOBODY).gid(NOBODY).spawn().unwrap());
    let actor = stage.accept();
    assert_eq!((actor.peer.uid(), actor.peer.gid()), (NOBODY, NOBODY));
}

#[test]
fn a_pin_is_of_one_process_and_not_of_its_namesake() {
    let (own, _other) = UnixStream::pair().unwrap();
    let peer = Peer::capture(&own).unwrap();
    assert_eq!(peer.pid(), i32::try_from(std::process::id()).unwrap());
    ProcessPin::open(peer.pid()).unwrap().recheck().unwrap();
    let error = ProcessPin::open(0).unwrap_err();
    assert!(
        matches!(error, AttestError::Unreadable { .. } | AttestError::UnseenProcess),
        "{error}"
    );
}
