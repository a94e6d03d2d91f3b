use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use marque_spiffe::{Selector, SelectorSet};
use nix::unistd::{Gid, Group, Uid, User};
use ring::digest::{SHA256, digest};

use super::role::{Stage, Started, hear};
use super::{NOBODY, is_root, unix_attestors};
use crate::hash::{FileHashes, Hashed};
use crate::{AttestError, Attestors, Fingerprint, ProcessPin, UnixAttestor, UnixAttestorConfig};

fn has(selectors: &SelectorSet, selector: &str) -> bool {
    selectors.contains(&selector.parse::<Selector>().unwrap())
}

fn values<'a>(selectors: &'a SelectorSet, name: &str) -> Vec<&'a str> {
    selectors.iter().filter_map(|selector| selector.as_str().strip_prefix(name)).collect()
}

fn sha256_of(file: &Path) -> String {
    hex::encode(digest(&SHA256, &std::fs::read(file).unwrap()))
}

#[tokio::test]
async fn the_selectors_are_those_of_the_process() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let _started = stage.start(&program, "obey");
    let found = unix_attestors().attest(&stage.accept().peer).await.unwrap();
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let selectors = &found.selectors;
    assert!(has(selectors, &format!("unix:uid:{uid}")));
    assert!(has(selectors, &format!("unix:gid:{gid}")));
    if let Some(user) = User::from_uid(uid).unwrap() {
        assert!(has(selectors, &format!("unix:user:{}", user.name)));
    }
    if let Some(group) = Group::from_gid(gid).unwrap() {
        assert!(has(selectors, &format!("unix:group:{}", group.name)));
    }
    let path = program.canonicalize().unwrap();
    assert_eq!(values(selectors, "unix:path:"), [path.to_str().unwrap()]);
    assert_eq!(values(selectors, "unix:sha256:"), [sha256_of(&program)]);
    assert_eq!(found.fingerprint, Fingerprint::of(selectors));
    assert!(!format!("{found:?}").contains("unix:"), "selectors are not for logs");
}

#[tokio::test]
async fn a_user_without_a_name_has_a_number() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let mut command = stage.command(&program, "obey");
    let _started = Started(command.uid(NOBODY).gid(NOBODY).spawn().unwrap());
    let found = unix_attestors().attest(&stage.accept().peer).await.unwrap();
    assert_eq!(values(&found.selectors, "unix:uid:"), ["51234"]);
    assert_eq!(values(&found.selectors, "unix:user:"), [""; 0]);
    assert_eq!(values(&found.selectors, "unix:group:"), [""; 0]);
}

#[tokio::test]
async fn supplementary_groups_are_found_by_number_and_name() {
    if !is_root() {
        return;
    }
    let Some(group) = Group::from_gid(Gid::from_raw(1)).unwrap() else { return };
    let stage = Stage::new();
    let _started = stage.start_self("in-groups 1 51235");
    let found = unix_attestors().attest(&stage.accept().peer).await.unwrap();
    assert_eq!(values(&found.selectors, "unix:supplementary_gid:"), ["1", "51235"]);
    assert_eq!(values(&found.selectors, "unix:supplementary_group:"), [group.name]);
}

#[tokio::test]
async fn an_executable_at_the_size_limit_is_hashed_and_one_past_it_is_not() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let _started = stage.start(&program, "obey");
    let actor = stage.accept();
    let size = std::fs::metadata(&program).unwrap().len();
    for (limit, hashed) in [(size, 1), (size - 1, 0)] {
        let config = UnixAttestorConfig { max_executable_size: limit, ..Default::default() };
        let attestors = Attestors::new(vec![Box::new(UnixAttestor::new(config))]);
        let found = attestors.attest(&actor.peer).await.unwrap();
        assert_eq!(values(&found.selectors, "unix:sha256:").len(), hashed, "{limit}");
        assert_eq!(values(&found.selectors, "unix:path:").len(), 1, "{limit}");
        let told: &[&str] = if hashed == 1 { &[] } else { &["too_large"] };
        assert_eq!(values(&found.selectors, "unix:unhashed:"), told, "{limit}");
    }
}

#[test]
fn the_size_limit_is_finite_unless_told_otherwise() {
    assert_eq!(UnixAttestorConfig::default().max_executable_size, 256 * 1024 * 1024);
}

