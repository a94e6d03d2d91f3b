//! The exchange path: verify the subject, decide, redeem or derive, sign (RFC 8693).
//!
//! A use is redeemed and on disk before anything is signed, and a refusal about an intent is on disk before it is
//! answered. Deliberately absent: how a client was authenticated.

mod derive;
mod kinds;
mod sign;

use std::borrow::Cow;

use jiff::Timestamp;
use marque_audit::{Event, EventKind, PlaybookPin};
use marque_intent::{Delegator, Denial, DenialCode, Intent, IntentId, StopPoint};

use crate::{
    Asked, AuthenticatedClient, Confirmation, OAuthError, OAuthErrorCode, Presented, RedeemError,
    Redeemed, Redemption, TokenId, TokenRecord, TokenResponse, TokenService, TransactionId,
    act::Chain,
    binding::{self, NewHolder, Proofs},
    chaining::redeem::Within,
    client::ClientCredentials,
    decision::{Decision, Question, Refusal},
    deferral::Waiting,
    details::IntentReference,
    is_not_stopped,
    issuing::Issuing,
    request::ExchangeRequest,
    service::{server_error, spent, unavailable},
    subject::Subject,
};

/// A token to issue for a use, as it is wanted by somebody who proved who they are.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) client: &'a AuthenticatedClient,
    /// On whose behalf.
    pub(crate) chain: Chain,
    /// The person at its root, if there is one.
    pub(crate) delegator: Option<Delegator>,
    /// When the subject token ends.
    pub(crate) subject_expires_at: Timestamp,
    pub(crate) asked: &'a Asked,
    pub(crate) intent: &'a IntentId,
    /// What becomes of it where the intent waits for an approver.
    pub(crate) waiting: Waiting,
    pub(crate) issuing: Issuing<'a>,
    /// The grant of another domain that it comes of.
    pub(crate) within: Option<Within>,
    /// What was proven with the request.
    pub(crate) proofs: &'a Proofs,
    /// The key that an earlier request for the same token proved, where it was deferred.
    pub(crate) bound: Option<Confirmation>,
}

impl Wanted<'_> {
    /// What is kept of the token that a decision gives.
    fn token(
        &self,
        (id, confirmation): (TokenId, Option<Confirmation>),
        decision: &Decision,
        intent: Option<&Intent>,
        epoch: u64,
    ) -> TokenRecord {
        let groups = self.delegator.as_ref().map(|person| person.groups.clone());
        TokenRecord {
            id,
            intent: self.intent.clone(),
            kind: self.issuing.kind(),
            client: self.client.id().clone(),
            through: Vec::new(),
            parent: None,
            ancestors: Vec::new(),
            keys_above: Vec::new(),
            root: Some(self.chain.root().clone()),
            root_groups: groups.unwrap_or_default(),
            confirmation: self.issuing.confirmation(confirmation, decision.binding_required),
            single_use: self.issuing.single_use()
                || intent.is_some_and(|intent| intent.grant().single_use_tokens),
            used_at: None,
            status_index: None,
            audiences: self.issuing.audiences(decision),
            issued_at: decision.issued_at,
            expires_at: decision.expires_at,
            epoch,
            revoked_at: None,
        }
    }

    /// The use that the token is redeemed for.
    fn redemption(
        &self,
        token: TokenRecord,
        decision: &Decision,
        transaction: Option<TransactionId>,
        now: Timestamp,
    ) -> Result<Redemption, OAuthError> {
        let chained = self.within.iter().map(|within| within.single_use);
        Ok(Redemption {
            intent: self.intent.clone(),
            agent: self.client.id().clone(),
            grant_digest: decision.grant_digest,
            carried: decision.carried()?,
            deferral: self.waiting.collected().copied(),
            token,
            transaction,
            proofs: chained.chain(self.proofs.take_along()).collect(),
            now,
        })
    }
}

