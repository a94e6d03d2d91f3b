//! X.509-SVIDs as OpenSSL sees them: `openssl verify` with the trust domain's bundle and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::authorities::keys;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::programs::marque;

/// Whether OpenSSL is at hand; where it has to be, its absence is a failure.
#[expect(clippy::disallowed_methods, reason = "what must be there comes from the environment")]
pub(crate) async fn openssl_is_there() -> bool {
    let there = Command::new("openssl").arg("version").output().await.is_ok();
    let required = std::env::var_os("MARQUE_REQUIRE_OPENSSL").is_some_and(|value| value == "1");
    assert!(there || !required, "MARQUE_REQUIRE_OPENSSL=1, but there is no openssl");
    if !there {
        eprintln!("skipped: there is no openssl");
    }
    there
}

/// This command line's own SVID of one trust domain: the chain and the bundle, as PEM files.
async fn fetch(daemon: &Daemon, trust_domain: &'static str) -> (String, String) {
    let place = daemon.place(trust_domain);
    daemon.operator(trust_domain).register(&place.id("/service/cli"), "service", marque()).await;
    let shown = daemon.operator(trust_domain).json(&["svid", "x509"]).await;
    let svid = shown.as_array().and_then(|svids| svids.first()).unwrap_or(&shown);
    let text = |member: &str| svid[member].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned();
    (text("chain_pem"), text("bundle_pem"))
}

/// What `openssl verify` says of a chain, by these authorities and nothing else.
pub(crate) async fn verify(authorities: &Path, chain: &Path, purpose: &str) -> Result<(), String> {
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-purpose", purpose])
        .arg("-CAfile")
        .arg(authorities)
        .arg("-untrusted")
        .arg(chain)
        .arg(chain)
        .output()
        .await
        .expect("openssl runs");
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_verifies_a_chain_by_the_bundle_of_its_own_trust_domain_alone() {
    if !openssl_is_there().await {
        return;
    }
    let daemon = Daemon::start().await;
    let (chain, bundle) = fetch(&daemon, PRODUCTION).await;
    let (_, other) = fetch(&daemon, NON_PRODUCTION).await;
    let write = |name: &str, text: &str| {
        let file = daemon.path(name);
        fs::write(&file, text).expect("a PEM file");
        file
    };
    let (chain, bundle, other) =
        (write("chain.pem", &chain), write("bundle.pem", &bundle), write("other.pem", &other));
    for purpose in ["sslclient", "sslserver"] {
        assert_eq!(verify(&bundle, &chain, purpose).await, Ok(()), "{purpose}");
    }
    let refused = verify(&other, &chain, "sslclient").await.expect_err("another root");
    assert!(refused.contains("unable to get"), "{refused}");
    let text = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName,basicConstraints,keyUsage", "-in"])
        .arg(&chain)
        .output()
        .await
        .expect("openssl runs");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains(&format!("URI:spiffe://{PRODUCTION}/service/cli")), "{text}");
    assert!(text.contains("CA:FALSE") && text.contains("Digital Signature"), "{text}");
    assert_eq!(Value::from(text.matches("URI:").count()), Value::from(1), "{text}");
}

/// A certificate that was signed now, with the bundle of now. A new entry has a new SVID, by whoever signs at that moment.
async fn fetch_signed_now(daemon: &Daemon, name: &str) -> (PathBuf, PathBuf) {
    let (place, operator) = (daemon.place(PRODUCTION), daemon.operator(PRODUCTION));
    let entry =
        operator.register(&place.id(&format!("/service/{name}")), "service", marque()).await;
    let svid = operator.json(&["svid", "x509"]).await;
    operator.run(&["entry", "delete", &entry]).await.succeeded();
    let svid = svid.as_array().and_then(|svids| svids.first()).unwrap_or(&svid);
    let write = |what: &str| {
        let file = daemon.path(&format!("{name}-{what}"));
        let text = svid[what].as_str().unwrap_or_else(|| panic!("{svid}"));
        fs::write(&file, text).expect("a PEM file");
        file
    };
    (write("chain_pem"), write("bundle_pem"))
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_verifies_chains_before_between_and_after_a_rotation_and_no_revoked_one() {
    if !openssl_is_there().await {
        return;
    }
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let step =
        async |arguments: &[&str]| operator.json(&[&["authority"], arguments].concat()).await;
    let good = async |chain: &Path, bundle: &Path, when: &str| {
        for purpose in ["sslclient", "sslserver"] {
            assert_eq!(verify(bundle, chain, purpose).await, Ok(()), "{when}, {purpose}");
        }
    };
    let refused = async |chain: &Path, bundle: &Path| {
        let told = verify(bundle, chain, "sslclient").await.expect_err("an authority too many");
        assert!(told.contains("unable to get"), "{told}");
    };

    let (first, before) = fetch_signed_now(&daemon, "before").await;
    good(&first, &before, "before").await;

    let of_first = keys(&operator, "x509-authority").await[0].0.clone();
    let next = step(&["prepare", "x509-authority"]).await["key"].as_str().unwrap().to_owned();
    let (between_chain, between) = fetch_signed_now(&daemon, "between").await;
    good(&first, &between, "between").await;
    good(&between_chain, &before, "between, by the bundle of before").await;

    let reason = ["--reason", "a drill"];
    step(&[&["activate", &next, "--now"][..], &reason].concat()).await;
    let (second, after) = fetch_signed_now(&daemon, "after").await;
    good(&first, &after, "after").await;
    good(&second, &after, "after").await;
    // Whoever fetched the bundle between the two steps knows the next authority before it signs; nobody knew it earlier.
    good(&second, &between, "after, by the bundle of between").await;
    refused(&second, &before).await;

    step(&[&["taint", &of_first][..], &reason].concat()).await;
    let (third, tainted) = fetch_signed_now(&daemon, "tainted").await;
    good(&first, &tainted, "tainted").await;
    step(&[&["revoke", &of_first][..], &reason].concat()).await;
    let (fourth, revoked) = fetch_signed_now(&daemon, "revoked").await;
    for chain in [&first, &between_chain] {
        refused(chain, &revoked).await;
    }
    for chain in [&second, &third, &fourth] {
        good(chain, &revoked, "revoked").await;
    }
}
