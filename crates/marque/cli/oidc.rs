//! `marque oidc`: what clouds fetch, as files for those that cannot fetch it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use marque_jose::sha256;
use marque_spiffe::Clock as _;
use serde::{Deserialize, Serialize};

use super::Session;
use super::failure::Failure;
use super::output::pairs;
use super::text::lines;
use crate::clock::SystemClock;
use crate::discovery::{CONFIGURATION_PATH, Published};

/// What clouds fetch to verify tokens, as files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque oidc export ./public --trust-domain prod.example.org
  marque oidc export ./public --of tokens --trust-domain prod.example.org")]
pub(super) struct OidcArgs {
    #[command(subcommand)]
    command: OidcCommand,
}

#[derive(Debug, Subcommand)]
enum OidcCommand {
    /// Write discovery document and keys below a folder, to be served as they are or uploaded
    ///
    /// Files stand where the issuer's URL has them, with a manifest of their SHA-256 digests. A newer export, one of another
    /// issuer, and files that are none are left alone. Export again after every rotation of keys, a day before they sign.
    Export {
        /// The folder; made where it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Whose: of JWT-SVIDs, or of access tokens
        #[arg(long, value_enum, default_value_t)]
        of: Of,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Of {
    /// JWT-SVIDs; the trust domain has an oidc_discovery table
    #[default]
    Svids,
    /// Access tokens of the token service
    Tokens,
}

/// The file beside the documents.
const MANIFEST: &str = "manifest.json";

/// What was exported, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    issuer: String,
    /// Of the trust domain's bundle.
    sequence: u64,
    exported_at: Timestamp,
    /// SHA-256 in hex, by the path below the folder.
    files: BTreeMap<String, String>,
}

impl OidcArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let OidcCommand::Export { folder, of } = self.command;
        let mut home = session.home().await?;
        let of = match of {
            Of::Svids => "svids",
            Of::Tokens => "tokens",
        };
        let published = home.admin.published().await?;
        let published = published.into_iter().find(|one| one.of == of).ok_or_else(|| {
            Failure::failed("the trust domain publishes no issuer of JWT-SVIDs")
                .code(Some("discovery_off".to_owned()))
                .next("write [oidc_discovery] into its trust-domain.toml, or export --of tokens")
        })?;
        let manifest = export(&folder, &published, SystemClock.now())?;
        session.output.show(&home.of(manifest), |of| render(&of.item, &folder))
    }
}

fn export(folder: &Path, published: &Published, now: Timestamp) -> Result<Manifest, Failure> {
    let Published { of: _, issuer, sequence, configuration, keys_path, keys } = published;
    let mut files = BTreeMap::new();
    let mut texts = Vec::new();
    for (path, document) in [(CONFIGURATION_PATH, configuration), (keys_path.as_str(), keys)] {
        let path = relative(path)?;
        let text = format!("{}\n", serde_json::to_string_pretty(document)?);
        files.insert(path.to_owned(), hex::encode(sha256(text.as_bytes())));
        texts.push((path, text));
    }
    let manifest =
        Manifest { issuer: issuer.clone(), sequence: *sequence, exported_at: now, files };
    held_against(folder, &manifest, &texts)?;
    for (path, text) in &texts {
        write(&folder.join(path), text)?;
    }
    // Last: what it says is there.
    write(&folder.join(MANIFEST), &format!("{}\n", serde_json::to_string_pretty(&manifest)?))?;
    Ok(manifest)
}

/// A path of the issuer's URL as one below the folder.
fn relative(path: &str) -> Result<&str, Failure> {
    let relative = path.trim_start_matches('/');
    let plain = relative.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if plain { Ok(relative) } else { Err(Failure::failed(format!("`{path}` is no path to write"))) }
}

