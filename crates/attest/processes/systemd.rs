use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use marque_spiffe::SelectorSet;

use super::role::{Actor, Stage, Started};
use crate::{AttestError, Attestation, Attestors, SystemdAttestor, SystemdAttestorConfig};
use crate::{ProcessPin, SystemdError};

mod bus;

use bus::{Bus, Refusal, Script};

const INVOCATION: [u8; 16] = [0xab; 16];
/// Longer than any test takes, but for those about time.
const PATIENT: Duration = Duration::from_secs(60);

fn attestors(bus: &Bus, timeout: Duration) -> Attestors {
    let config = SystemdAttestorConfig { bus: bus.socket(), timeout, ..Default::default() };
    Attestors::new(vec![Box::new(SystemdAttestor::believing_this_process(config))])
}

fn actor(stage: &Stage) -> (Started, Actor) {
    (stage.start_self("obey"), stage.accept())
}

fn of(found: &SelectorSet) -> Vec<&str> {
    found.iter().map(marque_spiffe::Selector::as_str).collect()
}

fn expect_the_unit(found: Result<Attestation, AttestError>) {
    let expected = [
        "systemd:fragment_path:/etc/systemd/system/agent.service",
        "systemd:id:agent.service",
        "systemd:invocation_id:abababababababababababababababab",
        "systemd:slice:system.slice",
    ];
    assert_eq!(of(&found.unwrap().selectors), expected);
}

fn systemd_error(found: Result<Attestation, AttestError>) -> SystemdError {
    match found {
        Err(AttestError::Systemd { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_unit_is_found_by_the_pidfd() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    let script = Script::new(|_pid| Ok(INVOCATION));
    let _systemd = bus.play(&script).await;
    expect_the_unit(attestors(&bus, PATIENT).attest_anew(&actor.peer).await);
    // Once before the unit's properties are read and once after.
    assert_eq!(*script.asked.lock().unwrap(), [actor.pid(), actor.pid()]);
}

#[tokio::test]
async fn an_older_systemd_is_asked_by_pid_and_believed_by_the_control_group() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    let cgroup = String::from_utf8(actor.peer.process().read_proc("cgroup").unwrap()).unwrap();
    let systemds = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
    let own = cgroup.lines().find(systemds).unwrap().rsplit_once(':').unwrap().1;
    for (control_group, believed) in
        [(own, true), ("/system.slice/other.service", false), ("", false)]
    {
        let mut script = Script::new(|_pid| Ok(INVOCATION));
        control_group.clone_into(&mut script.control_group);
        let systemd = bus.play_older(&script).await;
        let found = attestors(&bus, PATIENT).attest_anew(&actor.peer).await;
        if believed {
            expect_the_unit(found);
        } else {
            assert!(found.unwrap().selectors.is_empty(), "{control_group}");
        }
        assert_eq!(script.asked.lock().unwrap()[0], actor.pid());
        systemd.stop().await;
    }
}

#[tokio::test]
async fn a_process_in_no_unit_has_no_selectors() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    let told = || "told".to_owned();
    for older in [false, true] {
        let no_unit = Script::new(move |_pid| Err(Refusal::NoUnitForPid(told())));
        let no_process = Script::new(move |_pid| Err(Refusal::NoSuchProcess(told())));
        for script in [no_unit, no_process] {
            let systemd =
                if older { bus.play_older(&script).await } else { bus.play(&script).await };
            let found = attestors(&bus, PATIENT).attest_anew(&actor.peer).await.unwrap();
            assert!(found.selectors.is_empty(), "{found:?}");
            systemd.stop().await;
        }
    }
}

#[tokio::test]
async fn a_unit_that_changes_while_it_is_read_is_read_again_and_at_last_refused() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    let (settled, calls) = (3, std::sync::Arc::new(AtomicU8::new(0)));
    let script = Script::new(move |_pid| {
        // Each start has its own id until the unit has settled.
        let call = calls.fetch_add(1, Ordering::SeqCst);
        Ok(if call < settled { [call; 16] } else { INVOCATION })
    });
    let systemd = bus.play(&script).await;
    expect_the_unit(attestors(&bus, PATIENT).attest_anew(&actor.peer).await);
    systemd.stop().await;

    let calls = AtomicU8::new(0);
    let script = Script::new(move |_pid| Ok([calls.fetch_add(1, Ordering::SeqCst); 16]));
    let _systemd = bus.play(&script).await;
    let error = systemd_error(attestors(&bus, PATIENT).attest_anew(&actor.peer).await);
    assert!(matches!(error, SystemdError::Changed), "{error}");
}

