//! Somebody who can write to the disk alters the log: each way of it is found and named by `marque audit verify`, on either
//! engine, by another SQL client, and in an exported copy.

mod copies;

pub(crate) use self::copies::Copy;

use std::fs;
use std::path::{Path, PathBuf};

use marque_audit::{AuditError, Checkpoint, CheckpointSigner, Hash, SignedCheckpoint};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::audit::{found, key};
use crate::fleet::{AGENT, Fleet, database};
use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::oauth::{Client, approved_rotation};
use crate::support::operator::Operator;
use crate::support::programs::copy_of_this_program;

/// What the story's ticket is, and what somebody would rather have had.
const TICKET: (&str, &str) = ("CHG-1842", "CHG-6666");

/// A key that is not the log's, under its name.
#[derive(Debug)]
struct Stranger {
    name: String,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl Stranger {
    fn new(name: &str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public_key = pair.public_key().as_ref().try_into().unwrap();
        Self { name: name.to_owned(), pair, public_key }
    }

    /// The same statement, signed again.
    fn sign_again(checkpoint: &str) -> String {
        let body = checkpoint.split_inclusive("\n\n").next().unwrap().strip_suffix('\n').unwrap();
        let checkpoint = Checkpoint::parse(body).unwrap();
        let stranger = Self::new(&checkpoint.origin);
        SignedCheckpoint::sign(&checkpoint, &stranger).unwrap().text().to_owned()
    }
}

impl CheckpointSigner for Stranger {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], AuditError> {
        Ok(self.pair.sign(message).as_ref().try_into().unwrap())
    }
}

/// The stored log in the hands of another client.
enum Database {
    Sqlite(PathBuf),
    Postgres(tokio_postgres::Client),
}

type Row = (Vec<u8>, Vec<u8>);

impl Database {
    async fn postgres(url: &str) -> Self {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let query = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'td\\_%'";
        let schema: String = client.query_one(query, &[]).await.unwrap().get(0);
        client.batch_execute(&format!("SET search_path TO {schema}")).await.unwrap();
        Self::Postgres(client)
    }

    async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(path) => {
                rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap()
            }
            Self::Postgres(client) => client.batch_execute(sql).await.unwrap(),
        }
    }

    async fn leaf(&self, seq: usize) -> Row {
        let sql = format!("SELECT hash, leaf FROM leaves WHERE seq = {seq}");
        match self {
            Self::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
            }
            Self::Postgres(client) => {
                let row = client.query_one(&sql, &[]).await.unwrap();
                (row.get(0), row.get(1))
            }
        }
    }

    fn blob(&self, bytes: &[u8]) -> String {
        match self {
            Self::Sqlite(_) => format!("X'{}'", hex::encode(bytes)),
            Self::Postgres(_) => format!("'\\x{}'::bytea", hex::encode(bytes)),
        }
    }

    /// Puts a leaf where it is not.
    fn put(&self, seq: usize, (hash, leaf): &Row) -> String {
        let (hash, leaf) = (self.blob(hash), self.blob(leaf));
        format!("INSERT INTO leaves (seq, hash, leaf) VALUES ({seq}, {hash}, {leaf});")
    }

    /// Puts a leaf in place of the one that is there.
    fn set(&self, seq: usize, row: &Row) -> String {
        format!("DELETE FROM leaves WHERE seq = {seq}; {}", self.put(seq, row))
    }
}

/// A leaf that says something else in the same form.
fn forged(leaf: &[u8]) -> Row {
    let text = std::str::from_utf8(leaf).unwrap().replace(TICKET.0, TICKET.1);
    (Hash::of_leaf(text.as_bytes()).as_bytes().to_vec(), text.into_bytes())
}

fn has_ticket((_, leaf): &Row) -> bool {
    std::str::from_utf8(leaf).unwrap().contains(TICKET.0)
}

