//! A root that is kept with OpenSSL's command line, as people keep theirs offline.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// A root's key and certificate in a folder of their own.
#[derive(Debug)]
pub(crate) struct OfflineRoot(PathBuf);

impl OfflineRoot {
    /// Makes a root whose subject has these members beside its name.
    pub(crate) async fn make(folder: PathBuf, subject: &str) -> Self {
        fs::create_dir_all(&folder).expect("a folder");
        let root = Self(folder);
        let (key, certificate) = (root.path("root.key"), root.path("root.pem"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "3650",
            "-subj",
            &format!("/O=example.org{subject}/CN=offline root"),
            "-addext",
            "basicConstraints=critical,CA:TRUE,pathlen:1",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ])
        .await;
        root
    }

    /// Signs a request, and gives the chain up to the root as `marque authority import` wants it.
    pub(crate) async fn sign(&self, request: &str, days: &str) -> PathBuf {
        let (csr, signed) = (self.path("next.csr"), self.path("next.pem"));
        fs::write(&csr, request).expect("the request");
        let (key, certificate) = (self.path("root.key"), self.path("root.pem"));
        openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &certificate,
            "-CAkey",
            &key,
            "-days",
            days,
            "-copy_extensions",
            "copy",
            "-out",
            &signed,
        ])
        .await;
        let read = |file: &str| fs::read_to_string(file).expect("a certificate");
        let chain = self.0.join("chain.pem");
        fs::write(&chain, format!("{}{}", read(&signed), read(&certificate))).expect("the chain");
        chain
    }

    /// The root's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// The SHA-256 fingerprint of a certificate as OpenSSL prints it.
pub(crate) async fn fingerprint(certificate: &Path) -> String {
    let file = certificate.display().to_string();
    let said = openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in", &file]).await;
    said.trim().rsplit_once('=').expect("a fingerprint").1.to_owned()
}

async fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().await.expect("openssl runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}
