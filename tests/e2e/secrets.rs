//! No output of a whole run holds a token or a private key: the log of the daemon, what the command line says, the
//! endpoints file, the exported log, the files in the data folder.

use std::fs;
use std::path::Path;

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, deferred_fields, exchange_fields, rotation};

/// Everything that must not be found anywhere, in each form that it could take.
#[derive(Default)]
struct Canaries(Vec<(String, Vec<u8>)>);

impl Canaries {
    fn token(&mut self, name: &str, token: &str) {
        // The signature alone would be enough to complete a copied token.
        let signature = token.rsplit('.').next().expect("three parts");
        for (form, text) in [("whole", token), ("signature", signature)] {
            assert!(text.len() > 40, "{name}: too short to be told from chance");
            self.0.push((format!("{name}, {form}"), text.as_bytes().to_vec()));
        }
    }

    /// A PKCS#8 key; its private scalar alone as well.
    fn key(&mut self, name: &str, pkcs8: &[u8]) {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

        let scalar = p256_scalar(pkcs8);
        for (form, bytes) in [("PKCS#8", pkcs8), ("scalar", scalar)] {
            self.0.push((format!("{name}, {form}"), bytes.to_vec()));
            self.0.push((format!("{name}, {form}, hexadecimal"), hex::encode(bytes).into_bytes()));
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                self.0.push((format!("{name}, {form}, base64"), engine.encode(bytes).into_bytes()));
            }
        }
    }

    /// Adds what is in the files that hold a sealing key or a private key in PEM; how many there are.
    fn secret_files(&mut self, folder: &Path) -> usize {
        let mut files = 0;
        for entry in fs::read_dir(folder)
            .expect("read a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                files += self.secret_files(&entry);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap_or_default();
            let sealing =
                text.trim().len() == 64 && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit());
            if sealing || text.contains("PRIVATE KEY") {
                let lines =
                    text.lines().filter(|line| !line.starts_with("-----") && line.len() > 40);
                let name = entry.display().to_string();
                self.0.extend(lines.map(|line| (name.clone(), line.as_bytes().to_vec())));
                files += 1;
            }
        }
        files
    }

    fn search(&self, place: &str, bytes: &[u8]) {
        for (name, canary) in &self.0 {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_slice());
            assert!(!found, "{place} holds a secret: {name}");
        }
    }

    fn search_folder(&self, folder: &Path) -> usize {
        let mut files = 0;
        for entry in fs::read_dir(folder)
            .expect("read a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                files += self.search_folder(&entry);
            } else if let Ok(bytes) = fs::read(&entry) {
                self.search(&entry.display().to_string(), &bytes);
                files += 1;
            }
        }
        files
    }
}

/// The 32 bytes of the private key in a P-256 PKCS#8 document (RFC 5915: an OCTET STRING after `version` 1).
fn p256_scalar(pkcs8: &[u8]) -> &[u8] {
    let marker = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = pkcs8.windows(marker.len()).position(|window| window == marker).expect("a P-256 key");
    &pkcs8[at + marker.len()..at + marker.len() + 32]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_of_a_run_holds_a_token_or_a_private_key() {
    let mut daemon = Daemon::start().await;
    let mut canaries = Canaries::default();
    let mut said = Vec::new();

    let mut rotator = Client::start(&daemon, ROTATOR).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    for (name, client) in [
        ("rotator's SVID", &rotator),
        ("ingress's SVID", &ingress),
        ("restarter's SVID", &restarter),
    ] {
        canaries.token(name, &client.svid);
    }
    let svid = rotator.workload.x509_svid().await.unwrap();
    canaries.key("rotator's key", &hex::decode(svid["key"].as_str().unwrap()).unwrap());

    let intent = rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    for command in [
        &["status"][..],
        &["entry", "list"],
        &["playbook", "list"],
        &["intent", "list"],
        &["intent", "show", &intent],
        &["approve", "--yes", &intent],
    ] {
        said.push(operator.run(command).await.succeeded());
    }
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    canaries.token("rotator's access token", &token);
    let deferred = rotator.token(&deferred_fields(&rotator.svid)).await;
    let code = deferred.oauth_error("authorization_pending").text("deferral_code");
    canaries.0.push(("rotator's deferral code".to_owned(), code.into_bytes()));
    let preview =
        restarter.exchange(&restarter.ask_restart().await).await.expect(200).text("access_token");
    canaries.token("restarter's access token", &preview);
    assert!(ingress.is_active(&token).await);

    // What is refused is not repeated either, in answers or in logs.
    let mut refusals = vec![
        rotator.exchange(&intent).await,
        restarter.token(&exchange_fields(&rotator.svid, &intent)).await,
    ];
    refusals.push(rotator.token(&exchange_fields(&token, &intent)).await);
    refusals.push(
        rotator.send(Call::json(&rotator.place.intents_url, &rotation()).bearer(&token)).await,
    );
    refusals
        .push(rotator.send(Call::get(&rotator.place.token_endpoint).bearer(&rotator.svid)).await);
    for answer in &refusals {
        assert!(answer.status >= 400, "{answer:?}");
        canaries.search("a refusal", format!("{:?}{}", answer.headers, answer.body).as_bytes());
    }

    for trust_domain in [PRODUCTION, NON_PRODUCTION] {
        log::export(&daemon.operator(trust_domain), &daemon.path(&format!("log-{trust_domain}")))
            .await;
    }
    operator.kill(&["agent", &rotator.place.id(ROTATOR.path)]).await;
    said.push(operator.run(&["intent", "list"]).await);
    for said in &said {
        canaries.search(&said.command, format!("{}{}", said.out, said.err).as_bytes());
    }
    let endpoints = fs::read(daemon.endpoints_file()).expect("endpoints.json");
    drop((rotator, ingress, restarter));
    daemon.stop().await;
    canaries.search("the daemon's output", daemon.output().as_bytes());
    let files = canaries.search_folder(&daemon.path(""));
    assert!(files > 10, "only {files} files were searched");

    // The secrets that lie in a file of their own must not be anywhere else.
    let own = canaries.secret_files(&daemon.path(""));
    assert!(
        own >= 3,
        "only {own} files with a secret: two sealing keys and a TLS key were expected"
    );
    canaries.search("endpoints.json", &endpoints);
    canaries.search("the daemon's output", daemon.output().as_bytes());
    for trust_domain in [PRODUCTION, NON_PRODUCTION] {
        canaries.search_folder(&daemon.path(&format!("log-{trust_domain}")));
    }
    for said in &said {
        canaries.search(&said.command, format!("{}{}", said.out, said.err).as_bytes());
    }
}