async fn every_alteration_of_a_stored_log_is_named(
    operator: &Operator,
    log: &Database,
    folder: &Path,
) {
    let info = operator.json(&["audit", "info"]).await[0].clone();
    let (size, checkpoint) = (info["size"].as_u64().unwrap(), info["checkpoint"].as_str().unwrap());
    let (size, key) = (usize::try_from(size).unwrap(), key(operator).await);
    let kept = folder.join("kept.note");
    fs::write(&kept, checkpoint).unwrap();
    let kept = kept.display().to_string();
    let mut rows = Vec::new();
    for seq in 0..size {
        rows.push(log.leaf(seq).await);
    }
    let ticketed = rows.iter().position(has_ticket).unwrap();
    let mut flipped = rows[3].clone();
    flipped.1[40] ^= 1;
    let signed_again = Stranger::sign_again(checkpoint);
    let all = |from: usize| (from..size).map(|seq| log.put(seq, &rows[seq])).collect::<String>();
    let (next, with_kept) = (ticketed + 1, ["--key", &key, "--checkpoint", &kept]);
    let alterations = [
        ("flip", log.set(3, &flipped), log.set(3, &rows[3]), "leaf_altered", "leaf 3 was altered"),
        (
            "drop",
            "DELETE FROM leaves WHERE seq = 4;".to_owned(),
            log.put(4, &rows[4]),
            "leaf_missing",
            "leaf 4 is missing",
        ),
        (
            "reorder",
            log.set(ticketed, &rows[next]) + &log.set(next, &rows[ticketed]),
            log.set(ticketed, &rows[ticketed]) + &log.set(next, &rows[next]),
            "leaf_altered",
            "not those of a leaf in this place",
        ),
        (
            "truncate",
            format!("DELETE FROM leaves WHERE seq >= {};", size - 2),
            all(size - 2),
            "truncated",
            "the log was truncated",
        ),
        (
            "fork",
            log.set(ticketed, &forged(&rows[ticketed].1)),
            log.set(ticketed, &rows[ticketed]),
            "history_rewritten",
            "the history was rewritten",
        ),
        (
            "sign again",
            format!("UPDATE checkpoints SET text = '{signed_again}';"),
            format!("UPDATE checkpoints SET text = '{checkpoint}';"),
            "checkpoint_untrusted",
            "cannot be trusted",
        ),
    ];
    for (name, alter, repair, code, words) in alterations {
        log.run(&alter).await;
        let verify = [&["audit", "verify"][..], &with_kept].concat();
        let said = operator.run(&verify).await;
        assert_eq!(found(&said), code, "{name}");
        assert!(said.err.contains(words), "{name}: {said:?}");
        if name == "fork" {
            // Without a checkpoint that was kept the newest one says it.
            let said = operator.run(&["audit", "verify", "--key", &key]).await;
            assert_eq!(found(&said), "root_mismatch");
            // And nothing is compared with leaves that were not signed for.
            let said = operator.run(&["audit", "completeness", "--key", &key]).await;
            assert_eq!(found(&said), "root_mismatch");
        }
        log.run(&repair).await;
        operator.run(&verify).await.succeeded();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_sqlite_that_another_client_alters_is_found_and_named() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.exchange(&approved_rotation(&daemon, &rotator).await).await.expect(200);
    let store = Database::Sqlite(store(&daemon));
    let operator = daemon.operator(PRODUCTION);
    every_alteration_of_a_stored_log_is_named(&operator, &store, &daemon.path("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_postgresql_that_another_client_alters_is_found_and_named() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let replica = fleet.start("a").await;
    let program = copy_of_this_program("fleet-tampered");
    replica.operator().register(&replica.place.id(AGENT), "agent", &program).await;
    let client = replica.client(&program).await;
    let intent = client.ask_rotation().await;
    replica.operator().approve(&intent).await;
    client.exchange(&intent).await.expect(200);
    let url = fs::read_to_string(fleet.path("store")).unwrap();
    let store = Database::postgres(url.trim()).await;
    every_alteration_of_a_stored_log_is_named(&replica.operator(), &store, &fleet.path("")).await;
}

fn store(daemon: &Daemon) -> PathBuf {
    daemon.data_dir().join(PRODUCTION).join("private/marque.sqlite")
}

/// Copies a store that nobody serves, with what is in the files beside it.
pub(crate) fn back_up(store: &Path, to: &Path) {
    let connection = rusqlite::Connection::open(store).unwrap();
    connection.execute("VACUUM INTO ?1", [to.display().to_string()]).unwrap();
}

/// Puts a copy in place of a store, and of the files beside it; as somebody does it who takes the note away as well that would
/// keep the daemon from serving it.
pub(crate) fn put_back(copy: &Path, store: &Path) {
    for beside in ["-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{beside}", store.display()));
        if file.exists() {
            fs::remove_file(file).unwrap();
        }
    }
    fs::copy(copy, store).unwrap();
    fs::remove_file(store.with_file_name("high-water.json")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_put_back_forks_the_log_and_a_kept_checkpoint_tells() {
    let mut daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask_rotation().await;
    drop(rotator);
    assert!(daemon.stop().await.success());
    let backup = daemon.path("backup.sqlite");
    back_up(&store(&daemon), &backup);
    daemon.launch().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    approved_rotation(&daemon, &rotator).await;
    let info = daemon.operator(PRODUCTION).json(&["audit", "info"]).await[0].clone();
    let (kept, before) = (daemon.path("kept.note"), info["size"].as_u64().unwrap());
    fs::write(&kept, info["checkpoint"].as_str().unwrap()).unwrap();
    let kept = kept.display().to_string();
    drop(rotator);
    assert!(daemon.stop().await.success());
    put_back(&backup, &store(&daemon));
    daemon.launch().await;
    let operator = daemon.operator(PRODUCTION);
    let verify = ["audit", "verify", "--checkpoint", &kept];
    assert_eq!(found(&operator.run(&verify).await), "shrunk");
    // It signs on, with the true key, another history.
    let rotator = Client::start(&daemon, ROTATOR).await;
    let size = async || operator.json(&["audit", "info"]).await[0]["size"].as_u64().unwrap();
    while size().await <= before {
        rotator.ask(&serde_json::json!({ "playbook": "no-such-playbook" })).await;
    }
    operator.run(&["audit", "verify"]).await.succeeded();
    assert_eq!(found(&operator.run(&verify).await), "history_rewritten");
}