impl TokenService {
    /// Exchanges what the client has for a token, on the path that the subject token takes by what it is.
    pub(crate) async fn exchange(
        &self,
        credentials: &ClientCredentials,
        client: AuthenticatedClient,
        request: &ExchangeRequest,
        presented: &Presented,
        proofs: &Proofs,
    ) -> Result<TokenResponse, OAuthError> {
        let (issuing, asked) = Issuing::of(request, &self.config)?;
        let subject = self.subject(credentials, request, &client).await?;
        let actor = self.actor(credentials, request, &client)?;
        let (chain, delegator, subject_expires_at) = match &subject {
            Subject::Token(subject) => {
                let asked = (request, &asked, &issuing);
                return self.derive_from(subject, &client, &actor, asked, proofs).await;
            }
            Subject::Svid(svid) => {
                (Chain::of_agent(client.id().clone()), None, svid.svid_expires_at())
            }
            Subject::Person(person) => {
                (self.acting_for(person, &client)?, Some(person.delegator()), person.expires_at)
            }
        };
        // An SVID or a person's token is exchanged by the agent that it is of, or that acts for the person: by the client.
        if actor.id != *client.id() {
            return Err(invalid("the actor of this exchange is the client itself"));
        }
        let waiting = match (&subject, &issuing) {
            (Subject::Svid(_), Issuing::Access) => self.waiting(request.completion, proofs),
            // Its end is not put off: what a person's token gives, it gives now. Nor does a transaction wait.
            _ => Waiting::Refused,
        };
        let mut proofs = Cow::Borrowed(proofs);
        if matches!(request.intent, IntentReference::Inline(_)) {
            // To ask is a write of its own, which a proof makes once as well.
            self.remember(&proofs).await?;
            proofs = Cow::Owned(proofs.remembered());
        }
        let intent = self.named_intent(&client, request, &waiting, presented).await?;
        let wanted = Wanted {
            client: &client,
            chain,
            delegator,
            subject_expires_at: subject_expires_at.min(actor.expires_at),
            asked: &asked,
            intent: &intent,
            waiting,
            issuing,
            within: None,
            proofs: &proofs,
            bound: None,
        };
        let answer = self.issue(&wanted).await;
        self.withdraw_uncollectable(&client, &request.intent, &intent, &answer).await;
        answer
    }

    /// The chain of a token that a client gets for a person: the person at its root, and the client acting.
    fn acting_for(
        &self,
        person: &crate::Person,
        client: &AuthenticatedClient,
    ) -> Result<Chain, OAuthError> {
        let permits =
            |may_act: &crate::MayAct| may_act.permits(client.id(), self.config.issuer.as_str());
        if !person.may_act.as_ref().is_none_or(permits) {
            return Err(invalid("the subject token names another actor"));
        }
        Ok(Chain::of_person(person.principal(), client.id().clone())
            .authenticated(person.authentication.clone()))
    }

    /// The intent that is wanted, if all that it lacks is an approver's word.
    pub(crate) async fn considered(&self, wanted: &Wanted<'_>) -> Result<Intent, OAuthError> {
        let Wanted { client, subject_expires_at, asked, intent: id, issuing, within, .. } = wanted;
        let delegator = wanted.delegator.as_ref();
        let intent = self.store.intent(id).await.map_err(unavailable)?;
        let kills = self.store.kill_state();
        let now = self.clock.now();
        let question = Question {
            asked,
            client,
            delegator,
            subject_expires_at: *subject_expires_at,
            intent: intent.as_ref(),
            kills: &kills,
            config: &self.config,
            token_id: &TokenId::generate(&*self.random, now).map_err(server_error)?,
            issuing,
            within: within.as_ref(),
            // That is looked at when the token is issued, and what waits is not used yet.
            admitted: Ok(None),
            now,
        };
        match (question.decide(), intent) {
            (Ok(_), Some(intent)) => Ok(intent),
            (Err(refusal), Some(intent)) if refusal.waits() => Ok(intent),
            (Err(refusal), intent) => {
                Err(self.refused(client, Some(id), intent.as_ref(), refusal).await)
            }
            // There is no decision about an intent that is not there.
            (Ok(_), None) => {
                Err(OAuthError::new(OAuthErrorCode::ServerError, "the token service failed"))
            }
        }
    }

