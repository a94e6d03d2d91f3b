//! What the `unix` attestor found out a moment ago, for every process that looks the same.
//!
//! Names come from a name service and digests from whole files; neither can be had on a thread that serves connections.
//! When both are known already, no other thread is needed. What is known is bounded in number and in time, and belongs
//! to what the kernel says: to ids, and to a file in one state under one path.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::Selector;
use moka::sync::Cache;

use crate::hash::FileState;
use crate::pin::ProcessPin;

/// How long a name is believed to be that of its id, and a path to lead to its file.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// How many users with their groups, and how many programs.
const MAX_KNOWN: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Known {
    owners: Cache<Owner, Arc<[Selector]>>,
    programs: Cache<Program, Arc<[Selector]>>,
}

/// Whose a process is, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) supplementary: Box<[u32]>,
}

/// What a process runs: a file in one state, under the path that the kernel tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Program {
    pub(crate) file: FileState,
    pub(crate) path: Option<PathBuf>,
}

impl Known {
    pub(crate) fn new() -> Self {
        Self {
            owners: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN_FOR).build(),
            programs: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN_FOR).build(),
        }
    }

    pub(crate) fn owner(&self, owner: &Owner) -> Option<Arc<[Selector]>> {
        self.owners.get(owner)
    }

    pub(crate) fn program(&self, program: &Program) -> Option<Arc<[Selector]>> {
        self.programs.get(program)
    }

    pub(crate) fn keep_owner(&self, owner: Owner, selectors: &Arc<[Selector]>) {
        self.owners.insert(owner, Arc::clone(selectors));
    }

    pub(crate) fn keep_program(&self, program: Program, selectors: &Arc<[Selector]>) {
        self.programs.insert(program, Arc::clone(selectors));
    }
}

impl Owner {
    pub(crate) fn of(process: &ProcessPin) -> Self {
        let supplementary = process.supplementary_groups().into();
        Self { uid: process.uid(), gid: process.gid(), supplementary }
    }
}

impl Program {
    /// What runs as `pid` right now; `None` when that cannot be seen.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let file = FileState::of_executable(pid).ok()?;
        Some(Self { file, path: std::fs::read_link(format!("/proc/{pid}/exe")).ok() })
    }
}
