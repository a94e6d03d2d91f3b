//! Long work that somebody watches, and that may be told to stop.

use std::fmt;
use std::io::{self, Read};

use tokio_util::sync::CancellationToken;

use super::{BackupCode, BackupError};

/// What a backup, its verification or a restore does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The store and what belongs to it are copied.
    Copy,
    /// Every leaf of the log is read, for the root of its tree.
    ReadLog,
    /// The file of the backup is written.
    Write,
    /// The file of the backup has got its name.
    Named,
    /// The backup is read to its end and taken apart.
    Unpack,
    /// It is held against what is there.
    Compare,
    /// What is newer here is taken along: keys, bundles, kills.
    Keep,
    /// Everything is brought to the disk.
    Flush,
    /// It takes the place of what is there. From here on nothing stops it.
    Exchange,
    /// What was there gets a name of its own.
    SetAside,
    /// All is done but the last word.
    Done,
}

impl Step {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::ReadLog => "read_log",
            Self::Write => "write",
            Self::Named => "named",
            Self::Unpack => "unpack",
            Self::Compare => "compare",
            Self::Keep => "keep",
            Self::Flush => "flush",
            Self::Exchange => "exchange",
            Self::SetAside => "set_aside",
            Self::Done => "done",
        }
    }

    /// What it is, for people.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Copy => {
                "copying the store, the kill journal, the sealed keys and the kept bundles"
            }
            Self::ReadLog => "reading every leaf of the log",
            Self::Write => "writing the backup",
            Self::Named => "the backup has its name",
            Self::Unpack => "reading the backup",
            Self::Compare => "comparing it with what is here",
            Self::Keep => "taking along what is newer here",
            Self::Flush => "bringing it to the disk",
            Self::Exchange => "putting it in place",
            Self::SetAside => "naming what was there before",
            Self::Done => "done",
        }
    }
}

/// Who watches, and who says stop.
pub struct Work {
    tell: Box<dyn Fn(Step) + Send + Sync>,
    stop: CancellationToken,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl Work {
    /// Work of which each step is told before it begins, and that is given up when `stop` is cancelled.
    pub fn new(tell: impl Fn(Step) + Send + Sync + 'static, stop: CancellationToken) -> Self {
        Self { tell: Box::new(tell), stop }
    }

    /// Work that nobody watches.
    #[must_use]
    pub fn quiet() -> Self {
        Self::new(|_step| {}, CancellationToken::new())
    }

    /// Begins a step, unless it was told to stop.
    pub(super) fn begin(&self, step: Step) -> Result<(), BackupError> {
        self.go_on(step);
        if self.stop.is_cancelled() { Err(stopped()) } else { Ok(()) }
    }

    /// Begins a step that nothing stops.
    pub(super) fn go_on(&self, step: Step) {
        (self.tell)(step);
    }

    /// Ready when it is told to stop.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// What failed after it was told to stop failed for that.
    pub(super) fn blame(&self, error: BackupError) -> BackupError {
        if self.stop.is_cancelled() { stopped() } else { error }
    }

    /// A reader that fails when it is told to stop.
    pub(super) fn reads<R: Read>(&self, from: R) -> impl Read {
        Watched { from, stop: &self.stop }
    }
}

fn stopped() -> BackupError {
    BackupError::new(BackupCode::Stopped, "it was told to stop")
}

struct Watched<'a, R> {
    from: R,
    stop: &'a CancellationToken,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("it was told to stop"));
        }
        self.from.read(into)
    }
}
