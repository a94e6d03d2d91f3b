use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use marque_spiffe::{Selector, SelectorSet};

use super::role::{Actor, Stage, Started};
use super::{NOBODY, is_root};
use crate::{AttestError, Attestor, Attestors, ParentAttestor, ParentAttestorConfig, ProcessPin};
use crate::{UnixAttestor, UnixAttestorConfig};

fn unix() -> Arc<dyn Attestor> {
    Arc::new(UnixAttestor::new(UnixAttestorConfig::default()))
}

fn attestors_over(inner: &[Arc<dyn Attestor>], kinds: &[&str]) -> Attestors {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let config = ParentAttestorConfig { kinds };
    Attestors::new(vec![Box::new(ParentAttestor::new(&config, inner))])
}

async fn found(actor: &Actor) -> Vec<String> {
    let found = attestors_over(&[unix()], &[]).attest(&actor.peer).await.unwrap();
    found.selectors.iter().map(|selector| selector.as_str().to_owned()).collect()
}

/// Says what it was told to, and does something first.
struct Saying<F>(&'static str, F);

impl<F> std::fmt::Debug for Saying<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Saying")
    }
}

impl<F: Fn(&ProcessPin) + Send + Sync> Attestor for Saying<F> {
    fn kind(&self) -> &'static str {
        "say"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(async move {
            (self.1)(process);
            Ok([self.0.parse::<Selector>().unwrap()].into_iter().collect())
        })
    }
}

#[tokio::test]
async fn a_process_has_the_selectors_of_the_supervisor_that_started_it() {
    let stage = Stage::new();
    let supervisor = stage.copy_of_this_binary("supervisor");
    let started = stage.start(&supervisor, "parent-of obey");
    let actor = stage.accept();
    let parent = ProcessPin::open(started.0.id().cast_signed()).unwrap();
    let own = Attestors::new(vec![Box::new(unix())]).attest_process(&parent).await.unwrap();
    let expected: Vec<_> = own.selectors.iter().map(|own| format!("parent:{own}")).collect();
    assert_eq!(found(&actor).await, expected);
    let path = format!("parent:unix:path:{}", supervisor.canonicalize().unwrap().display());
    assert!(expected.contains(&path), "{expected:?}");
    actor.send("exit");
}

#[tokio::test]
async fn only_the_kinds_asked_for_are_taken_over() {
    let stage = Stage::new();
    let _started = stage.start_self("parent-of obey");
    let actor = stage.accept();
    let say: Arc<dyn Attestor> = Arc::new(Saying("systemd:id:supervisor.service", |_: &_| {}));
    for (kinds, prefixes) in [(&["say"][..], &["parent:systemd:id:supervisor.service"][..])] {
        let attestors = attestors_over(&[unix(), Arc::clone(&say)], kinds);
        let found = attestors.attest(&actor.peer).await.unwrap();
        let found: Vec<_> = found.selectors.iter().map(Selector::as_str).collect();
        assert_eq!(found, prefixes);
    }
    let all = attestors_over(&[unix(), say], &[]).attest(&actor.peer).await.unwrap();
    assert!(all.selectors.len() > 2);
    actor.send("exit");
}

#[tokio::test]
async fn the_selectors_end_with_the_supervisor() {
    let stage = Stage::new();
    let mut started = stage.start_self("parent-of obey");
    let actor = stage.accept();
    let before = found(&actor).await;
    assert!(!before.is_empty());
    started.0.kill().unwrap();
    started.0.wait().unwrap();
    // Init adopts it, or a subreaper above this test, in whose session it is not.
    let after = found(&actor).await;
    assert!(!after.iter().any(|selector| before.contains(selector)), "{after:?}");
    actor.send("exit");
}

