//! The `script` attestor: which script an interpreter was started with.
//!
//! | selector | from | proves |
//! |---|---|---|
//! | `script:path:/opt/agent/main.py` | the argument area that `execve` laid out | as which script the process says it was started, when nothing that the kernel recorded contradicts it; narrows a user |
//! | `script:sha256:<64 hex digits>` | content of that file | what the script holds, unchanged since the process started |
//! | `script:refused:<reason>`, `script:unhashed:<reason>` | in their place | nothing: it tells an operator why there is none |
//!
//! Asked of processes whose executable is one of the configured interpreters. Then everything must
//! hold, or there is no path:
//!
//! - The process runs as a single user and group without capabilities to get around file
//!   permissions, is not traced, and shares the daemon's mount namespace and root, so that a path
//!   means the same file to both.
//! - Arguments, environment and the path handed to `execve` lie as the kernel laid them out, side
//!   by side up to the end of the stack, with the pointers to each argument; nothing moved since the
//!   pin, which another `execve` of the same interpreter would do (address space randomisation).
//! - No environment variable makes the interpreter, its loader or its libraries run other code.
//! - The interpreter was executed by its configured path, with options from a short list that load
//!   no code; or the kernel did so for a `#!` line, which then says the same as the arguments.
//! - The script is an absolute path without symbolic links. Neither it nor a folder above it belongs
//!   to the process's user, or can be written to by a group or by all. The same goes for the
//!   interpreter.
//!
//! What remains, plainly: the argument area is the process's own memory. A process that runs other
//! code *first* can write another script's path over its own (of the same length, in place), or
//! load the real script and then do as it likes. Like `unix:path`, these selectors narrow a user;
//! they never separate processes of one user. They say nothing about what the script imports.
//!
//! Deliberately absent: shells, whose scripts run what `PATH` leads to, and that is decided by
//! whoever starts them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use marque_spiffe::{Clock, Selector, SelectorSet};

use crate::attestor::Attestor;
use crate::error::AttestError;
use crate::hash::{FileHashes, Hashed};
use crate::pin::{FileId, ProcessPin};
use crate::proc::MemoryLayout;
use crate::slots::Slots;

mod arguments;
mod environment;
mod file;
mod image;
mod privilege;
mod refusal;
mod started;

use arguments::Arguments;
pub use arguments::Language;
use refusal::Refusal;

/// Which interpreters [`ScriptAttestor`] knows, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptAttestorConfig {
    /// The interpreters.
    pub interpreters: Vec<Interpreter>,
    /// Scripts larger than this many bytes earn no `script:sha256`.
    pub max_script_size: u64,
    /// How many processes are looked at at once, a quarter of them of one user; more wait.
    pub max_concurrent: usize,
    /// How many digests of scripts are remembered.
    pub max_remembered_digests: u64,
}

/// One interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Its absolute path, as agents and `#!` lines name it; the last part may be a symbolic link.
    pub path: PathBuf,
    /// How it reads its arguments and environment.
    pub language: Language,
}

/// Says which script an interpreter runs.
pub struct ScriptAttestor {
    shared: Arc<Shared>,
    slots: Arc<Slots>,
}

struct Shared {
    interpreters: Vec<Interpreter>,
    hashes: FileHashes,
    clock: Arc<dyn Clock>,
}

/// What the blocking half needs of a pin.
#[derive(Debug, Clone, Copy)]
struct Subject {
    pid: i32,
    uid: u32,
    start_time: u64,
    executable: FileId,
    layout: Option<MemoryLayout>,
}

impl Default for ScriptAttestorConfig {
    /// Python and Node.js where Linux distributions put them.
    fn default() -> Self {
        let interpreter = |path: &str, language| Interpreter { path: path.into(), language };
        Self {
            interpreters: vec![
                interpreter("/usr/bin/python3", Language::Python),
                interpreter("/usr/bin/node", Language::Node),
            ],
            max_script_size: 16 * 1024 * 1024,
            max_concurrent: 8,
            max_remembered_digests: 4096,
        }
    }
}

