//! What each reader says of a document, through the door that a daemon uses.

use std::path::Path;

use marque_intent::{Calendar, Exception, HumanJob, Playbook, PlaybookError, Roster};
use marque_registry::{TrustDomainDocument, TrustDomainFolder};
use serde_json::Value;
use tempfile::TempDir;

use crate::issuer::folder;

const DOCUMENT: &str = "name = \"prod.example.org\"\nenvironment = \"production\"\ntenant = \"example\"\n\
    [lifetimes]\nauthority = \"30d\"\nx509_svid = \"1h\"\njwt_svid = \"5m\"\nrefresh_hint = \"5m\"\n\
    [issuer]\nlisten = \"127.0.0.1:8443\"\n[tokens]\nmax_lifetime = \"10m\"\n";

/// Everything that is said against a document of this kind; nothing of one that is sound.
pub(super) fn said(kind: &str, document: &Value) -> Vec<String> {
    let text = toml::to_string(document).unwrap();
    let errors = |errors: Vec<PlaybookError>| -> Vec<String> {
        errors.iter().map(|error| error.message().to_owned()).collect()
    };
    match kind {
        "trust-domain" => {
            let parsed = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text);
            let findings = parsed.err().unwrap_or_default();
            findings.into_iter().map(|finding| finding.message).collect()
        }
        "entries" => {
            let folder = with("entries/a.toml", &text);
            let findings = TrustDomainFolder::load(folder.path()).err().unwrap_or_default();
            findings.into_iter().map(|finding| finding.message).collect()
        }
        "playbook" => Playbook::parse(&text).err().map(errors).unwrap_or_default(),
        "exception" => Exception::parse(&text).err().map(errors).unwrap_or_default(),
        "calendar" => Calendar::parse(&text).err().map(errors).unwrap_or_default(),
        "roster" => Roster::parse(&text).err().into_iter().collect(),
        "role" => HumanJob::parse(&text).err().into_iter().collect(),
        "policy-tests" => checked("policy/tests/a.toml", &text),
        "playbook-tests" => checked("playbooks/tests/a.toml", &text),
        "relations" => checked("policy/relations/a.toml", &text),
        other => panic!("nobody reads `{other}`"),
    }
}

fn with(name: &str, text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(folder.path().join("trust-domain.toml"), DOCUMENT).unwrap();
    std::fs::write(file, text).unwrap();
    folder
}

fn checked(name: &str, text: &str) -> Vec<String> {
    let folder = with(name, text);
    let policy = folder.path().join("policy");
    std::fs::create_dir_all(&policy).unwrap();
    std::fs::write(policy.join("hard.cedar"), "").unwrap();
    std::fs::write(policy.join("gate.cedar"), "").unwrap();
    let findings = folder::check(folder.path()).err().unwrap_or_default();
    findings.into_iter().map(|finding| finding.message).collect()
}