#[test]
fn a_file_past_the_limit_is_told_of_once() {
    let file = std::fs::File::open("/bin/sleep").unwrap();
    let other = std::fs::File::open("/bin/cat").unwrap();
    let hashes = FileHashes::new(1, 8);
    for _attestation in 0..3 {
        assert!(matches!(hashes.file(&file), Ok(Hashed::TooLarge)));
        assert_eq!(hashes.told(), 1);
    }
    assert!(matches!(hashes.file(&other), Ok(Hashed::TooLarge)));
    assert_eq!((hashes.told(), hashes.remembered()), (2, 0));
}

#[tokio::test]
async fn one_user_that_keeps_all_its_workers_busy_does_not_hold_up_another() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let mut command = stage.command(&program, "obey");
    let _started = Started(command.uid(NOBODY).gid(NOBODY).spawn().unwrap());
    let busy = stage.accept();
    let _own = stage.start(&program, "obey");
    let other = stage.accept();
    let attestor =
        UnixAttestor::new(UnixAttestorConfig { max_concurrent: 4, ..Default::default() });
    let held = attestor.occupy(NOBODY).await;
    let attestors = Attestors::new(vec![Box::new(attestor)]);
    let mut waiting = Box::pin(attestors.attest(&busy.peer));
    assert!(futures::FutureExt::now_or_never(&mut waiting).is_none());
    attestors.attest(&other.peer).await.unwrap();
    assert!(futures::FutureExt::now_or_never(&mut waiting).is_none());
    drop(held);
    waiting.await.unwrap();
}

#[tokio::test]
async fn many_attest_at_once_with_one_worker() {
    let stage = Stage::new();
    let _started = stage.start_self("obey");
    let actor = stage.accept();
    let config = UnixAttestorConfig { max_concurrent: 1, ..Default::default() };
    let attestors = Attestors::new(vec![Box::new(UnixAttestor::new(config))]);
    let attestations = (0..32).map(|_| attestors.attest(&actor.peer));
    let found = futures::future::try_join_all(attestations).await.unwrap();
    assert!(found.iter().all(|attestation| attestation.fingerprint == found[0].fingerprint));
}

#[tokio::test]
async fn a_file_put_at_the_path_of_a_deleted_executable_lends_it_no_path() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let _started = stage.start(&program, "obey");
    let actor = stage.accept();
    let expected = sha256_of(&program);
    std::fs::remove_file(&program).unwrap();
    // What the kernel calls the executable now, and what it was called before.
    for name in ["actor", "actor (deleted)"] {
        std::fs::write(stage.folder.path().join(name), "another").unwrap();
    }
    let found = unix_attestors().attest(&actor.peer).await.unwrap();
    assert_eq!(values(&found.selectors, "unix:path:"), [""; 0]);
    assert_eq!(values(&found.selectors, "unix:sha256:"), [expected]);
}

#[tokio::test]
async fn a_path_in_a_mount_namespace_of_its_own_is_no_path() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let forger = stage.copy_of_this_binary("forger");
    let trusted = stage.folder.path().join("trusted");
    std::fs::write(&trusted, "").unwrap();
    // Within its own namespace the forger lies at the trusted path, and is run from there.
    let script = r#"mount --bind "$1" "$2" && shift && exec "$@""#;
    let inner = stage.command(&trusted, "obey");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, "sh"]).arg(&forger).arg(&trusted);
    unshare.args(inner.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in inner.get_envs() {
        unshare.env(name, value.unwrap());
    }
    let allowed = Command::new("unshare").args(["--mount", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs unshare(1) and the right to use it");
        return;
    }
    let _started = Started(unshare.spawn().unwrap());
    let actor = stage.accept();
    let link = std::fs::read_link(format!("/proc/{}/exe", actor.pid())).unwrap();
    assert_eq!(link, trusted, "the forgery itself");
    let found = unix_attestors().attest(&actor.peer).await.unwrap();
    assert_eq!(values(&found.selectors, "unix:path:"), [""; 0]);
}

#[test]
fn digests_are_remembered_by_file_and_content_and_within_bounds() {
    let stage = Stage::new();
    let hashes = FileHashes::new(u64::MAX, 1);
    let digest_of = |name: &str, content: &str| {
        // Another file at the same path each time, as an upgrade does it.
        let program = stage.copy_of(Path::new("/bin/sleep"), name, content);
        let started = Started(Command::new(&program).arg("1000").spawn().unwrap());
        let pin = ProcessPin::open(i32::try_from(started.0.id()).unwrap()).unwrap();
        let file = pin.executable().unwrap();
        let Hashed::Digest(found) = hashes.executable(pin.pid(), file).unwrap() else {
            panic!("it is small and readable")
        };
        assert_eq!(hashes.executable(pin.pid(), file).unwrap(), Hashed::Digest(found));
        assert_eq!(hex::encode(found), sha256_of(&program));
        assert!(hashes.remembered() <= 1);
        let own = ProcessPin::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        let error = hashes.executable(pin.pid(), own.executable().unwrap()).unwrap_err();
        assert!(matches!(error, AttestError::ExecutableChanged { .. }), "{error}");
        found
    };
    let first = digest_of("a", "");
    assert_eq!(digest_of("b", ""), first);
    assert_ne!(digest_of("a", "x"), first);
    assert_eq!(hashes.remembered(), 1);
}

/// A program in a user namespace of its own; `None` where that is not allowed.
fn unshared(stage: &Stage, options: &[&str], part: &str) -> Option<Started> {
    let allowed = Command::new("unshare").args(options).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs unshare(1) and the right to use it");
        return None;
    }
    let program = stage.copy_of_this_binary("unshared");
    let inner = stage.command(&program, part);
    let mut unshare = Command::new("unshare");
    unshare.args(options).arg(&program).args(inner.get_args());
    unshare.stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in inner.get_envs() {
        unshare.env(name, value.unwrap());
    }
    Some(Started(unshare.spawn().unwrap()))
}

