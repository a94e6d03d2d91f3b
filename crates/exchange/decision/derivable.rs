//! Whether a token may derive from another: narrowed for its holder, or handed on to another agent.
//!
//! Who may exchange a token at all is its holder, an agent that it is for (`aud`), and whom it names (`may_act`).
//! Everybody else learns nothing about it. The new token stays inside the intent, the rights and the time of the one that
//! it derives from, and its root never changes.

use jiff::Timestamp;
use marque_intent::{Claimed, Denial, DenialCode, KillState, Rights, StopPoint};

use super::granted::Asking;
use super::{Decision, Refusal, STRANGER, Times};
use crate::{
    Asked, AuthenticatedClient, OAuthErrorCode, TokenKind, TokenServiceConfig,
    act::Chain,
    ceilings::Ceilings,
    details::IntentReference,
    is_live, is_not_stopped,
    issuing::Issuing,
    subject::{Actor, SubjectToken},
};

/// Everything that the decision about a derived token looks at.
#[derive(Debug)]
pub(crate) struct Derivable<'a> {
    pub(crate) asked: &'a Asked,
    /// Which intent the client says that it is about.
    pub(crate) named: &'a IntentReference,
    pub(crate) client: &'a AuthenticatedClient,
    /// Who will hold the token.
    pub(crate) actor: &'a Actor,
    pub(crate) subject: &'a SubjectToken,
    pub(crate) kills: &'a KillState,
    pub(crate) config: &'a TokenServiceConfig,
    pub(crate) issuing: &'a Issuing<'a>,
    pub(crate) now: Timestamp,
}

