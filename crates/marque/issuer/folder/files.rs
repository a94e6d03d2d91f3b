//! The files of a trust domain's folder as they were at one reading: whether two readings are of the same, where they differ,
//! what a plan compares, and what a daemon tells of itself.
//!
//! Of every file there is a digest. The bytes are there of those alone that say what the trust domain is and by what others are
//! verified: secrets, which documents name too, are nobody's to read here.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Bound;
use std::path::{Component, Path};
use std::sync::Arc;

use marque_intent::Digest;
use marque_registry::{Finding, FindingCode, TrustDomainDocument};

use crate::issuer::reload::Changes;

/// The folders whose files are told, each with the endings of those.
const FOLDERS: [(&str, &[&str]); 11] = [
    ("entries", &["toml"]),
    ("playbooks", &["toml"]),
    ("playbooks/tests", &["toml"]),
    ("exceptions", &["toml"]),
    ("calendars", &["toml"]),
    ("rosters", &["toml"]),
    ("roles", &["toml"]),
    ("policy", &["cedar", "cedarschema", "rego"]),
    ("policy/tests", &["toml"]),
    ("policy/relations", &["toml"]),
    ("crls", &["crl", "pem"]),
];
/// Where playbooks have policies of their own, each in a folder.
const OF_PLAYBOOKS: &str = "policy/playbooks/";
/// No file that is told is larger.
const MAX_TOLD: u64 = 1024 * 1024;
/// How much of any file is looked at.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// How deep folders may stand in each other. Nothing that is read stands deeper, and a link to a folder above ends there.
const MAX_DEPTH: usize = 16;

/// The files of a folder, by their paths below it, with `/` between the parts.
///
/// Names that begin with a dot or end in `~` are nobody's: editors keep theirs there, and mounted volumes their own links.
/// Two of these are equal when all files hold the same.
#[derive(Clone)]
pub struct FolderFiles {
    digests: Arc<BTreeMap<String, Digest>>,
    digest: Digest,
    told: Arc<BTreeMap<String, Vec<u8>>>,
}

impl FolderFiles {
    /// Reads every file of the folder, once. One that cannot be read counts as one that holds why.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut files = Reading { told: Some(BTreeMap::new()), ..Reading::default() };
        files.add(folder, "", MAX_DEPTH);
        files.into()
    }

    /// The same without any bytes: for looking whether something changed.
    pub(crate) fn digests(folder: &Path) -> Self {
        let mut files = Reading::default();
        files.add(folder, "", MAX_DEPTH);
        files.into()
    }

    /// These files, by their names, all of them told; `None` if one of the names leads out of a folder.
    pub fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Option<Self> {
        let told: BTreeMap<String, Vec<u8>> = files.into_iter().collect();
        let inside = |name: &String| {
            let mut parts = Path::new(name).components();
            !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        let digests = told.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes))).collect();
        told.keys().all(inside).then(|| Reading { digests, told: Some(told) }.into())
    }

    /// With the bytes of what the document names and by which others are verified, as they were at this reading.
    ///
    /// # Errors
    /// A file that is to be told cannot be read, is too large, or is another by now.
    pub(super) fn with_trust(
        mut self,
        folder: &Path,
        document: &TrustDomainDocument,
    ) -> Result<Self, Vec<Finding>> {
        let named =
            document.trust_files().into_iter().map(|file| file.to_string_lossy().into_owned());
        let known = self.digests.keys().filter(|name| is_told(name)).cloned();
        let missing: Vec<String> =
            named.chain(known).filter(|name| !self.told.contains_key(name)).collect();
        let mut findings = Vec::new();
        let told = Arc::make_mut(&mut self.told);
        for name in missing {
            let file = folder.join(&name);
            match bytes(&file, MAX_TOLD) {
                Err(message) => findings.push(unreadable(&file, message)),
                Ok(read) => {
                    let is = Digest::of(&read);
                    if self.digests.get(&name).is_some_and(|was| *was != is) {
                        findings.push(unreadable(
                            &file,
                            "changed while it was read; try again".to_owned(),
                        ));
                    }
                    told.insert(name, read);
                }
            }
        }
        if findings.is_empty() { Ok(self) } else { Err(findings) }
    }

    /// The digest of the whole: SHA-256 of a line `<digest>  <path>` for each file, by path. The same files have the same
    /// digest on every replica.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where `next` differs from this, by path.
    #[must_use]
    pub fn changes_to(&self, next: &Self) -> Changes {
        Changes::between(&self.digests, &next.digests)
    }

    /// Writes what is told below a folder that is there.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn write_below(&self, folder: &Path) -> io::Result<()> {
        for (name, bytes) in self.told.iter() {
            let file = folder.join(name);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(file, bytes)?;
        }
        Ok(())
    }

    /// The file behind this name in the order of names, of those that are told.
    #[must_use]
    pub fn after(&self, name: &str) -> Option<(&str, &[u8])> {
        let behind = (Bound::Excluded(name), Bound::Unbounded);
        let (name, bytes) = self.told.range::<str, _>(behind).next()?;
        Some((name, bytes))
    }

    /// One file, if it is there and told.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.told.get(name).map(Vec::as_slice)
    }

    /// The text of one file, if it is there, told, and one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.file(name)?).ok()
    }

    /// The files that are told below a folder, not those of folders in it: their names in it, and what they hold.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let from = format!("{folder}/");
        let range = self.told.range(from.clone()..);
        let inside = range.map_while(move |(name, bytes)| {
            Some((name.strip_prefix(from.as_str())?, bytes.as_slice()))
        });
        inside.filter(|(name, _)| !name.contains('/'))
    }
}

