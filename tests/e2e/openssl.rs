//! X.509-SVIDs as OpenSSL sees them: `openssl verify` with the trust domain's bundle and nothing else.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

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