impl Derivable<'_> {
    /// Decides; the chain is that of the new token.
    pub(crate) fn decide(&self) -> Result<(Decision, Chain), Refusal> {
        let SubjectToken { claims, record, intent, .. } = self.subject;
        for agent in [self.client.id(), &self.actor.id] {
            if let Some(code) = self.kills.stops_agent(agent, StopPoint::Issue) {
                return Err(Refusal::denied(Denial::new(code, "the kill switch stops the agent")));
            }
        }
        self.is_entitled()?;
        self.is_of_a_kind()?;
        is_live(record, intent, self.kills, self.now).map_err(Refusal::unacceptable)?;
        is_not_stopped(record, intent, self.kills, StopPoint::Issue).map_err(Refusal::denied)?;
        self.names_its_intent()?;
        let parent = self.rights()?;
        let chain = self.chain(&parent)?;
        let delegated = chain.delegations() > record.through.len();
        let ceilings = Ceilings::new(self.config, self.client.id(), &self.actor.id, self.issuing);
        let exceeded = DenialCode::ExceedsParentScope;
        let granted =
            Asking { asked: self.asked, parent: &parent, ceilings, exceeded }.granted()?;
        let lifetime = ceilings.max_token_lifetime(&granted.audiences);
        let binding_required = ceilings.want_binding(&granted.audiences);
        let ends = [
            record.expires_at,
            intent.token_deadline(self.now),
            self.client.svid_expires_at(),
            self.actor.expires_at,
            self.now.saturating_add(lifetime).unwrap_or(self.now),
        ];
        let times = Times::until(ends, self.now);
        times.some_is_left(self.now)?;
        let rights = granted.rights(times.issued_at, times.expires_at, delegated)?;
        debug_assert_eq!(*chain.root(), claims.sub, "the root never changes");
        let asked_rights = self.asked.rights.clone();
        let decision = Decision::of(intent.grant(), rights, times, binding_required);
        Ok((Decision { asked_rights, ..decision }, chain))
    }

    /// Whether the client may exchange this token at all. To a stranger a live token and a dead one are alike.
    fn is_entitled(&self) -> Result<(), Refusal> {
        let SubjectToken { claims, record, .. } = self.subject;
        let client = self.client.id();
        let holds = record.client == *client;
        let named = claims
            .may_act
            .as_ref()
            .is_some_and(|may_act| may_act.permits(client, self.config.issuer.as_str()));
        let meant = record.audiences.iter().any(|audience| audience == client.as_str());
        if !(holds || named || meant || self.carries_it_on()) {
            let detail = format!("the token is of `{}` and not for `{client}`", record.client);
            return Err(Refusal::unacceptable(Denial::new(STRANGER, detail)));
        }
        if self.actor.id != *client && !holds {
            let detail = "only its holder exchanges a token for another agent";
            return Err(Refusal::unacceptable(Denial::new(STRANGER, detail)));
        }
        Ok(())
    }

    /// A transaction goes on at whatever workload it comes to: at a resource server that an access token is for, and at any of
    /// the trust domain once there is a transaction token.
    fn carries_it_on(&self) -> bool {
        let (SubjectToken { record, .. }, client) = (self.subject, self.client.id());
        let begins = || {
            self.config.resource_servers.iter().any(|server| {
                server.callers.contains(client) && record.audiences.contains(&server.audience)
            })
        };
        match (self.issuing, record.kind) {
            (Issuing::Transaction { .. }, TokenKind::AccessToken) => begins(),
            (Issuing::Transaction { trust_domain, .. }, TokenKind::TransactionToken) => {
                client.trust_domain() == *trust_domain
            }
            _ => false,
        }
    }

    /// What may come of what: a transaction token of either, an access token of an access token, and of a grant nothing.
    fn is_of_a_kind(&self) -> Result<(), Refusal> {
        match (self.issuing, self.subject.record.kind) {
            (Issuing::Transaction { .. }, _) if self.subject.record.single_use => {
                Err(Refusal::no_transaction_of_a_single_use())
            }
            (Issuing::Access, TokenKind::AccessToken)
            | (Issuing::Transaction { .. }, TokenKind::AccessToken | TokenKind::TransactionToken) => {
                Ok(())
            }
            (Issuing::Grant { .. }, _) => Err(Refusal::no_grant_of_a_token()),
            (Issuing::Access, _) | (Issuing::Transaction { .. }, _) => {
                let detail = "a token of this kind is exchanged for none of that kind";
                Err(Refusal::unacceptable(Denial::new(DenialCode::AudienceNotAllowed, detail)))
            }
        }
    }

    /// A token stays inside its own intent.
    fn names_its_intent(&self) -> Result<(), Refusal> {
        match self.named {
            IntentReference::Absent => Ok(()),
            IntentReference::Approved(id) if *id == self.subject.record.intent => Ok(()),
            IntentReference::Approved(_) | IntentReference::Inline(_) => Err(Refusal {
                code: OAuthErrorCode::InvalidAuthorizationDetails,
                description: "a token is exchanged inside its own intent",
                denial: Denial::new(STRANGER, "another intent than the subject token's is named"),
            }),
        }
    }

    /// What the subject token permits, by its own claims and by the grant: refused to issue, and refused to honour.
    fn rights(&self) -> Result<Rights, Refusal> {
        let SubjectToken { claims, record, intent, .. } = self.subject;
        if claims.scope.is_empty() {
            let detail = "the subject token carries no scope";
            let denial = Denial::new(DenialCode::ExceedsParentScope, detail);
            return Err(Refusal::unacceptable(denial));
        }
        let incomparable = |detail: String| {
            Refusal::unacceptable(Denial::new(DenialCode::CannotCompareAttenuation, detail))
        };
        let rights = Rights::from_claims(&Claimed {
            trust_domain: &self.config.trust_domain,
            audiences: match record.kind {
                // Its audience is the trust domain, which is no target of a grant.
                TokenKind::TransactionToken => &intent.grant().audiences,
                TokenKind::AccessToken | TokenKind::AuthorizationGrant => &record.audiences,
            },
            scope: &claims.scope,
            authorization_details: &claims.authorization_details,
            not_before: record.issued_at,
            not_after: record.expires_at,
            envelope: &claims.envelope,
            rights: &claims.rights,
        })
        .map_err(|error| incomparable(error.to_string()))?;
        let mut grant = Rights::of(intent.grant()).in_token();
        // A token may have been issued a moment before its grant begins, by a clock that is a little behind.
        grant.not_before = grant.not_before.min(rights.not_before);
        grant.covers(&rights).map_err(|widening| Refusal::unacceptable(widening.denial()))?;
        Ok(rights)
    }

    /// The chain of the new token: the same for its holder, one longer for another agent that may have it.
    fn chain(&self, parent: &Rights) -> Result<Chain, Refusal> {
        let SubjectToken { claims, record, .. } = self.subject;
        let chain = Chain::of_token(claims.sub.clone(), record)
            .authenticated(claims.authentication.clone());
        let actor = &self.actor.id;
        if actor == chain.holder() {
            return Ok(chain);
        }
        let issuer = self.config.issuer.as_str();
        if *actor.trust_domain() != self.config.trust_domain {
            return Err(Refusal::delegation(
                DenialCode::TrustDomainMismatch,
                "the actor is of another trust domain",
            ));
        }
        let permitted = parent.on_behalf.as_ref().is_some_and(|behalf| behalf.permits(actor));
        let named = claims.may_act.as_ref().is_none_or(|may_act| may_act.permits(actor, issuer));
        if !permitted || !named {
            let detail = format!("the token may not be handed on to `{actor}`");
            return Err(Refusal::delegation(DenialCode::AgentNotAllowed, detail));
        }
        chain.delegated(actor.clone(), issuer).map_err(Refusal::undelegated)
    }
}

impl Refusal {
    fn delegation(code: DenialCode, detail: impl AsRef<str>) -> Self {
        Self::undelegated(Denial::new(code, detail))
    }

    const fn undelegated(denial: Denial) -> Self {
        let description = "the token may not be handed on to this actor";
        Self { code: OAuthErrorCode::AccessDenied, description, denial }
    }
}
