//! What the files of a folder hold, by digest: whether two readings of it are of the same, and where they differ.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use marque_intent::Digest;

use super::outcome::Changes;

/// How deep folders may stand in each other. Nothing that is read stands deeper, and a link to a folder above ends there.
const MAX_DEPTH: usize = 16;
/// How much of a file is looked at; nothing that is read is larger.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The files of a folder, by their paths below it.
///
/// Names that begin with a dot or end in `~` are nobody's: editors keep theirs there, and mounted volumes their own links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    files: BTreeMap<String, Digest>,
    digest: Digest,
}

impl Contents {
    /// Reads every file of the folder. One that cannot be read counts as one that holds why.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        add(folder, "", MAX_DEPTH, &mut files);
        let lines = files.iter().map(|(path, digest)| format!("{digest}  {path}\n"));
        let digest = Digest::of(lines.collect::<String>().as_bytes());
        Self { files, digest }
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
        Changes::between(&self.files, &next.files)
    }
}

fn add(folder: &Path, below: &str, depth: usize, files: &mut BTreeMap<String, Digest>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) => {
            files.insert(below.to_owned(), unreadable(&error));
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
            Ok(metadata) if metadata.is_dir() => add(&item.path(), &path, depth, files),
            Ok(metadata) if metadata.is_file() => {
                let digest = digest_of(&item.path());
                files.insert(path, digest.unwrap_or_else(|error| unreadable(&error)));
            }
            Ok(_neither) => {}
            Err(error) => {
                files.insert(path, unreadable(&error));
            }
        }
    }
}

fn digest_of(file: &Path) -> io::Result<Digest> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Digest::of(&bytes))
}

fn unreadable(error: &io::Error) -> Digest {
    Digest::of(format!("unreadable: {}", error.kind()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_same_files_have_the_same_digest_and_each_difference_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("trust-domain.toml", "a");
        write("entries/one.toml", "b");
        write("entries/two.toml", "c");
        let before = Contents::read(folder.path());
        write("entries/.one.toml.swp", "x");
        write("entries/one.toml~", "x");
        assert_eq!(Contents::read(folder.path()), before);
        write("entries/one.toml", "d");
        write("policy/new.cedar", "e");
        fs::remove_file(folder.path().join("entries/two.toml")).unwrap();
        let after = Contents::read(folder.path());
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
        assert_ne!(Contents::read(folder.path()).digest(), after.digest());
    }

    #[test]
    fn a_link_to_a_folder_above_comes_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("trust-domain.toml"), "a").unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("up")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        assert_eq!(Contents::read(folder.path()), Contents::read(folder.path()));
    }
}