impl Default for FolderFiles {
    fn default() -> Self {
        Reading::default().into()
    }
}

impl PartialEq for FolderFiles {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for FolderFiles {}

impl fmt::Debug for FolderFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FolderFiles").field(&self.digests.len()).field(&self.digest).finish()
    }
}

/// A reading under way.
#[derive(Default)]
struct Reading {
    digests: BTreeMap<String, Digest>,
    /// The bytes of what is told, where they are wanted.
    told: Option<BTreeMap<String, Vec<u8>>>,
}

impl Reading {
    fn add(&mut self, folder: &Path, below: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let listing = match std::fs::read_dir(folder) {
            Ok(listing) => listing,
            Err(error) => {
                self.digests.insert(below.to_owned(), holding(&error));
                return;
            }
        };
        for item in listing.flatten() {
            let name = item.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            // Followed, as every reader does: a mounted volume's files are links.
            match std::fs::metadata(item.path()) {
                Ok(metadata) if metadata.is_dir() => self.add(&item.path(), &path, depth),
                Ok(metadata) if metadata.is_file() => self.add_file(&item.path(), path),
                Ok(_neither) => {}
                Err(error) => {
                    self.digests.insert(path, holding(&error));
                }
            }
        }
    }

    fn add_file(&mut self, file: &Path, path: String) {
        let mut bytes = Vec::new();
        let read = File::open(file).and_then(|open| open.take(MAX_FILE).read_to_end(&mut bytes));
        if let Err(error) = read {
            self.digests.insert(path, holding(&error));
            return;
        }
        self.digests.insert(path.clone(), Digest::of(&bytes));
        let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_TOLD);
        if let Some(told) = self.told.as_mut().filter(|_| fits && is_told(&path)) {
            told.insert(path, bytes);
        }
    }
}

impl From<Reading> for FolderFiles {
    fn from(Reading { digests, told }: Reading) -> Self {
        let lines = digests.iter().map(|(path, digest)| format!("{digest}  {path}\n"));
        let digest = Digest::of(lines.collect::<String>().as_bytes());
        Self { digests: Arc::new(digests), digest, told: Arc::new(told.unwrap_or_default()) }
    }
}

/// Whether the bytes of a file are told whatever the document says: by where it lies.
fn is_told(path: &str) -> bool {
    if path == super::DOCUMENT {
        return true;
    }
    let Some((place, name)) = path.rsplit_once('/') else { return false };
    let ends = |endings: &[&str]| {
        name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
    };
    let of_playbook = place.strip_prefix(OF_PLAYBOOKS).is_some_and(|name| !name.contains('/'));
    of_playbook && ends(&["cedar"])
        || FOLDERS.iter().any(|(folder, endings)| *folder == place && ends(endings))
}

/// What a file counts as that cannot be read.
fn holding(error: &io::Error) -> Digest {
    Digest::of(format!("unreadable: {}", error.kind()).as_bytes())
}

fn bytes(file: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= most => Ok(bytes),
        _ => Err(format!("is larger than {most} bytes")),
    }
}

fn unreadable(file: &Path, message: String) -> Finding {
    Finding::about(file, message).coded(FindingCode::FileUnreadable)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_same_files_have_the_same_digest_and_each_difference_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(folder.path(), path, text);
        write("trust-domain.toml", "a");
        write("entries/one.toml", "b");
        write("entries/two.toml", "c");
        let before = FolderFiles::read(folder.path());
        write("entries/.one.toml.swp", "x");
        write("entries/one.toml~", "x");
        assert_eq!(FolderFiles::read(folder.path()), before);
        write("entries/one.toml", "d");
        write("policy/new.cedar", "e");
        fs::remove_file(folder.path().join("entries/two.toml")).unwrap();
        let after = FolderFiles::digests(folder.path());
        assert_ne!(before.digest(), after.digest());
        let Changes { added, removed, changed } = before.changes_to(&after);
        assert_eq!(
            (added, removed, changed),
            (
                vec!["policy/new.cedar".to_owned()],
                vec!["entries/two.toml".to_owned()],
                vec!["entries/one.toml".to_owned()]
            )
        );
        // What moved is not the same, though the bytes are.
        let moved = folder.path().join("policy/moved.cedar");
        fs::rename(folder.path().join("policy/new.cedar"), moved).unwrap();
        assert_ne!(FolderFiles::read(folder.path()).digest(), after.digest());
    }

    #[test]
    fn of_secrets_there_is_a_digest_and_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let told = [
            "trust-domain.toml",
            "entries/a.toml",
            "playbooks/tests/a.toml",
            "policy/gate.cedar",
            "policy/playbooks/one/gate.cedar",
            "crls/a.crl",
        ];
        let apart = ["hook.secret", "entries/a.key", "policy/playbooks/a.toml", "x/entries/a.toml"];
        for file in told.iter().chain(&apart) {
            write(folder.path(), file, file);
        }
        let files = FolderFiles::read(folder.path());
        for file in told {
            assert_eq!(files.text(file), Some(file));
        }
        for file in apart {
            assert_eq!(files.file(file), None, "{file}");
            assert!(files.digests.contains_key(file), "{file}");
        }
        let again = tempfile::tempdir().unwrap();
        files.write_below(again.path()).unwrap();
        assert_eq!(FolderFiles::read(again.path()).told, files.told);
        assert_eq!(FolderFiles::digests(folder.path()), files);
    }

    #[test]
    fn a_link_to_a_folder_above_comes_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("trust-domain.toml"), "a").unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("up")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        assert_eq!(FolderFiles::read(folder.path()), FolderFiles::read(folder.path()));
    }
}
