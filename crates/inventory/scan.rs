//! Opening what is to be read: the usual places of homes, and everything below given paths.
//!
//! No link is followed below a home or a path, nothing but regular files is opened, and what cannot be read or is too large
//! is listed. A JSON file that is larger than that is taken for something else.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use walkdir::WalkDir;

use crate::{Credential, FingerprintKey, Format, Found, Place, shown};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// How many files and folders are looked at below all paths together.
pub const MAX_ENTRIES: usize = 200_000;

/// Where credentials usually stand in a home.
const PLACES: [&str; 13] = [
    ".aws/credentials",
    ".aws/config",
    ".config/gcloud/application_default_credentials.json",
    ".config/gcloud/legacy_credentials",
    ".kube/config",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".docker/config.json",
    ".env",
    ".config/containers/auth.json",
    ".git-credentials",
];

/// Folders that hold what others made, and so much of it that nothing else would be found in time.
const LEFT_OUT: [&str; 5] = [".git", "node_modules", "target", ".venv", "__pycache__"];

/// What reading comes to.
#[derive(Debug)]
pub struct Scan<'k> {
    key: &'k FingerprintKey,
    scanned: Scanned,
    looked_at: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Every credential.
    pub credentials: Vec<Credential>,
    /// Everything that was not read.
    pub problems: Vec<Problem>,
    /// How many files were read.
    pub files: usize,
}

/// Something that was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Why.
    pub kind: ProblemKind,
    /// What; in JSON as text, whatever bytes it is made of.
    #[serde(serialize_with = "crate::shown::path")]
    pub file: PathBuf,
    /// The reason in words; nothing of what the file says.
    pub message: String,
}

/// Why something was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// It is not there, though somebody named it.
    Missing,
    /// It may not be read, or reading failed.
    Unreadable,
    /// It is a link, which is not followed.
    Link,
    /// It is larger than [`MAX_FILE_BYTES`].
    TooLarge,
    /// It is not of the format that its name promises.
    Malformed,
    /// There was more to look at than [`MAX_ENTRIES`].
    TooMany,
}

impl<'k> Scan<'k> {
    /// A scan whose fingerprints are made with `key`.
    #[must_use]
    pub fn new(key: &'k FingerprintKey) -> Self {
        Self { key, scanned: Scanned::default(), looked_at: 0 }
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Scanned {
        self.scanned
    }

    /// Reads the usual places of a home; one that is not there has nothing.
    pub fn home(&mut self, home: &Path) {
        match std::fs::metadata(home) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return self.problem(ProblemKind::Missing, home, "is no folder"),
            Err(error) => return self.failed(home, &error),
        }
        for place in PLACES {
            let path = home.join(place);
            if let Some(link) = linked(home, Path::new(place)) {
                self.problem(ProblemKind::Link, &link, LINK);
                continue;
            }
            match std::fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => self.below(&path),
                Ok(_) => self.file(&path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // A folder on the way may be closed, or be a file.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) => self.failed(&path, &error),
            }
        }
    }

    /// Reads a file that is named, or all of a folder that has a format.
    pub fn path(&mut self, path: &Path) {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => self.below(path),
            Ok(_) if Format::of(path).is_none() => {
                let message = "has the name of no file that holds credentials and is known here";
                self.problem(ProblemKind::Malformed, path, message);
            }
            Ok(_) => self.file(path),
            Err(error) => self.failed(path, &error),
        }
    }

    fn below(&mut self, folder: &Path) {
        let left_out = |name: &str| LEFT_OUT.contains(&name);
        let mut walk = WalkDir::new(folder).follow_links(false).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            self.looked_at += 1;
            if self.looked_at > MAX_ENTRIES {
                let message =
                    format!("more than {MAX_ENTRIES} entries: the rest was not looked at");
                return self.problem(ProblemKind::TooMany, folder, &message);
            }
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    if entry.depth() > 0 && entry.file_name().to_str().is_some_and(left_out) {
                        walk.skip_current_dir();
                    }
                }
                Ok(entry) if Format::of(entry.path()).is_some() => self.file(entry.path()),
                Ok(entry) if entry.file_name().to_str().is_none() => {
                    let message = "has a name that is no text: rename it, and look again";
                    self.problem(ProblemKind::Unreadable, entry.path(), message);
                }
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_owned();
                    let io = error.into_io_error();
                    let io = io.unwrap_or_else(|| io::Error::other("a ring of folders"));
                    self.failed(&path, &io);
                }
            }
        }
    }

    /// Reads one file.
    fn file(&mut self, path: &Path) {
        let Some(format) = Format::of(path) else { return };
        let (bytes, uid, mode) = match read(path) {
            Ok(Some(read)) => read,
            Ok(None) => {
                let message = format!("has more than {MAX_FILE_BYTES} bytes");
                // A large JSON file has a name like any other: it is no credential of Google Cloud's.
                return match format {
                    Format::GoogleCloud => {}
                    _ => self.problem(ProblemKind::TooLarge, path, &message),
                };
            }
            Err(error) if error.raw_os_error() == Some(LOOP) => {
                return self.problem(ProblemKind::Link, path, LINK);
            }
            Err(error) => return self.failed(path, &error),
        };
        self.scanned.files += 1;
        match format.parse(&bytes) {
            Ok(found) => {
                let credential = |found| self.credential(path, uid, mode, found);
                let credentials: Vec<Credential> = found.into_iter().map(credential).collect();
                self.scanned.credentials.extend(credentials);
            }
            Err(error) => self.problem(ProblemKind::Malformed, path, &error.to_string()),
        }
    }

    fn credential(&self, path: &Path, uid: u32, mode: u32, found: Found) -> Credential {
        let Found { kind, name, principal, reach, standing, privileged, secret } = found;
        // Whatever a format took for a name or an address: a secret that stands in the wrong field is not shown.
        let (name, reach) = (shown::name(&name), shown::address(&reach));
        let principal = principal.as_deref().map(shown::name);
        Credential {
            kind,
            place: Place { file: path.to_owned(), name, uid, mode },
            principal,
            reach,
            standing,
            privileged,
            fingerprint: secret.map(|secret| self.key.fingerprint(&secret)),
            playbook: None,
            exception: None,
        }
    }

    fn failed(&mut self, path: &Path, error: &io::Error) {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ProblemKind::Missing,
            _ => ProblemKind::Unreadable,
        };
        self.problem(kind, path, &error.to_string());
    }

    fn problem(&mut self, kind: ProblemKind, file: &Path, message: &str) {
        let (file, message) = (file.to_owned(), message.to_owned());
        self.scanned.problems.push(Problem { kind, file, message });
    }
}

/// What is said of a link.
const LINK: &str = "is a link, which is not followed: name what it points to";

/// The folder on the way from `home` to a place in it that is a link, if there is one.
fn linked(home: &Path, place: &Path) -> Option<PathBuf> {
    let above = place.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    above
        .map(|above| home.join(above))
        .find(|path| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()))
}

/// `ELOOP`: what opening a link says that is not to be followed.
const LOOP: i32 = 40;

/// A regular file with its owner and permissions; nothing where it is too large.
fn read(path: &Path) -> io::Result<Option<(Vec<u8>, u32, u32)>> {
    // Not to wait for whoever writes to a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE_BYTES);
    Ok(fits.then(|| (bytes, found.uid(), found.mode() & 0o7777)))
}