/// What an attestor finds out about a process, played where it sees less than usual.
pub(super) fn judge(answer: &UnixStream, pid: i32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = ProcessPin::open(pid)
        .and_then(|process| runtime.block_on(unix_attestors().attest_process(&process)));
    let verdict = match found {
        Ok(attestation) => attestation.selectors.iter().map(Selector::as_str).collect(),
        Err(AttestError::UnmappedUser { .. }) => "unmapped".to_owned(),
        Err(AttestError::Unreadable { .. }) => "unreadable".to_owned(),
        Err(other) => other.to_string(),
    };
    writeln!(&*answer, "{verdict}").unwrap();
}

#[test]
fn a_user_without_a_number_in_the_daemons_namespace_is_not_nobody() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let mut command = Command::new("sleep");
    command.arg("1000").uid(NOBODY).gid(NOBODY);
    let stranger = Started(command.spawn().unwrap());
    // The daemon has a namespace in which there is nobody but root, as in a container. The
    // stranger shows as 65534 there.
    let part = format!("judge {}", stranger.0.id());
    let Some(_daemon) = unshared(&stage, &["--user", "--map-root-user"], &part) else { return };
    assert_eq!(hear(&stage.accept_unpinned()), "unmapped");
}

#[tokio::test]
async fn a_process_that_is_nobody_in_a_namespace_of_its_own_is_known_by_its_real_user() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    // Without a map, the process sees itself as 65534.
    let Some(_started) = unshared(&stage, &["--user"], "obey") else { return };
    let found = unix_attestors().attest(&stage.accept().peer).await.unwrap();
    assert_eq!(values(&found.selectors, "unix:uid:"), [Uid::effective().to_string()]);
    assert_eq!(values(&found.selectors, "unix:user:"), ["root"]);
}

#[tokio::test]
async fn nobody_itself_is_nobody_where_all_users_have_numbers() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let mut command = stage.command(&program, "obey");
    let _started = Started(command.uid(65_534).gid(65_534).spawn().unwrap());
    let found = unix_attestors().attest(&stage.accept().peer).await.unwrap();
    assert_eq!(values(&found.selectors, "unix:uid:"), ["65534"]);
}

#[test]
fn a_process_that_procfs_hides_is_refused() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    let hidden = std::process::id();
    let script = r#"mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid "$1" --regid "$1" \
                    --clear-groups -- "$2" processes::role::play --exact --ignored --test-threads=1"#;
    let program = stage.copy_of_this_binary("daemon");
    let inner = stage.command(&program, &format!("judge {hidden}"));
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, "sh", &NOBODY.to_string()]).arg(&program);
    unshare.stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in inner.get_envs() {
        unshare.env(name, value.unwrap());
    }
    let allowed = Command::new("unshare")
        .args(["--mount", "sh", "-c", "mount -t proc -o hidepid=2 proc /proc && setpriv --version"])
        .stdout(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs unshare(1), setpriv(1) and the right to mount");
        return;
    }
    let _started = Started(unshare.spawn().unwrap());
    assert_eq!(hear(&stage.accept_unpinned()), "unreadable");
}
