//! Backups and restores that end at any step, by SIGKILL or because they are told to: what is there afterwards is whole, and
//! the next one is not in anybody's way.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use marque::backup::{self, RestoreOptions, Site, Step, Work};
use marque::cli::StoreOption;
use marque::clock::{SystemClock, SystemRandomness};
use marque_spiffe::Environment;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::backup::{about, backup, refused, restore, work, worker};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::operator::{Said, run_marque};
use crate::support::programs::{marque, this_program};
use crate::support::{folder, wait};

/// Set for a run of this program that is to be killed.
const VARIABLE: &str = "MARQUE_E2E_KILLED";
const THIS_TEST: &str = "backup_crash::a_run_is_killed_at_its_step";

/// What such a run does, and at the beginning of which step it is killed.
#[derive(Debug, Deserialize, Serialize)]
struct Order {
    data_dir: PathBuf,
    /// The backup that is written, or restored.
    file: PathBuf,
    restores: bool,
    killed_at: String,
}

impl Order {
    /// Carries it out in a process of its own; whether that was killed.
    fn run(&self) -> bool {
        let ended = Command::new(this_program())
            .args([THIS_TEST, "--exact", "--ignored", "--nocapture"])
            .env(VARIABLE, serde_json::to_string(self).unwrap())
            .stdout(Stdio::null())
            .output()
            .unwrap();
        let killed = ended.status.signal() == Some(9);
        assert!(killed || ended.status.success(), "{self:?}: {ended:?}");
        killed
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test: other tests run this program again, to kill it"]
#[expect(clippy::disallowed_methods, reason = "what to do comes from the test that runs it")]
async fn a_run_is_killed_at_its_step() {
    let Ok(order) = std::env::var(VARIABLE) else { return };
    let Order { data_dir, file, restores, killed_at }: Order =
        serde_json::from_str(&order).unwrap();
    let site = Site {
        data_dir,
        trust_domain: NON_PRODUCTION.parse().unwrap(),
        environment: Environment::NonProduction,
        store: StoreOption::Sqlite,
    };
    let tell = move |step: Step| {
        if step.as_str() == killed_at {
            raise(Signal::SIGKILL).unwrap();
        }
    };
    let work = Work::new(tell, CancellationToken::new());
    let random = SystemRandomness::default();
    if restores {
        let options = RestoreOptions { from: file, ..RestoreOptions::default() };
        backup::restore(&site, &options, (&SystemClock, &random), &work).await.unwrap();
    } else {
        backup::take(&site, &file, (&SystemClock, &random), &work).await.unwrap();
    }
}

/// What is in a private folder, but for what a look at the store leaves beside it.
fn contents(private: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for part in ["", "keys", "federation"] {
        let folder = private.join(part);
        let Ok(listing) = fs::read_dir(&folder) else { continue };
        for path in listing.map(|item| item.unwrap().path()).filter(|path| path.is_file()) {
            let name = path.strip_prefix(private).unwrap().display().to_string();
            if !name.ends_with("-wal") && !name.ends_with("-shm") {
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A data folder of its own with what is in another, whose stores are in one file each: what a daemon that ended left in a log
/// beside it moves into it when somebody looks, and that is no change.
fn copy_of(data_dir: &Path, to: &Path) -> PathBuf {
    folder::copy(data_dir, to);
    for name in [NON_PRODUCTION, PRODUCTION] {
        let store = to.join(name).join("private/marque.sqlite");
        let store = rusqlite::Connection::open(store).unwrap();
        let left = store.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        assert_eq!(left, Ok(0), "somebody holds the store");
        store.close().unwrap();
        for folder in ["private", "private/keys"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(to.join(name).join(folder), mode).unwrap();
        }
    }
    to.join(NON_PRODUCTION).join("private")
}

fn names(folder: &Path) -> Vec<String> {
    let listing = fs::read_dir(folder).unwrap();
    listing.map(|item| item.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

const STEPS: [Step; 9] = [
    Step::Unpack,
    Step::ReadLog,
    Step::Compare,
    Step::Keep,
    Step::Flush,
    Step::Exchange,
    Step::SetAside,
    Step::Done,
    Step::Copy,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_at_any_step_leaves_the_state_of_before_or_the_restored_one() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let before = daemon.path("before");
    copy_of(&daemon.data_dir(), &before);
    daemon.launch().await;
    let mut agent = worker(&daemon).await;
    work(&mut agent, "after", 3).await;
    drop(agent);
    daemon.stop().await;
    let newer = backup(&daemon, "newer.marque-backup").await;
    let documents = daemon.path("trust-domains");
    let from = newer.display().to_string();
    let again = async |data_dir: &Path| -> Said {
        about(NON_PRODUCTION, &documents, data_dir, &["restore", "--from", &from]).await
    };
    let whole = daemon.path("whole");
    let restored = copy_of(&before, &whole);
    let untouched = contents(&restored);
    again(&whole).await.succeeded();
    let store = |found: &[(String, Vec<u8>)]| {
        found.iter().find(|(name, _)| name == "marque.sqlite").unwrap().1.clone()
    };
    let done = store(&contents(&restored));
    assert_ne!(store(&untouched), done);

    for step in STEPS {
        let at = step.as_str();
        let data_dir = daemon.path(&format!("killed-{at}"));
        let private = copy_of(&before, &data_dir);
        let order = Order {
            data_dir: data_dir.clone(),
            file: newer.clone(),
            restores: true,
            killed_at: at.to_owned(),
        };
        // The last is no step of a restore.
        assert_eq!(order.run(), step != Step::Copy, "{at}");
        let found = contents(&private);
        let is_restored = matches!(step, Step::SetAside | Step::Done | Step::Copy);
        if is_restored {
            assert_eq!(store(&found), done, "{at}");
        } else {
            assert_eq!(found, untouched, "{at}");
        }
        let said = again(&data_dir).await.succeeded().json();
        assert_eq!(said["resumed"], step == Step::SetAside, "{at}: {said}");
        assert_eq!(store(&contents(&private)), done, "{at}");
        let left = names(&data_dir.join(NON_PRODUCTION));
        assert!(!left.iter().any(|name| name.starts_with(".restoring")), "{at}: {left:?}");
        assert!(!names(&private).contains(&".staging".to_owned()), "{at}");
        let aside = left.iter().filter(|name| name.starts_with("private.replaced-"));
        let kept = aside.map(|name| contents(&data_dir.join(NON_PRODUCTION).join(name)));
        assert!(kept.into_iter().any(|kept| store(&kept) == store(&untouched)), "{at}: {left:?}");
    }
    starts_after_a_restore_that_was_killed(&mut daemon, (&before, &newer)).await;
}

/// The daemon itself finishes what was cut short, whether that is the state of before or the restored one.
async fn starts_after_a_restore_that_was_killed(
    daemon: &mut Daemon,
    (before, newer): (&Path, &Path),
) {
    for step in [Step::Exchange, Step::SetAside] {
        fs::rename(daemon.data_dir(), daemon.path(&format!("was-{}", step.as_str()))).unwrap();
        copy_of(before, &daemon.data_dir());
        let killed_at = step.as_str().to_owned();
        let (data_dir, file) = (daemon.data_dir(), newer.to_owned());
        assert!(Order { data_dir, file, restores: true, killed_at }.run());
        daemon.launch().await;
        let operator = daemon.operator(NON_PRODUCTION);
        operator.run(&["audit", "verify"]).await.succeeded();
        let left = names(&daemon.data_dir().join(NON_PRODUCTION));
        assert!(!left.iter().any(|name| name.starts_with(".restoring")), "{left:?}");
        let aside = left.iter().any(|name| name.starts_with("private.replaced-"));
        assert_eq!(aside, step == Step::SetAside, "{left:?}");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_killed_at_any_step_is_whole_or_not_there_and_blocks_nothing() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let to = daemon.path("backups");
    fs::create_dir(&to).unwrap();
    for step in [Step::Copy, Step::ReadLog, Step::Write, Step::Named] {
        let at = step.as_str();
        let file = to.join(format!("{at}.marque-backup"));
        let killed_at = at.to_owned();
        let order =
            Order { data_dir: daemon.data_dir(), file: file.clone(), restores: false, killed_at };
        assert!(order.run(), "{at}");
        assert_eq!(file.exists(), step == Step::Named, "{at}");
        if step != Step::Named {
            backup(&daemon, &format!("backups/{at}.marque-backup")).await;
        }
        let verify = ["backup".to_owned(), "verify".to_owned(), file.display().to_string()];
        run_marque(&verify).await.succeeded();
    }
    backup(&daemon, "backups/last.marque-backup").await;
    let left = names(&to);
    assert!(left.iter().all(|name| name.ends_with(".marque-backup")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_told_to_stop_leaves_nothing_and_says_so() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let to = daemon.path("backups");
    fs::create_dir(&to).unwrap();
    let file = to.join("stopped.marque-backup");
    // Nobody hears what it says, so that it waits in its first word until it is told to stop.
    let (mut heard, mut said) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(&said, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    said.write_all(&[b' '; 4096]).unwrap();
    let mut child = Command::new(marque())
        .args(["--output", "json", "backup", "--progress", "--trust-domain", NON_PRODUCTION])
        .arg("--data-dir")
        .arg(daemon.data_dir())
        .arg("--trust-domains")
        .arg(daemon.path("trust-domains"))
        .arg("--to")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    wait::until("the folder that is worked in", async || {
        names(&to).iter().any(|name| name.starts_with(".marque-backup-")).then_some(())
    })
    .await;
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    // The signal has come when the process does not hold it pending any more.
    wait::until("the signal", async || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
        (pending.trim().chars().all(|digit| digit == '0')).then_some(())
    })
    .await;
    let mut told = String::new();
    heard.read_to_string(&mut told).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("backup_stopped"), "{told}");
    assert!(told.contains("{\"step\":\"copy\"}"), "{told}");
    assert_eq!(names(&to), Vec::<String>::new(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_in_place_says_so_also_where_what_was_there_cannot_be_named() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let same = backup(&daemon, "same.marque-backup").await;
    // A name so long that nothing can be added to it.
    let private = daemon.data_dir().join(NON_PRODUCTION).join("private");
    let elsewhere = daemon.path(&"p".repeat(250));
    fs::rename(&private, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &private).unwrap();
    let restored = restore(&daemon, &same, &[]).await.succeeded();
    let told = restored.json();
    assert!(told["unfinished"][0].as_str().unwrap().contains("cannot name"), "{restored:?}");
    assert!(restored.err.contains("the backup is in place all the same"), "{restored:?}");
    let replaced = PathBuf::from(told["replaced"].as_str().unwrap());
    assert!(replaced.join("marque.sqlite").exists());
    assert!(elsewhere.join("restored.json").exists());
    assert!(private.symlink_metadata().unwrap().is_symlink(), "the link is gone");
    daemon.launch().await;
    daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
    refused(&restore(&daemon, &same, &[]).await, "restore_daemon_running");
}
