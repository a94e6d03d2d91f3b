//! Backups of a daemon at work, restored elsewhere; and every restore that would take something back, refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fleet::{AGENT, Fleet, database};
use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER};
use crate::support::folder;
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::Client;
use crate::support::operator::{Said, run_marque};
use crate::support::programs::copy_of_this_program;
use crate::support::tokens::claims;

/// Runs a command about the state of the development trust domain below `data_dir`.
pub(crate) async fn state(daemon: &Daemon, data_dir: &Path, command: &[&str]) -> Said {
    about(NON_PRODUCTION, &daemon.path("trust-domains"), data_dir, command).await
}

pub(crate) async fn about(
    name: &str,
    trust_domains: &Path,
    data_dir: &Path,
    command: &[&str],
) -> Said {
    let (data_dir, folder) = (data_dir.display().to_string(), trust_domains.display().to_string());
    let place = ["--output", "json", "--data-dir", &data_dir, "--trust-domain", name];
    let mut arguments: Vec<String> = place.map(str::to_owned).to_vec();
    arguments.extend(command.iter().map(|word| (*word).to_owned()));
    arguments.extend(["--trust-domains".to_owned(), folder]);
    run_marque(&arguments).await
}

pub(crate) async fn backup(daemon: &Daemon, name: &str) -> PathBuf {
    let file = daemon.path(name);
    let to = file.display().to_string();
    let taken = state(daemon, &daemon.data_dir(), &["backup", "--to", &to]).await.succeeded();
    assert_eq!(taken.json()[0]["manifest"]["trust_domain"], NON_PRODUCTION);
    file
}

pub(crate) async fn restore(daemon: &Daemon, from: &Path, more: &[&str]) -> Said {
    let from = from.display().to_string();
    let command = [&["restore", "--from", &from], more].concat();
    state(daemon, &daemon.data_dir(), &command).await
}

#[track_caller]
pub(crate) fn refused(said: &Said, code: &str) {
    assert_eq!(said.code, 1, "{said:?}");
    let told: Value = serde_json::from_str(&said.err).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!(told["code"], code, "{said:?}");
    assert!(told["next"].is_string(), "{said:?}");
}

/// The state of the trust domain as files, and nothing of a restore beside it.
pub(crate) fn undisturbed(daemon: &Daemon) {
    let folder = daemon.data_dir().join(NON_PRODUCTION);
    for item in fs::read_dir(&folder).unwrap() {
        let name = item.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with(".restoring") && !name.starts_with("private."), "{name}");
    }
    assert!(folder.join("private/marque.sqlite").exists());
}

/// A process that fetches JWT-SVIDs for audiences of its own, each of which is a leaf.
pub(crate) async fn worker(daemon: &Daemon) -> Workload {
    let program = copy_of_this_program("helper");
    let id = daemon.place(NON_PRODUCTION).id("/service/worker");
    daemon.operator(NON_PRODUCTION).register(&id, "service", &program).await;
    Workload::start(&program, daemon.place(NON_PRODUCTION))
}