#[tokio::test]
async fn a_bus_that_dies_is_an_error_until_it_is_back() {
    let Some(mut bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    let script = Script::new(|_pid| Ok(INVOCATION));
    let attestors = attestors(&bus, PATIENT);
    let _systemd = bus.play(&script).await;
    expect_the_unit(attestors.attest_anew(&actor.peer).await);
    bus.kill();
    let error = systemd_error(attestors.attest_anew(&actor.peer).await);
    assert!(matches!(error, SystemdError::Connect(_)), "{error}");
    bus.revive();
    let error = systemd_error(attestors.attest_anew(&actor.peer).await);
    assert!(matches!(error, SystemdError::Bus(_)), "a bus without systemd: {error}");
    let _systemd = bus.play(&script).await;
    expect_the_unit(attestors.attest_anew(&actor.peer).await);
}

#[tokio::test]
async fn a_systemd_that_was_started_anew_is_found_at_once() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    let script = Script::new(|_pid| Ok(INVOCATION));
    let attestors = attestors(&bus, PATIENT);
    for _start in 0..3 {
        let systemd = bus.play(&script).await;
        expect_the_unit(attestors.attest_anew(&actor.peer).await);
        systemd.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_an_error_in_time() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    let script = Script::new(|_pid| Ok(INVOCATION));
    let _systemd = bus.play(&script).await;
    let attestors = attestors(&bus, Duration::from_millis(100));
    let held = script.gate.lock().await;
    let error = systemd_error(attestors.attest_anew(&actor.peer).await);
    assert!(matches!(error, SystemdError::TimedOut(_)), "{error}");
    drop(held);
    let patient = self::attestors(&bus, PATIENT);
    expect_the_unit(patient.attest_anew(&actor.peer).await);
}

#[tokio::test]
async fn a_bus_that_accepts_and_says_nothing_is_an_error_in_time() {
    let folder = tempfile::TempDir::new().unwrap();
    let socket = folder.path().join("bus");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let timeout = Duration::from_millis(100);
    let config = SystemdAttestorConfig { bus: socket, timeout, ..Default::default() };
    let attestors = Attestors::new(vec![Box::new(SystemdAttestor::new(config))]);
    let own = ProcessPin::open(std::process::id().cast_signed()).unwrap();
    let error = systemd_error(attestors.attest_process(&own).await);
    assert!(matches!(error, SystemdError::TimedOut(_)), "{error}");
}

#[tokio::test]
async fn a_bus_that_is_not_there_is_an_error_with_a_clear_text() {
    let bus = "/nowhere/bus".into();
    let config = SystemdAttestorConfig { bus, ..Default::default() };
    let attestors = Attestors::new(vec![Box::new(SystemdAttestor::new(config))]);
    let own = ProcessPin::open(std::process::id().cast_signed()).unwrap();
    let error = attestors.attest_process(&own).await.unwrap_err();
    let told = format!("cannot ask systemd for the unit of process {}", std::process::id());
    assert_eq!(error.to_string(), told);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "cannot connect to the system bus");
}

#[tokio::test]
async fn a_process_that_exits_while_systemd_is_asked_is_refused_as_such() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (started, actor) = actor(&stage);
    let started = Mutex::new(started);
    let script = Script::new(move |_pid| {
        let Started(child) = &mut *started.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        Ok(INVOCATION)
    });
    let _systemd = bus.play(&script).await;
    let error = attestors(&bus, PATIENT).attest_anew(&actor.peer).await.unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error}");
}

#[tokio::test]
async fn whoever_is_not_process_1_of_root_is_not_systemd() {
    let Some(bus) = Bus::start() else { return };
    let stage = Stage::new();
    let (_started, actor) = actor(&stage);
    // As a user's own manager would on that user's bus.
    let _systemd = bus.play(&Script::new(|_pid| Ok(INVOCATION))).await;
    let config =
        SystemdAttestorConfig { bus: bus.socket(), timeout: PATIENT, ..Default::default() };
    let attestors = Attestors::new(vec![Box::new(SystemdAttestor::new(config))]);
    let error = systemd_error(attestors.attest_anew(&actor.peer).await);
    let own = std::process::id();
    assert!(matches!(error, SystemdError::NotSystemd { pid, .. } if pid == own), "{error}");
}
