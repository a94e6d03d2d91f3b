//! Witnesses of the log, each a process that was not written here: they check for themselves that the log has only grown,
//! cosign it, and refuse one that forks; who wants their cosignatures finds what is missing, false or too old.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::audit::{found, key};
use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::folder;
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::Client;
use crate::support::operator::Operator;
use crate::support::python::interpreter;
use crate::support::wait::{until, within};
use crate::tampering::{back_up, put_back};

/// A witness of the test's own.
struct Witness {
    name: &'static str,
    key: String,
    url: String,
    ca: Option<PathBuf>,
    control: String,
    _process: Child,
}

impl Witness {
    /// Over TLS, its certificate in this folder, or on a plain loopback address; `None` where there is no Python.
    async fn start(name: &'static str, tls: Option<&Path>) -> Option<Self> {
        let mut command = Command::new(interpreter()?);
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/witness.py"))
            .args([&format!("witness.example.net/{name}"), name])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let ca = tls.map(|folder| {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
            let (ca, key) =
                (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
            fs::write(&ca, made.cert.pem()).expect("write the certificate");
            fs::write(&key, made.signing_key.serialize_pem()).expect("write its key");
            command.args([&ca, &key]);
            ca
        });
        let mut process = command.spawn().expect("Python starts");
        let lines = &mut BufReader::new(process.stdout.take().expect("its output")).lines();
        let line = within("a witness", lines.next_line()).await.expect("a line").expect("a line");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        let scheme = if ca.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let url = format!("{scheme}:{}", told["port"]);
        let key = told["key"].as_str().expect("a key").to_owned();
        let control = format!("http://127.0.0.1:{}", told["control"]);
        Some(Self { name, key, url, ca, control, _process: process })
    }

    fn table(&self) -> String {
        let Self { name, key, url, ca, .. } = self;
        let ca = ca.as_ref().map(|ca| format!("ca_file = \"{}\"\n", ca.display()));
        format!(
            "[[audit.witnesses]]\nname = \"{name}\"\nurl = \"{url}/log\"\nkey = \"{key}\"\n{}",
            ca.unwrap_or_default()
        )
    }

    async fn call(&self, path: &str, order: Option<Value>) -> Value {
        let url = format!("{}{path}", self.control);
        let asked = move || {
            let answer = match order {
                Some(order) => ureq::post(&url).send(order.to_string()),
                None => ureq::get(&url).call(),
            };
            answer.expect("an answer").body_mut().read_to_string().expect("text")
        };
        let text = tokio::task::spawn_blocking(asked).await.expect("a call");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn told(&self, order: Value) {
        self.call("/control", Some(order)).await;
    }

    /// What it was asked and answered, in order.
    async fn seen(&self) -> Vec<Value> {
        self.call("/seen", None).await.as_array().expect("a list").clone()
    }
}

async fn daemon_with(settings: &str, witnesses: &[&Witness], more: &str) -> Daemon {
    let tables: String = witnesses.iter().map(|witness| witness.table()).collect();
    let settings = format!("\n[audit]\nwitness_every = \"1s\"\n{settings}\n{tables}\n{more}\n");
    Daemon::start_with(|trust_domains| {
        folder::append(&trust_domains.join(NON_PRODUCTION), "trust-domain.toml", &settings);
    })
    .await
}

async fn info(operator: &Operator) -> Value {
    operator.json(&["audit", "info"]).await[0].clone()
}

/// The newest checkpoint that enough witnesses have cosigned, once it covers so many leaves.
async fn cosigned(operator: &Operator, size: u64) -> String {
    until("cosignatures", async || {
        let info = info(operator).await;
        let note = info["cosigned_checkpoint"].as_str()?.to_owned();
        let covers: u64 = note.lines().nth(1)?.parse().ok()?;
        (covers >= size).then_some(note)
    })
    .await
}

/// How a witness stands in `marque status`.
async fn standing(operator: &Operator, name: &str) -> Value {
    let status = operator.json(&["status"]).await;
    let all = status[0]["audit_sinks"].as_array().expect("sinks and witnesses").clone();
    all.into_iter().find(|one| one["name"] == name).expect("the witness")
}

async fn failing(operator: &Operator, name: &str, why: &str) -> Value {
    until("a witness that does not cosign", async || {
        let standing = standing(operator, name).await;
        standing["failure"].as_str()?.contains(why).then_some(standing)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_cosigned_by_witnesses_that_see_for_themselves_that_the_log_has_grown() {
    let files = tempfile::tempdir().expect("a folder");
    let Some(one) = Witness::start("w1", Some(files.path())).await else { return };
    let two = Witness::start("w2", None).await.expect("Python");
    let stranger = Witness::start("w3", None).await.expect("Python");
    let kept = tempfile::tempdir().expect("a folder");
    let sink = format!(
        "[[audit.sinks]]\nname = \"notes\"\nsends = \"checkpoints\"\nevery = \"1s\"\nto = \"file://{}\"\n",
        kept.path().display()
    );
    let daemon = daemon_with("witness_quorum = 2", &[&one, &two], &sink).await;
    let operator = daemon.operator(NON_PRODUCTION);
    // One that does not know the log says so, and it waits.
    failing(&operator, "w1", "does not know this log").await;
    let own = key(&operator).await;
    for witness in [&one, &two] {
        witness.told(json!({ "trust": own })).await;
    }
    let first = cosigned(&operator, 1).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    let size = info(&operator).await["size"].as_u64().expect("a size");
    let note = cosigned(&operator, size).await;
    assert_ne!(first, note);
    for witness in [&one, &two] {
        let line = format!("\n\u{2014} witness.example.net/{} ", witness.name);
        assert_eq!(note.matches(&line).count(), 1, "{note}");
        // From nothing on first, then from what it had cosigned, by a proof that it held against both.
        let taken: Vec<Value> =
            witness.seen().await.into_iter().filter(|one| one["status"] == 200).collect();
        assert_eq!(taken[0]["old"], "old 0");
        let last = taken.last().expect("more");
        assert!(last["old"] != "old 0" && last["hashes"].as_u64() > Some(0), "{taken:?}");
    }
    // It is served, pushed, and in the receipt of a token.
    let url = format!("{}/log/checkpoint", agent.place.issuer_url);
    let served = agent.http.send(Call::get(&url)).await.expect(200).body;
    assert_eq!(served.matches("\n\u{2014} witness.example.net/").count(), 2, "{served}");
    until("a cosigned checkpoint in the folder", async || {
        let files = fs::read_dir(kept.path()).unwrap().map(|file| file.unwrap().path());
        let name = |file: &PathBuf| file.display().to_string().ends_with(".cosigned.note");
        let note = fs::read_to_string(files.filter(name).max()?).ok()?;
        note.contains("witness.example.net/w2").then_some(())
    })
    .await;
    receipts_and_copies_show_it(&daemon, &agent, &token, [&one, &two, &stranger]).await;
    let metrics = operator.run(&["metrics"]).await.succeeded().out;
    let counted = regex::Regex::new(
        "marque_audit_witness_submissions_total\\{[^}]*result=.{0,2}cosigned[^}]*\\} [1-9]",
    );
    assert!(counted.unwrap().is_match(&metrics), "{metrics}");
}

async fn receipts_and_copies_show_it(
    daemon: &Daemon,
    agent: &Client,
    token: &str,
    [one, two, stranger]: [&Witness; 3],
) {
    let operator = daemon.operator(NON_PRODUCTION);
    let own = key(&operator).await;
    let id = crate::support::tokens::claims(token)["jti"].as_str().expect("a jti").to_owned();
    let url = format!("{}/v1/receipts/{id}", agent.place.issuer_url);
    let proof = agent.http.send(Call::get(&url).bearer(&agent.svid)).await.expect(200).body;
    let file = daemon.path("token.tlog-proof").display().to_string();
    fs::write(&file, &proof).expect("keep the receipt");
    let by_both = ["--witness", &one.key, "--witness", &two.key];
    let check = ["audit", "check-proof", &file, "--key", &own];
    operator.run(&[&check[..], &by_both].concat()).await.succeeded();
    let by_another = [&check[..], &["--witness", &stranger.key]].concat();
    assert_eq!(found(&operator.run(&by_another).await), "cosignatures_missing");

    let verify = ["audit", "verify", "--key", &own];
    let verified = operator.json(&[&verify[..], &by_both].concat()).await;
    assert_eq!(verified["witnessed"]["by"].as_array().map(Vec::len), Some(2), "{verified}");
    let lately = [&verify[..], &by_both, &["--witnessed-within", "1h"]].concat();
    operator.run(&lately).await.succeeded();
    // A cosignature is of whole seconds, and old when its own is over.
    let too_late =
        [&verify[..], &by_both, &["--quorum", "1", "--witnessed-within", "1ns"]].concat();
    let old = until("a cosignature of a second that is over", async || {
        let said = operator.run(&too_late).await;
        (said.code != 0).then_some(said)
    });
    assert_eq!(found(&old.await), "cosignatures_too_old");
    let of_three = [&verify[..], &by_both, &["--witness", &stranger.key]].concat();
    assert_eq!(found(&operator.run(&of_three).await), "cosignatures_missing");
    operator.run(&[&of_three[..], &["--quorum", "2"]].concat()).await.succeeded();
    for unmet in [["--quorum", "3"], ["--quorum", "0"]] {
        let said = operator.run(&[&verify[..], &by_both, &unmet].concat()).await;
        assert_eq!(said.code, 2, "{said:?}");
    }

    // A copy has it in a file of its own; what is altered there is found.
    let copy = daemon.path("copy");
    log::export(&operator, &copy).await;
    let folder = copy.display().to_string();
    let of_copy = [&["audit", "verify", "--log", &folder, "--key", &own][..], &by_both].concat();
    operator.run(&of_copy).await.succeeded();
    let file = copy.join("checkpoint.cosigned");
    let note = fs::read_to_string(&file).expect("the cosigned checkpoint");
    let line = note.lines().last().expect("a cosignature");
    let middle = line.len() - 20;
    let other = if line.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let mut forged = line.to_owned();
    forged.replace_range(middle..=middle, other);
    fs::write(&file, note.replace(line, &forged)).expect("alter it");
    assert_eq!(found(&operator.run(&of_copy).await), "cosignature_false");
    fs::write(&file, note.replace(&format!("{line}\n"), "")).expect("cut it");
    assert_eq!(found(&operator.run(&of_copy).await), "cosignatures_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cosignature_that_is_false_or_of_another_key_is_not_kept() {
    let Some(witness) = Witness::start("w1", None).await else { return };
    witness.told(json!({ "manner": "false" })).await;
    let daemon = daemon_with("", &[&witness], "").await;
    let operator = daemon.operator(NON_PRODUCTION);
    witness.told(json!({ "trust": key(&operator).await })).await;
    failing(&operator, "w1", "the signature of `witness.example.net/w1` does not verify").await;
    witness.told(json!({ "manner": "other_key" })).await;
    failing(&operator, "w1", "the answer has no cosignature of `witness.example.net/w1`").await;
    assert!(info(&operator).await["cosigned_checkpoint"].is_null());
    let verify = ["audit", "verify", "--witness", &witness.key];
    assert_eq!(found(&operator.run(&verify).await), "cosignatures_missing");
    witness.told(json!({ "manner": "honest" })).await;
    cosigned(&operator, 1).await;
    operator.run(&verify).await.succeeded();
}

fn store(daemon: &Daemon) -> PathBuf {
    daemon.data_dir().join(NON_PRODUCTION).join("private/marque.sqlite")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_forks_is_refused_by_its_witness_and_that_is_told() {
    let Some(witness) = Witness::start("w1", None).await else { return };
    let mut daemon = daemon_with("", &[&witness], "").await;
    let operator = daemon.operator(NON_PRODUCTION);
    witness.told(json!({ "trust": key(&operator).await })).await;
    cosigned(&operator, 1).await;
    assert!(daemon.stop().await.success());
    let backup = daemon.path("backup.sqlite");
    back_up(&store(&daemon), &backup);
    daemon.launch().await;
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    let size = info(&operator).await["size"].as_u64().expect("a size");
    cosigned(&operator, size).await;
    drop(agent);
    assert!(daemon.stop().await.success());
    // Put back, it has fewer leaves than the witness has seen.
    put_back(&backup, &store(&daemon));
    daemon.launch().await;
    failing(&operator, "w1", "another history of the log: ahead").await;
    assert!(daemon.output().contains("a witness refuses the log"), "{}", daemon.output());
    // Grown again, it has others.
    let agent = Client::start(&daemon, RESTARTER).await;
    while info(&operator).await["size"].as_u64() <= Some(size + 2) {
        agent.ask(&json!({ "playbook": "no-such-playbook" })).await;
    }
    failing(&operator, "w1", "another history of the log: fork").await;
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let refused: Vec<&Value> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.witness.refused").collect();
    let whys: Vec<&Value> = refused.iter().map(|leaf| &leaf["data"]["detail"]["why"]).collect();
    assert_eq!(whys, ["ahead", "fork"], "{refused:?}");
    assert_eq!(refused[0]["data"]["detail"]["witness"], "w1");
    let seen = witness.seen().await;
    assert_eq!(seen.last().expect("an answer")["status"], 422, "{seen:?}");
    let metrics = operator.run(&["metrics"]).await.succeeded().out;
    let counted = regex::Regex::new(
        "marque_audit_witness_submissions_total\\{[^}]*result=.{0,2}refused[^}]*\\} [1-9]",
    );
    assert!(counted.unwrap().is_match(&metrics), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_witness_that_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    folder::copy(&folder::shipped(), folder.path());
    let checked = folder.path().join(NON_PRODUCTION);
    let table = "\n[[audit.witnesses]]\nname = \"w1\"\nurl = \"http://127.0.0.1:9/log\"\nkey = \"w1+00+BA==\"\n";
    folder::append(&checked, "trust-domain.toml", table);
    let arguments = ["check".to_owned(), checked.display().to_string()];
    let refused = crate::support::operator::run_marque(&arguments).await.failed();
    let told = format!("{}{}", refused.out, refused.err);
    assert!(
        told.contains("`key` of the witness `w1`") && told.contains("trust-domain.toml:"),
        "{told}"
    );
}