#[tokio::test]
async fn a_supervisor_that_ends_while_it_is_looked_at_lends_nothing() {
    let stage = Stage::new();
    let started = Mutex::new(stage.start_self("parent-of obey"));
    let actor = stage.accept();
    let kill = move |_: &ProcessPin| {
        let Started(child) = &mut *started.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let attestors = attestors_over(&[Arc::new(Saying("say:supervisor", kill))], &[]);
    let found = attestors.attest(&actor.peer).await.unwrap();
    assert!(found.selectors.is_empty(), "{found:?}");
    actor.send("exit");
}

#[tokio::test]
async fn a_supervisor_that_runs_another_program_meanwhile_is_refused() {
    let stage = Stage::new();
    let _started = stage.start_self("obey-with-child obey");
    let (supervisor, actor) = (stage.accept(), stage.accept());
    let stream = supervisor.stream.try_clone().unwrap();
    let run = move |_: &ProcessPin| {
        use std::io::Write;
        writeln!(&stream, "run cat\nare you cat").unwrap();
        assert_eq!(super::role::hear(&stream), "are you cat");
    };
    let attestors = attestors_over(&[Arc::new(Saying("say:supervisor", run))], &[]);
    let error = attestors.attest(&actor.peer).await.unwrap_err();
    let parent = supervisor.pid();
    assert!(matches!(error, AttestError::ExecutableChanged { pid } if pid == parent), "{error}");
    actor.send("exit");
}

#[tokio::test]
async fn an_orphan_in_the_session_of_its_dead_starter_has_nothing_of_a_subreaper() {
    let stage = Stage::new();
    let started = stage.start_self("reaper-of leave obey");
    let actor = stage.accept();
    wait_for_parent(&actor, started.0.id().cast_signed());
    assert_eq!(found(&actor).await, [""; 0]);
    actor.send("exit");
}

#[tokio::test]
async fn known_gap_an_orphan_in_a_session_of_its_own_has_the_selectors_of_its_subreaper() {
    let stage = Stage::new();
    let started = stage.start_self("reaper-of leave in-own-session obey");
    let actor = stage.accept();
    wait_for_parent(&actor, started.0.id().cast_signed());
    assert!(!found(&actor).await.is_empty());
    actor.send("exit");
}

fn wait_for_parent(actor: &Actor, parent: i32) {
    while actor.peer.process().parent().unwrap() != Some(parent) {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn the_init_of_a_pid_namespace_lends_nothing() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let options = ["--pid", "--fork", "--kill-child"];
    let allowed = Command::new("unshare").args(options).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs unshare(1) and the right to use it");
        return;
    }
    let program = stage.copy_of_this_binary("supervisor");
    // The second is no init, so its child shows that namespaces as such are no obstacle.
    for (part, lends) in [("parent-of obey", false), ("parent-of parent-of obey", true)] {
        let inner = stage.command(&program, part);
        let mut unshare = Command::new("unshare");
        unshare.args(options).arg(&program).args(inner.get_args());
        unshare.stdin(Stdio::null()).stdout(Stdio::null());
        for (name, value) in inner.get_envs() {
            unshare.env(name, value.unwrap());
        }
        let _started = Started(unshare.spawn().unwrap());
        let actor = stage.accept();
        assert_eq!(!found(&actor).await.is_empty(), lends, "{part}");
        actor.send("exit");
    }
}

#[tokio::test]
async fn a_set_user_id_program_as_parent_lends_nothing() {
    if !is_root() {
        return;
    }
    for (mode, lends) in [(0o755, true), (0o4755, false), (0o2755, false)] {
        let stage = Stage::new();
        let program = stage.copy_of_this_binary("supervisor");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
        let mut command = stage.command(&program, "parent-of obey");
        let _started = Started(command.uid(NOBODY).gid(NOBODY).spawn().unwrap());
        let actor = stage.accept();
        assert_eq!(!found(&actor).await.is_empty(), lends, "{mode:o}");
        actor.send("exit");
    }
}

#[tokio::test]
async fn a_supervisor_that_keeps_another_user_in_reserve_lends_nothing() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let _started = stage.start_self("reserving-parent-of obey");
    let actor = stage.accept();
    assert_eq!(found(&actor).await, [""; 0]);
    actor.send("exit");
}

#[tokio::test]
async fn a_supervisor_that_hides_its_executable_lends_nothing() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    for (part, told) in
        [("parent-of judge-own-parent", "some"), ("hidden-parent-of judge-own-parent", "none")]
    {
        let mut command = stage.command(&program, part);
        let _started = Started(command.uid(NOBODY).gid(NOBODY).spawn().unwrap());
        assert_eq!(super::role::hear(&stage.accept_unpinned()), told, "{part}");
    }
}

/// What a process finds out about its own parent, played under another user.
pub(super) fn judge_own(answer: &std::os::unix::net::UnixStream) {
    use std::io::Write;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let own = ProcessPin::open(std::process::id().cast_signed()).unwrap();
    let attestors = attestors_over(&[unix()], &[]);
    let found = runtime.block_on(attestors.attest_process(&own)).unwrap();
    let told = if found.selectors.is_empty() { "none" } else { "some" };
    writeln!(&*answer, "{told}").unwrap();
}
