//! The trust-domains folder: a test changes its own copy.

use std::fs;
use std::path::{Path, PathBuf};

use marque_testkit::ScratchTrustDomain;

/// The folder that ships.
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-domains")
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("create a folder");
    for entry in fs::read_dir(from).expect("read a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy a file");
        }
    }
}

/// Replaces what is in a file of a folder.
pub(crate) fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).expect("read the file");
    assert!(text.contains(from), "`{from}` is not in {file}");
    fs::write(&path, text.replace(from, to)).expect("write the file");
}

/// Adds to a file of a folder, which need not be there yet.
pub(crate) fn append(folder: &Path, file: &str, more: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, text + more).expect("write the file");
}

/// Has each key of a trust domain last this long, and what it signs that long: a sixth of it at most.
pub(crate) fn live_fast(folder: &Path, authority: &str, svids: &str) {
    for (field, usual, fast) in [
        ("authority", "30d", authority),
        ("x509_svid", "1h", svids),
        ("jwt_svid", "5m", svids),
        ("refresh_hint", "5m", "1s"),
        ("max_lifetime", "10m", svids),
    ] {
        let line = |value: &str| format!("{field} = \"{value}\"");
        edit(folder, "trust-domain.toml", &line(usual), &line(fast));
    }
}

/// Lets agents ask and be refused as often as the story of a test wants. What limits them has tests of its own
/// (`crate::pace`), which take this away again.
pub(crate) const PATIENCE: &str = "
[denials]
requests_per_minute = 10000
requests_per_task = 10000
open_per_playbook = 10000
other_paths = 10000
recent = \"1s\"
duplicate_grants = \"allow\"
[denials.budgets]
malformed = 10000
identity = 10000
boundary = 10000
attenuation = 10000
intent = 10000
change = 10000
risk = 10000
approval = 10000
pace = 10000
system = 10000
";

/// Adds [`PATIENCE`] to the document of a trust domain.
pub(crate) fn be_patient(trust_domain: &Path) {
    let file = trust_domain.join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    fs::write(file, text + PATIENCE).expect("write the document");
}

/// Takes [`PATIENCE`] away, and says `instead`.
pub(crate) fn be_strict(trust_domain: &Path, instead: &str) {
    let file = trust_domain.join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    assert!(text.contains(PATIENCE), "there was no patience");
    fs::write(file, text.replace(PATIENCE, instead)).expect("write the document");
}

/// Has one trust domain of the folder federate with another of its environment.
pub(crate) fn federate(trust_domains: &Path, own: &str, other: &ScratchTrustDomain) {
    let folder = trust_domains.join(own);
    let document = other.bundle().to_document().to_string();
    fs::write(folder.join("other.json"), document).expect("write the bundle");
    let file = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    let production = text.contains("environment = \"production\"");
    let environment = if production { "production" } else { "non-production" };
    let name = other.trust_domain();
    let federation = format!(
        "\n[[federation]]\ntrust_domain = \"{name}\"\nenvironment = \"{environment}\"\nbundle = \"other.json\"\n"
    );
    fs::write(file, text + &federation).expect("write the document");
}
