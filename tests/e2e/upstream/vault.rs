//! The PKI engine of a Vault signs: at the first start, at each rotation, and again after it was down.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::*;
use crate::support::python::interpreter;

const TOKEN: &str = "hvs.the-first-token-of-the-vault";
const NEXT_TOKEN: &str = "hvs.the-token-after-it-was-renewed";

/// A server that was written after the engine's published API.
struct Vault {
    folder: PathBuf,
    port: u64,
    _process: Child,
}

impl Vault {
    /// `None` where there is no Python.
    async fn start(folder: PathBuf) -> Option<Self> {
        let python = interpreter()?;
        fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("tls.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        let mut process = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/vault_pki.py"))
            .arg(&folder)
            .arg("production")
            .args([folder.join("tls.pem"), folder.join("tls.key")])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let lines = &mut BufReader::new(process.stdout.take().unwrap()).lines();
        let line = within("the vault", lines.next_line()).await.unwrap().expect("a line");
        let told: Value = serde_json::from_str(&line).unwrap();
        let vault = Self { folder, port: told["port"].as_u64().unwrap(), _process: process };
        vault.is("sign");
        vault.takes(TOKEN);
        vault.give(TOKEN);
        Some(vault)
    }

    fn is(&self, mode: &str) {
        fs::write(self.folder.join("mode"), mode).unwrap();
    }

    /// The token that it takes.
    fn takes(&self, token: &str) {
        fs::write(self.folder.join("token"), token).unwrap();
    }

    /// The token that the daemon is given.
    fn give(&self, token: &str) {
        fs::write(self.folder.join("given"), format!("{token}\n")).unwrap();
    }

    fn seen(&self) -> Vec<Value> {
        let seen = fs::read_to_string(self.folder.join("seen.jsonl")).unwrap_or_default();
        seen.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn table(&self) -> String {
        let folder = self.folder.display();
        format!(
            "\n[upstream]\nkind = \"vault\"\nurl = \"https://localhost:{}\"\nmount = \"pki/agents\"\n\
             token_file = \"{folder}/given\"\nca_file = \"{folder}/tls.pem\"\ntimeout = \"5s\"\n",
            self.port
        )
    }
}

async fn active(daemon: &Daemon) -> String {
    let keys = daemon.operator(PRODUCTION).json(&["authority", "list"]).await;
    let keys = keys.as_array().unwrap().iter();
    let mut active =
        keys.filter(|key| key["purpose"] == "x509-authority" && key["state"] == "active");
    active.next().expect("an active key")["key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_signs_each_authority_and_while_it_is_down_what_signs_goes_on() {
    if !openssl_is_there().await {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let Some(vault) = Vault::start(home.path().join("vault")).await else { return };
    vault.takes(NEXT_TOKEN);
    let mut daemon = Daemon::prepared(
        |folders| {
            folder::live_fast(&folders.join(PRODUCTION), "24s", "4s");
            folder::append(&folders.join(PRODUCTION), "trust-domain.toml", &vault.table());
        },
        Vec::new(),
    );
    // A first start that is refused says why, and a token that was renewed is read anew.
    daemon.begin();
    assert!(!daemon.ended().await.success());
    let output = daemon.output();
    assert!(output.contains("403") && output.contains("permission denied"), "{output}");
    vault.give(NEXT_TOKEN);
    daemon.launch().await;

    let place = daemon.place(PRODUCTION).clone();
    let operator = daemon.operator(PRODUCTION);
    operator.register(&place.id("/service/cli"), "service", marque()).await;
    let (chain, bundle) = svid(&daemon, "first").await;
    assert_eq!((certificates(&chain), certificates(&bundle)), (2, 1));
    let root = vault.folder.join("root.pem");
    assert_eq!(verify(&root, &chain, "sslserver").await, Ok(()));
    let asked = vault.seen();
    assert_eq!(asked.last().unwrap()["ttl"], "24s", "{asked:?}");
    assert_eq!(asked.last().unwrap()["path"], "/v1/pki/agents/root/sign-intermediate");

    let first = active(&daemon).await;
    let next = until("the next authority by the clock", async || {
        let next = active(&daemon).await;
        (next != first).then_some(next)
    })
    .await;
    let (chain, bundle) = svid(&daemon, "second").await;
    assert_eq!(certificates(&bundle), 1, "one root above both");
    assert_eq!(verify(&root, &chain, "sslclient").await, Ok(()));

    vault.is("down");
    let failed = "upstream signed no certificate";
    until("a failure that is told", async || daemon.output().contains(failed).then_some(())).await;
    assert!(daemon.output().contains("Vault is sealed"), "{}", daemon.output());
    let (chain, _) = svid(&daemon, "while-down").await;
    assert_eq!(verify(&root, &chain, "sslclient").await, Ok(()));
    let refused = operator.run(&["authority", "prepare", "x509-authority"]).await;
    assert!(refused.code == 1 && refused.err.contains("upstream_unavailable"), "{refused:?}");
    vault.is("sign");
    until("another authority after it is up", async || {
        (active(&daemon).await != next).then_some(())
    })
    .await;
    let output = daemon.output();
    assert!(!output.contains(TOKEN) && !output.contains(NEXT_TOKEN), "a token in the log");
}
