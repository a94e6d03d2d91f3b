//! X.509 authorities below a root that somebody else keeps: offline with OpenSSL, and with the PKI engine of a Vault.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::Value;
use spiffe::X509Source;

use crate::openssl::{openssl_is_there, verify};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::folder;
use crate::support::offline_root::{OfflineRoot, fingerprint};
use crate::support::operator::{Said, run_marque};
use crate::support::programs::{marque, this_program};
use crate::support::wait::{until, within};

mod vault;

const FILES: &str = "\n[upstream]\nkind = \"files\"\n";

/// Runs `marque authority …` without the daemon, with the sealing key that it will have.
async fn offline(daemon: &Daemon, arguments: &[&str]) -> Said {
    let key = daemon.data_dir().join(PRODUCTION).join("sealing.key");
    if !key.exists() {
        fs::create_dir_all(key.parent().unwrap()).unwrap();
        let mut options = fs::OpenOptions::new();
        let file = options.create_new(true).write(true).mode(0o600).open(&key);
        file.unwrap().write_all(format!("{}\n", "07".repeat(32)).as_bytes()).unwrap();
    }
    let text = |path: &Path| path.display().to_string();
    let (folders, data) = (text(&daemon.path("trust-domains")), text(&daemon.data_dir()));
    let place = ["--trust-domain", PRODUCTION, "--data-dir", &data, "--output", "json"];
    let offline = ["--offline", "--trust-domains", &folders];
    let all = [&["authority"], arguments, &offline[..], &place[..]].concat();
    run_marque(&all.into_iter().map(str::to_owned).collect::<Vec<_>>()).await
}

/// The chain of this program's X.509-SVID and the bundle, as PEM files.
async fn svid(daemon: &Daemon, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let shown = daemon.operator(PRODUCTION).json(&["svid", "x509"]).await;
    let shown = shown.as_array().and_then(|svids| svids.first()).unwrap_or(&shown).clone();
    let write = |kind: &str| {
        let file = daemon.path(&format!("{name}-{kind}"));
        fs::write(&file, shown[kind].as_str().unwrap_or_else(|| panic!("{shown}"))).unwrap();
        file
    };
    (write("chain_pem"), write("bundle_pem"))
}

fn certificates(file: &Path) -> usize {
    fs::read_to_string(file).unwrap().matches("BEGIN CERTIFICATE").count()
}

