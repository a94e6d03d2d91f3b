//! Files that a process cannot change, reached by folders that it cannot change.
//!
//! The path is the process's word, so each folder is looked at before anything in it is looked up:
//! nothing below a folder of the process's own, such as a file system that it serves itself, is
//! touched.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, open as open_path, openat2, statx,
};
use rustix::io::Errno;

use super::refusal::Refusal;

/// How much of the first line the kernel looks at (`BINPRM_BUF_SIZE`).
const MAX_HASH_BANG: usize = 256;

const GROUP_AND_OTHERS_WRITE: u16 = 0o022;

/// Opens the regular file at an absolute path in its plain form, which a process of this user
/// cannot change, replace or lead elsewhere.
pub(super) fn open(path: &str, uid: u32) -> Result<File, Refusal> {
    // A pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    walk(path, uid, flags).map(File::from)
}

/// Whether a process of this user can change an interpreter or lead its configured name elsewhere:
/// neither the file nor the folder of its name. Further symbolic links in between are the
/// operator's to keep.
pub(super) fn check_interpreter(path: &str, uid: u32) -> Result<(), Refusal> {
    let folder = Path::new(path).parent().ok_or(Refusal::Interpreter)?.canonicalize()?;
    let file = Path::new(path).canonicalize()?;
    for path in [folder, file] {
        walk(path.to_str().ok_or(Refusal::Interpreter)?, uid, OFlags::PATH)?;
    }
    Ok(())
}

/// Whether the first line of a script says that this interpreter runs it with this option.
pub(super) fn check_hash_bang(
    script: &File,
    interpreter: &str,
    option: Option<&str>,
) -> Result<(), Refusal> {
    let mut start = [0; MAX_HASH_BANG];
    let read = script.read_at(&mut start, 0)?;
    let line = start.get(..read).and_then(|start| start.split(|byte| *byte == b'\n').next());
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(Refusal::HashBang)?;
    let rest = line.strip_prefix("#!").ok_or(Refusal::HashBang)?;
    let rest = rest.trim_matches([' ', '\t']);
    let (name, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let rest = rest.trim_matches([' ', '\t']);
    let same = name == interpreter && option.unwrap_or_default() == rest;
    if same { Ok(()) } else { Err(Refusal::HashBang) }
}

fn walk(path: &str, uid: u32, flags: OFlags) -> Result<OwnedFd, Refusal> {
    let relative = path.strip_prefix('/').ok_or(Refusal::Script)?;
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = open_path("/", folder, Mode::empty()).map_err(refusal)?;
    check(&here, uid, false)?;
    let mut parts = relative.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let flags = if is_last { flags | OFlags::CLOEXEC } else { folder };
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        here = openat2(&here, part, flags, Mode::empty(), resolve).map_err(refusal)?;
        // What is opened to be read must be a file: a folder or a device has no content.
        check(&here, uid, is_last && !flags.contains(OFlags::PATH))?;
    }
    Ok(here)
}

fn check(file: impl AsFd, uid: u32, must_be_file: bool) -> Result<(), Refusal> {
    // Without asking whoever serves the file system, who may take their time.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let facts = statx(file, "", flags, StatxFlags::BASIC_STATS).map_err(refusal)?;
    let mode = facts.stx_mode;
    if must_be_file && FileType::from_raw_mode(mode.into()) != FileType::RegularFile {
        return Err(Refusal::Link);
    }
    if facts.stx_uid == uid || mode & GROUP_AND_OTHERS_WRITE != 0 {
        return Err(Refusal::Writable);
    }
    Ok(())
}

fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NXIO => Refusal::Link,
        Errno::NOENT => Refusal::Script,
        _ => Refusal::Hidden,
    }
}
