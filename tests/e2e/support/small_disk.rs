//! A file system of a few megabytes that a test can fill. Only root can mount one; elsewhere its tests are skipped, or fail
//! where `MARQUE_REQUIRE_MOUNTS=1` says that it must be possible.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools::required;

/// Room for two databases and their logs.
const SIZE: &str = "size=48m,mode=0755";

/// A mounted `tmpfs`; it is unmounted on drop, though a process may still be ending on it.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `at`, which is made; `None` where that is not possible and need not be.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder to mount at");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { at: at.to_owned() }),
            failed => {
                assert!(!required("MOUNTS"), "MARQUE_REQUIRE_MOUNTS=1, but: {failed:?}");
                eprintln!("skipped: only root can mount a file system of its own");
                None
            }
        }
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        for block in [64 * 1024, 4096, 1] {
            let block = vec![0; block];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("fill {}: {error}", self.at.display()),
                }
            }
        }
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("the file that filled it");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.at.display());
        }
    }
}
