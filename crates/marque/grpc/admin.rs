//! The admin API: what operators of one trust domain do, over a Unix socket of its own.
//!
//! Nothing in a message says who is asking: the process at the other end was pinned when it connected, and the gate
//! decides for every call whether it is an operator and no agent. Absent on purpose: every rule about entries, intents
//! and kills, which are behind [`AdminDoor`].

mod approvals;
mod authorities;
mod client;
mod current;
mod door;
mod federation;
mod folder;
mod gate;
mod inquiries;
mod kills;
mod leaves;
mod messages;
mod pace;
mod remote_log;
mod reports;
mod requests;
mod review;
mod signals;
mod sinks;
mod sources;
#[cfg(test)]
mod tests;
mod tokens;
mod upstream;
mod view;
mod webhooks;

use std::sync::Arc;

use futures::stream::BoxStream;
use marque_attest::Attestors;
use marque_intent::{Holding, IntentId, OpenCount};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use self::current::CurrentAdmin;
use self::gate::Gate;
use super::connection::peer_of;
use super::live::LiveLimits;
use super::proto::admin as proto;
use super::proto::admin::admin_server::Admin;
use super::serve::{ServeError, serve};
use crate::{error, telemetry};

pub use authorities::{AuthorityChange, AuthorityWish, CertificateRequestView, SigningKeyView};
pub use client::{AdminClient, LeafStream};
pub use current::AdminDoors;
pub use door::{
    AdminDoor, AdminError, DaemonStatus, NewKillOrder, NewPosture, Operator, Refusal, TokenStanding,
};
pub(crate) use gate::{names_of, written_groups};
pub use pace::{RefusalView, StandingView};
pub use remote_log::RemoteLog;
pub(crate) use review::{kill_review, lift_review, review};
pub use upstream::{UpstreamStanding, UpstreamView};
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

    fn intent(&self, intent: &marque_intent::Intent) -> proto::Intent {
        let registry = self.door.registry();
        let owner = registry.entry_by_spiffe_id(intent.agent()).map(|entry| entry.owner());
        messages::intent(intent, owner)
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    type StreamLeavesStream = BoxStream<'static, Result<proto::StreamLeavesResponse, Status>>;
    type StreamSourcesStream = BoxStream<'static, Result<proto::StreamSourcesResponse, Status>>;

    async fn get_status(
        &self,
        request: Request<proto::GetStatusRequest>,
    ) -> Result<Response<proto::GetStatusResponse>, Status> {
        self.operator("GetStatus", &request).await?;
        let log = self.door.log();
        let log_size = match log.size().await {
            Ok(size) => size,
            // Whoever asks how the daemon is has to be told so above all when its store cannot be read.
            Err(_unreadable) => *log.changed().borrow(),
        };
        let not_ready = self.door.readiness().await;
        let folder = folder::standing(self.door.folder().await);
        let status = messages::status(&*self.door, log_size, &not_ready);
        Ok(Response::new(proto::GetStatusResponse { folder: Some(folder), ..status }))
    }

    async fn get_metrics(
        &self,
        request: Request<proto::GetMetricsRequest>,
    ) -> Result<Response<proto::GetMetricsResponse>, Status> {
        self.operator("GetMetrics", &request).await?;
        let proto::GetMetricsRequest {} = request.into_inner();
        self.door.measure().await;
        Ok(Response::new(proto::GetMetricsResponse { text: telemetry::metrics() }))
    }

    async fn list_entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        self.operator("ListEntries", &request).await?;
        let proto::ListEntriesRequest {} = request.into_inner();
        let entries =
            self.door.registry().entries().iter().map(|entry| messages::entry(entry)).collect();
        Ok(Response::new(proto::ListEntriesResponse { entries }))
    }

    async fn create_entry(
        &self,
        request: Request<proto::CreateEntryRequest>,
    ) -> Result<Response<proto::CreateEntryResponse>, Status> {
        let operator = self.operator("CreateEntry", &request).await?;
        let proto::CreateEntryRequest { spec } = request.into_inner();
        let entry = requests::new_entry(spec)?;
        let created = self.door.create_entry(entry, operator).await.map_err(error::admin)?;
        Ok(Response::new(proto::CreateEntryResponse { entry: Some(messages::entry(&created)) }))
    }

    async fn delete_entry(
        &self,
        request: Request<proto::DeleteEntryRequest>,
    ) -> Result<Response<proto::DeleteEntryResponse>, Status> {
        let operator = self.operator("DeleteEntry", &request).await?;
        let proto::DeleteEntryRequest { id } = request.into_inner();
        self.door.delete_entry(requests::entry_id(&id)?, operator).await.map_err(error::admin)?;
        Ok(Response::new(proto::DeleteEntryResponse {}))
    }

    async fn list_federations(
        &self,
        request: Request<proto::ListFederationsRequest>,
    ) -> Result<Response<proto::ListFederationsResponse>, Status> {
        self.federations(request).await
    }

    async fn add_federation(
        &self,
        request: Request<proto::AddFederationRequest>,
    ) -> Result<Response<proto::AddFederationResponse>, Status> {
        self.federate(request).await
    }

    async fn remove_federation(
        &self,
        request: Request<proto::RemoveFederationRequest>,
    ) -> Result<Response<proto::RemoveFederationResponse>, Status> {
        self.part(request).await
    }

    async fn refresh_federation(
        &self,
        request: Request<proto::RefreshFederationRequest>,
    ) -> Result<Response<proto::RefreshFederationResponse>, Status> {
        self.refresh(request).await
    }

    async fn get_bundle(
        &self,
        request: Request<proto::GetBundleRequest>,
    ) -> Result<Response<proto::GetBundleResponse>, Status> {
        self.bundle(request).await
    }

    async fn set_bundle(
        &self,
        request: Request<proto::SetBundleRequest>,
    ) -> Result<Response<proto::SetBundleResponse>, Status> {
        self.replace_bundle(request).await
    }

    async fn list_published(
        &self,
        request: Request<proto::ListPublishedRequest>,
    ) -> Result<Response<proto::ListPublishedResponse>, Status> {
        self.published(request).await
    }

    async fn list_playbooks(
        &self,
        request: Request<proto::ListPlaybooksRequest>,
    ) -> Result<Response<proto::ListPlaybooksResponse>, Status> {
        self.operator("ListPlaybooks", &request).await?;
        let proto::ListPlaybooksRequest {} = request.into_inner();
        let playbooks = self.door.playbooks().iter().map(messages::playbook).collect();
        Ok(Response::new(proto::ListPlaybooksResponse { playbooks }))
    }

    async fn get_playbook(
        &self,
        request: Request<proto::GetPlaybookRequest>,
    ) -> Result<Response<proto::GetPlaybookResponse>, Status> {
        self.operator("GetPlaybook", &request).await?;
        let proto::GetPlaybookRequest { id } = request.into_inner();
        let playbooks = self.door.playbooks();
        let playbook = playbooks
            .find(&requests::playbook_id(&id)?)
            .ok_or_else(|| error::admin(AdminError::NotFound { what: "playbook", id }))?;
        Ok(Response::new(proto::GetPlaybookResponse {
            playbook: Some(messages::playbook(playbook)),
        }))
    }

    async fn list_intents(
        &self,
        request: Request<proto::ListIntentsRequest>,
    ) -> Result<Response<proto::ListIntentsResponse>, Status> {
        self.operator("ListIntents", &request).await?;
        let filter = requests::filter(request.into_inner())?;
        let found = self.door.intents(filter).await.map_err(error::admin)?;
        let intents = found.iter().map(|intent| self.intent(intent)).collect();
        Ok(Response::new(proto::ListIntentsResponse { intents }))
    }

    async fn get_intent(
        &self,
        request: Request<proto::GetIntentRequest>,
    ) -> Result<Response<proto::GetIntentResponse>, Status> {
        self.shown_intent(request).await
    }

    async fn approve_intent(
        &self,
        request: Request<proto::ApproveIntentRequest>,
    ) -> Result<Response<proto::ApproveIntentResponse>, Status> {
        self.approved(request).await
    }

    async fn deny_intent(
        &self,
        request: Request<proto::DenyIntentRequest>,
    ) -> Result<Response<proto::DenyIntentResponse>, Status> {
        self.denied(request).await
    }

    async fn list_approvers(
        &self,
        request: Request<proto::ListApproversRequest>,
    ) -> Result<Response<proto::ListApproversResponse>, Status> {
        self.approvers(request).await
    }

    async fn revoke_intent(
        &self,
        request: Request<proto::RevokeIntentRequest>,
    ) -> Result<Response<proto::RevokeIntentResponse>, Status> {
        self.revoked(request).await
    }

    async fn count_open_grants(
        &self,
        request: Request<proto::CountOpenGrantsRequest>,
    ) -> Result<Response<proto::CountOpenGrantsResponse>, Status> {
        self.gate.admit(&*peer_of(&request)?, "CountOpenGrants", None).await?;
        let proto::CountOpenGrantsRequest { by } = request.into_inner();
        let counts = self.door.open_counts(requests::open_by(&by)?).await.map_err(error::admin)?;
        let count = |OpenCount { name, grants }| proto::OpenCount { name, grants };
        let counts = counts.into_iter().map(count).collect();
        Ok(Response::new(proto::CountOpenGrantsResponse { counts }))
    }

    async fn revoke_open_grants(
        &self,
        request: Request<proto::RevokeOpenGrantsRequest>,
    ) -> Result<Response<proto::RevokeOpenGrantsResponse>, Status> {
        let operator = self.gate.admit(&*peer_of(&request)?, "RevokeOpenGrants", None).await?;
        let proto::RevokeOpenGrantsRequest { by, name, reason } = request.into_inner();
        let holding = Holding { by: requests::open_by(&by)?, name };
        let reason = requests::reason(&reason)?;
        let ended = self.door.revoke_held(operator, holding, reason).await.map_err(error::admin)?;
        let intents = ended.iter().map(ToString::to_string).collect();
        Ok(Response::new(proto::RevokeOpenGrantsResponse { intents }))
    }

    async fn find_refusals(
        &self,
        request: Request<proto::FindRefusalsRequest>,
    ) -> Result<Response<proto::FindRefusalsResponse>, Status> {
        self.refusals(request).await
    }

    async fn list_standings(
        &self,
        request: Request<proto::ListStandingsRequest>,
    ) -> Result<Response<proto::ListStandingsResponse>, Status> {
        self.standings(request).await
    }

    async fn release_family(
        &self,
        request: Request<proto::ReleaseFamilyRequest>,
    ) -> Result<Response<proto::ReleaseFamilyResponse>, Status> {
        self.release(request).await
    }

    async fn list_tokens(
        &self,
        request: Request<proto::ListTokensRequest>,
    ) -> Result<Response<proto::ListTokensResponse>, Status> {
        self.tokens_of(request).await
    }

    async fn get_token(
        &self,
        request: Request<proto::GetTokenRequest>,
    ) -> Result<Response<proto::GetTokenResponse>, Status> {
        self.token(request).await
    }

    async fn page_tokens(
        &self,
        request: Request<proto::PageTokensRequest>,
    ) -> Result<Response<proto::PageTokensResponse>, Status> {
        self.tokens_after(request).await
    }

    async fn revoke_token(
        &self,
        request: Request<proto::RevokeTokenRequest>,
    ) -> Result<Response<proto::RevokeTokenResponse>, Status> {
        self.end_token(request).await
    }

    async fn kill(
        &self,
        request: Request<proto::KillRequest>,
    ) -> Result<Response<proto::KillResponse>, Status> {
        self.stop(request).await
    }

    async fn get_kill_state(
        &self,
        request: Request<proto::GetKillStateRequest>,
    ) -> Result<Response<proto::GetKillStateResponse>, Status> {
        self.kill_standing(request).await
    }

    async fn preview_kill(
        &self,
        request: Request<proto::PreviewKillRequest>,
    ) -> Result<Response<proto::PreviewKillResponse>, Status> {
        self.kill_preview(request).await
    }

    async fn drill_kill(
        &self,
        request: Request<proto::DrillKillRequest>,
    ) -> Result<Response<proto::DrillKillResponse>, Status> {
        self.kill_drill(request).await
    }

    async fn ask_lift(
        &self,
        request: Request<proto::AskLiftRequest>,
    ) -> Result<Response<proto::AskLiftResponse>, Status> {
        self.lift_asked(request).await
    }

    async fn confirm_lift(
        &self,
        request: Request<proto::ConfirmLiftRequest>,
    ) -> Result<Response<proto::ConfirmLiftResponse>, Status> {
        self.lift_confirmed(request).await
    }

    async fn set_posture(
        &self,
        request: Request<proto::SetPostureRequest>,
    ) -> Result<Response<proto::SetPostureResponse>, Status> {
        let operator = self.operator("SetPosture", &request).await?;
        let order = requests::posture(request.into_inner())?;
        let state = self.door.set_posture(order, operator).await.map_err(error::admin)?;
        let signals_json = messages::postures(&state);
        Ok(Response::new(proto::SetPostureResponse { signals_json }))
    }

    async fn list_postures(
        &self,
        request: Request<proto::ListPosturesRequest>,
    ) -> Result<Response<proto::ListPosturesResponse>, Status> {
        self.operator("ListPostures", &request).await?;
        let proto::ListPosturesRequest {} = request.into_inner();
        let state = self.door.postures().await.map_err(error::admin)?;
        let signals_json = messages::postures(&state);
        Ok(Response::new(proto::ListPosturesResponse { signals_json }))
    }

    async fn get_log_info(
        &self,
        request: Request<proto::GetLogInfoRequest>,
    ) -> Result<Response<proto::GetLogInfoResponse>, Status> {
        self.operator("GetLogInfo", &request).await?;
        let proto::GetLogInfoRequest {} = request.into_inner();
        let log = self.door.log();
        // Before the newest one, so that it is never a later one than that.
        let cosigned = self.door.cosigned_checkpoint().await.map_err(error::admin)?;
        let checkpoint = leaves::whole_checkpoint(&*log).await.map_err(error::log)?;
        let checkpoint = checkpoint.map(|stored| stored.text).unwrap_or_default();
        let size = log.size().await.map_err(error::log)?;
        let verifier_key = self.door.log_key().to_string();
        let cosigned_checkpoint = cosigned.unwrap_or_default();
        let info =
            proto::GetLogInfoResponse { size, checkpoint, verifier_key, cosigned_checkpoint };
        Ok(Response::new(info))
    }

    async fn stream_leaves(
        &self,
        request: Request<proto::StreamLeavesRequest>,
    ) -> Result<Response<Self::StreamLeavesStream>, Status> {
        self.operator("StreamLeaves", &request).await?;
        let proto::StreamLeavesRequest { from, follow } = request.into_inner();
        Ok(Response::new(leaves::stream(self.door.log(), from, follow, self.shutdown.clone())))
    }

    async fn stream_sources(
        &self,
        request: Request<proto::StreamSourcesRequest>,
    ) -> Result<Response<Self::StreamSourcesStream>, Status> {
        self.operator("StreamSources", &request).await?;
        let proto::StreamSourcesRequest {} = request.into_inner();
        Ok(Response::new(sources::stream(&self.door.sources())))
    }

    async fn explain_process(
        &self,
        request: Request<proto::ExplainProcessRequest>,
    ) -> Result<Response<proto::ExplainProcessResponse>, Status> {
        self.explain(request).await
    }

    async fn list_denials(
        &self,
        request: Request<proto::ListDenialsRequest>,
    ) -> Result<Response<proto::ListDenialsResponse>, Status> {
        self.denials(request).await
    }

    async fn make_report(
        &self,
        request: Request<proto::MakeReportRequest>,
    ) -> Result<Response<proto::MakeReportResponse>, Status> {
        self.reports(request).await
    }

    async fn read_payloads(
        &self,
        request: Request<proto::ReadPayloadsRequest>,
    ) -> Result<Response<proto::ReadPayloadsResponse>, Status> {
        self.read_sealed(request).await
    }

    async fn erase_intent(
        &self,
        request: Request<proto::EraseIntentRequest>,
    ) -> Result<Response<proto::EraseIntentResponse>, Status> {
        self.erase(request).await
    }

    async fn review_break_glass(
        &self,
        request: Request<proto::ReviewBreakGlassRequest>,
    ) -> Result<Response<proto::ReviewBreakGlassResponse>, Status> {
        self.review(request).await
    }

    async fn list_shared_identities(
        &self,
        request: Request<proto::ListSharedIdentitiesRequest>,
    ) -> Result<Response<proto::ListSharedIdentitiesResponse>, Status> {
        self.shared_identities(request).await
    }

    async fn list_signals(
        &self,
        request: Request<proto::ListSignalsRequest>,
    ) -> Result<Response<proto::ListSignalsResponse>, Status> {
        self.signals(request).await
    }

    async fn verify_signal_stream(
        &self,
        request: Request<proto::VerifySignalStreamRequest>,
    ) -> Result<Response<proto::VerifySignalStreamResponse>, Status> {
        self.verify_signals(request).await
    }

    async fn list_authorities(
        &self,
        request: Request<proto::ListAuthoritiesRequest>,
    ) -> Result<Response<proto::ListAuthoritiesResponse>, Status> {
        self.authorities(request).await
    }

    async fn change_authority(
        &self,
        request: Request<proto::ChangeAuthorityRequest>,
    ) -> Result<Response<proto::ChangeAuthorityResponse>, Status> {
        self.step_authority(request).await
    }

    async fn request_authority_certificate(
        &self,
        request: Request<proto::RequestAuthorityCertificateRequest>,
    ) -> Result<Response<proto::RequestAuthorityCertificateResponse>, Status> {
        self.request_certificate(request).await
    }

    async fn list_webhooks(
        &self,
        request: Request<proto::ListWebhooksRequest>,
    ) -> Result<Response<proto::ListWebhooksResponse>, Status> {
        self.webhooks(request).await
    }

    async fn list_audit_sinks(
        &self,
        request: Request<proto::ListAuditSinksRequest>,
    ) -> Result<Response<proto::ListAuditSinksResponse>, Status> {
        self.audit_sinks(request).await
    }

    async fn test_webhook(
        &self,
        request: Request<proto::TestWebhookRequest>,
    ) -> Result<Response<proto::TestWebhookResponse>, Status> {
        self.try_webhook(request).await
    }

    async fn reload_folder(
        &self,
        request: Request<proto::ReloadFolderRequest>,
    ) -> Result<Response<proto::ReloadFolderResponse>, Status> {
        self.reload(request).await
    }

    async fn redeliver_webhook(
        &self,
        request: Request<proto::RedeliverWebhookRequest>,
    ) -> Result<Response<proto::RedeliverWebhookResponse>, Status> {
        self.redeliver(request).await
    }
}
