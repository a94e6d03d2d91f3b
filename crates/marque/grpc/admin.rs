//! The admin API: what operators of one trust domain do, over a Unix socket of its own.
//!
//! Nothing in a message says who is asking: the process at the other end was pinned when it connected, and the gate
//! decides for every call whether it is an operator and no agent. Absent on purpose: every rule about entries, intents
//! and kills, which are behind [`AdminDoor`].

mod approvals;
mod authorities;
mod calls;
mod client;
mod current;
mod door;
mod entries;
mod federation;
mod folder;
mod gate;
mod inquiries;
mod intents;
mod kills;
mod leaves;
mod log;
mod messages;
mod pace;
mod playbooks;
mod postures;
mod remote_log;
mod reports;
mod requests;
mod review;
mod signals;
mod sinks;
mod sources;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod view;
mod webhooks;

use std::sync::Arc;

use marque_attest::Attestors;
use marque_intent::IntentId;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Status};

use self::current::CurrentAdmin;
use self::gate::Gate;
use super::connection::peer_of;
use super::live::LiveLimits;
use super::serve::{ServeError, serve};

pub use authorities::{AuthorityChange, AuthorityWish, CertificateRequestView, SigningKeyView};
pub use client::{AdminClient, LeafStream};
pub use current::AdminDoors;
pub use door::{
    AdminDoor, AdminError, AuthorityDoor, DaemonStatus, DeliveryDoor, EntryDoor, FederationDoor,
    FolderDoor, IntentDoor, KillDoor, LogDoor, NewKillOrder, NewPosture, Operator, PaceDoor,
    Refusal, TokenDoor, TokenStanding,
};
pub(crate) use gate::{names_of, written_groups};
pub use pace::{RefusalView, StandingView};
pub use remote_log::RemoteLog;
pub(crate) use review::{kill_review, lift_review, review};
pub use view::{
    ApprovalView, ApproverRecordView, DeclaredSharingView, DenialView, EarnedView, EligibilityView,
    EntryView, ExplanationView, FindingView, FolderView, GrantView, HeldView, HolderView,
    IntentView, IrrevocableView, KillScopeView, KillStateView, KillView, KilledView, LeafView,
    LiftAskView, LogInfoView, MissingView, NarrowedView, NearView, ObjectionView, PlaybookView,
    ProfilesView, ReasonView, RefusedCallerView, RefusedReloadView, ReportView, SharedIdentityView,
    StatusView, TemplateView, TokenView, UseView,
};

/// Serves the admin API on `listener`, each call by the door of the moment at which it came, until `shutdown` is cancelled and the drain is over.
///
/// # Errors
/// When the server cannot be run at all; nothing that a client does ends it.
pub async fn serve_admin(
    listener: UnixListener,
    doors: AdminDoors,
    attestors: Arc<Attestors>,
    limits: impl Into<LiveLimits>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let limits = limits.into();
    let current = CurrentAdmin::new(doors, attestors, limits.clone(), shutdown.clone());
    serve(listener, Routes::new(current), None, limits, shutdown).await
}

#[derive(Debug)]
struct AdminService {
    door: Arc<dyn AdminDoor>,
    gate: Gate,
    shutdown: CancellationToken,
}

impl AdminService {
    /// The operator behind a request that is about no single intent.
    async fn operator<T>(
        &self,
        method: &'static str,
        request: &Request<T>,
    ) -> Result<Operator, Status> {
        self.gate.admit(&*peer_of(request)?, method, None).await
    }

    /// The operator behind a request about one intent, and that intent's id.
    async fn operator_for<T>(
        &self,
        method: &'static str,
        request: &Request<T>,
        id: impl Fn(&T) -> &str,
    ) -> Result<(Operator, IntentId), Status> {
        let id = requests::intent_id(id(request.get_ref()))?;
        let operator = self.gate.admit(&*peer_of(request)?, method, Some(&id)).await?;
        Ok((operator, id))
    }
}
