//! The files that a trust domain's folder was read from, as they were: what a plan compares, and what a daemon tells of itself.
//!
//! Absent on purpose: files with secrets, which documents name and nobody may read here.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use marque_registry::{Finding, FindingCode, TrustDomainFolder};

/// The folders whose files are read, each with the endings of those.
const FOLDERS: [(&str, &[&str]); 10] = [
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
];
/// Where playbooks have policies of their own, each in a folder.
const OF_PLAYBOOKS: &str = "policy/playbooks";
/// Revocation lists.
const LISTS: (&str, &[&str]) = ("crls", &["crl", "pem"]);
/// No file of a folder is larger.
const MAX_FILE: u64 = 1024 * 1024;

/// Every file that a trust domain was read from, by its path below the folder, with `/` between the parts. Secrets are not
/// among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceFiles(Arc<BTreeMap<String, Vec<u8>>>);

impl SourceFiles {
    /// Reads what lies at known places.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self, Vec<Finding>> {
        let mut files = BTreeMap::new();
        let mut findings = Vec::new();
        let mut take = |name: String| match read(&folder.join(&name)) {
            Ok(bytes) => drop(files.insert(name, bytes)),
            Err(finding) => findings.push(finding),
        };
        let document = super::DOCUMENT;
        if folder.join(document).is_file() {
            take(document.to_owned());
        }
        let apart = subfolders(&folder.join(OF_PLAYBOOKS));
        let apart = apart.into_iter().map(|name| format!("{OF_PLAYBOOKS}/{name}"));
        let known =
            FOLDERS.into_iter().chain([LISTS]).map(|(place, ends)| (place.to_owned(), ends));
        let ends: &[&str] = &["cedar"];
        for (place, endings) in known.chain(apart.map(|place| (place, ends))) {
            for name in listing(&folder.join(&place), endings) {
                take(format!("{place}/{name}"));
            }
        }
        if findings.is_empty() { Ok(Self(Arc::new(files))) } else { Err(findings) }
    }

    /// The same files, if they are as they were before the folder was checked, with the bundles, keys and authorities that
    /// its document names.
    ///
    /// # Errors
    /// A file changed meanwhile: what was checked is then no one state of the folder.
    pub(super) fn still(
        self,
        folder: &Path,
        checked: &TrustDomainFolder,
    ) -> Result<Self, Vec<Finding>> {
        let now = Self::read(folder)?;
        let names = self.0.keys().chain(now.0.keys());
        let mut changed = names.filter(|name| self.0.get(*name) != now.0.get(*name));
        if let Some(name) = changed.next() {
            let finding =
                Finding::about(&folder.join(name), "changed while it was read; try again");
            return Err(vec![finding.coded(FindingCode::FileUnreadable)]);
        }
        let mut files = Arc::unwrap_or_clone(self.0);
        for file in checked.trust_files() {
            let bytes = read(&folder.join(&file)).map_err(|finding| vec![finding])?;
            files.insert(file.to_string_lossy().into_owned(), bytes);
        }
        Ok(Self(Arc::new(files)))
    }

    /// These files, by their names; `None` if one of those leads out of a folder.
    pub fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Option<Self> {
        let files: BTreeMap<String, Vec<u8>> = files.into_iter().collect();
        let inside = |name: &String| {
            let mut parts = Path::new(name).components();
            !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        files.keys().all(inside).then(|| Self(Arc::new(files)))
    }

    /// Writes the files below a folder that is there.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn write_below(&self, folder: &Path) -> std::io::Result<()> {
        for (name, bytes) in self.iter() {
            let file = folder.join(name);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(file, bytes)?;
        }
        Ok(())
    }

    /// The file behind this name in the order of names.
    #[must_use]
    pub fn after(&self, name: &str) -> Option<(&str, &[u8])> {
        let behind = (Bound::Excluded(name), Bound::Unbounded);
        let (name, bytes) = self.0.range::<str, _>(behind).next()?;
        Some((name, bytes))
    }

    /// The files, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// One file, if it is there.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The text of one file, if it is there and is one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.file(name)?).ok()
    }

    /// The files below a folder, not those of folders in it: their names in it, and what they hold.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let from = format!("{folder}/");
        let range = self.0.range(from.clone()..);
        let inside = range.map_while(move |(name, bytes)| {
            Some((name.strip_prefix(from.as_str())?, bytes.as_slice()))
        });
        inside.filter(|(name, _)| !name.contains('/'))
    }
}

impl fmt::Debug for SourceFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceFiles").field(&self.0.len()).finish()
    }
}

/// The files of a folder with one of these endings, by name; none where there is no folder. Whoever reads them says what is
/// wrong with a folder that cannot be listed.
fn listing(folder: &Path, endings: &[&str]) -> Vec<String> {
    let fits = |path: &PathBuf| {
        path.is_file()
            && path.extension().is_some_and(|found| endings.iter().any(|ending| found == *ending))
    };
    names(folder, fits)
}

fn subfolders(folder: &Path) -> Vec<String> {
    names(folder, |path| path.is_dir())
}

fn names(folder: &Path, fits: impl Fn(&PathBuf) -> bool) -> Vec<String> {
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fitting = listed.map(|item| item.path()).filter(fits);
    fitting.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

fn read(file: &Path) -> Result<Vec<u8>, Finding> {
    use std::io::Read as _;

    let unreadable =
        |message: String| Finding::about(file, message).coded(FindingCode::FileUnreadable);
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(unreadable(format!("is larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}
