//! Programs for agents and services: each has its own copy, because a program is part of who a process is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::UNIX_EPOCH;

/// Where the copies of this very program are: made once for each build of it, because it is large and the tests are
/// many. Not hard links, which would change the original's inode while a daemon hashes it.
static COPIES: LazyLock<Mutex<PathBuf>> = LazyLock::new(|| Mutex::new(folder_of_this_build()));

/// A copy of this program under `name`; the same one when asked again, by whichever test.
pub(crate) fn copy_of_this_program(name: &str) -> PathBuf {
    let folder = COPIES.lock().expect("no test failed here");
    let copy = folder.join(name);
    if !copy.exists() {
        let partial = folder.join(format!("{name}.partial"));
        fs::copy(this_program(), &partial).expect("copy this program");
        fs::rename(partial, &copy).expect("name the copy");
    }
    copy
}

/// The running program, as the kernel names it.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().and_then(|program| program.canonicalize()).expect("the running program")
}

/// A folder named after program and build; those of earlier builds go.
fn folder_of_this_build() -> PathBuf {
    let program = this_program();
    let facts = fs::metadata(&program).expect("the running program");
    let built = facts
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .expect("a time");
    let name = program.file_name().and_then(|name| name.to_str()).expect("a name");
    let kind = format!("programs-{}", name.split('-').next().expect("a name"));
    let own = format!("{kind}-{}-{}", built.as_nanos(), facts.len());
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(all).expect("cargo's folder for tests").flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        if other.starts_with(&kind) && other != own {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    fs::create_dir_all(all.join(&own)).expect("a folder for programs");
    all.join(own).canonicalize().expect("a folder for programs")
}

/// The daemon and command line under test.
pub(crate) fn marque() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_marque"))
}
