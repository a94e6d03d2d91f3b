use std::fmt;
use std::path::{Path, PathBuf};

mod code;

pub use code::FindingCode;

/// One thing wrong in a trust domain's folder, where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1, when the finding is about one.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What kind of thing that is; stable.
    pub code: FindingCode,
}

impl Finding {
    /// A finding about a whole file. Its code is that of its place, until [`Self::coded`] says more.
    pub fn about(file: &Path, message: impl Into<String>) -> Self {
        Self::new(file, None, message.into())
    }

    /// A finding about one line of a file, with a code as [`Self::about`] has it.
    pub fn at(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self::new(file, Some(line), message.into())
    }

    /// A finding where the line may not be known, with a code as [`Self::about`] has it.
    pub fn new(file: &Path, line: Option<usize>, message: String) -> Self {
        let code = if message.starts_with(FindingCode::EnvironmentBoundary.as_str()) {
            FindingCode::EnvironmentBoundary
        } else {
            FindingCode::of_place(file)
        };
        Self { file: file.to_owned(), line, message, code }
    }

    /// The same with a code of its own.
    #[must_use]
    pub fn coded(self, code: FindingCode) -> Self {
        Self { code, ..self }
    }
}

/// `file:line: message`, as compilers write it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)
    }
}