fn key<'a>(keys: &'a Value, name: &str) -> &'a Value {
    let keys = keys.as_array().unwrap();
    keys.iter().find(|key| key["key"] == name).unwrap_or_else(|| panic!("{keys:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_root_signs_the_first_authority_and_the_next_and_openssl_verifies_below_it() {
    if !openssl_is_there().await {
        return;
    }
    let mut daemon = Daemon::prepared(
        |folders| folder::append(&folders.join(PRODUCTION), "trust-domain.toml", FILES),
        Vec::new(),
    );
    // Without a certificate nothing is served, and the daemon says what to do.
    daemon.begin();
    assert!(!daemon.ended().await.success());
    assert!(daemon.output().contains("marque authority csr --offline"), "{}", daemon.output());

    let root = OfflineRoot::make(daemon.path("safe"), "/OU=production").await;
    let early = offline(&daemon, &["import", &root.certificate().display().to_string()]).await;
    assert!(early.code == 1 && early.err.contains("upstream_no_certificate"), "{early:?}");
    let asked = offline(&daemon, &["csr"]).await.succeeded().json();
    assert_eq!(asked["key"], "x509-authority-a-1");
    let again = offline(&daemon, &["csr"]).await.succeeded().json();
    assert_eq!(asked["key"], again["key"]);
    let chain = root.sign(again["csr_pem"].as_str().unwrap(), "300").await;
    let imported = offline(&daemon, &["import", &chain.display().to_string()]).await;
    assert_eq!(imported.succeeded().json()["key"], "x509-authority-a-1");

    daemon.launch().await;
    let place = daemon.place(PRODUCTION).clone();
    let operator = daemon.operator(PRODUCTION);
    operator.register(&place.id("/service/cli"), "service", marque()).await;
    let (first, bundle) = svid(&daemon, "first").await;
    assert_eq!((certificates(&first), certificates(&bundle)), (2, 1));
    let of_root = fs::read_to_string(root.certificate()).unwrap();
    assert_eq!(
        fs::read_to_string(&bundle).unwrap().trim(),
        of_root.trim(),
        "the root is the bundle"
    );
    for purpose in ["sslclient", "sslserver"] {
        assert_eq!(verify(&root.certificate(), &first, purpose).await, Ok(()), "{purpose}");
    }
    let refused = offline(&daemon, &["csr"]).await;
    assert!(refused.code == 1 && refused.err.contains("without --offline"), "{refused:?}");

    // A client that follows the socket takes up the next one.
    let id = place.id("/service/e2e");
    operator.register(&id, "service", &this_program()).await;
    let source = X509Source::builder().endpoint(place.workload_api()).build();
    let source = within("the X.509 source", source).await.unwrap();
    let by = |source: &X509Source| source.svid().unwrap().cert_chain()[1].as_bytes().to_vec();
    let before = by(&source);

    let refused = operator.run(&["authority", "prepare", "x509-authority"]).await;
    assert!(refused.code == 1 && refused.err.contains("authority_signed_by_hand"), "{refused:?}");
    let nothing = operator.run(&["authority", "import", &chain.display().to_string()]).await;
    assert!(
        nothing.code == 1 && nothing.err.contains("authority_nothing_requested"),
        "{nothing:?}"
    );
    let out = daemon.path("next.csr").display().to_string();
    let asked = operator.json(&["authority", "csr", "--out", &out]).await;
    assert_eq!(asked["key"], "x509-authority-b-1");
    let there = operator.run(&["authority", "csr", "--out", &out]).await;
    assert!(there.code == 1 && there.err.contains("not there yet"), "{there:?}");
    // The certificate of before is for another key.
    let other = operator.run(&["authority", "import", &chain.display().to_string()]).await;
    assert!(other.code == 1 && other.err.contains("upstream_other_key"), "{other:?}");
    let chain = root.sign(&fs::read_to_string(&out).unwrap(), "300").await;
    let imported = operator.json(&["authority", "import", &chain.display().to_string()]).await;
    assert_eq!(key(&imported["keys"], "x509-authority-b-1")["state"], "prepared");
    operator
        .json(&["authority", "activate", "x509-authority-b-1", "--now", "--reason", "a drill"])
        .await;
    let taint = ["authority", "taint", "x509-authority-a-1", "--reason", "a drill"];
    operator.json(&taint).await;
    until("an SVID below the next authority", async || (by(&source) != before).then_some(())).await;
    let (second, bundle) = svid(&daemon, "second").await;
    assert_eq!(certificates(&bundle), 1, "one root above both");
    assert_eq!(verify(&root.certificate(), &second, "sslclient").await, Ok(()));
    let verified = operator.json(&["audit", "verify"]).await;
    assert!(verified["size"].as_u64().unwrap() > 5, "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_of_the_other_environment_or_of_none_signs_nothing_unless_it_is_pinned() {
    if !openssl_is_there().await {
        return;
    }
    let daemon = Daemon::prepared(
        |folders| folder::append(&folders.join(PRODUCTION), "trust-domain.toml", FILES),
        Vec::new(),
    );
    let request = offline(&daemon, &["csr"]).await.succeeded().json();
    let request = request["csr_pem"].as_str().unwrap();
    let other = OfflineRoot::make(daemon.path("other"), "/OU=non-production").await;
    let nameless = OfflineRoot::make(daemon.path("nameless"), "").await;
    let mut chains = Vec::new();
    for root in [&other, &nameless] {
        let chain = root.sign(request, "300").await.display().to_string();
        let refused = offline(&daemon, &["import", &chain]).await;
        assert!(refused.code == 1 && refused.err.contains("upstream_environment"), "{refused:?}");
        chains.push(chain);
    }
    let short = OfflineRoot::make(daemon.path("short"), "/OU=production").await;
    let chain = short.sign(request, "0").await.display().to_string();
    let refused = offline(&daemon, &["import", &chain]).await;
    assert!(refused.code == 1 && refused.err.contains("upstream_"), "{refused:?}");

    let pins =
        [fingerprint(&other.certificate()).await, fingerprint(&nameless.certificate()).await];
    let pinned = format!("roots = [\"sha256:{}\", \"sha256:{}\"]\n", pins[0], pins[1]);
    folder::append(&daemon.path("trust-domains").join(PRODUCTION), "trust-domain.toml", &pinned);
    let refused = offline(&daemon, &["import", &chains[0]]).await;
    assert!(refused.code == 1 && refused.err.contains("upstream_environment"), "{refused:?}");
    offline(&daemon, &["import", &chains[1]]).await.succeeded();

    // What keeps the environments apart is then pinned by one of them alone.
    let folders = daemon.path("trust-domains");
    let both = format!("{FILES}roots = [\"sha256:{}\"]\n", pins[1]);
    folder::append(&folders.join(NON_PRODUCTION), "trust-domain.toml", &both);
    let text = folders.display().to_string();
    let check = ["check", "--output", "json", &text].map(str::to_owned);
    let checked = run_marque(&check).await;
    assert!(checked.code != 0, "{checked:?}");
    assert!(checked.out.contains("environment_boundary: the root"), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_does_not_start_while_an_import_without_it_is_at_work() {
    if !openssl_is_there().await {
        return;
    }
    let mut daemon = Daemon::prepared(
        |folders| folder::append(&folders.join(PRODUCTION), "trust-domain.toml", FILES),
        Vec::new(),
    );
    let root = OfflineRoot::make(daemon.path("safe"), "/OU=production").await;
    let asked = offline(&daemon, &["csr"]).await.succeeded().json();
    let chain = root.sign(asked["csr_pem"].as_str().unwrap(), "300").await;
    // Nobody hears its last word, so that it waits there.
    let (mut heard, mut said) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(&said, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    said.write_all(&[b' '; 4096]).unwrap();
    let mut import = std::process::Command::new(marque())
        .args(["authority", "import", "--offline", "--trust-domain", PRODUCTION])
        .arg("--trust-domains")
        .arg(daemon.path("trust-domains"))
        .arg("--data-dir")
        .arg(daemon.data_dir())
        .arg(&chain)
        .stdout(said)
        .spawn()
        .unwrap();
    let state = daemon.data_dir().join(PRODUCTION);
    until("the import to begin", async || {
        let taken = fs::File::open(&state).unwrap().try_lock_shared();
        matches!(taken, Err(fs::TryLockError::WouldBlock)).then_some(())
    })
    .await;
    let refused = daemon.is_refused().await;
    assert!(refused.contains("restore_under_way"), "{refused}");
    let again = offline(&daemon, &["csr"]).await;
    assert!(again.code == 1 && again.err.contains("restore_daemon_running"), "{again:?}");
    let mut told = String::new();
    heard.read_to_string(&mut told).unwrap();
    assert!(import.wait().unwrap().success(), "{told}");
    assert!(told.contains("is imported"), "{told}");
    daemon.launch().await;
}