    /// Decides, redeems and signs, now and with everything as it is now, whether the request came a moment ago or was
    /// deferred.
    pub(crate) async fn issue(&self, wanted: &Wanted<'_>) -> Result<TokenResponse, OAuthError> {
        let Wanted { client, chain, subject_expires_at, asked, intent: id, .. } = wanted;
        let Wanted { waiting, proofs, bound, issuing, within, .. } = wanted;
        let intent = self.store.intent(id).await.map_err(unavailable)?;
        let admitted = self.admitted(client, intent.as_ref()).await;
        let kills = self.store.kill_state();
        let now = self.clock.now();
        let token_id = TokenId::generate(&*self.random, now).map_err(server_error)?;
        let question = Question {
            asked,
            client,
            delegator: wanted.delegator.as_ref(),
            subject_expires_at: *subject_expires_at,
            intent: intent.as_ref(),
            kills: &kills,
            config: &self.config,
            token_id: &token_id,
            issuing,
            within: within.as_ref(),
            admitted,
            now,
        };
        let transaction = self.transaction(issuing, None)?;
        let decided = question.decide().and_then(|decision| {
            decision.fits(chain, transaction.as_ref(), self.config.issuer.as_str())?;
            let required = decision.binding_required;
            Ok((
                binding::confirmation(bound.as_ref(), proofs, required, NewHolder::Client)?,
                decision,
            ))
        });
        let (confirmation, decision) = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                self.remember(proofs).await?;
                return Err(match (&intent, waiting) {
                    (Some(intent), Waiting::Accepted { binding }) if refusal.waits() => {
                        self.defer(wanted, intent, *binding).await
                    }
                    _ => self.refused(client, Some(id), intent.as_ref(), refusal).await,
                });
            }
        };
        if let Some(intent) = &intent {
            let allowed = self.desk.may_use(client, intent, wanted.delegator.as_ref()).await;
            if let Err(denial) = allowed {
                self.remember(proofs).await?;
                return Err(self
                    .refused(client, Some(id), Some(intent), Refusal::denied(denial))
                    .await);
            }
        }
        let token = wanted.token((token_id, confirmation), &decision, intent.as_ref(), kills.epoch);
        let transaction_id = transaction.as_ref().map(|transaction| transaction.id.clone());
        let redemption = wanted.redemption(token, &decision, transaction_id, now)?;
        match self.redeem(redemption).await {
            // Signed from what was redeemed, not from what was read before.
            Ok(Redeemed { intent, token }) => {
                self.sign_as(issuing, transaction, chain, (&intent, &token), decision)
            }
            Err(RedeemError::Refused(denial)) => {
                Err(self.refused(client, Some(id), intent.as_ref(), Refusal::denied(denial)).await)
            }
            Err(RedeemError::Spent) => Err(spent()),
            Err(RedeemError::Replayed) if within.is_some() => Err(Within::spent()),
            Err(RedeemError::Replayed) => Err(proofs.replayed()),
            Err(RedeemError::Store(source)) => {
                Err(unavailable(source).with_denial(DenialCode::AuditUnavailable))
            }
        }
    }

    /// Whether the client's own intent may be used now by what it is bound to beside its clocks. Nobody is asked about an
    /// intent that gives no token anyhow.
    async fn admitted(
        &self,
        client: &AuthenticatedClient,
        intent: Option<&Intent>,
    ) -> Result<Option<Timestamp>, Denial> {
        let usable = |intent: &&Intent| {
            intent.agent() == client.id()
                && intent.approved_at().is_some()
                && intent.uses_left() > 0
                && intent.ended_code(self.clock.now()).is_none()
        };
        match intent.filter(usable) {
            Some(intent) => self.gate.admit(intent.grant()).await,
            None => Ok(None),
        }
    }

    /// Redeems the use. A kill may come into force while the transaction is being written: it costs the use, and no
    /// token is signed after it.
    async fn redeem(&self, redemption: Redemption) -> Result<Redeemed, RedeemError> {
        let redeemed = self.store.redeem(redemption).await?;
        let (token, intent) = (&redeemed.token, &redeemed.intent);
        match is_not_stopped(token, intent, &self.store.kill_state(), StopPoint::Issue) {
            Err(denial) => Err(RedeemError::Refused(Denial::new(
                denial.code(),
                "the kill switch was thrown while the use was redeemed",
            ))),
            Ok(()) => Ok(redeemed),
        }
    }

    /// Records a refusal about an intent, and only then lets it be answered.
    pub(crate) async fn refused(
        &self,
        client: &AuthenticatedClient,
        id: Option<&IntentId>,
        intent: Option<&Intent>,
        refusal: Refusal,
    ) -> OAuthError {
        let denial = &refusal.denial;
        let mut event = Event::new(EventKind::TokenRefused, self.clock.now())
            .with_agent(client.id().clone())
            .with_denial(denial.code().as_str(), denial.class().as_str())
            .with_detail("reason", denial.detail());
        if let Some(id) = id {
            event = event.with_intent(id.as_str());
        }
        if let Some(intent) = intent {
            let playbook = &intent.grant().playbook;
            event = event.with_grant_digest(intent.grant().digest().to_string()).with_playbook(
                PlaybookPin {
                    id: playbook.id.to_string(),
                    version: playbook.version,
                    digest: playbook.digest.to_string(),
                },
            );
        }
        match self.store.record_refusal(event).await {
            Ok(()) => refusal.into_error(),
            Err(source) => unavailable(source).with_denial(DenialCode::AuditUnavailable),
        }
    }
}

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidRequest, description)
}

#[cfg(test)]
mod tests;