impl ScriptAttestor {
    /// An attestor for these interpreters.
    pub fn new(config: ScriptAttestorConfig, clock: Arc<dyn Clock>) -> Self {
        let ScriptAttestorConfig {
            interpreters,
            max_script_size,
            max_concurrent,
            max_remembered_digests,
        } = config;
        let hashes = FileHashes::new(max_script_size, max_remembered_digests);
        Self {
            shared: Arc::new(Shared { interpreters, hashes, clock }),
            slots: Slots::new(max_concurrent),
        }
    }

    async fn gather(&self, subject: Subject) -> Result<SelectorSet, AttestError> {
        let interrupted = AttestError::Interrupted { pid: subject.pid };
        let Some(slot) = self.slots.acquire(subject.uid).await else { return Err(interrupted) };
        let shared = Arc::clone(&self.shared);
        let worker = tokio::task::spawn_blocking(move || {
            let selectors = shared.selectors(&subject);
            drop(slot);
            selectors
        });
        worker.await.map_err(|_ended_early| interrupted)
    }
}

impl fmt::Debug for ScriptAttestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptAttestor")
            .field("interpreters", &self.shared.interpreters)
            .finish_non_exhaustive()
    }
}

impl Attestor for ScriptAttestor {
    fn kind(&self) -> &'static str {
        "script"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        let subject = process.executable().map(|executable| Subject {
            pid: process.pid(),
            uid: process.uid(),
            start_time: process.start_time(),
            executable,
            layout: process.layout(),
        });
        Box::pin(async move {
            match subject {
                Some(subject) => self.gather(subject).await,
                None => Ok(SelectorSet::default()),
            }
        })
    }
}

impl Shared {
    fn selectors(&self, subject: &Subject) -> SelectorSet {
        // One program may have several names, of which the process was started by one.
        let is_this = |interpreter: &&Interpreter| {
            interpreter
                .path
                .to_str()
                .is_some_and(|path| FileId::at(path).is_ok_and(|file| file == subject.executable))
        };
        let interpreters: Vec<_> = self.interpreters.iter().filter(is_this).collect();
        if interpreters.is_empty() {
            return SelectorSet::default();
        }
        let found = self.script(subject, &interpreters).unwrap_or_else(|refusal| {
            tracing::debug!(pid = subject.pid, %refusal, "script is not counted");
            vec![("refused", refusal.to_string())]
        });
        let selector = |(name, value)| Selector::new("script", &format!("{name}:{value}")).ok();
        found.into_iter().filter_map(selector).collect()
    }

    fn script(
        &self,
        subject: &Subject,
        interpreters: &[&Interpreter],
    ) -> Result<Vec<(&'static str, String)>, Refusal> {
        let pid = subject.pid;
        privilege::check(pid)?;
        let image = image::read(pid, subject.layout)?;
        let arguments = Arguments::parse(&image, interpreters)?;
        environment::check(&image, arguments.language)?;
        file::check_interpreter(arguments.interpreter, subject.uid)?;
        let script = file::open(arguments.script, subject.uid)?;
        if let Some(option) = arguments.hash_bang {
            file::check_hash_bang(&script, arguments.interpreter, option)?;
        }
        let mut found = vec![("path", arguments.script.to_owned())];
        found.push(if started::is_older(subject.start_time, &script, &*self.clock)? {
            match self.hashes.file(&script)? {
                Hashed::Digest(digest) => ("sha256", hex::encode(digest)),
                Hashed::TooLarge => ("unhashed", "too_large".to_owned()),
                Hashed::Unreadable => ("unhashed", "unreadable".to_owned()),
            }
        } else {
            ("unhashed", "changed".to_owned())
        });
        // Only now is it sure that all of this was of one execution.
        if image::read(pid, subject.layout)? != image {
            return Err(Refusal::Moved);
        }
        privilege::check(pid)?;
        Ok(found)
    }
}
