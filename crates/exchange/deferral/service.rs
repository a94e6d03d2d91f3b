//! Deferring, polling and cancelling, as parts of the token service.
//!
//! A poll is answered by what the intent is now; collecting is an exchange with every check anew
//! ([`TokenService::issue`]). Deliberately absent: callbacks. No URL of a client's is ever called.

use std::time::Duration;

use jiff::Timestamp;
use marque_intent::{Denial, DenialCode, Digest, Intent, IntentId, State, StopPoint};

use super::{
    Cancellation, CompletionMode, Deferral, DeferralCode, DeferralKind, DeferralState,
    OpenedDeferral, POLL_INTERVAL, Pace, PollRequest, Polled, Shown, collectable_until,
    idempotency_key,
};
use crate::{
    Asked, AuthenticatedClient, Confirmation, Deferred, MAX_OPEN_DEFERRALS_PER_AGENT, OAuthError,
    OAuthErrorCode, Presented, TokenResponse, TokenService,
    act::Chain,
    binding::Proofs,
    decision::Refusal,
    details::IntentReference,
    exchange::Wanted,
    issuing::Issuing,
    request::{ExchangeRequest, invalid},
    service::{server_error, spent, unavailable},
};

/// What becomes of a token request whose intent waits for an approver.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waiting {
    /// It is refused: the client did not say that it would wait.
    Refused,
    /// It is deferred, and the code bound to this key.
    Accepted {
        /// The key that was proven with the request.
        binding: Option<Confirmation>,
    },
    /// It was deferred, and is collected with this code.
    Collecting(Digest),
}

impl Waiting {
    /// The code that is spent with the token.
    pub(crate) const fn collected(&self) -> Option<&Digest> {
        match self {
            Self::Collecting(code) => Some(code),
            Self::Refused | Self::Accepted { .. } => None,
        }
    }
}

/// A deferral to open.
#[derive(Debug)]
pub(crate) struct NewDeferral<'a> {
    pub(crate) kind: DeferralKind,
    pub(crate) client: &'a AuthenticatedClient,
    pub(crate) binding: Option<Confirmation>,
    pub(crate) asked: &'a Asked,
    /// How long the client wants the code to be good at most.
    pub(crate) requested_expiry: Option<Duration>,
}

impl TokenService {
    /// A code is bound to the key of the DPoP proof. A certificate that the client authenticated by binds none: it is
    /// renewed while approvers think, and the next one says who the client is as well.
    pub(crate) fn waiting(&self, mode: CompletionMode, proofs: &Proofs) -> Waiting {
        match mode {
            CompletionMode::Deferred if self.config.offers.deferred => {
                Waiting::Accepted { binding: proofs.dpop.map(Confirmation::Jkt) }
            }
            CompletionMode::Deferred | CompletionMode::Immediate => Waiting::Refused,
        }
    }

    /// The intent that a request is about: the one that it names, or the one that the desk makes of it.
    pub(crate) async fn named_intent(
        &self,
        client: &AuthenticatedClient,
        request: &ExchangeRequest,
        waiting: &Waiting,
        presented: &Presented,
    ) -> Result<IntentId, OAuthError> {
        match &request.intent {
            IntentReference::Approved(id) => Ok(id.clone()),
            IntentReference::Inline(inline) => {
                let key = idempotency_key(client, inline, &request.asked, None, presented)?;
                if matches!(waiting, Waiting::Accepted { .. }) && key.is_none() {
                    self.may_open_another(client).await?;
                }
                let intent = self.desk.ask(client, inline.read(), key).await;
                Ok(intent.map_err(crate::AskError::into_error)?.id().clone())
            }
            IntentReference::Absent => Err(request.asked.names_no_intent()),
        }
    }

    /// Takes back the intent of an inline request that asked for what the playbook does not permit, or that nobody can
    /// collect because it needs a person or the client has too many deferrals open: no approver should spend a thought on it.
    pub(crate) async fn withdraw_uncollectable<T>(
        &self,
        client: &AuthenticatedClient,
        named: &IntentReference,
        intent: &IntentId,
        answer: &Result<T, OAuthError>,
    ) {
        let asked_too_much = answer.as_ref().err().is_some_and(|error| {
            matches!(
                error.code(),
                OAuthErrorCode::InvalidScope
                    | OAuthErrorCode::InvalidTarget
                    | OAuthErrorCode::InvalidAuthorizationDetails
            ) || matches!(
                error.denial(),
                Some(
                    DenialCode::ApproverQueueFull
                        | DenialCode::DelegatorMissing
                        | DenialCode::DelegatorNotAllowed
                )
            )
        });
        if asked_too_much && matches!(named, IntentReference::Inline(_)) {
            self.desk.withdraw(client, intent).await;
        }
    }

