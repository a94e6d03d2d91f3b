use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a container engine or kubelet is not, or cannot be, believed. What it said is never part of
/// the text: its answers hold what containers were told in confidence.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers at the socket or address.
    #[error("cannot connect to {to}")]
    Connect {
        /// The socket or address.
        to: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A certificate, key or token file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{}` holds no {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The TLS settings do not fit together, or the server's name is none.
    #[error("the TLS settings for the kubelet cannot be used")]
    Settings(#[source] rustls::Error),
    /// The server did not prove itself, or did not accept this client.
    #[error("no TLS with {to}")]
    Tls {
        /// The address.
        to: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The exchange broke.
    #[error("the HTTP exchange failed")]
    Exchange(#[source] hyper::Error),
    /// There was no answer in time.
    #[error("no answer within {} ms", limit.as_millis())]
    Deadline {
        /// How long was waited.
        limit: Duration,
    },
    /// The answer is longer than is read.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// How many bytes are read.
        limit: usize,
    },
    /// An HTTP status other than the ones that mean something.
    #[error("the answer has the status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer is not the JSON that is expected.
    #[error("the answer does not have the expected form at line {line}, column {column}")]
    Malformed {
        /// Where it departs.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// The engine described another container than it was asked about.
    #[error("the answer is about another container")]
    OtherContainer,
    /// The container does not run, though the process does.
    #[error("the container does not run")]
    NotRunning,
    /// The container's own process is not in the cgroup in which the attested process is.
    #[error("the container's own process is in another cgroup")]
    Elsewhere,
    /// The container stopped or restarted while it was asked about.
    #[error("the container changed while it was asked about")]
    Changed,
    /// The container belongs to another pod than the cgroup says.
    #[error("the container is of another pod")]
    OtherPod,
    /// The kubelet does not list the container, though it was asked repeatedly.
    #[error("the kubelet does not list the container after {attempts} attempts")]
    NotListed {
        /// How often it was asked.
        attempts: u32,
    },
}

impl SourceError {
    /// Keeps the place and drops the text, which may quote what was read.
    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed { line: error.line(), column: error.column() }
    }
}
