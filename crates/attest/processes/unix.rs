use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use marque_spiffe::{Selector, SelectorSet};
use nix::unistd::{Gid, Group, Uid, User};
use ring::digest::{SHA256, digest};

use super::role::{Stage, Started};
use super::{NOBODY, is_root, unix_attestors};
use crate::hash::ExecutableHashes;
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
    }
}

#[test]
fn the_size_limit_is_finite_unless_told_otherwise() {
    assert_eq!(UnixAttestorConfig::default().max_executable_size, 256 * 1024 * 1024);
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
    let hashes = ExecutableHashes::new(u64::MAX, 1);
    let digest_of = |name: &str, content: &str| {
        // Another file at the same path each time, as an upgrade does it.
        let program = stage.copy_of(Path::new("/bin/sleep"), name, content);
        let started = Started(Command::new(&program).arg("1000").spawn().unwrap());
        let pin = ProcessPin::open(i32::try_from(started.0.id()).unwrap()).unwrap();
        let file = pin.executable().unwrap();
        let found = hashes.digest(pin.pid(), file).unwrap().unwrap();
        assert_eq!(hashes.digest(pin.pid(), file).unwrap().unwrap(), found);
        assert_eq!(hex::encode(found), sha256_of(&program));
        assert!(hashes.remembered() <= 1);
        let own = ProcessPin::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        let error = hashes.digest(pin.pid(), own.executable().unwrap()).unwrap_err();
        assert!(matches!(error, AttestError::ExecutableChanged { .. }), "{error}");
        found
    };
    let first = digest_of("a", "");
    assert_eq!(digest_of("b", ""), first);
    assert_ne!(digest_of("a", "x"), first);
    assert_eq!(hashes.remembered(), 1);
}
