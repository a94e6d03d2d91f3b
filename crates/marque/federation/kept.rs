//! The last good bundle of each trust domain on disk, when it was refreshed last, and since when the folder has its own, so
//! that a restart neither falls back to older ones nor makes an old one young.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_jose::sha256;
use marque_spiffe::{Bundle, TrustDomain};
use serde::{Deserialize, Serialize};

/// Names are shortened past this, because file systems take 255 bytes.
const MAX_STEM: usize = 200;
/// How many bundles of files are remembered of one trust domain.
const MAX_SEEN: usize = 16;
/// The member of the document that says when the bundle was fetched last, in seconds since 1970.
const REFRESHED_AT: &str = "marque_refreshed_at";

/// A bundle as it was kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) bundle: Bundle,
    /// When it was fetched last, or found unchanged; long ago where the file does not say.
    pub(super) refreshed_at: Timestamp,
}

/// The sequence of a bundle that was kept in a file of its own; `None` where there is none, or it does not read.
pub(crate) fn sequence_of_kept(file: &Path) -> Option<u64> {
    // Whose it is does not matter to the number; a long name is not in the file's.
    let stem = file.file_stem()?.to_str()?.parse().ok();
    let trust_domain = stem.or_else(|| "nobody.invalid".parse().ok())?;
    Some(Bundle::parse(trust_domain, &std::fs::read(file).ok()?).ok()?.sequence())
}

/// A bundle that was seen in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    sha256: String,
    /// When first, in seconds since 1970.
    first_at: i64,
}

/// The folder with the bundles that were fetched, one file for each trust domain, and another with when those of the trust
/// domain's own folder were seen first.
#[derive(Debug, Clone)]
pub(crate) struct KeptBundles(PathBuf);

impl KeptBundles {
    /// The bundles kept in `folder`, which need not be there.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The bundle that was fetched last; `None` where none was. One that cannot be read is told and left alone.
    pub(super) fn load(&self, trust_domain: &TrustDomain) -> Option<Kept> {
        let file = self.file(trust_domain);
        let document = match std::fs::read(&file) {
            Ok(document) => document,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%trust_domain, error, "the bundle fetched last cannot be read");
                return None;
            }
        };
        let bundle = Bundle::parse(trust_domain.clone(), &document);
        if let Err(error) = &bundle {
            let error = error as &dyn std::error::Error;
            tracing::warn!(%trust_domain, error, "the bundle fetched last is not one");
        }
        Some(Kept { bundle: bundle.ok()?, refreshed_at: refreshed_at(&document) })
    }

    /// Keeps a bundle that was refreshed at this time, whole or not at all.
    pub(super) fn save(&self, bundle: &Bundle, refreshed_at: Timestamp) -> io::Result<()> {
        let mut document = bundle.to_document();
        if let Some(members) = document.as_object_mut() {
            members.insert(REFRESHED_AT.to_owned(), refreshed_at.as_second().into());
        }
        self.write(&self.file(bundle.trust_domain()), document.to_string().as_bytes())
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let mut partial = file.as_os_str().to_owned();
        partial.push(".partial");
        let mut options = std::fs::OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut writer = options.open(&partial)?;
        writer.write_all(bytes)?;
        writer.sync_all()?;
        std::fs::rename(partial, file)
    }

    /// When this bundle was seen in a file first; `None` if it was not yet. Where the memory of it does not read, it is as old
    /// as can be: nothing vouches for its being young.
    pub(super) fn first_seen(&self, bundle: &Bundle) -> Option<Timestamp> {
        match self.all_seen(bundle.trust_domain()) {
            Ok(seen) => {
                let sha256 = digest(bundle);
                let found = seen.into_iter().find(|one| one.sha256 == sha256)?;
                Some(Timestamp::from_second(found.first_at).unwrap_or(Timestamp::UNIX_EPOCH))
            }
            Err(error) => {
                let (trust_domain, error) =
                    (bundle.trust_domain(), &error as &dyn std::error::Error);
                tracing::error!(%trust_domain, error, "when its bundle was seen first cannot be read: it counts as too old");
                Some(Timestamp::UNIX_EPOCH)
            }
        }
    }

    /// Remembers that this bundle was seen in a file at this time, unless it was before; whole or not at all.
    pub(super) fn see(&self, bundle: &Bundle, at: Timestamp) -> io::Result<()> {
        let mut seen = self.all_seen(bundle.trust_domain())?;
        let sha256 = digest(bundle);
        if seen.iter().any(|one| one.sha256 == sha256) {
            return Ok(());
        }
        seen.insert(0, Seen { sha256, first_at: at.as_second() });
        seen.truncate(MAX_SEEN);
        self.write(&self.seen_file(bundle.trust_domain()), &serde_json::to_vec(&seen)?)
    }

    fn all_seen(&self, trust_domain: &TrustDomain) -> io::Result<Vec<Seen>> {
        match std::fs::read(self.seen_file(trust_domain)) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Forgets every trust domain that is not fetched any more, so that it does not come back with old keys (FE-8).
    pub(crate) fn prune(&self, fetched: &BTreeSet<TrustDomain>) -> io::Result<()> {
        let of_one = |name| [self.file(name), self.seen_file(name)];
        let wanted: BTreeSet<_> = fetched.iter().flat_map(of_one).collect();
        let listing = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listing => listing?,
        };
        for item in listing {
            let file = item?.path();
            if !wanted.contains(&file) {
                std::fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// Forgets one trust domain.
    pub(super) fn forget(&self, trust_domain: &TrustDomain) -> io::Result<()> {
        match std::fs::remove_file(self.file(trust_domain)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn seen_file(&self, trust_domain: &TrustDomain) -> PathBuf {
        self.file(trust_domain).with_extension("seen")
    }

    fn file(&self, trust_domain: &TrustDomain) -> PathBuf {
        let name = trust_domain.as_str();
        let stem = if name.len() > MAX_STEM {
            hex::encode(sha256(name.as_bytes()))
        } else {
            name.to_owned()
        };
        Path::new(&self.0).join(format!("{stem}.json"))
    }
}

/// What tells a bundle from another, however its document is spaced.
fn digest(bundle: &Bundle) -> String {
    hex::encode(sha256(bundle.to_document().to_string().as_bytes()))
}

fn refreshed_at(document: &[u8]) -> Timestamp {
    let document: Option<serde_json::Value> = serde_json::from_slice(document).ok();
    let second = document.and_then(|document| document.get(REFRESHED_AT)?.as_i64());
    second.and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}
