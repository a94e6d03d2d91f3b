use std::fmt;
use std::path::{Path, PathBuf};

/// One thing wrong in a trust domain's folder, where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1, when the finding is about one.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl Finding {
    /// A finding about a whole file.
    pub fn about(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, message: message.into() }
    }

    /// A finding about one line of a file.
    pub fn at(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), message: message.into() }
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
