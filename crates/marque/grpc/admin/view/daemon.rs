//! How a daemon is, as it is shown.

use jiff::Timestamp;
use serde::Serialize;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;

/// How a daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusView {
    /// The trust domain.
    pub trust_domain: String,
    /// `production` or `non-production`.
    pub environment: &'static str,
    /// The daemon's version.
    pub version: String,
    /// Since when it runs.
    pub started_at: Option<Timestamp>,
    /// Rises with every kill.
    pub kill_epoch: u64,
    /// Rises with every change of the entries.
    pub registry_revision: u64,
    /// Rises with every change of the bundle.
    pub bundle_sequence: u64,
    /// How many registration entries there are.
    pub entries: u64,
    /// How many playbooks there are.
    pub playbooks: u64,
    /// How many leaves the log has.
    pub log_size: u64,
    /// How many rows of the store were found not to read.
    pub unreadable_rows: u64,
    /// Whether requests can be served.
    pub ready: bool,
    /// What keeps them from being served.
    pub not_ready: Vec<ReasonView>,
    /// How the folder in force stands to its files; absent where the daemon does not say.
    pub folder: Option<FolderView>,
}

/// How the folder in force stands to its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderView {
    /// The digest of what was read.
    pub digest: String,
    /// When.
    pub loaded_at: Option<Timestamp>,
    /// Whether the files are others by now.
    pub differs: bool,
    /// The last reload, where it was refused.
    pub refused: Option<RefusedReloadView>,
}

/// A reload that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedReloadView {
    /// When.
    pub at: Option<Timestamp>,
    /// Who asked for it.
    pub by: String,
    /// Why; stable.
    pub code: String,
    /// The first of what stands in the way.
    pub first: String,
}

/// Why requests are not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonView {
    /// The stable code.
    pub code: String,
    /// What it means and what to do.
    pub detail: String,
}

impl TryFrom<proto::GetStatusResponse> for StatusView {
    type Error = CallError;

    fn try_from(message: proto::GetStatusResponse) -> Result<Self, CallError> {
        let proto::GetStatusResponse {
            trust_domain,
            environment,
            version,
            started_at,
            kill_epoch,
            registry_revision,
            bundle_sequence,
            entries,
            playbooks,
            log_size,
            unreadable_rows,
            not_ready,
            folder,
        } = message;
        let environment = match proto::Environment::try_from(environment) {
            Ok(proto::Environment::Production) => "production",
            Ok(proto::Environment::NonProduction) => "non-production",
            Ok(proto::Environment::Unspecified) | Err(_) => {
                return Err(CallError::Malformed("environment"));
            }
        };
        Ok(Self {
            trust_domain,
            environment,
            version,
            started_at: started_at.and_then(from_timestamp),
            kill_epoch,
            registry_revision,
            bundle_sequence,
            entries,
            playbooks,
            log_size,
            unreadable_rows,
            folder: folder.map(Into::into),
            ready: not_ready.is_empty(),
            not_ready: not_ready
                .into_iter()
                .map(|proto::NotReady { code, detail }| ReasonView { code, detail })
                .collect(),
        })
    }
}
