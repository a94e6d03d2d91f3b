//! `marque issuer` over PostgreSQL: two replicas share one trust domain. `MARQUE_TEST_POSTGRES_URL` names a database in
//! which schemas may be made; each test makes one of its own, under a trust domain of its own.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::agent::Workload;
use crate::support::folder;
use crate::support::http::Http;
use crate::support::oauth::Client;
use crate::support::operator::{Operator, run_marque};
use crate::support::place::Place;
use crate::support::programs::{copy_of_this_program, marque};
use crate::support::wait::{until, within};

pub(crate) const TRUST_DOMAIN: &str = "prod.example.org";
pub(crate) const AGENT: &str = "/agent/cert-rotator/fleet";

/// The database, or `None` where the test is to be skipped.
#[expect(clippy::disallowed_methods, reason = "where PostgreSQL is comes from the environment")]
pub(crate) fn database() -> Option<String> {
    if let Some(url) = std::env::var("MARQUE_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
    {
        return Some(url);
    }
    let required = std::env::var_os("MARQUE_REQUIRE_POSTGRES").is_some_and(|value| value == "1");
    assert!(!required, "MARQUE_REQUIRE_POSTGRES=1, but MARQUE_TEST_POSTGRES_URL is not set");
    eprintln!("skipped: set MARQUE_TEST_POSTGRES_URL to a PostgreSQL database for tests");
    None
}

/// A folder with what replicas share: the trust domain, the sealing key, the address of the database.
pub(crate) struct Fleet {
    folder: TempDir,
}

/// One running `marque issuer`; killed when dropped.
pub(crate) struct Replica {
    pub(crate) child: Child,
    data_dir: PathBuf,
    pub(crate) place: Place,
}

impl Fleet {
    /// A fleet in a database of its own, so that tests do not meet.
    pub(crate) async fn new(server: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").unwrap();
        let database = format!(
            "fleet_{}",
            folder.path().file_name().unwrap().to_str().unwrap().to_lowercase()
        );
        let (client, connection) =
            tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        let url = format!("{}/{database}", server.rsplit_once('/').unwrap().0);

        let fleet = Self { folder };
        folder::copy(&folder::shipped().join(TRUST_DOMAIN), &fleet.path("trust-domain"));
        folder::be_patient(&fleet.path("trust-domain"));
        let document = fleet.path("trust-domain").join("trust-domain.toml");
        let text = fs::read_to_string(&document).unwrap();
        fs::write(document, text.replace("127.0.0.1:8443", "127.0.0.1:0")).unwrap();
        for (name, text) in [("sealing.key", "5a".repeat(32)), ("store", url)] {
            fs::write(fleet.path(name), format!("{text}\n")).unwrap();
            fs::set_permissions(fleet.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fleet
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn begin(&self, name: &str) -> Child {
        let data_dir = self.path(name);
        drop(fs::remove_file(data_dir.join("endpoints.json")));
        let log = File::create(self.path(&format!("{name}.log"))).unwrap();
        Command::new(marque())
            .arg("issuer")
            .arg("--trust-domains")
            .arg(self.path("trust-domain"))
            .arg("--data-dir")
            .arg(&data_dir)
            .arg("--certs-dir")
            .arg(self.path("certs"))
            .arg("--sealing-key")
            .arg(self.path("sealing.key"))
            .arg("--store")
            .arg(format!("@{}", self.path("store").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Starts the replica with this data folder on a store that it refuses; what it said.
    pub(crate) async fn is_refused(&self, name: &str) -> String {
        let mut child = self.begin(name);
        let status = within("the replica's end", child.wait()).await.unwrap();
        let said = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }

    /// Starts the replica with this data folder and waits until it serves.
    pub(crate) async fn start(&self, name: &str) -> Replica {
        let data_dir = self.path(name);
        let endpoints = data_dir.join("endpoints.json");
        let mut child = self.begin(name);
        let places = until("the replica's endpoints", async || {
            if let Some(status) = child.try_wait().unwrap() {
                let said = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap();
                panic!("the replica ended at once ({status}): {said}");
            }
            Place::read_all(&endpoints)
        })
        .await;
        let place = places.into_iter().next().unwrap();
        Replica { child, data_dir, place }
    }

    /// Has the second replica use the folder of keys of the first, so that each has what the other makes.
    pub(crate) fn link_keys(&self, from: &Replica, to: &str) {
        let private = self.path(to).join(TRUST_DOMAIN).join("private");
        fs::create_dir_all(&private).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
        let keys = from.data_dir.join(TRUST_DOMAIN).join("private/keys");
        std::os::unix::fs::symlink(keys, private.join("keys")).unwrap();
    }

    /// Gives the second replica the keys of the first.
    pub(crate) fn share_keys(&self, from: &Replica, to: &str) {
        let keys = |data_dir: &Path| data_dir.join(TRUST_DOMAIN).join("private/keys");
        let target = keys(&self.path(to));
        folder::copy(&keys(&from.data_dir), &target);
        for folder in [&target, target.parent().unwrap()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}

impl Replica {
    /// Asks the replica to end and waits for it.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
            .unwrap();
        let status = within("the replica's end", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }

    pub(crate) fn operator(&self) -> Operator {
        Operator::new(self.data_dir.join("endpoints.json"), TRUST_DOMAIN)
    }

    /// The fleet's agent, attested by this replica.
    pub(crate) async fn client(&self, program: &Path) -> Client {
        let mut workload = Workload::start(program, &self.place);
        let svid = workload.jwt_svid(&self.place.issuer_url).await;
        let http = Http::trusting(&self.place.ca_file);
        Client { workload, svid, http, place: self.place.clone() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_over_postgresql_keeps_its_promises_through_a_crash() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let mut replica = fleet.start("a").await;
    let program = copy_of_this_program("fleet-crash");
    replica.operator().register(&replica.place.id(AGENT), "agent", &program).await;
    let client = replica.client(&program).await;
    let intent = client.ask_rotation().await;
    replica.operator().approve(&intent).await;
    let token = client.exchange(&intent).await.expect(200).text("access_token");
    assert!(client.is_active(&token).await);

    replica.child.kill().await.unwrap();
    let replica = fleet.start("a").await;
    let client = replica.client(&program).await;
    client.exchange(&intent).await.refused("grant_consumed");
    let verified = replica.operator().json(&["audit", "verify"]).await;
    assert!(verified["size"].as_u64().unwrap() > 5, "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_intents_entries_and_kills() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let first = fleet.start("a").await;
    fleet.share_keys(&first, "b");
    let second = fleet.start("b").await;
    let program = copy_of_this_program("fleet-replicas");
    let agent = first.place.id(AGENT);
    first.operator().register(&agent, "agent", &program).await;

    // The entry reaches the second replica by itself.
    let mut workload = Workload::start(&program, &second.place);
    until("the entry on the second replica", async || {
        workload.try_jwt_svid(&[&second.place.issuer_url]).await.ok()
    })
    .await;

    // An intent asked for at one replica is approved and redeemed at the other, once.
    let here = first.client(&program).await;
    let there = second.client(&program).await;
    let intent = here.ask_rotation().await;
    second.operator().approve(&intent).await;
    let token = there.exchange(&intent).await.expect(200).text("access_token");
    here.exchange(&intent).await.refused("grant_consumed");
    assert!(there.is_active(&token).await);

    // A kill at one is a kill at both.
    first.operator().kill(&["agent", &agent]).await;
    until("the kill on the second replica", async || {
        let state: Value = second.operator().json(&["kill", "list"]).await;
        state.to_string().contains(&agent).then_some(())
    })
    .await;
    assert!(workload.try_jwt_svid(&[&second.place.issuer_url]).await.is_err());
    let (one, other) = (
        first.operator().json(&["audit", "verify"]).await,
        second.operator().json(&["audit", "verify"]).await,
    );
    assert!(one["size"].as_u64().unwrap() > 5 && other["size"].as_u64() >= one["size"].as_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_keys_says_what_to_do() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let _first = fleet.start("a").await;
    let arguments =
        ["issuer", "--trust-domains", "trust-domain", "--data-dir", "b", "--certs-dir", "certs"];
    let paths = ["--sealing-key", "sealing.key"];
    let mut all: Vec<String> = Vec::new();
    for argument in arguments.iter().chain(&paths) {
        let is_path = fleet.path(argument).exists() || *argument == "b";
        all.push(if is_path {
            fleet.path(argument).display().to_string()
        } else {
            (*argument).to_owned()
        });
    }
    all.extend(["--store".to_owned(), format!("@{}", fleet.path("store").display())]);
    let said = run_marque(&all).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("key"), "{said:?}");
    assert!(!said.err.contains("postgres://"), "{said:?}");
}
