//! Secrets of a run, and the search for them in whatever came out of it.

use std::fs;
use std::path::Path;

/// Everything that must not be found anywhere, in each form that it could take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canaries(Vec<(String, Vec<u8>)>);

impl Canaries {
    pub(crate) fn token(&mut self, name: &str, token: &str) {
        // The signature alone would be enough to complete a copied token.
        let signature = token.rsplit('.').next().expect("three parts");
        for (form, text) in [("whole", token), ("signature", signature)] {
            assert!(text.len() > 40, "{name}: too short to be told from chance");
            self.0.push((format!("{name}, {form}"), text.as_bytes().to_vec()));
        }
    }

    /// A secret that has one form.
    pub(crate) fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() > 40, "{name}: too short to be told from chance");
        self.0.push((name.to_owned(), secret.to_vec()));
    }

    /// A PKCS#8 key; its private scalar alone as well.
    pub(crate) fn key(&mut self, name: &str, pkcs8: &[u8]) {
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
    pub(crate) fn secret_files(&mut self, folder: &Path) -> usize {
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

    pub(crate) fn search(&self, place: &str, bytes: &[u8]) {
        for (name, canary) in &self.0 {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_slice());
            assert!(!found, "{place} holds a secret: {name}");
        }
    }

    pub(crate) fn search_folder(&self, folder: &Path) -> usize {
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
