//! A folder whose files change together.
//!
//! The files are links to `..data/<name>`, and `..data` is itself a link to a folder with one generation of them. A new
//! generation is written whole beside the old one and then takes its place by one rename, so that `..data` leads to files
//! that belong together at every instant: a key that fits its certificate, and the bundle that verifies it.
//!
//! A program that opens two of the files by their names can still be overtaken between the two. One that is told to
//! reload after each change opens them when nothing moves; one that is not opens `..data` once, as a folder, and the files
//! in it: the generation before the present one is kept.
//!
//! Whatever fails before the rename leaves the old files alone. Two writers of one folder are refused.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use zeroize::Zeroizing;

use super::super::failure::Failure;

/// What always leads to files that belong together.
const CURRENT: &str = "..data";
const PARTIAL: &str = "..data.partial";
/// Begins the name of each generation.
const GENERATION: &str = "..marque.";
/// Who may open the folder and its generations; the files have modes of their own.
const FOLDER_MODE: u32 = 0o755;
const OTHERS_MAY_WRITE: u32 = 0o002;

/// A folder that this process alone writes.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held as long as we write there.
    lock: Flock<File>,
}

/// One file of a generation.
pub(super) struct NewFile {
    pub(super) name: String,
    pub(super) mode: u32,
    pub(super) content: Zeroizing<Vec<u8>>,
}

