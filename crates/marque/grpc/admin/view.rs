//! What an operator is shown: the admin API's messages as plain values, which serialize to the command line's JSON.
//!
//! Everything in here came over a socket: text is text, to be made visible before it reaches a terminal.

mod approvals;
mod daemon;
mod entries;
mod fields;
mod grants;
mod inquiries;
mod intents;
mod kills;
mod log;
mod playbooks;
mod reports;
mod tokens;

pub use approvals::{
    ApprovalView, ApproverRecordView, EligibilityView, NarrowedView, ObjectionView,
};
pub use daemon::{FolderView, ReasonView, RefusedReloadView, StatusView};
pub use entries::EntryView;
pub use grants::GrantView;
pub use inquiries::{
    DeclaredSharingView, EarnedView, ExplanationView, FindingView, HolderView, MissingView,
    NearView, ProfilesView, RefusedCallerView, SharedIdentityView, TemplateView,
};
pub use intents::{DenialView, HeldView, IntentView, UseView};
pub use kills::{IrrevocableView, KillScopeView, KillStateView, KillView, KilledView, LiftAskView};
pub use log::{LeafView, LogInfoView};
pub use playbooks::PlaybookView;
pub use reports::ReportView;
pub use tokens::TokenView;
pub(super) use tokens::kept_token;
