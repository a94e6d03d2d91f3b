//! Disks that are full or change what they hold: a backup is whole or not there, and one that was altered is known for it.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::backup::{backup, refused, restore, state, undisturbed};
use crate::support::daemon::Daemon;
use crate::support::operator::{Said, run_marque};
use crate::support::programs::marque;
use crate::support::small_disk::SmallDisk;

/// At how many places of a backup a bit is flipped, and it is cut.
const PLACES: usize = 120;

async fn verify(file: &Path) -> Said {
    let verify = ["--output", "json", "backup", "verify", &file.display().to_string()];
    run_marque(&verify.map(str::to_owned)).await
}

fn names(folder: &Path) -> Vec<String> {
    let listing = fs::read_dir(folder).unwrap();
    listing.map(|item| item.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_a_backup_says_so_and_leaves_nothing() {
    let daemon = Daemon::start().await;
    let at = daemon.path("small");
    let Some(disk) = SmallDisk::mount(&at) else { return };
    disk.fill();
    let to = at.join("full.marque-backup").display().to_string();
    let said = state(&daemon, &daemon.data_dir(), &["backup", "--to", &to]).await;
    refused(&said, "backup_no_room");
    assert_eq!(names(&at), ["filler"]);
    // Nor is a backup damaged for which there is no room to verify it.
    let sound = backup(&daemon, "sound.marque-backup").await;
    let verified = Command::new(marque())
        .args(["--output", "json", "backup", "verify"])
        .arg(&sound)
        .env("TMPDIR", &at)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let told: Value = serde_json::from_slice(&verified.stderr).unwrap();
    assert_eq!(told["code"], "backup_no_room", "{told}");
    assert_eq!(names(&at), ["filler"]);
    disk.free();
    state(&daemon, &daemon.data_dir(), &["backup", "--to", &to]).await.succeeded();
    verify(&at.join("full.marque-backup")).await.succeeded();
    assert_eq!(names(&at), ["full.marque-backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_a_restore_says_so_and_changes_nothing() {
    let mut disk = None;
    let mut daemon = Daemon::start_with(|trust_domains: &Path| {
        let folder = trust_domains.parent().expect("the test's folder");
        disk = SmallDisk::mount(&folder.join("s"));
    })
    .await;
    let Some(disk) = disk else { return };
    daemon.stop().await;
    let taken = backup(&daemon, "taken.marque-backup").await;
    disk.fill();
    refused(&restore(&daemon, &taken, &[]).await, "backup_no_room");
    undisturbed(&daemon);
    disk.free();
    restore(&daemon, &taken, &[]).await.succeeded();
    daemon.launch().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_altered_cut_or_added_to_anywhere_does_not_verify() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let sound = backup(&daemon, "sound.marque-backup").await;
    let bytes = fs::read(&sound).unwrap();
    let altered = daemon.path("altered.marque-backup");
    let refuse = async |what: &str, bytes: &[u8]| {
        fs::write(&altered, bytes).unwrap();
        let said = verify(&altered).await;
        let told: Value = serde_json::from_str(&said.err).unwrap_or_default();
        assert_eq!(told["code"], "backup_damaged", "{what}: {said:?}");
    };
    // Even steps over the store, the manifest in front of it, and the end with its digest.
    let even = (0..PLACES).map(|place| place * bytes.len() / PLACES);
    let ends = (0..16_usize).flat_map(|step| [step * 97, bytes.len() - 1 - step * 97]);
    for at in even.chain(ends) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        refuse(&format!("a bit of byte {at}"), &flipped).await;
    }
    for place in 0..16 {
        let at = place * bytes.len() / 16;
        refuse(&format!("cut at {at}"), &bytes[..at]).await;
    }
    fs::copy(&sound, &altered).unwrap();
    fs::write(daemon.path("more.key"), b"{}").unwrap();
    let added = std::process::Command::new("tar")
        .args(["--append", "-f"])
        .arg(&altered)
        .arg("-C")
        .arg(daemon.path(""))
        .arg("more.key")
        .status()
        .unwrap();
    assert!(added.success());
    let more = fs::read(&altered).unwrap();
    assert_ne!(more, bytes);
    refuse("a file too many", &more).await;
    verify(&sound).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_long_work_is_told_to_whoever_asks_and_to_nobody_else() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let to = daemon.path("told.marque-backup");
    let file = to.display().to_string();
    let told = |said: &Said| -> Vec<String> {
        let steps = said.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        steps.map(|step| step["step"].as_str().unwrap().to_owned()).collect()
    };
    let taken = state(&daemon, &daemon.data_dir(), &["backup", "--progress", "--to", &file]).await;
    assert_eq!(told(&taken.succeeded()), ["copy", "read_log", "write", "named"]);
    let restored = restore(&daemon, &to, &["--progress"]).await.succeeded();
    let all = ["unpack", "read_log", "compare", "keep", "flush", "exchange", "set_aside", "done"];
    assert_eq!(told(&restored), all);
    assert_eq!(verify(&to).await.succeeded().err, "");
}
