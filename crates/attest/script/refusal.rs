use std::io;

use crate::hash::HashError;

/// Why a process has no script. The text is the value of `script:refused:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// This daemon may not read what it needs.
    #[error("hidden")]
    Hidden,
    /// Something below `/proc/PID` does not have the expected form, or passes a limit.
    #[error("malformed")]
    Malformed,
    /// The memory is not as it was when the process was pinned: it executed again, or moved things.
    #[error("moved")]
    Moved,
    /// The argument area is not as `execve` lays it out.
    #[error("layout")]
    Layout,
    /// Without address space randomisation, two executions cannot be told apart.
    #[error("not_randomised")]
    NotRandomised,
    /// Another process traces it.
    #[error("traced")]
    Traced,
    /// It has other users or groups in reserve, or capabilities that get around permissions.
    #[error("privileged")]
    Privileged,
    /// It has a mount namespace or a root of its own.
    #[error("namespace")]
    Namespace,
    /// A variable of its environment loads code.
    #[error("environment")]
    Environment,
    /// Not started by a configured path of the interpreter.
    #[error("interpreter")]
    Interpreter,
    /// An option that is not known to load no code, or one that is needed is missing.
    #[error("option")]
    Option,
    /// No script, or not by an absolute path in its plain form.
    #[error("script")]
    Script,
    /// The script or the interpreter is reached by a symbolic link, or is no regular file.
    #[error("link")]
    Link,
    /// The process, a group or everybody may change the script, the interpreter or a folder above.
    #[error("writable")]
    Writable,
    /// The first line of the script does not say what the kernel made of it.
    #[error("hash_bang")]
    HashBang,
    /// The script was written to while it was hashed.
    #[error("changing")]
    Changing,
}

impl From<io::Error> for Refusal {
    fn from(_unreadable: io::Error) -> Self {
        Self::Hidden
    }
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Io(_) => Self::Hidden,
            HashError::Changed => Self::Changing,
        }
    }
}