pub(crate) async fn work(worker: &mut Workload, name: &str, times: usize) {
    for number in 0..times {
        worker.jwt_svid(&format!("https://{name}-{number}.example.org")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_daemon_at_work_restores_elsewhere_with_all_that_held() {
    let mut daemon = Daemon::start().await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let tokens = {
        let mut tokens = Vec::new();
        for _token in 0..2 {
            let intent = agent.ask_restart().await;
            let token = agent.exchange(&intent).await.expect(200).text("access_token");
            tokens.push(claims(&token)["jti"].as_str().unwrap().to_owned());
        }
        tokens
    };
    let operator = daemon.operator(NON_PRODUCTION);
    operator.run(&["token", "revoke", &tokens[1], "--reason", "a test"]).await.succeeded();
    let mut worker = worker(&daemon).await;
    worker.jwt_svid("https://one.example.org").await;
    operator.kill(&["agent", &daemon.place(NON_PRODUCTION).id("/service/worker-two")]).await;
    let jwks = agent.send(Call::get(&agent.place.jwks_url)).await.expect(200).json();
    let bundle = agent.send(Call::get(&agent.place.bundle_url)).await.expect(200).json();

    // Leaves come while it is taken; what is in it is one moment all the same.
    let (taken, ()) =
        tokio::join!(backup(&daemon, "one.marque-backup"), work(&mut worker, "load", 60));
    let mode = fs::metadata(&taken).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let verified = ["backup".to_owned(), "verify".to_owned(), taken.display().to_string()];
    run_marque(&verified).await.succeeded();
    let listing = std::process::Command::new("tar").arg("-tf").arg(&taken).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.starts_with("manifest.json\n"), "{listing}");
    assert!(listing.contains("keys/jwt-svid-a-1.key") && !listing.contains("sealing"), "{listing}");

    let told = |id: String| {
        let operator = daemon.operator(NON_PRODUCTION);
        async move { operator.json(&["token", "show", &id]).await }
    };
    let (live, revoked) = (told(tokens[0].clone()).await, told(tokens[1].clone()).await);
    assert!(revoked["revoked_at"].is_string() && live["revoked_at"].is_null(), "{revoked}");
    let before = daemon.path("before");
    log::export(&daemon.operator(NON_PRODUCTION), &before).await;
    drop((agent, worker));
    daemon.stop().await;
    let last = backup(&daemon, "last.marque-backup").await;

    // Elsewhere: another data folder with nothing of the trust domain but the key that unseals.
    let was = daemon.path("was");
    fs::rename(daemon.data_dir(), &was).unwrap();
    for name in [NON_PRODUCTION, PRODUCTION] {
        fs::create_dir_all(daemon.data_dir().join(name)).unwrap();
        let key = format!("{name}/sealing.key");
        fs::copy(was.join(&key), daemon.data_dir().join(&key)).unwrap();
    }
    let checkpoint = before.join("checkpoint").display().to_string();
    // The first backup was taken before leaves that the checkpoint covers.
    let stale = restore(&daemon, &taken, &["--last-checkpoint", &checkpoint]).await;
    refused(&stale, "restore_log_rollback");
    let restored = restore(&daemon, &last, &["--last-checkpoint", &checkpoint]).await.succeeded();
    assert_eq!(restored.json()["compared"], true, "{restored:?}");
    daemon.launch().await;

    let operator = daemon.operator(NON_PRODUCTION);
    assert_eq!(operator.json(&["token", "show", &tokens[0]]).await, live);
    assert_eq!(operator.json(&["token", "show", &tokens[1]]).await, revoked);
    let agent = Client::start(&daemon, RESTARTER).await;
    assert_eq!(agent.send(Call::get(&agent.place.jwks_url)).await.expect(200).json(), jwks);
    assert_eq!(agent.send(Call::get(&agent.place.bundle_url)).await.expect(200).json(), bundle);
    let kills = operator.json(&["kill", "list"]).await.to_string();
    assert!(kills.contains("/service/worker-two"), "{kills}");
    let leaves = log::export(&operator, &daemon.path("after")).await;
    let old = log::leaves(&before);
    assert_eq!(&leaves[..old.len()], &old[..], "the log goes on where it was");
    let marks: Vec<&Value> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.restored").collect();
    let [mark] = marks.as_slice() else { panic!("{marks:?}") };
    assert!(mark["data"]["detail"]["held_against"].is_u64(), "{mark}");
    assert!(!daemon.data_dir().join(NON_PRODUCTION).join("private/restored.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_takes_nothing_back_and_leaves_everything_as_it_was_where_it_refuses() {
    let mut daemon = Daemon::start().await;
    let mut worker = worker(&daemon).await;
    worker.jwt_svid("https://one.example.org").await;
    let old = backup(&daemon, "old.marque-backup").await;
    refused(&restore(&daemon, &old, &[]).await, "restore_daemon_running");
    let to = old.display().to_string();
    let again = state(&daemon, &daemon.data_dir(), &["backup", "--to", &to]).await;
    refused(&again, "backup_exists");
    work(&mut worker, "more", 3).await;
    drop(worker);
    daemon.stop().await;
    refused(&restore(&daemon, &old, &[]).await, "restore_log_rollback");
    let new = backup(&daemon, "new.marque-backup").await;

    let file = new.display().to_string();
    let command = ["restore", "--from", &file];
    let (documents, data) = (daemon.path("trust-domains"), daemon.data_dir());
    let other = about(PRODUCTION, &documents, &data, &command).await;
    refused(&other, "restore_other_trust_domain");
    let documents = daemon.path("other-environment");
    folder::copy(&daemon.path("trust-domains"), &documents);
    let document = format!("{NON_PRODUCTION}/trust-domain.toml");
    folder::edit(&documents, &document, "\"non-production\"", "\"production\"");
    let crossed = about(NON_PRODUCTION, &documents, &daemon.data_dir(), &command).await;
    refused(&crossed, "environment_boundary");

    let mut bytes = fs::read(&new).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = daemon.path("damaged.marque-backup");
    fs::write(&damaged, bytes).unwrap();
    refused(&restore(&daemon, &damaged, &[]).await, "backup_damaged");
    let verified = ["--output", "json", "backup", "verify", &damaged.display().to_string()];
    refused(&run_marque(&verified.map(str::to_owned)).await, "backup_damaged");
    let garbage = daemon.path("garbage");
    fs::write(&garbage, "prod.example.org/marque/audit\n1\nAAAA\n").unwrap();
    let unsigned = ["--last-checkpoint", &garbage.display().to_string()];
    refused(&restore(&daemon, &new, &unsigned).await, "restore_checkpoint_invalid");

    // A kill that only the journal has, as after one while the database took no writes.
    let private = daemon.data_dir().join(NON_PRODUCTION).join("private");
    let journal = private.join("marque.sqlite.kills");
    let before = fs::read(&journal).unwrap_or_default();
    let kill = format!(
        "{{\"trust_domain\":\"{NON_PRODUCTION}\",\"kill\":{{\"scope\":{{\"scope\":\"trust_domain\"}},\
         \"reason\":\"drill\",\"actor\":\"operator:alice(1000)\"}},\"at\":\"2026-01-01T00:00:01Z\"}}\n"
    );
    fs::write(&journal, [&before[..], kill.as_bytes()].concat()).unwrap();
    refused(&restore(&daemon, &new, &[]).await, "restore_kill_rollback");
    fs::write(&journal, before).unwrap();

    // An authority that has gone on since.
    let store = rusqlite::Connection::open(private.join("marque.sqlite")).unwrap();
    let authorities = |from: &str, to: &str| {
        let sql = "UPDATE authorities SET document = replace(document, ?1, ?2)";
        store.execute(sql, [from, to]).unwrap()
    };
    authorities("\"bundle_sequence\":1", "\"bundle_sequence\":7");
    refused(&restore(&daemon, &new, &[]).await, "restore_daemon_running");
    drop(store);
    refused(&restore(&daemon, &new, &[]).await, "restore_authority_rollback");
    let store = rusqlite::Connection::open(private.join("marque.sqlite")).unwrap();
    let sql = "UPDATE authorities SET document = replace(document, '\"bundle_sequence\":7', '\"bundle_sequence\":1')";
    store.execute(sql, []).unwrap();
    drop(store);

    undisturbed(&daemon);
    daemon.launch().await;
    daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_of_the_same_trust_domain_is_not_restored_over_this_one() {
    let mut here = Daemon::start().await;
    here.stop().await;
    let there = Daemon::start().await;
    let mut worker = worker(&there).await;
    work(&mut worker, "much", 40).await;
    let backup = backup(&there, "there.marque-backup").await;
    refused(&restore(&here, &backup, &[]).await, "restore_log_forked");
    undisturbed(&here);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restore_replaces_is_moved_aside_and_the_same_state_restores_over_itself() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let same = backup(&daemon, "same.marque-backup").await;
    let restored = restore(&daemon, &same, &[]).await.succeeded().json();
    let replaced = PathBuf::from(restored["replaced"].as_str().unwrap());
    assert!(replaced.join("marque.sqlite").exists() && replaced.join("keys").exists());
    assert_eq!(restored["compared"], true);
    daemon.launch().await;
    daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_postgresql_a_backup_takes_the_rest_and_holds_the_database_against_it() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let mut replica = fleet.start("a").await;
    let program = copy_of_this_program("helper");
    let id = replica.place.id(AGENT);
    replica.operator().register(&id, "agent", &program).await;
    let bundle = replica.client(&program).await;
    let bundle = bundle.send(Call::get(&replica.place.bundle_url)).await.expect(200).json();
    let (file, store) = (fleet.path("pg.marque-backup"), fleet.path("store"));
    let (file, store) = (file.display().to_string(), format!("@{}", store.display()));
    let run = async |data_dir: &str, command: &[&str]| {
        let command = [command, &["--store", &store]].concat();
        about(PRODUCTION, &fleet.path("trust-domain"), &fleet.path(data_dir), &command).await
    };
    run("a", &["backup", "--to", &file]).await.succeeded();
    let listing = std::process::Command::new("tar").args(["-tf", &file]).output().unwrap();
    assert!(!String::from_utf8(listing.stdout).unwrap().contains("sqlite"));
    let (documents, data) = (fleet.path("trust-domain"), fleet.path("b"));
    let sqlite = about(PRODUCTION, &documents, &data, &["restore", "--from", &file]).await;
    refused(&sqlite, "restore_other_engine");
    replica.child.kill().await.unwrap();
    drop(replica);

    // The same database from another host, as after `pg_restore`: keys, journal and bundles come from the backup.
    run("b", &["restore", "--from", &file]).await.succeeded();
    let replica = fleet.start("b").await;
    let client = replica.client(&program).await;
    let again = client.send(Call::get(&replica.place.bundle_url)).await.expect(200).json();
    assert_eq!(again, bundle);
    replica.operator().run(&["audit", "verify"]).await.succeeded();
    drop((client, replica));

    // A database that does not go as far as the backup says.
    let empty = Fleet::new(&server).await;
    drop(empty.start("a").await);
    fs::copy(empty.path("store"), fleet.path("store")).unwrap();
    refused(&run("c", &["restore", "--from", &file]).await, "backup_damaged");
    assert!(!fleet.path("c").join(PRODUCTION).join("private").exists());
}