    /// Refuses a further request before an intent is made of it that nobody could collect.
    pub(crate) async fn may_open_another(
        &self,
        client: &AuthenticatedClient,
    ) -> Result<(), OAuthError> {
        let now = self.clock.now();
        let open = self.deferrals.open_deferrals(client.id(), now).await.map_err(unavailable)?;
        if open < MAX_OPEN_DEFERRALS_PER_AGENT { Ok(()) } else { Err(self.full(client).await) }
    }

    async fn full(&self, client: &AuthenticatedClient) -> OAuthError {
        let denial = Denial::new(
            DenialCode::ApproverQueueFull,
            format!("the agent has {MAX_OPEN_DEFERRALS_PER_AGENT} deferrals open"),
        );
        self.refused(client, None, None, Refusal::denied(denial)).await
    }

    /// The answer that defers a token request.
    pub(crate) async fn defer(
        &self,
        wanted: &Wanted<'_>,
        intent: &Intent,
        binding: Option<Confirmation>,
    ) -> OAuthError {
        let new = NewDeferral {
            kind: DeferralKind::DeferredTokenResponse,
            client: wanted.client,
            binding,
            asked: wanted.asked,
            requested_expiry: None,
        };
        match self.open_deferral(new, intent).await {
            Ok(deferred) => pending().with_deferred(deferred),
            Err(error) => error,
        }
    }

    /// Keeps a deferral. Its code is in the answer and nowhere else.
    pub(crate) async fn open_deferral(
        &self,
        new: NewDeferral<'_>,
        intent: &Intent,
    ) -> Result<Deferred, OAuthError> {
        let NewDeferral { kind, client, binding, asked, requested_expiry } = new;
        let code = DeferralCode::generate(&*self.random).map_err(server_error)?;
        let now = self.clock.now();
        let mut expires_at = collectable_until(intent, now);
        if let Some(expiry) = requested_expiry {
            expires_at = expires_at.min(now.checked_add(expiry).unwrap_or(expires_at));
        }
        let deferral = Deferral {
            code: code.digest(),
            kind,
            client: client.id().clone(),
            binding,
            intent: intent.id().clone(),
            asked: asked.clone(),
            state: DeferralState::Open,
            opened_at: now,
            expires_at,
            interval_s: POLL_INTERVAL.as_secs(),
            polled_at: None,
        };
        match self.deferrals.open_deferral(deferral).await.map_err(unavailable)? {
            OpenedDeferral::Kept => Ok(Deferred {
                code,
                expires_in: Duration::try_from(expires_at.duration_since(now))
                    .map_err(server_error)?,
                interval: POLL_INTERVAL,
                intent: intent.id().clone(),
            }),
            OpenedDeferral::TooMany => Err(self.full(client).await),
        }
    }

    /// Answers a poll.
    pub(crate) async fn poll(
        &self,
        client: &AuthenticatedClient,
        poll: &PollRequest,
        proofs: &Proofs,
    ) -> Result<TokenResponse, OAuthError> {
        if !self.offers_kind(poll.kind) {
            return Err(OAuthError::new(
                OAuthErrorCode::UnsupportedGrantType,
                "this grant type is not offered",
            ));
        }
        // A poll is a write of its own, whatever comes of it.
        self.remember(proofs).await?;
        let deferral = self.own_deferral(client, poll, proofs).await?;
        let now = self.clock.now();
        let polled =
            self.deferrals.poll_deferral(&deferral.code, now).await.map_err(unavailable)?;
        let Some(Polled { deferral, intent, pace }) = polled else { return Err(unknown()) };
        self.standing(client, &deferral, &intent, pace, now).await?;
        let wanted = Wanted {
            client,
            chain: Chain::of_agent(client.id().clone()),
            delegator: None,
            subject_expires_at: client.svid_expires_at(),
            asked: &deferral.asked,
            intent: &deferral.intent,
            issuing: Issuing::Access,
            within: None,
            waiting: Waiting::Collecting(deferral.code),
            proofs: &proofs.remembered(),
            bound: deferral.binding,
        };
        self.issue(&wanted).await
    }

    /// Ends the client's own deferral and withdraws its intent; whatever else the text is, nothing happens
    /// (draft-ietf-oauth-deferred-token-response-01, "Cancellation").
    ///
    /// Nobody has to prove a key for that: what is withdrawn is the client's own, and less is left than before.
    ///
    /// # Errors
    /// Storage is out of reach.
    pub(crate) async fn cancel_deferral(
        &self,
        client: &AuthenticatedClient,
        code: &DeferralCode,
    ) -> Result<Cancellation, OAuthError> {
        let found = self.deferrals.deferral(&code.digest()).await.map_err(unavailable)?;
        let Some(deferral) = found.filter(|deferral| deferral.client == *client.id()) else {
            return Ok(Cancellation::Nothing);
        };
        let now = self.clock.now();
        let cancelled = self.deferrals.cancel_deferral(&deferral.code, client.id(), now).await;
        cancelled.map_err(unavailable)
    }

