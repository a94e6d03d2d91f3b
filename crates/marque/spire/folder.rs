//! Writing what was converted: whole or not at all, and never over what is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use marque_registry::Finding;
use marque_spiffe::TrustDomain;
use serde::Serialize;
use serde_json::json;

use super::{Converted, ConvertedEntry, Wanted};
use crate::issuer::folder::check;

/// How many entries a file has at most, so that people can read it.
const ENTRIES_IN_A_FILE: usize = 500;
/// How many bytes of entries it has at most: no file of a folder is larger than 1 MiB.
const BYTES_IN_A_FILE: usize = 1000 * 1024;

/// Why no folder was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is something already.
    #[error("`{0}` is there already and not an empty folder")]
    Exists(PathBuf),
    /// The file system does not let it.
    #[error("cannot write the folder")]
    Io(#[from] io::Error),
    /// A document could not be written as TOML.
    #[error("cannot write a document")]
    Toml(#[from] toml::ser::Error),
    /// What was written has findings.
    #[error("what came of it has findings; the first is {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Findings(Vec<Finding>),
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    environment: &'a str,
    tenant: &'a str,
    lifetimes: Lifetimes,
    issuer: Issuer,
    tokens: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    identities: Option<Identities>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    federation: Vec<Federation<'a>>,
}

#[derive(Serialize)]
struct Lifetimes {
    authority: &'static str,
    x509_svid: String,
    jwt_svid: String,
    refresh_hint: &'static str,
}

#[derive(Serialize)]
struct Identities {
    without_expiry: &'static str,
}

#[derive(Serialize)]
struct Issuer {
    listen: &'static str,
}

#[derive(Serialize)]
struct Tokens {
    max_lifetime: &'static str,
}

#[derive(Serialize)]
struct Federation<'a> {
    trust_domain: &'a str,
    environment: &'a str,
    bundle: String,
}

#[derive(Serialize)]
struct Entries<'a> {
    entry: [EntryTable<'a>; 1],
}

#[derive(Serialize)]
struct EntryTable<'a> {
    id: &'a str,
    #[serde(flatten)]
    entry: &'a marque_registry::NewEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Writes the folder beside where it will be, has it checked like any other, and moves it there. With `dry_run` it is only
/// checked.
///
/// # Errors
/// There is something already, the file system refuses, or the folder would have findings.
pub fn write(
    converted: &Converted,
    wanted: &Wanted,
    folder: &Path,
    dry_run: bool,
) -> Result<(), WriteError> {
    let empty = match fs::read_dir(folder) {
        Ok(mut listing) => listing.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(_not_a_folder) => false,
    };
    if !empty {
        return Err(WriteError::Exists(folder.to_owned()));
    }
    let scratch = if dry_run {
        tempfile::tempdir()?
    } else {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(parent)?;
        tempfile::Builder::new().prefix(".marque-import").tempdir_in(parent)?
    };
    let made = scratch.path().join("folder");
    fs::create_dir(&made)?;
    write_files(converted, wanted, &made)?;
    check(&made).map_err(WriteError::Findings)?;
    if dry_run {
        return Ok(());
    }
    // An empty folder gives way to a full one; one that has filled meanwhile does not.
    fs::rename(&made, folder)?;
    Ok(())
}

fn write_files(converted: &Converted, wanted: &Wanted, folder: &Path) -> Result<(), WriteError> {
    fs::write(folder.join("trust-domain.toml"), document(converted, wanted)?)?;
    let entries = folder.join("entries");
    fs::create_dir(&entries)?;
    for (index, text) in entry_files(&converted.entries)?.into_iter().enumerate() {
        fs::write(entries.join(format!("spire-{:04}.toml", index + 1)), text)?;
    }
    if !converted.federation.is_empty() {
        fs::create_dir(folder.join("federation"))?;
    }
    for (name, bundle) in &converted.federation {
        fs::write(folder.join(bundle_file(name)), format!("{:#}\n", bundle.to_document()))?;
    }
    // A folder without policies is refused: these permit nothing, until somebody writes playbooks.
    let policy = folder.join("policy");
    fs::create_dir(&policy)?;
    fs::write(policy.join("hard.cedar"), HARD)?;
    fs::write(policy.join("gate.cedar"), GATE)?;
    let notes = json!({ "notes": &converted.notes });
    fs::write(folder.join("spire-import.json"), format!("{notes:#}\n"))?;
    Ok(())
}

/// The texts of the files with entries, each within its limits.
fn entry_files(entries: &[ConvertedEntry]) -> Result<Vec<String>, toml::ser::Error> {
    let (mut files, mut text, mut count) = (Vec::new(), String::new(), 0);
    for one in entries {
        let one = entry(one)?;
        if count == ENTRIES_IN_A_FILE || (count > 0 && text.len() + one.len() > BYTES_IN_A_FILE) {
            files.push(std::mem::take(&mut text));
            count = 0;
        }
        text.push_str(&one);
        count += 1;
    }
    files.extend((count > 0).then_some(text));
    Ok(files)
}

const HARD: &str =
    "// What no playbook can make right: `forbid` with an @id and a @code. See docs/policy.md.\n";
const GATE: &str = "// What is permitted: `permit` with an @id and a @tier. Nothing is, until there are playbooks. See docs/policy.md.\n";

const ENDLESS: &str = "# Some entries never ended in SPIRE: give each an `expires_at`, then delete `without_expiry`.\n";

fn document(converted: &Converted, wanted: &Wanted) -> Result<String, toml::ser::Error> {
    let environment = wanted.environment.as_str();
    let federation = converted.federation.keys().map(|name| Federation {
        trust_domain: name.as_str(),
        environment,
        bundle: bundle_file(name),
    });
    let endless = converted.entries.iter().any(|one| one.entry.expires_at.is_none());
    let document = Document {
        name: converted.trust_domain.as_str(),
        environment,
        tenant: wanted.tenant.as_str(),
        lifetimes: Lifetimes {
            authority: "30d",
            x509_svid: wanted.x509_svid.to_string(),
            jwt_svid: wanted.jwt_svid.to_string(),
            refresh_hint: "5m",
        },
        issuer: Issuer { listen: "127.0.0.1:8443" },
        tokens: Tokens { max_lifetime: "10m" },
        identities: endless.then_some(Identities { without_expiry: "warn" }),
        federation: federation.collect(),
    };
    let text = toml::to_string(&document)?;
    let endless = if endless { ENDLESS } else { "" };
    Ok(format!(
        "# Imported from SPIRE. To be completed: `listen` and `url`, [[operators]], and for each [[federation]] its `url` and\n\
         # `profile`, without which its bundle is never fetched. docs/trust-domains.md has every field.\n{endless}{text}"
    ))
}

fn entry(one: &ConvertedEntry) -> Result<String, toml::ser::Error> {
    let ConvertedEntry { id, entry, shared, comments } = one;
    let reason = shared.as_ref().map(marque_registry::SharingReason::as_str);
    let table = EntryTable { id, entry, shared: reason.map(|_| true), reason };
    let text = toml::to_string(&Entries { entry: [table] })?;
    let comments: String = comments.iter().map(|comment| format!("# {comment}\n")).collect();
    Ok(format!("{comments}{text}\n"))
}

fn bundle_file(name: &TrustDomain) -> String {
    format!("federation/{name}.json")
}
