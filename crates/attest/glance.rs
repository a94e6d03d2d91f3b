//! A glance at a pinned process: what can be seen of it in a few microseconds.
//!
//! It notices what makes an earlier attestation worthless: that the process ended, changed its effective user or group,
//! runs another program, runs the same program anew, or that the program's file was written to, replaced or renamed.
//! What it leaves out (supplementary groups, and whatever attestors ask others) is why it stands in for gathering and
//! rechecking for a short time only.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::LazyLock;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::hash::FileState;
use crate::pin::ProcessPin;

/// More than the kernel ever writes there.
const MAX_AUXV: u64 = 4096;

/// So that what stands for the auxiliary vector cannot be aimed at.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// How a process looked at one moment, while it lived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Effective user and group, which `/proc/PID` belongs to whatever the process hides.
    owner: (u32, u32),
    /// Absent where it is not for us to see.
    program: Option<Program>,
}

/// One execution of a file in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    file: FileState,
    /// Of the auxiliary vector, in which the kernel tells a program where it lies: another execution lies elsewhere,
    /// unless it gave up address space randomization.
    lies_at: Option<u64>,
}

impl Glance {
    /// How the process looks now; `None` when it ended, or does not let itself be looked at.
    pub(crate) fn at(process: &ProcessPin) -> Option<Self> {
        let pid = process.pid();
        if !process.is_alive() {
            return None;
        }
        let flags = AtFlags::STATX_DONT_SYNC;
        let owner = statx(CWD, format!("/proc/{pid}"), flags, StatxFlags::BASIC_STATS).ok()?;
        let program = match FileState::of_executable(pid) {
            Ok(file) => {
                let lies_at = auxv(pid).ok().map(|auxv| HASHER.hash_one(auxv));
                Some(Program { file, lies_at })
            }
            Err(error) if is_hidden(&error) => None,
            Err(_other) => return None,
        };
        // Only now is it sure that this was the process.
        process.is_alive().then_some(Self { owner: (owner.stx_uid, owner.stx_gid), program })
    }
}

fn is_hidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
}

fn auxv(pid: i32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    File::open(format!("/proc/{pid}/auxv"))?.take(MAX_AUXV).read_to_end(&mut bytes)?;
    Ok(bytes)
}