    const fn offers_kind(&self, kind: DeferralKind) -> bool {
        match kind {
            DeferralKind::DeferredTokenResponse => self.config.offers.deferred,
            DeferralKind::Ciba => self.config.offers.ciba,
        }
    }

    /// The deferral that the code stands for, if it is this client's and the client proves what it proved before. A code
    /// that is somebody else's reads as an unknown one, and is on record.
    async fn own_deferral(
        &self,
        client: &AuthenticatedClient,
        poll: &PollRequest,
        proofs: &Proofs,
    ) -> Result<Deferral, OAuthError> {
        let code = match &poll.shown {
            Shown::Code(code) => code,
            Shown::NoCode => return Err(unknown()),
            Shown::Malformed(description) => return Err(invalid(description)),
        };
        let found = self.deferrals.deferral(&code.digest()).await.map_err(unavailable)?;
        let Some(deferral) = found.filter(|deferral| deferral.kind == poll.kind) else {
            return Err(unknown());
        };
        if deferral.client != *client.id() {
            let denial = Denial::new(
                DenialCode::SenderConstraintFailed,
                format!("the code of a deferral of `{}`", deferral.client),
            );
            return Err(self.on_record(client, &deferral, denial, unknown()).await);
        }
        if deferral.state == DeferralState::Redeemed {
            return Err(spent());
        }
        self.same_sender(client, &deferral, proofs).await?;
        Ok(deferral)
    }

    /// Whether the client proves the key that the first request proved.
    async fn same_sender(
        &self,
        client: &AuthenticatedClient,
        deferral: &Deferral,
        proofs: &Proofs,
    ) -> Result<(), OAuthError> {
        if deferral.binding.is_none_or(|binding| proofs.prove(&binding)) {
            return Ok(());
        }
        let code = DenialCode::SenderConstraintFailed;
        let denial = Denial::new(code, "the code is bound to a key that was not proven");
        let told = OAuthError::new(
            OAuthErrorCode::InvalidGrant,
            "the code is bound to a key that was not proven",
        );
        Err(self.on_record(client, deferral, denial, told.with_denial(code)).await)
    }

    /// Records why a code is refused, and gives what the client is told; only what could not be recorded is another matter.
    async fn on_record(
        &self,
        client: &AuthenticatedClient,
        deferral: &Deferral,
        denial: Denial,
        told: OAuthError,
    ) -> OAuthError {
        let refused = self.refused(client, Some(&deferral.intent), None, Refusal::denied(denial));
        match refused.await {
            error if error.code() == OAuthErrorCode::TemporarilyUnavailable => error,
            _ => told,
        }
    }

    /// Whether the token can be collected now.
    async fn standing(
        &self,
        client: &AuthenticatedClient,
        deferral: &Deferral,
        intent: &Intent,
        pace: Pace,
        now: Timestamp,
    ) -> Result<(), OAuthError> {
        if pace == Pace::TooFast {
            return Err(OAuthError::new(
                OAuthErrorCode::SlowDown,
                "wait five seconds longer between two polls from now on",
            ));
        }
        match deferral.state {
            DeferralState::Redeemed => return Err(spent()),
            DeferralState::Cancelled => {
                let code = intent.ended_code(now).unwrap_or(DenialCode::GrantCompleted);
                let denial = Denial::new(code, "the client withdrew the deferral");
                return Err(self.denied(client, intent, denial).await);
            }
            DeferralState::Open => {}
        }
        // Under a drain nobody approves any more, and what was approved may finish.
        let point = match intent.state() {
            State::Pending => StopPoint::Ask,
            _ => StopPoint::Issue,
        };
        if let Some(code) = self.store.kill_state().stops_grant(intent.grant(), point) {
            let denial = Denial::new(code, "the kill switch stops the grant");
            return Err(self.denied(client, intent, denial).await);
        }
        if now >= deferral.expires_at {
            return Err(OAuthError::new(OAuthErrorCode::ExpiredToken, "the code has ended"));
        }
        match (intent.state(), intent.ended_code(now)) {
            (State::Pending, None) => Err(pending()),
            (_, Some(DenialCode::ApprovalExpired)) => {
                Err(OAuthError::new(OAuthErrorCode::ExpiredToken, "nobody decided in time")
                    .with_denial(DenialCode::ApprovalExpired))
            }
            // The rest is the exchange's to say: approved, or why not.
            (_, None | Some(_)) => Ok(()),
        }
    }

    async fn denied(
        &self,
        client: &AuthenticatedClient,
        intent: &Intent,
        denial: Denial,
    ) -> OAuthError {
        self.refused(client, Some(intent.id()), Some(intent), Refusal::denied(denial)).await
    }
}

fn pending() -> OAuthError {
    OAuthError::new(
        OAuthErrorCode::AuthorizationPending,
        "step=approval: the request waits for an approver",
    )
}

/// One answer for a code that never was and for one that is somebody else's.
fn unknown() -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidGrant, "the code is not known")
}

#[cfg(test)]
pub(crate) mod tests;
