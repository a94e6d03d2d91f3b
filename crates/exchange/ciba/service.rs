//! Authentication requests, as a part of the token service.

use marque_intent::{ApprovalPlan, Denial, DenialCode, Intent, IntentRequest};

use super::{BackchannelRequest, BackchannelResponse, Hint};
use crate::{
    AskError, AuthenticatedClient, Confirmation, DeferralKind, Endpoint, OAuthError,
    OAuthErrorCode, PlaybookApproval, Presented, TokenService,
    act::Chain,
    decision::Refusal,
    deferral::{NewDeferral, Waiting, idempotency_key},
    details::{InlineRequest, IntentReference},
    exchange::Wanted,
    issuing::Issuing,
};

const NOBODY: &str = "the hint names nobody who may approve this";

impl TokenService {
    /// Answers an authentication request: makes the intent or takes the one that is named, and gives what to poll with.
    ///
    /// # Errors
    /// What the client is to be told. Whatever refuses because of the intent is in the audit log by then.
    pub async fn backchannel(
        &self,
        request: BackchannelRequest,
        presented: Presented,
    ) -> Result<BackchannelResponse, OAuthError> {
        if !self.config.offers.ciba {
            return Err(OAuthError::new(
                OAuthErrorCode::UnauthorizedClient,
                "backchannel authentication is not offered",
            ));
        }
        let endpoint = Endpoint::BackchannelAuthentication;
        let (client, proofs) = self.prove(&request.client, &presented, endpoint).await?;
        self.remember(&proofs).await?;
        // The certificate is renewed while approvers think; the key of a DPoP proof stays.
        let binding = proofs.dpop.map(Confirmation::Jkt);
        let intent = match &request.intent {
            IntentReference::Inline(inline) => {
                self.asked_for(&client, &request, inline, &presented).await?
            }
            IntentReference::Approved(id) => id.clone(),
            IntentReference::Absent => return Err(request.asked.names_no_intent()),
        };
        let wanted = Wanted {
            client: &client,
            chain: Chain::of_agent(client.id().clone()),
            delegator: None,
            subject_expires_at: client.svid_expires_at(),
            asked: &request.asked,
            intent: &intent,
            waiting: Waiting::Accepted { binding },
            proofs: &proofs,
            bound: None,
            issuing: Issuing::Access,
            within: None,
        };
        let considered = self.considered(&wanted).await;
        self.withdraw_uncollectable(&client, &request.intent, wanted.intent, &considered).await;
        let intent = considered?;
        if let IntentReference::Approved(_) = request.intent {
            self.may_be_asked_about(&client, &request, &intent).await?;
        }
        let new = NewDeferral {
            kind: DeferralKind::Ciba,
            client: &client,
            binding,
            asked: &request.asked,
            requested_expiry: request.requested_expiry,
        };
        let opened = self.open_deferral(new, &intent).await;
        self.withdraw_uncollectable(&client, &request.intent, wanted.intent, &opened).await;
        opened.map(BackchannelResponse)
    }

    /// The intent that the desk makes of an inline request, if the person who is asked may approve it.
    async fn asked_for(
        &self,
        client: &AuthenticatedClient,
        request: &BackchannelRequest,
        inline: &InlineRequest,
        presented: &Presented,
    ) -> Result<marque_intent::IntentId, OAuthError> {
        let appeal = request.appeal();
        let key = idempotency_key(client, inline, &request.asked, appeal.as_ref(), presented)?;
        if key.is_none() {
            self.may_open_another(client).await?;
        }
        let known =
            |wanted: &IntentRequest| match self.desk.approval(client.id(), wanted.playbook()) {
                // Refused by the desk, which tells whether there is such a playbook.
                PlaybookApproval::NotForThisAgent => true,
                PlaybookApproval::ByNobody => false,
                PlaybookApproval::By(rule) => self.is_known(&request.hint, &rule),
            };
        let (wanted, named) = match (inline.read(), appeal) {
            (Ok(wanted), appeal) if !known(&wanted) || appeal.is_none() => {
                (Err(Denial::new(DenialCode::ApproverNotEligible, NOBODY)), false)
            }
            (Ok(wanted), Some(appeal)) => (Ok(wanted.with_appeal(appeal)), true),
            (wanted, _) => (wanted, true),
        };
        match self.desk.ask(client, wanted, key).await {
            Ok(intent) => Ok(intent.id().clone()),
            Err(AskError::Refused(denial)) if !named => {
                Err(OAuthError::new(OAuthErrorCode::UnknownUserId, NOBODY)
                    .with_denial(denial.code())
                    .with_source(denial))
            }
            Err(error) => Err(error.into_error()),
        }
    }

    /// Whether the person who is asked may approve an intent that exists. What both sides see was said when it was made.
    async fn may_be_asked_about(
        &self,
        client: &AuthenticatedClient,
        request: &BackchannelRequest,
        intent: &Intent,
    ) -> Result<(), OAuthError> {
        if request.message.is_some() {
            return Err(OAuthError::new(
                OAuthErrorCode::InvalidBindingMessage,
                "a binding message comes with the request for a playbook",
            ));
        }
        let rule = intent.grant().approval.as_ref();
        if rule.is_some_and(|rule| self.is_known(&request.hint, rule)) {
            return Ok(());
        }
        let denial = Denial::new(DenialCode::ApproverNotEligible, NOBODY);
        let refusal = Refusal::new(OAuthErrorCode::UnknownUserId, NOBODY, denial);
        Err(self.refused(client, Some(intent.id()), Some(intent), refusal).await)
    }

    fn is_known(&self, hint: &Hint, rule: &ApprovalPlan) -> bool {
        match hint {
            Hint::Login(asked) => self.desk.may_approve(rule, asked.as_str()),
            Hint::Nobody => false,
        }
    }
}
