//! A folder in which files are made and added to, and nothing is changed or removed: one that the system lets nobody but
//! add to (`chattr +a`) takes pushes too.
//!
//! A push is a file of its own, named after the first record in it or the size of the checkpoint, with twenty digits: they
//! are in order by name. A checkpoint that witnesses have cosigned has `.cosigned` in its name. What a crash left half is completed by the push that comes again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use marque_audit::format::Format;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{NotTaken, Push};

/// For the owner alone to write, and for a group to read.
const MODE: u32 = 0o640;

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The write that was begun and has not ended, also where nobody waits for it any more.
    writing: Mutex<Option<JoinHandle<Result<(), NotTaken>>>>,
}

impl Folder {
    /// One that is not there takes no push until it is.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), writing: Mutex::new(None) }
    }

    pub(super) async fn push(&self, push: Push<'_>) -> Result<(), NotTaken> {
        let (name, bytes) = match push {
            Push::Checkpoint(size, text) => (format!("{size:020}.note"), text.as_bytes().to_vec()),
            Push::Cosigned(size, text) => {
                (format!("{size:020}.cosigned.note"), text.as_bytes().to_vec())
            }
            Push::Records(leaves, format) => {
                let first = leaves.first().map_or(0, |leaf| leaf.seq());
                let (end, extension) = match format {
                    Format::Csv => ("\r\n", "csv".to_owned()),
                    format => ("\n", format!("{format}.jsonl")),
                };
                let mut text = format.header()?;
                for leaf in leaves {
                    text.push_str(&format.line(leaf)?);
                    text.push_str(end);
                }
                (format!("{first:020}.{extension}"), text.into_bytes())
            }
        };
        let folder = self.path.clone();
        let mut writing = self.writing.lock().await;
        if let Some(earlier) = writing.as_mut() {
            // Storage that hangs holds one thread. What came of that write is seen by the next.
            drop(earlier.await);
            *writing = None;
        }
        let add = tokio::task::spawn_blocking(move || add(&folder, &name, &bytes));
        let written = writing.insert(add).await;
        *writing = None;
        written.map_err(|ended| NotTaken::Folder(io::Error::other(ended)))?
    }
}

/// Has a file of this name hold these bytes, on disk, together with its name.
fn add(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), NotTaken> {
    let path = folder.join(name);
    let there = read(&path, bytes.len()).map_err(NotTaken::Folder)?;
    let rest = bytes.strip_prefix(there.as_slice());
    let rest = rest.ok_or_else(|| NotTaken::Differs(path.display().to_string()))?;
    let written = || {
        let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(&path)?;
        file.write_all(rest)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    };
    written().map_err(NotTaken::Folder)
}

/// What a file holds, up to one byte more than `length`; nothing where there is none.
fn read(path: &Path, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            file.take(length as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_folder_that_is_missing_takes_a_push_when_it_is_there() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("later");
        let folder = Folder::new(&path);
        let pushed = folder.push(Push::Checkpoint(7, "note")).await;
        assert!(matches!(pushed, Err(NotTaken::Folder(_))), "{pushed:?}");
        std::fs::create_dir(&path).unwrap();
        folder.push(Push::Checkpoint(7, "note")).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_begun_while_an_earlier_write_hangs() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path());
        let file = parent.path().join("00000000000000000007.note");
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let hung = tokio::spawn(async move {
            drop(released.await);
            Ok(())
        });
        *folder.writing.lock().await = Some(hung);
        for _ in 0..2 {
            let push = folder.push(Push::Checkpoint(7, "note"));
            assert!(tokio::time::timeout(Duration::from_millis(20), push).await.is_err());
            assert!(!file.exists());
        }
        release.send(()).unwrap();
        folder.push(Push::Checkpoint(7, "note")).await.unwrap();
        assert!(file.exists() && folder.writing.lock().await.is_none());
    }

    #[test]
    fn what_is_there_is_completed_and_never_changed() {
        let folder = tempfile::tempdir().unwrap();
        let held = || std::fs::read_to_string(folder.path().join("a")).unwrap();
        add(folder.path(), "a", b"one\ntw").unwrap();
        add(folder.path(), "a", b"one\ntwo\n").unwrap();
        assert_eq!(held(), "one\ntwo\n");
        add(folder.path(), "a", b"one\ntwo\n").unwrap();
        assert_eq!(held(), "one\ntwo\n");
        for other in [&b"one\n"[..], b"two\ntwo\n"] {
            assert!(matches!(add(folder.path(), "a", other), Err(NotTaken::Differs(_))));
        }
        assert_eq!(held(), "one\ntwo\n");
    }
}
