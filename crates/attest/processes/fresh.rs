//! What is believed of an earlier attestation, and what ends that.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use marque_spiffe::SelectorSet;
use nix::unistd::Uid;

use super::role::Stage;
use super::{NOBODY, is_root};
use crate::{AttestError, Attestor, Attestors, Peer, ProcessPin, UnixAttestor};

/// Counts how often it is asked.
#[derive(Debug, Default, Clone)]
struct Asked(Arc<AtomicUsize>);

impl Attestor for Asked {
    fn kind(&self) -> &'static str {
        "asked"
    }

    fn selectors<'a>(
        &'a self,
        _process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok([format!("asked:n:{}", self.times()).parse().unwrap()].into_iter().collect()))
            .boxed()
    }
}

impl Asked {
    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn for_an_hour(&self) -> Attestors {
        Attestors::new(vec![Box::new(self.clone())]).fresh_for(Duration::from_secs(3600))
    }
}

#[tokio::test]
async fn what_was_gathered_is_believed_while_it_is_fresh_and_the_process_looks_the_same() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let asked = Asked::default();
    let attestors = asked.for_an_hour();
    let first = attestors.attest(&actor.peer).await.unwrap();
    let second = attestors.attest(&actor.peer).await.unwrap();
    assert_eq!((asked.times(), &first.selectors), (1, &second.selectors));
    assert_eq!((first.fingerprint, first.pid), (second.fingerprint, second.pid));
    // Before an update is pushed nothing of it counts, nor does it for other attestors.
    attestors.attest_anew(&actor.peer).await.unwrap();
    assert_eq!(asked.times(), 2);
    asked.for_an_hour().attest(&actor.peer).await.unwrap();
    assert_eq!(asked.times(), 3);
}

#[tokio::test]
async fn attestors_that_are_replaced_answer_no_more_and_what_they_gathered_counts_no_more() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let (asked, other) = (Asked::default(), Asked::default());
    let attestors = asked.for_an_hour();
    let mut replaced = attestors.replacements();
    attestors.attest(&actor.peer).await.unwrap();
    attestors.replace(&other.for_an_hour());
    assert!(replaced.has_changed().unwrap());
    replaced.mark_unchanged();
    for _ in 0..2 {
        attestors.attest(&actor.peer).await.unwrap();
    }
    assert_eq!((asked.times(), other.times()), (1, 1));
    assert!(!replaced.has_changed().unwrap());
}

#[tokio::test]
async fn without_freshness_everything_is_gathered_each_time() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let asked = Asked::default();
    let attestors = Attestors::new(vec![Box::new(asked.clone())]);
    attestors.attest(&actor.peer).await.unwrap();
    attestors.attest(&actor.peer).await.unwrap();
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn wa_14_an_exit_is_noticed_however_fresh_the_attestation() {
    let stage = Stage::new();
    let mut started = stage.start_self("obey");
    let actor = stage.accept();
    let attestors = Asked::default().for_an_hour();
    attestors.attest(&actor.peer).await.unwrap();
    started.0.kill().unwrap();
    started.0.wait().unwrap();
    let error = attestors.attest(&actor.peer).await.unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error}");
}

#[tokio::test]
async fn wa_14_another_program_is_noticed_however_fresh_the_attestation() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let attestors = Asked::default().for_an_hour();
    attestors.attest(&actor.peer).await.unwrap();
    actor.send("run cat");
    actor.send("are you cat");
    assert_eq!(actor.hear(), "are you cat");
    let error = attestors.attest(&actor.peer).await.unwrap_err();
    assert!(matches!(error, AttestError::ExecutableChanged { .. }), "{error}");
}

#[tokio::test]
async fn wa_14_the_same_program_run_anew_is_looked_at_anew() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    actor.send("run sh");
    actor.send("echo ready");
    assert_eq!(actor.hear(), "ready");
    // Pinned as the shell that it is by now.
    let peer = Peer::capture(&actor.stream).unwrap();
    let asked = Asked::default();
    let attestors = asked.for_an_hour();
    attestors.attest(&peer).await.unwrap();
    attestors.attest(&peer).await.unwrap();
    assert_eq!(asked.times(), 1);
    actor.send("exec sh -c 'echo again; read line'");
    assert_eq!(actor.hear(), "again");
    attestors.attest(&peer).await.unwrap();
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn wa_14_another_user_is_noticed_however_fresh_the_attestation() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let attestors = Asked::default().for_an_hour();
    attestors.attest(&actor.peer).await.unwrap();
    actor.tell("become nobody");
    let error = attestors.attest(&actor.peer).await.unwrap_err();
    let changed = AttestError::UserChanged {
        pid: actor.pid(),
        pinned: Uid::effective().as_raw(),
        found: NOBODY,
    };
    assert_eq!(error.to_string(), changed.to_string());
}

#[tokio::test]
async fn a_program_whose_file_is_touched_is_looked_at_anew() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let _started = stage.start(&program, "obey");
    let actor = stage.accept();
    let asked = Asked::default();
    let attestors = asked.for_an_hour();
    attestors.attest(&actor.peer).await.unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    attestors.attest(&actor.peer).await.unwrap();
    std::fs::rename(&program, program.with_file_name("renamed")).unwrap();
    attestors.attest(&actor.peer).await.unwrap();
    attestors.attest(&actor.peer).await.unwrap();
    assert_eq!(asked.times(), 3);
}

#[tokio::test]
async fn a_user_and_a_program_seen_before_need_no_other_thread() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let [_one, _two] = [(); 2].map(|()| stage.start(&program, "obey"));
    let [one, two] = [(); 2].map(|()| stage.accept());
    let unix = UnixAttestor::default();
    assert!(unix.selectors(one.peer.process()).now_or_never().is_none());
    let found = unix.selectors(one.peer.process()).await.unwrap();
    // Of another process, which looks the same.
    let at_once = unix.selectors(two.peer.process()).now_or_never().expect("no thread is needed");
    assert_eq!(at_once.unwrap(), found);
    // The file is the same and its name is not, so what is known does not count.
    std::fs::rename(&program, program.with_file_name("renamed")).unwrap();
    assert!(unix.selectors(two.peer.process()).now_or_never().is_none());
    assert_ne!(unix.selectors(two.peer.process()).await.unwrap(), found);
}
