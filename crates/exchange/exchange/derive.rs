//! A token for a token: narrowed for its holder, or handed on.

use marque_intent::{Delegator, Denial, StopPoint};

use super::invalid;
use crate::{
    Asked, AuthenticatedClient, Confirmation, Derivation, Derived, OAuthError, Principal,
    RedeemError, TokenId, TokenRecord, TokenResponse, TokenService,
    act::Chain,
    binding::{self, NewHolder, Proofs},
    decision::{Decision, Derivable, Refusal},
    is_live, is_not_stopped,
    issuing::Issuing,
    request::ExchangeRequest,
    service::{server_error, spent, unavailable},
    subject::{Actor, SubjectToken},
};

impl TokenService {
    /// Decides, keeps and signs a token that derives from `subject`.
    pub(super) async fn derive_from(
        &self,
        subject: &SubjectToken,
        client: &AuthenticatedClient,
        actor: &Actor,
        (request, asked, issuing): (&ExchangeRequest, &Asked, &Issuing<'_>),
        proofs: &Proofs,
    ) -> Result<TokenResponse, OAuthError> {
        let SubjectToken { record: parent, intent, transaction, .. } = subject;
        if transaction.is_some() && says_of_transaction(issuing) {
            return Err(invalid("what is said of a transaction is said when it begins"));
        }
        let admitted = self.gate.admit(intent.grant()).await;
        let kills = self.store.kill_state();
        let now = self.clock.now();
        let token_id = TokenId::generate(&*self.random, now).map_err(server_error)?;
        let question = Derivable {
            asked,
            named: &request.intent,
            client,
            actor,
            subject,
            kills: &kills,
            config: &self.config,
            issuing,
            now,
        };
        let transaction = self.transaction(issuing, transaction.as_ref())?;
        let decided = question.decide().and_then(|(decision, chain)| {
            // Its end is its parent's at the latest, and that one's was bounded when it was issued.
            admitted.map_err(Refusal::denied)?;
            decision.fits(&chain, transaction.as_ref(), self.config.issuer.as_str())?;
            let own = actor.id == *client.id();
            let holder = if own { NewHolder::Client } else { NewHolder::Other(actor.key) };
            let required = decision.binding_required;
            let bound =
                binding::confirmation(parent.confirmation.as_ref(), proofs, required, holder)?;
            Ok((decision, chain, bound))
        });
        let (decision, chain, confirmation) = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                self.remember(proofs).await?;
                return Err(self.not_derived(client, subject, refusal).await);
            }
        };
        if let Err(denial) = self.may_derive(client, subject, actor, &chain).await {
            self.remember(proofs).await?;
            return Err(self.not_derived(client, subject, Refusal::denied(denial)).await);
        }
        let derivation = Derivation {
            grant_digest: decision.grant_digest,
            carried: decision.carried()?,
            requested_by: client.id().clone(),
            token: derived(
                (token_id, confirmation),
                subject,
                (&chain, issuing),
                (&decision, kills.epoch),
            ),
            transaction: transaction.as_ref().map(|transaction| transaction.id.clone()),
            proofs: proofs.take_along(),
            now,
        };
        match self.derive(derivation).await {
            // Signed from what was kept, not from what was read before.
            Ok(Derived { intent, token }) => {
                self.sign_as(issuing, transaction, &chain, (&intent, &token), decision)
            }
            Err(RedeemError::Refused(denial)) => {
                Err(self.not_derived(client, subject, Refusal::unacceptable(denial)).await)
            }
            Err(RedeemError::Spent) => Err(spent()),
            Err(RedeemError::Replayed) => Err(proofs.replayed()),
            Err(RedeemError::Store(source)) => Err(unavailable(source)),
        }
    }

    /// Keeps the token. No token is signed after a kill that came into force while it was being written.
    async fn derive(&self, derivation: Derivation) -> Result<Derived, RedeemError> {
        let now = derivation.now;
        let derived = self.store.derive(derivation).await?;
        let kills = self.store.kill_state();
        let Derived { token, intent } = &derived;
        let stopped = is_live(token, intent, &kills, now)
            .and_then(|()| is_not_stopped(token, intent, &kills, StopPoint::Issue));
        match stopped {
            Ok(()) => Ok(derived),
            Err(denial) => Err(RedeemError::Refused(Denial::new(
                denial.code(),
                "the kill switch was thrown while the token was written",
            ))),
        }
    }

    /// Whether a token may be derived for this holder. That is a use like any other: policies decide again (M 79).
    async fn may_derive(
        &self,
        client: &AuthenticatedClient,
        subject: &SubjectToken,
        actor: &Actor,
        chain: &Chain,
    ) -> Result<(), Denial> {
        let parent = &subject.record;
        if actor.id != parent.client {
            self.desk.may_hand_on(&parent.client, &actor.id)?;
        }
        let person = delegator(chain, parent);
        self.desk.may_use(client, &subject.intent, person.as_ref()).await
    }

    async fn not_derived(
        &self,
        client: &AuthenticatedClient,
        subject: &SubjectToken,
        refusal: Refusal,
    ) -> OAuthError {
        self.refused(client, Some(subject.intent.id()), Some(&subject.intent), refusal).await
    }
}

/// Whether the request says something of the transaction that it is for.
fn says_of_transaction(issuing: &Issuing<'_>) -> bool {
    match issuing {
        Issuing::Transaction { context, .. } => !context.is_empty(),
        Issuing::Access | Issuing::Grant { .. } => false,
    }
}

/// What is kept of the token that a decision gives, at `epoch` of the kill switch.
fn derived(
    (id, confirmation): (TokenId, Option<Confirmation>),
    subject: &SubjectToken,
    (chain, issuing): (&Chain, &Issuing<'_>),
    (decision, epoch): (&Decision, u64),
) -> TokenRecord {
    let parent = &subject.record;
    let binding_required = parent.confirmation.is_some() || decision.binding_required;
    TokenRecord {
        id,
        intent: subject.intent.id().clone(),
        kind: issuing.kind(),
        client: chain.holder().clone(),
        through: chain.through().to_vec(),
        parent: Some(parent.id.clone()),
        ancestors: parent.line(),
        keys_above: parent.keys(),
        root: Some(chain.root().clone()),
        root_groups: parent.root_groups.clone(),
        confirmation: issuing.confirmation(confirmation, binding_required),
        single_use: parent.single_use,
        used_at: None,
        status_index: None,
        audiences: issuing.audiences(decision),
        issued_at: decision.issued_at,
        expires_at: decision.expires_at,
        epoch,
        revoked_at: None,
    }
}

/// The person at the root of a chain, with the groups of the login that the first token was given for.
fn delegator(chain: &Chain, parent: &TokenRecord) -> Option<Delegator> {
    match chain.root() {
        Principal::Person(principal) => {
            let groups = parent.root_groups.clone();
            Some(Delegator { principal: principal.clone(), groups })
        }
        Principal::Agent(_) => None,
    }
}
