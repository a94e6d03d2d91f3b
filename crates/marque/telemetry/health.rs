//! Whether requests can be served, and what keeps them from being.
//!
//! A trust domain's own reasons come from its issuer; here are their codes, and what the process adds. Absent: finding out.

use metrics::gauge;
use serde::Serialize;

use super::described as names;

/// Why requests are not served. A code is never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotReady {
    /// Not everything listens yet.
    Starting,
    /// The daemon was asked to end.
    Draining,
    /// A row could not be written just now.
    StoreUnwritable,
    /// The newest leaves of the log are under no signed checkpoint.
    LogUnsigned,
    /// A signing authority has ended.
    AuthoritiesEnded,
    /// For too long it was not heard who is stopped.
    KillsUnheard,
}

impl NotReady {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Starting,
        Self::Draining,
        Self::StoreUnwritable,
        Self::LogUnsigned,
        Self::AuthoritiesEnded,
        Self::KillsUnheard,
    ];

    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::StoreUnwritable => "store_unwritable",
            Self::LogUnsigned => "log_unsigned",
            Self::AuthoritiesEnded => "authorities_ended",
            Self::KillsUnheard => "kills_unheard",
        }
    }

    /// What it means, and what to do.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Starting => "not everything listens yet: wait",
            Self::Draining => "the daemon was asked to end, and takes nothing new",
            Self::StoreUnwritable => {
                "the store cannot be written, so nothing is issued: look at the database, its disk and the daemon's output"
            }
            Self::LogUnsigned => {
                "the log cannot be read or its checkpoint cannot be signed: see the daemon's output"
            }
            Self::AuthoritiesEnded => {
                "a signing authority has ended and no other could take its place, so nothing can be signed: see the daemon's output and `marque authority list`"
            }
            Self::KillsUnheard => {
                "the database has not told who is stopped for too long, so nothing is said to be live: look at the connection to it"
            }
        }
    }
}

/// Puts into the metrics how one trust domain is.
pub(crate) fn measure(trust_domain: &str, reasons: &[NotReady]) {
    for reason in NotReady::ALL {
        let holds = f64::from(u8::from(reasons.contains(&reason)));
        let name = trust_domain.to_owned();
        gauge!(names::NOT_READY, "trust_domain" => name, "reason" => reason.as_str()).set(holds);
    }
    let ready = f64::from(u8::from(reasons.is_empty()));
    gauge!(names::READY, "trust_domain" => trust_domain.to_owned()).set(ready);
}

/// One reason as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    code: &'static str,
    detail: &'static str,
}

impl From<NotReady> for Told {
    fn from(reason: NotReady) -> Self {
        Self { code: reason.as_str(), detail: reason.told() }
    }
}

/// How one trust domain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DomainHealth {
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) reasons: Vec<Told>,
}

/// How the process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    /// Whether every trust domain can serve requests.
    pub(crate) ready: bool,
    /// What concerns the process as a whole.
    pub(crate) reasons: Vec<Told>,
    pub(crate) trust_domains: Vec<DomainHealth>,
}

impl Health {
    /// Ready where there is no reason against it, here or in a trust domain.
    pub(crate) fn of(process: Option<NotReady>, trust_domains: Vec<DomainHealth>) -> Self {
        let reasons: Vec<Told> = process.map(Told::from).into_iter().collect();
        let ready = reasons.is_empty() && trust_domains.iter().all(|domain| domain.ready);
        Self { ready, reasons, trust_domains }
    }
}

impl DomainHealth {
    pub(crate) fn of(name: String, reasons: &[NotReady]) -> Self {
        let ready = reasons.is_empty();
        Self { name, ready, reasons: reasons.iter().copied().map(Told::from).collect() }
    }
}
