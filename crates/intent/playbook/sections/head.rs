//! What a playbook is called, who answers for it, and whether it is in use.

use serde::{Deserialize, Serialize};

use crate::approval::Principal;
use crate::playbook::document::Document;
use crate::playbook::report::{Report, check_claim_text, check_text};

/// Whether a playbook is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaybookStatus {
    /// Being written; nobody may ask for it.
    Draft,
    /// In use.
    Active,
    /// In use, and about to go.
    Deprecated,
    /// Switched off; nobody may ask for it.
    Disabled,
}

impl PlaybookStatus {
    /// Whether anybody may ask for it.
    #[must_use]
    pub const fn is_requestable(self) -> bool {
        match self {
            Self::Active | Self::Deprecated => true,
            Self::Draft | Self::Disabled => false,
        }
    }
}

/// What describes the playbook and is kept in its document, digest and log.
pub(crate) fn describe(document: &Document, report: &mut Report<'_>) {
    report.require(
        document.api_version == "marque/v1",
        "apiVersion",
        "this version reads `marque/v1`",
    );
    report.require(document.kind == "Playbook", "kind", "must be `Playbook`");
    for (path, text) in [("title", &document.title), ("owner", &document.owner)] {
        check_text(report, path, text);
    }
    if let Some(purpose) = &document.purpose {
        check_claim_text(report, "purpose", purpose);
    }
    for class in document.data_classes.iter().flatten() {
        check_claim_text(report, "data_classes", class);
    }
    check_claim_text(report, "tenant", &document.tenant);
    if let Some(author) = &document.author {
        report.keep("author", author.parse::<Principal>());
    }
    report.require(
        document.owner.contains(':'),
        "owner",
        "is written `kind:name`, such as `group:platform`",
    );
}
