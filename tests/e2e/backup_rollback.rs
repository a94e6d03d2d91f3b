//! Nothing goes back: what a restore and a start hold against what this installation has signed, and what a restore keeps.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::backup::{about, backup, refused, restore, work, worker};
use crate::fleet::{AGENT, Fleet, TRUST_DOMAIN, database};
use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::operator::Said;
use crate::support::programs::copy_of_this_program;
use crate::tampering::back_up;

const MARK: &str = "high-water.json";

fn private(daemon: &Daemon) -> PathBuf {
    daemon.data_dir().join(NON_PRODUCTION).join("private")
}

/// Removes a store with what is beside it, but for the kill journal.
fn lose_store(private: &Path) {
    for name in ["marque.sqlite", "marque.sqlite-wal", "marque.sqlite-shm"] {
        drop(fs::remove_file(private.join(name)));
    }
}

/// The names and contents of a folder's files.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_older_than_what_was_signed_is_not_served_until_the_newest_is_back() {
    let mut daemon = Daemon::start().await;
    let mut agent = worker(&daemon).await;
    work(&mut agent, "before", 2).await;
    drop(agent);
    daemon.stop().await;
    let store = private(&daemon).join("marque.sqlite");
    let (older, newest) = (daemon.path("older.sqlite"), daemon.path("newest.sqlite"));
    back_up(&store, &older);
    let taken = backup(&daemon, "older.marque-backup").await;
    daemon.launch().await;
    let program = copy_of_this_program("helper");
    let mut agent = Workload::start(&program, daemon.place(NON_PRODUCTION));
    work(&mut agent, "after", 3).await;
    drop(agent);
    daemon.stop().await;
    back_up(&store, &newest);

    lose_store(&private(&daemon));
    fs::copy(&older, &store).unwrap();
    let said = daemon.is_refused().await;
    assert!(said.contains("store_rolled_back") && said.contains("docs/backup.md"), "{said}");
    // A restore of it is the same in other clothes.
    refused(&restore(&daemon, &taken, &[]).await, "restore_log_rollback");
    refused(&restore(&daemon, &taken, &["--check"]).await, "restore_log_rollback");

    // The note of what was signed is no way around it, either.
    let mark = private(&daemon).join(MARK);
    let noted = fs::read_to_string(&mark).unwrap();
    let document: Value = serde_json::from_str(&noted).unwrap();
    assert!(document["checkpoint"].as_str().unwrap().contains("/marque/audit"), "{document}");
    fs::write(&mark, noted.replace("\"log_size\"", "\"size\"")).unwrap();
    let said = daemon.is_refused().await;
    assert!(said.contains("store_mark_damaged"), "{said}");
    fs::write(&mark, noted).unwrap();

    lose_store(&private(&daemon));
    fs::copy(&newest, &store).unwrap();
    daemon.launch().await;
    daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_of_the_same_length_is_not_served() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let store = private(&daemon).join("marque.sqlite");
    let older = daemon.path("older.sqlite");
    back_up(&store, &older);
    let mark = fs::read(private(&daemon).join(MARK)).unwrap();
    let grow = async |daemon: &mut Daemon, name: &str, times| {
        daemon.launch().await;
        let mut agent = worker(daemon).await;
        work(&mut agent, name, times).await;
        drop(agent);
        daemon.stop().await;
    };
    grow(&mut daemon, "one", 2).await;
    let signed = fs::read(private(&daemon).join(MARK)).unwrap();
    lose_store(&private(&daemon));
    fs::copy(&older, &store).unwrap();
    fs::write(private(&daemon).join(MARK), mark).unwrap();
    grow(&mut daemon, "another", 9).await;
    fs::write(private(&daemon).join(MARK), signed).unwrap();
    let said = daemon.is_refused().await;
    assert!(said.contains("store_forked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_store_lost_what_was_signed_and_what_was_killed_still_count() {
    let mut daemon = Daemon::start().await;
    let old = backup(&daemon, "old.marque-backup").await;
    let victim = daemon.place(NON_PRODUCTION).id("/service/worker-two");
    daemon.operator(NON_PRODUCTION).kill(&["agent", &victim]).await;
    daemon.stop().await;
    lose_store(&private(&daemon));
    refused(&restore(&daemon, &old, &[]).await, "restore_log_rollback");
    // An installation of before this was noted, or one that has lost the note: the journal is still there.
    fs::remove_file(private(&daemon).join(MARK)).unwrap();
    let said = restore(&daemon, &old, &[]).await;
    refused(&said, "restore_kill_rollback");
    assert!(said.err.contains("--keep-kills"), "{said:?}");
    let before = contents(&private(&daemon));
    let checked = restore(&daemon, &old, &["--keep-kills", "--check"]).await.succeeded().json();
    assert_eq!((&checked["checked"], &checked["kept"]["kills"]), (&json!(true), &json!(1)));
    assert_eq!(contents(&private(&daemon)), before, "a check changes nothing");
    let restored = restore(&daemon, &old, &["--keep-kills"]).await.succeeded().json();
    assert_eq!(restored["kept"]["kills"], 1, "{restored}");
    daemon.launch().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let kills = operator.json(&["kill", "list"]).await.to_string();
    assert!(kills.contains(&victim), "{kills}");
    operator.run(&["audit", "verify"]).await.succeeded();
}

/// A bundle as it is kept, without any key.
fn bundle(sequence: u64, hint: u64) -> String {
    json!({ "keys": [], "spiffe_sequence": sequence, "spiffe_refresh_hint": hint }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_a_partner_that_is_newer_here_stays() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let kept = private(&daemon).join("federation");
    fs::create_dir_all(&kept).unwrap();
    let files = ["newer", "older", "same", "spoiled", "gone"]
        .map(|name| kept.join(format!("{name}.example.net.json")));
    for file in &files {
        fs::write(file, bundle(5, 300)).unwrap();
    }
    let taken = backup(&daemon, "bundles.marque-backup").await;
    let [newer, older, same, spoiled, gone] = &files;
    fs::write(newer, bundle(6, 300)).unwrap();
    fs::write(older, bundle(4, 300)).unwrap();
    // As refreshed since: found unchanged.
    fs::write(same, bundle(5, 600)).unwrap();
    fs::write(spoiled, "no bundle").unwrap();
    fs::remove_file(gone).unwrap();
    fs::write(kept.join("new.example.net.json"), bundle(1, 300)).unwrap();
    let restored = restore(&daemon, &taken, &[]).await.succeeded().json();
    let told = json!(["new.example.net.json", "newer.example.net.json"]);
    assert_eq!(restored["kept"]["bundles"], told, "{restored}");
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    assert_eq!(read(newer), bundle(6, 300));
    assert_eq!(read(older), bundle(5, 300));
    assert_eq!(read(same), bundle(5, 600));
    assert_eq!(read(spoiled), bundle(5, 300));
    assert_eq!(read(gone), bundle(5, 300));
    assert_eq!(read(&kept.join("new.example.net.json")), bundle(1, 300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_keys_that_is_elsewhere_stays_there_and_gets_what_it_lacks() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let (keys, shared) = (private(&daemon).join("keys"), daemon.path("shared-keys"));
    fs::rename(&keys, &shared).unwrap();
    // Relative, as many a link is: from one trust domain's private folder to the test's.
    let target = Path::new("../../..").join("shared-keys");
    symlink(&target, &keys).unwrap();
    let taken = backup(&daemon, "linked.marque-backup").await;
    let lost = shared.join("jwt-svid-a-1.key");
    let content = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    // Which another replica has made since.
    let newer = shared.join("jwt-svid-b-2.key");
    fs::write(&newer, &content).unwrap();
    let restored = restore(&daemon, &taken, &[]).await.succeeded().json();
    assert_eq!(fs::read_link(&keys).unwrap(), target);
    let folder = restored["kept"]["key_folder"].as_str().map(PathBuf::from);
    assert_eq!(folder, Some(shared.canonicalize().unwrap()), "{restored}");
    assert_eq!(fs::read(&lost).unwrap(), content);
    assert!(newer.exists(), "a key is gone that another replica has made");
    fs::remove_file(&newer).unwrap();

    // Another key under the name of one on record: nobody here can say which of the two is right.
    fs::write(&lost, fs::read(shared.join("x509-authority-a-1.key")).unwrap()).unwrap();
    let before = contents(&shared);
    refused(&restore(&daemon, &taken, &[]).await, "restore_key_conflict");
    assert_eq!(contents(&shared), before);
    fs::write(&lost, content).unwrap();
    daemon.launch().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_newer_than_the_backup_stay_and_no_key_is_lost() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let taken = backup(&daemon, "keys.marque-backup").await;
    let keys = private(&daemon).join("keys");
    let newer = keys.join("jwt-svid-b-2.key");
    fs::copy(keys.join("jwt-svid-a-1.key"), &newer).unwrap();
    let before = contents(&keys);
    let restored = restore(&daemon, &taken, &[]).await.succeeded().json();
    assert_eq!(restored["kept"]["keys"], json!(["jwt-svid-b-2"]), "{restored}");
    assert_eq!(contents(&keys), before);
    fs::remove_file(newer).unwrap();
    daemon.launch().await;
}

/// A fleet's database as it is now, under another name.
async fn dump(fleet: &Fleet, name: &str) -> String {
    let url = fs::read_to_string(fleet.path("store")).unwrap().trim().to_owned();
    let (server, database) = url.rsplit_once('/').unwrap();
    let copy = format!("{database}_{name}");
    let (client, connection) =
        tokio_postgres::connect(&format!("{server}/postgres"), tokio_postgres::NoTls)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let sql = format!("CREATE DATABASE {copy} TEMPLATE {database}");
    // The connections of a replica that has ended take a moment to go.
    crate::support::wait::until("the copy", async || client.batch_execute(&sql).await.ok()).await;
    drop(client);
    connection.await.unwrap().unwrap();
    format!("{server}/{copy}\n")
}

async fn in_fleet(fleet: &Fleet, data_dir: &str, command: &[&str]) -> Said {
    let store = format!("@{}", fleet.path("store").display());
    let command = [command, &["--store", &store]].concat();
    about(PRODUCTION, &fleet.path("trust-domain"), &fleet.path(data_dir), &command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_postgresql_a_dump_that_is_older_than_what_was_signed_is_neither_served_nor_restored()
{
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let replica = fleet.start("a").await;
    let file = fleet.path("old.marque-backup").display().to_string();
    in_fleet(&fleet, "a", &["backup", "--to", &file]).await.succeeded();
    replica.stop().await;
    let older = dump(&fleet, "older").await;
    let replica = fleet.start("a").await;
    let victim = replica.place.id(AGENT);
    replica.operator().kill(&["agent", &victim]).await;
    replica.stop().await;
    let newest = fs::read(fleet.path("store")).unwrap();

    // As after `pg_restore` of a dump that is not the newest.
    fs::write(fleet.path("store"), older).unwrap();
    let said = fleet.is_refused("a").await;
    assert!(said.contains("store_rolled_back"), "{said}");
    let from = ["restore", "--from", &file];
    refused(&in_fleet(&fleet, "a", &from).await, "restore_log_rollback");
    // With the note lost, the journal still knows of the kill, and a restore takes it along.
    let private = fleet.path("a").join(TRUST_DOMAIN).join("private");
    let mark = fs::read(private.join(MARK)).unwrap();
    fs::remove_file(private.join(MARK)).unwrap();
    refused(&in_fleet(&fleet, "a", &from).await, "restore_kill_rollback");
    let keeping = [&from[..], &["--keep-kills"]].concat();
    let restored = in_fleet(&fleet, "a", &keeping).await.succeeded().json();
    assert_eq!(restored["kept"]["kills"], 1, "{restored}");
    let replica = fleet.start("a").await;
    let kills = replica.operator().json(&["kill", "list"]).await.to_string();
    assert!(kills.contains(&victim), "{kills}");
    replica.stop().await;

    // A replica that has no note begins where the newest database is; one that has goes on.
    fs::write(fleet.path("store"), newest).unwrap();
    fs::write(private.join(MARK), mark).unwrap();
    fleet.start("a").await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_postgresql_a_restore_keeps_a_link_to_the_keys_and_what_was_made_since() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let replica = fleet.start("a").await;
    fleet.link_keys(&replica, "b");
    let file = fleet.path("pg.marque-backup").display().to_string();
    in_fleet(&fleet, "a", &["backup", "--to", &file]).await.succeeded();
    let program = copy_of_this_program("helper");
    replica.operator().register(&replica.place.id(AGENT), "agent", &program).await;
    let prepared = replica.operator().json(&["authority", "prepare", "jwt-svid"]).await;
    let slot = prepared["key"].as_str().unwrap_or_else(|| panic!("{prepared}")).to_owned();
    replica.stop().await;

    // The database has come further than the backup: its newer key is here alone.
    let from = ["restore", "--from", &file];
    let restored = in_fleet(&fleet, "a", &from).await.succeeded().json();
    assert_eq!(restored["kept"]["keys"], json!([slot]), "{restored}");
    let keys = |replica: &str| fleet.path(replica).join(TRUST_DOMAIN).join("private/keys");
    assert!(keys("a").join(format!("{slot}.key")).exists());
    in_fleet(&fleet, "b", &from).await.succeeded();
    assert_eq!(fs::read_link(keys("b")).unwrap(), keys("a"));
    let (one, other) = (fleet.start("a").await, fleet.start("b").await);
    for replica in [&one, &other] {
        replica.operator().run(&["audit", "verify"]).await.succeeded();
    }
}
