//! A folder of keys that others use, and what comes into it while a restore is about to put its state in place.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use marque::backup::{self, BackupError, RestoreOptions, Restored, Site, Step, Work};
use marque::cli::StoreOption;
use marque::clock::{SystemClock, SystemRandomness};
use marque_spiffe::Environment;
use tokio_util::sync::CancellationToken;

use crate::backup::{backup as take, restore};
use crate::support::daemon::{Daemon, NON_PRODUCTION};

const LOST: &str = "jwt-svid-a-1.key";
/// Of another replica.
const NEWER: &str = "jwt-svid-b-2.key";

/// A trust domain whose folder of keys is a link, with a backup of it and without one of the keys.
struct Scene {
    daemon: Daemon,
    shared: PathBuf,
    file: PathBuf,
    /// The key that is not there any more.
    lost: Vec<u8>,
}

impl Scene {
    async fn begin() -> Self {
        let mut daemon = Daemon::start().await;
        daemon.stop().await;
        let (keys, shared) = (private(&daemon).join("keys"), daemon.path("shared-keys"));
        fs::rename(&keys, &shared).unwrap();
        symlink(&shared, &keys).unwrap();
        let file = take(&daemon, "linked.marque-backup").await;
        let lost = fs::read(shared.join(LOST)).unwrap();
        fs::remove_file(shared.join(LOST)).unwrap();
        Self { daemon, shared, file, lost }
    }

    /// Restores, and does something after the last check, right before anything is put anywhere.
    async fn restore(
        &self,
        right_before: impl Fn() + Send + Sync + 'static,
    ) -> Result<Restored, BackupError> {
        let site = Site {
            data_dir: self.daemon.data_dir(),
            trust_domain: NON_PRODUCTION.parse().unwrap(),
            environment: Environment::NonProduction,
            store: StoreOption::Sqlite,
        };
        let tell = move |step: Step| {
            if step == Step::Exchange {
                right_before();
            }
        };
        let work = Work::new(tell, CancellationToken::new());
        let options = RestoreOptions { from: self.file.clone(), ..RestoreOptions::default() };
        let random = SystemRandomness::default();
        backup::restore(&site, &options, (&SystemClock, &random), &work).await
    }

    fn key(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.shared.join(name)).ok()
    }

    /// The names in the shared folder.
    fn keys(&self) -> Vec<String> {
        let listing = fs::read_dir(&self.shared).unwrap();
        let names = listing.map(|item| item.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    async fn serves(mut self) {
        assert!(private(&self.daemon).join("keys").symlink_metadata().unwrap().is_symlink());
        let _was_there = fs::remove_file(self.shared.join(NEWER));
        self.daemon.launch().await;
        self.daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
    }
}

/// Writes a file as the daemon does, which opens no key that others may read.
fn write_sealed(path: &Path, content: &[u8]) {
    let mut options = fs::OpenOptions::new();
    let mut file = options.create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(content).unwrap();
}

fn private(daemon: &Daemon) -> PathBuf {
    daemon.data_dir().join(NON_PRODUCTION).join("private")
}

/// The names below the private folder's parent and in it: what a restore that did not happen leaves as it was.
fn names(daemon: &Daemon) -> Vec<String> {
    let private = private(daemon);
    let mut names = Vec::new();
    for folder in [private.parent().unwrap(), &private] {
        let listing = fs::read_dir(folder).unwrap();
        names.extend(listing.map(|item| item.unwrap().path().display().to_string()));
    }
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_come_into_a_shared_folder_right_before_the_exchange_are_not_lost() {
    let scene = Scene::begin().await;
    let others = scene.keys();
    let (shared, lost) = (scene.shared.clone(), scene.lost.clone());
    // Another replica makes a key, and brings the lost one back itself.
    let comes = move || {
        write_sealed(&shared.join(NEWER), b"of another replica");
        write_sealed(&shared.join(LOST), &lost);
    };
    let restored = scene.restore(comes).await.unwrap();
    assert_eq!(restored.unfinished, Vec::<String>::new());
    assert_eq!(scene.key(NEWER).as_deref(), Some(&b"of another replica"[..]));
    assert_eq!(scene.key(LOST).as_ref(), Some(&scene.lost));
    let mut expected = [others, vec![NEWER.to_owned(), LOST.to_owned()]].concat();
    expected.sort();
    assert_eq!(scene.keys(), expected, "nothing is gone, and nothing half done is left");
    scene.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_the_name_of_a_lost_one_stays_and_the_restore_changes_nothing() {
    let scene = Scene::begin().await;
    let before = names(&scene.daemon);
    let shared = scene.shared.clone();
    let comes = move || write_sealed(&shared.join(LOST), b"of another replica");
    let error = scene.restore(comes).await.unwrap_err();
    assert_eq!(error.code().as_str(), "restore_key_conflict", "{error}");
    assert_eq!(scene.key(LOST).as_deref(), Some(&b"of another replica"[..]));
    assert_eq!(names(&scene.daemon), before);
    assert!(!scene.keys().iter().any(|name| name.starts_with('.')), "{:?}", scene.keys());
    fs::remove_file(scene.shared.join(LOST)).unwrap();
    restore(&scene.daemon, &scene.file, &[]).await.succeeded();
    assert_eq!(scene.key(LOST).as_ref(), Some(&scene.lost));
    scene.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_exchange_fails_the_keys_that_were_put_stay_and_do_no_harm() {
    let scene = Scene::begin().await;
    let before = names(&scene.daemon);
    let folder = private(&scene.daemon).parent().unwrap().to_owned();
    let elsewhere = scene.daemon.path("elsewhere");
    let away = elsewhere.clone();
    // What is to be put in place is not there any more.
    let comes = move || fs::rename(staged(&folder), &away).unwrap();
    scene.restore(comes).await.unwrap_err();
    assert!(elsewhere.join("marque.sqlite").exists());
    assert_eq!(scene.key(LOST).as_ref(), Some(&scene.lost));
    assert_eq!(names(&scene.daemon), before);
    restore(&scene.daemon, &scene.file, &[]).await.succeeded();
    scene.serves().await;
}

/// What a restore is about to put in place.
fn staged(folder: &Path) -> PathBuf {
    let listing = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let is_staged = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".restoring-"))
    };
    listing.into_iter().find(is_staged).expect("a folder")
}