/// Whether what is in the folder may be overwritten.
fn held_against(folder: &Path, next: &Manifest, texts: &[(&str, String)]) -> Result<(), Failure> {
    let refused = |code: &str, message: String| {
        Err(Failure::failed(message)
            .code(Some(code.to_owned()))
            .next("export to another folder, or remove what is there if it is not wanted"))
    };
    let there = match fs::read(folder.join(MANIFEST)) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match texts.iter().find(|(path, _)| folder.join(path).exists()) {
                Some((path, _)) => refused(
                    "export_not_ours",
                    format!("`{path}` is there and no {MANIFEST} says what it is"),
                ),
                None => Ok(()),
            };
        }
        Err(error) => return Err(Failure::because(format!("cannot read {MANIFEST}"), &error)),
    };
    let Ok(there) = serde_json::from_slice::<Manifest>(&there) else {
        return refused("export_not_ours", format!("{MANIFEST} is no manifest of an export"));
    };
    if there.issuer != next.issuer {
        return refused(
            "export_other_issuer",
            format!("the folder has what `{}` publishes", there.issuer),
        );
    }
    if (there.sequence, there.exported_at) > (next.sequence, next.exported_at) {
        let message = format!(
            "the folder has a newer export (sequence {}, {})",
            there.sequence, there.exported_at
        );
        return refused("export_newer", message);
    }
    Ok(())
}

/// Writes a file whole or not at all.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let written = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut partial = file.as_os_str().to_owned();
        partial.push(".partial");
        let mut writer = fs::File::create(&partial)?;
        writer.write_all(text.as_bytes())?;
        writer.sync_all()?;
        fs::rename(&partial, file)
    };
    written().map_err(|error: io::Error| {
        Failure::because(format!("cannot write `{}`", file.display()), &error)
            .next("check that the folder can be written")
    })
}

fn render(manifest: &Manifest, folder: &Path) -> String {
    let files: Vec<_> = manifest
        .files
        .iter()
        .map(|(path, digest)| format!("{} (sha256 {digest})", folder.join(path).display()))
        .collect();
    pairs([
        ("issuer", manifest.issuer.clone()),
        ("sequence", manifest.sequence.to_string()),
        ("files", lines(&files)),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn published(issuer: &str, sequence: u64) -> Published {
        Published {
            of: "svids".to_owned(),
            issuer: issuer.to_owned(),
            sequence,
            configuration: json!({ "issuer": issuer }),
            keys_path: "/keys".to_owned(),
            keys: json!({ "keys": [] }),
        }
    }

    fn code(result: Result<Manifest, Failure>, code: &str) {
        let failure = result.unwrap_err();
        assert!(failure.is(code), "{failure:?}");
    }

    #[test]
    fn an_export_is_where_the_issuer_has_it_with_its_digests_and_is_never_set_back() {
        let folder = marque_testkit::temp_dir();
        let dir = folder.path().join("public");
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let issuer = "https://issuer.example.org/svid";
        let manifest = export(&dir, &published(issuer, 3), now).unwrap();
        for (path, digest) in &manifest.files {
            let bytes = fs::read(dir.join(path)).unwrap();
            assert_eq!(&hex::encode(sha256(&bytes)), digest);
        }
        assert!(dir.join(".well-known/openid-configuration").exists() && dir.join("keys").exists());
        // The same again, and a newer one.
        export(&dir, &published(issuer, 3), now).unwrap();
        export(&dir, &published(issuer, 4), now).unwrap();
        code(export(&dir, &published(issuer, 3), now), "export_newer");
        let earlier = now - Duration::from_secs(1);
        code(export(&dir, &published(issuer, 4), earlier), "export_newer");
        code(export(&dir, &published("https://other.example.org", 9), now), "export_other_issuer");
        fs::write(dir.join(MANIFEST), "{}").unwrap();
        code(export(&dir, &published(issuer, 9), now), "export_not_ours");
        fs::remove_file(dir.join(MANIFEST)).unwrap();
        code(export(&dir, &published(issuer, 9), now), "export_not_ours");
    }
}
