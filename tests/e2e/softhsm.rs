//! A whole issuer whose private keys are in a hardware token: SoftHSM 2, with a token of the test's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::openssl::{openssl_is_there, verify};
use crate::support::issuer::Issuer;
use crate::support::log;
use crate::support::programs::marque;
use crate::support::wait::until;

const NAME: &str = "hsm.example.org";
const PIN: &str = "8675309";

/// The library, or `None` where the test is to be skipped.
#[expect(clippy::disallowed_methods, reason = "what must be there comes from the environment")]
fn module() -> Option<PathBuf> {
    let module = PathBuf::from("/usr/lib/softhsm/libsofthsm2.so");
    if module.exists() {
        return Some(module);
    }
    let required = std::env::var_os("MARQUE_REQUIRE_SOFTHSM").is_some_and(|value| value == "1");
    assert!(!required, "MARQUE_REQUIRE_SOFTHSM=1, but SoftHSM 2 is not installed");
    eprintln!("skipped: SoftHSM 2 is not installed");
    None
}

/// Tokens in a folder.
struct Hsm(TempDir);

impl Hsm {
    async fn with_token() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let settings = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(folder.path().join("softhsm2.conf"), settings).unwrap();
        let hsm = Self(folder);
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "marque-e2e", "--so-pin", "12345678"])
            .args(["--pin", PIN])
            .env("SOFTHSM2_CONF", hsm.settings())
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        hsm.write_pin(PIN);
        hsm
    }

    fn settings(&self) -> PathBuf {
        self.0.path().join("softhsm2.conf")
    }

    fn pin_file(&self) -> PathBuf {
        self.0.path().join("pin")
    }

    fn write_pin(&self, pin: &str) {
        fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.pin_file(), Permissions::from_mode(0o600)).unwrap();
    }

    fn pull_out(&self) {
        fs::rename(self.0.path().join("tokens"), self.0.path().join("pulled")).unwrap();
        fs::create_dir(self.0.path().join("tokens")).unwrap();
    }

    fn plug_in(&self) {
        fs::remove_dir(self.0.path().join("tokens")).unwrap();
        fs::rename(self.0.path().join("pulled"), self.0.path().join("tokens")).unwrap();
    }

    /// `[keys]` of a trust domain's document.
    fn keys(&self, module: &Path) -> String {
        format!(
            "\n[keys]\nkind = \"pkcs11\"\nmodule = \"{}\"\ntoken = \"marque-e2e\"\npin_file = \"{}\"\n",
            module.display(),
            self.pin_file().display()
        )
    }
}

async fn issuer(hsm: &Hsm, module: &Path) -> Issuer {
    Issuer::start_in(NAME, vec![("SOFTHSM2_CONF", hsm.settings())], |folder| {
        let document = folder.join("trust-domain.toml");
        let text = fs::read_to_string(&document).unwrap();
        fs::write(&document, text + &hsm.keys(module)).unwrap();
    })
    .await
}

/// This command line's own SVID: the chain and the bundle, as PEM files.
async fn fetch(issuer: &Issuer, name: &str) -> (PathBuf, PathBuf) {
    let shown = issuer.operator().json(&["svid", "x509"]).await;
    let svid = shown.as_array().and_then(|svids| svids.first()).unwrap_or(&shown);
    let write = |kind: &str, member: &str| {
        let file = issuer.path(&format!("{name}-{kind}.pem"));
        fs::write(&file, svid[member].as_str().unwrap()).unwrap();
        file
    };
    (write("chain", "chain_pem"), write("bundle", "bundle_pem"))
}

fn reasons(status: &Value) -> Vec<&str> {
    let reasons = status[0]["not_ready"].as_array().unwrap();
    reasons.iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_signs_everything_on_its_token_and_finds_its_keys_again() {
    let Some(module) = module() else { return };
    if !openssl_is_there().await {
        return;
    }
    let hsm = Hsm::with_token().await;
    let mut issuer = issuer(&hsm, &module).await;
    let id = issuer.place.id("/service/cli");
    issuer.operator().register(&id, "service", marque()).await;
    let (chain, bundle) = fetch(&issuer, "first").await;
    assert_eq!(verify(&bundle, &chain, "sslclient").await, Ok(()));
    let token = issuer.operator().json(&["svid", "jwt", "--audience", "x"]).await;
    assert!(token.to_string().contains("eyJ"), "{token}");
    // Nothing of the keys is on the issuer's own disk, and the log that the token signed verifies.
    let sealed = fs::read_dir(issuer.path("d").join(NAME).join("private/keys")).unwrap();
    assert_eq!(sealed.count(), 0);
    assert!(!log::export(&issuer.operator(), &issuer.path("log-1")).await.is_empty());

    issuer.restart(|| {}).await;
    let (next, same) = fetch(&issuer, "second").await;
    assert_eq!(fs::read_to_string(&same).unwrap(), fs::read_to_string(&bundle).unwrap());
    assert_eq!(verify(&bundle, &next, "sslserver").await, Ok(()));
    let said = fs::read_to_string(issuer.path("log")).unwrap();
    assert!(!said.contains(PIN), "the PIN is in no output");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_says_that_its_token_is_away_and_goes_on_when_it_is_back() {
    let Some(module) = module() else { return };
    let hsm = Hsm::with_token().await;
    let mut issuer = issuer(&hsm, &module).await;
    let id = issuer.place.id("/service/cli");
    issuer.operator().register(&id, "service", marque()).await;
    fetch(&issuer, "before").await;

    hsm.pull_out();
    until("the issuer to miss its token", async || {
        let status = issuer.operator().json(&["status"]).await;
        reasons(&status).contains(&"keys_unreachable").then_some(())
    })
    .await;
    issuer.operator().run(&["svid", "jwt", "--audience", "of-a-token-that-is-away"]).await.failed();
    hsm.plug_in();
    until("the issuer to use its token again", async || {
        let status = issuer.operator().json(&["status"]).await;
        reasons(&status).is_empty().then_some(())
    })
    .await;
    issuer.operator().json(&["svid", "jwt", "--audience", "of-a-token-that-is-back"]).await;

    // Where it cannot be opened, the start says why.
    let said = issuer.restart_fails(|| hsm.write_pin("0000000")).await;
    assert!(said.contains("key_token_pin_wrong"), "{said}");
    let said = issuer.restart_fails(|| hsm.write_pin("")).await;
    assert!(said.contains("key_token_pin_file"), "{said}");
    hsm.write_pin(PIN);
    let said = issuer.restart_fails(|| hsm.pull_out()).await;
    assert!(said.contains("key_token_absent"), "{said}");
    assert!(!said.contains(PIN), "the PIN is in no output");
}
