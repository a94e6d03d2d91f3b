//! Stored credentials: what files of clouds, clusters, registries and CI hold, who else holds the same, and what could take
//! its place (M 130, M 136).
//!
//! A secret is read, fingerprinted under a key, and gone: no type that leaves this crate has one in it, and no error shows
//! what a file says. Nothing is executed, fetched or followed. Deliberately absent: asking a cloud what a credential may do,
//! and changing anything.

mod compare;
mod credential;
mod fingerprint;
mod formats;
mod report;
mod scan;
mod shown;

pub use compare::{Known, KnownError, Permitted};
pub use credential::{Credential, Found, Kind, Place, Secret, Standing, looks_privileged};
pub use fingerprint::{Fingerprint, FingerprintKey, FingerprintKeyError};
pub use formats::{Format, FormatError, MAX_FOUND};
pub use report::{Counts, Finding, FindingCode, Report, Step, report};
pub use scan::{MAX_ENTRIES, MAX_FILE_BYTES, Problem, ProblemKind, Scan, Scanned};