impl Folder {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// When others may put files there, it is somebody else's, or another process writes it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::because(format!("cannot use the folder `{}`", path.display()), &error)
        };
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(failed)?;
        let folder = File::open(path).map_err(failed)?;
        let facts = folder.metadata().map_err(failed)?;
        if facts.mode() & OTHERS_MAY_WRITE != 0 {
            return Err(Failure::failed(format!(
                "everybody may write into `{}`: nothing is written there",
                path.display()
            ))
            .next("name a folder of its own, or take the permission away with `chmod o-w`"));
        }
        let own = Uid::effective().as_raw();
        if facts.uid() != own && facts.uid() != 0 {
            return Err(Failure::failed(format!(
                "`{}` belongs to uid {}, who could replace what is written there",
                path.display(),
                facts.uid()
            ))
            .next("name a folder that belongs to the user who runs this"));
        }
        let lock = Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            Failure::because(format!("another process writes into `{}`", path.display()), &errno)
        })?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Puts these files in the place of those that are there. Names are plain and differ.
    ///
    /// # Errors
    /// When something cannot be written; the old files are then as they were.
    pub(super) fn replace(&self, files: &[NewFile]) -> Result<(), Failure> {
        self.write(files).map_err(|error| {
            Failure::because(format!("cannot write into `{}`", self.path.display()), &error)
        })
    }

    fn write(&self, files: &[NewFile]) -> io::Result<()> {
        let current = self.current()?;
        let name = format!("{GENERATION}{}", self.last_generation()? + 1);
        let generation = self.path.join(&name);
        if let Err(error) = self.prepare(&generation, files) {
            // The failure is what matters; a folder that stays behind goes with the next change.
            drop(fs::remove_dir_all(&generation));
            return Err(error);
        }
        if current.is_some() {
            self.link_names(files)?;
        }
        self.link(Path::new(&name), CURRENT)?;
        if current.is_none() {
            self.link_names(files)?;
        }
        // From here on the new files are what a reader sees, so nothing below is a failure to write them.
        if let Err(error) =
            self.lock.sync_all().and_then(|()| self.tidy(&name, current.as_deref(), files))
        {
            Failure::because("what was written before could not be removed", &error)
                .warn("the new files are in place");
        }
        Ok(())
    }

    /// Makes each file's name lead through `..data`.
    fn link_names(&self, files: &[NewFile]) -> io::Result<()> {
        for NewFile { name, .. } in files {
            let target = Path::new(CURRENT).join(name);
            if fs::read_link(self.path.join(name)).ok().as_deref() != Some(&target) {
                self.link(&target, name)?;
            }
        }
        Ok(())
    }

    /// Writes everything, so that a failure is one before anything changed.
    fn prepare(&self, generation: &Path, files: &[NewFile]) -> io::Result<()> {
        for NewFile { name, .. } in files {
            if self.path.join(name).symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
                return Err(io::Error::other(format!("`{name}` is a folder")));
            }
        }
        DirBuilder::new().mode(0o700).create(generation)?;
        for NewFile { name, mode, content } in files {
            let path = generation.join(name);
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(content)?;
            file.set_permissions(Permissions::from_mode(*mode))?;
            file.sync_all()?;
        }
        fs::set_permissions(generation, Permissions::from_mode(FOLDER_MODE))?;
        File::open(generation)?.sync_all()
    }

    /// Makes `name` a link to `target`, whatever it was.
    fn link(&self, target: &Path, name: &str) -> io::Result<()> {
        let partial = self.path.join(PARTIAL);
        if let Err(error) = fs::remove_file(&partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        symlink(target, &partial)?;
        fs::rename(partial, self.path.join(name))
    }

    /// The generation that `..data` leads to.
    fn current(&self) -> io::Result<Option<String>> {
        match fs::read_link(self.path.join(CURRENT)) {
            Ok(target) => Ok(target.to_str().map(ToOwned::to_owned)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn last_generation(&self) -> io::Result<u64> {
        let names = self.names()?;
        let numbers = names.iter().filter_map(|name| name.strip_prefix(GENERATION)?.parse().ok());
        Ok(numbers.max().unwrap_or(0))
    }

    /// Removes the generations before the last one, and links to files that are not written any more.
    fn tidy(&self, present: &str, last: Option<&str>, files: &[NewFile]) -> io::Result<()> {
        for name in self.names()? {
            let path = self.path.join(&name);
            if name.starts_with(GENERATION) && name != present && Some(name.as_str()) != last {
                fs::remove_dir_all(path)?;
            } else if !files.iter().any(|file| file.name == name)
                && fs::read_link(&path).is_ok_and(|target| target.starts_with(CURRENT))
            {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, mode: u32, text: &str) -> NewFile {
        NewFile { name: name.to_owned(), mode, content: Zeroizing::new(text.as_bytes().to_vec()) }
    }

    fn pair(text: &str) -> [NewFile; 2] {
        [file("svid.pem", 0o644, text), file("svid_key.pem", 0o600, text)]
    }

    fn scratch() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        folder
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    fn generations(folder: &Path) -> usize {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with(GENERATION)).count()
    }

    #[test]
    fn files_change_together_and_have_their_modes() {
        let scratch = scratch();
        let folder = Folder::open(scratch.path()).unwrap();
        for text in ["one", "two", "three"] {
            folder.replace(&pair(text)).unwrap();
            assert_eq!(read(scratch.path(), "svid.pem"), text);
            assert_eq!(read(scratch.path(), "svid_key.pem"), text);
        }
        let mode = |name: &str| {
            fs::metadata(scratch.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("svid.pem"), mode("svid_key.pem")), (0o644, 0o600));
        assert_eq!(generations(scratch.path()), 2, "the last one is kept, those before it are not");
    }

    #[test]
    fn a_reader_of_the_data_folder_never_sees_a_key_that_does_not_fit() {
        let scratch = scratch();
        let folder = Folder::open(scratch.path()).unwrap();
        folder.replace(&pair("0")).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut read = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) || read == 0 {
                    // Opened once, as a folder: what is in it belongs together.
                    let data = fs::read_link(scratch.path().join(CURRENT)).unwrap();
                    let open =
                        |name: &str| fs::read_to_string(scratch.path().join(&data).join(name));
                    // Two changes while we look at one generation end it; then we look anew.
                    if let (Ok(certificate), Ok(key)) = (open("svid.pem"), open("svid_key.pem")) {
                        assert_eq!(certificate, key);
                        read += 1;
                    }
                }
                read
            });
            for number in 1..200 {
                folder.replace(&pair(&number.to_string())).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(reader.join().unwrap() > 0);
        });
    }

    #[test]
    fn a_failure_leaves_the_old_files_alone() {
        let scratch = scratch();
        let folder = Folder::open(scratch.path()).unwrap();
        folder.replace(&pair("old")).unwrap();
        fs::create_dir(scratch.path().join("bundle.pem")).unwrap();
        let [certificate, key] = pair("new");
        let failure =
            folder.replace(&[certificate, key, file("bundle.pem", 0o644, "new")]).unwrap_err();
        assert!(format!("{failure:?}").contains("is a folder"), "{failure:?}");
        assert_eq!(read(scratch.path(), "svid.pem"), "old");
        assert_eq!(read(scratch.path(), "svid_key.pem"), "old");
        assert_eq!(generations(scratch.path()), 1);
    }

    #[test]
    fn files_of_another_tool_are_taken_over_and_ours_go_when_they_are_not_written_any_more() {
        let scratch = scratch();
        fs::write(scratch.path().join("svid.pem"), "spiffe-helper's").unwrap();
        fs::write(scratch.path().join("notes"), "a person's").unwrap();
        let folder = Folder::open(scratch.path()).unwrap();
        folder.replace(&pair("ours")).unwrap();
        assert_eq!(read(scratch.path(), "svid.pem"), "ours");
        folder.replace(&[file("svid.pem", 0o644, "alone")]).unwrap();
        assert!(!scratch.path().join("svid_key.pem").exists());
        assert!(scratch.path().join("svid_key.pem").symlink_metadata().is_err());
        assert_eq!(read(scratch.path(), "notes"), "a person's");
    }

    #[test]
    fn what_a_crash_left_behind_is_no_obstacle() {
        let scratch = scratch();
        fs::create_dir(scratch.path().join("..marque.7")).unwrap();
        symlink("nowhere", scratch.path().join(PARTIAL)).unwrap();
        let folder = Folder::open(scratch.path()).unwrap();
        folder.replace(&pair("after")).unwrap();
        assert_eq!(read(scratch.path(), "svid.pem"), "after");
        assert_eq!(generations(scratch.path()), 1);
    }

    #[test]
    fn a_folder_that_everybody_may_write_is_refused() {
        let scratch = scratch();
        for mode in [0o777, 0o1777, 0o757] {
            fs::set_permissions(scratch.path(), Permissions::from_mode(mode)).unwrap();
            let failure = Folder::open(scratch.path()).unwrap_err();
            assert!(format!("{failure:?}").contains("everybody may write"), "{failure:?}");
        }
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_writers_of_one_folder_are_refused() {
        let scratch = scratch();
        let first = Folder::open(scratch.path()).unwrap();
        let failure = Folder::open(scratch.path()).unwrap_err();
        assert!(format!("{failure:?}").contains("another process writes"), "{failure:?}");
        drop(first);
        Folder::open(scratch.path()).unwrap();
    }
}
