//! The calls of the admin API, each with the method that answers it.

use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::proto::admin::admin_server::Admin;
use super::AdminService;

pub(super) type LeavesStream = BoxStream<'static, Result<proto::StreamLeavesResponse, Status>>;
pub(super) type SourcesStream = BoxStream<'static, Result<proto::StreamSourcesResponse, Status>>;

/// Takes a row for each call: its name and message, what it is answered with, and the method that does so.
macro_rules! answered_by {
    ($($call:ident($request:ident) -> $answer:ty = $method:ident;)*) => {
        #[tonic::async_trait]
        impl Admin for AdminService {
            type StreamLeavesStream = LeavesStream;
            type StreamSourcesStream = SourcesStream;

            $(async fn $call(
                &self,
                request: Request<proto::$request>,
            ) -> Result<Response<$answer>, Status> {
                self.$method(request).await
            })*
        }
    };
}

answered_by! {
    get_status(GetStatusRequest) -> proto::GetStatusResponse = status;
    get_metrics(GetMetricsRequest) -> proto::GetMetricsResponse = metrics;
    list_entries(ListEntriesRequest) -> proto::ListEntriesResponse = entries;
    create_entry(CreateEntryRequest) -> proto::CreateEntryResponse = add_entry;
    delete_entry(DeleteEntryRequest) -> proto::DeleteEntryResponse = remove_entry;
    list_federations(ListFederationsRequest) -> proto::ListFederationsResponse = federations;
    add_federation(AddFederationRequest) -> proto::AddFederationResponse = federate;
    remove_federation(RemoveFederationRequest) -> proto::RemoveFederationResponse = part;
    refresh_federation(RefreshFederationRequest) -> proto::RefreshFederationResponse = refresh;
    get_bundle(GetBundleRequest) -> proto::GetBundleResponse = bundle;
    set_bundle(SetBundleRequest) -> proto::SetBundleResponse = replace_bundle;
    list_published(ListPublishedRequest) -> proto::ListPublishedResponse = published;
    list_playbooks(ListPlaybooksRequest) -> proto::ListPlaybooksResponse = playbooks;
    get_playbook(GetPlaybookRequest) -> proto::GetPlaybookResponse = playbook;
    list_intents(ListIntentsRequest) -> proto::ListIntentsResponse = intents;
    get_intent(GetIntentRequest) -> proto::GetIntentResponse = shown_intent;
    approve_intent(ApproveIntentRequest) -> proto::ApproveIntentResponse = approved;
    deny_intent(DenyIntentRequest) -> proto::DenyIntentResponse = denied;
    list_approvers(ListApproversRequest) -> proto::ListApproversResponse = approvers;
    revoke_intent(RevokeIntentRequest) -> proto::RevokeIntentResponse = revoked;
    count_open_grants(CountOpenGrantsRequest) -> proto::CountOpenGrantsResponse = open_counts;
    revoke_open_grants(RevokeOpenGrantsRequest) -> proto::RevokeOpenGrantsResponse = revoke_held;
    find_refusals(FindRefusalsRequest) -> proto::FindRefusalsResponse = refusals;
    list_standings(ListStandingsRequest) -> proto::ListStandingsResponse = standings;
    release_family(ReleaseFamilyRequest) -> proto::ReleaseFamilyResponse = release;
    list_tokens(ListTokensRequest) -> proto::ListTokensResponse = tokens_of;
    get_token(GetTokenRequest) -> proto::GetTokenResponse = token;
    page_tokens(PageTokensRequest) -> proto::PageTokensResponse = tokens_after;
    revoke_token(RevokeTokenRequest) -> proto::RevokeTokenResponse = end_token;
    kill(KillRequest) -> proto::KillResponse = stop;
    get_kill_state(GetKillStateRequest) -> proto::GetKillStateResponse = kill_standing;
    preview_kill(PreviewKillRequest) -> proto::PreviewKillResponse = kill_preview;
    drill_kill(DrillKillRequest) -> proto::DrillKillResponse = kill_drill;
    ask_lift(AskLiftRequest) -> proto::AskLiftResponse = lift_asked;
    confirm_lift(ConfirmLiftRequest) -> proto::ConfirmLiftResponse = lift_confirmed;
    set_posture(SetPostureRequest) -> proto::SetPostureResponse = set_posture_signal;
    list_postures(ListPosturesRequest) -> proto::ListPosturesResponse = postures;
    get_log_info(GetLogInfoRequest) -> proto::GetLogInfoResponse = log_info;
    stream_leaves(StreamLeavesRequest) -> Self::StreamLeavesStream = leaves;
    stream_sources(StreamSourcesRequest) -> Self::StreamSourcesStream = sources;
    explain_process(ExplainProcessRequest) -> proto::ExplainProcessResponse = explain;
    list_denials(ListDenialsRequest) -> proto::ListDenialsResponse = denials;
    make_report(MakeReportRequest) -> proto::MakeReportResponse = reports;
    read_payloads(ReadPayloadsRequest) -> proto::ReadPayloadsResponse = read_sealed;
    erase_intent(EraseIntentRequest) -> proto::EraseIntentResponse = erase;
    review_break_glass(ReviewBreakGlassRequest) -> proto::ReviewBreakGlassResponse = review;
    list_shared_identities(ListSharedIdentitiesRequest)
        -> proto::ListSharedIdentitiesResponse = shared_identities;
    list_signals(ListSignalsRequest) -> proto::ListSignalsResponse = signals;
    verify_signal_stream(VerifySignalStreamRequest) -> proto::VerifySignalStreamResponse = verify_signals;
    list_authorities(ListAuthoritiesRequest) -> proto::ListAuthoritiesResponse = authorities;
    change_authority(ChangeAuthorityRequest) -> proto::ChangeAuthorityResponse = step_authority;
    request_authority_certificate(RequestAuthorityCertificateRequest)
        -> proto::RequestAuthorityCertificateResponse = request_certificate;
    list_webhooks(ListWebhooksRequest) -> proto::ListWebhooksResponse = webhooks;
    list_audit_sinks(ListAuditSinksRequest) -> proto::ListAuditSinksResponse = audit_sinks;
    test_webhook(TestWebhookRequest) -> proto::TestWebhookResponse = try_webhook;
    reload_folder(ReloadFolderRequest) -> proto::ReloadFolderResponse = reload;
    redeliver_webhook(RedeliverWebhookRequest) -> proto::RedeliverWebhookResponse = redeliver;
}
