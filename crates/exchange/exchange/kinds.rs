//! Signing what is no access token: transaction tokens, and grants for other domains.

use std::time::Duration;

use marque_intent::{Bearings, Envelope, Intent};
use marque_jose::{Audiences, NumericDate, sign_compact};

use crate::{
    IssuedToken, OAuthError, TRANSACTION_TOKEN_TYPE, TokenRecord, TokenResponse, TokenService,
    act::Chain,
    chaining::{
        AuthorizationServer, GrantProfile,
        claims::{GrantClaims, Resources},
    },
    claims::{IntentClaim, answered_details, granted_details},
    decision::Decision,
    exchange::sign::only_actor,
    issuing::Issuing,
    service::{server_error, unavailable},
    txn::{Transaction, TransactionClaims, TransactionId},
};

impl TokenService {
    /// The transaction of a transaction token: that of the subject token, `replaced`, or a new one.
    pub(super) fn transaction(
        &self,
        issuing: &Issuing<'_>,
        replaced: Option<&Transaction>,
    ) -> Result<Option<Transaction>, OAuthError> {
        match (issuing, replaced) {
            (Issuing::Transaction { .. }, Some(replaced)) => Ok(Some(replaced.clone())),
            (Issuing::Transaction { context, .. }, None) => {
                let id = TransactionId::generate(&*self.random).map_err(server_error)?;
                Ok(Some(Transaction { id, context: context.clone() }))
            }
            (Issuing::Access | Issuing::Grant { .. }, _) => Ok(None),
        }
    }

    /// Signs what was decided and is kept, as what it is issued for: in a transaction, as that one's token.
    pub(super) fn sign_as(
        &self,
        issuing: &Issuing<'_>,
        transaction: Option<Transaction>,
        chain: &Chain,
        (intent, token): (&Intent, &TokenRecord),
        decision: Decision,
    ) -> Result<TokenResponse, OAuthError> {
        match (issuing, transaction) {
            (_, Some(transaction)) => {
                self.sign_transaction_token(transaction, chain, (intent, token), decision)
            }
            (Issuing::Grant { server, profile, resources }, None) => {
                self.sign_grant((server, *profile, resources), chain, token, &decision)
            }
            (Issuing::Access | Issuing::Transaction { .. }, None) => {
                self.sign(chain, intent, token, decision)
            }
        }
    }

    fn sign_transaction_token(
        &self,
        transaction: Transaction,
        chain: &Chain,
        (intent, token): (&Intent, &TokenRecord),
        decision: Decision,
    ) -> Result<TokenResponse, OAuthError> {
        let Decision { grant_digest, rights, asked_rights, scope, issued_at, expires_at, .. } =
            decision;
        let issuer = self.config.issuer.as_str();
        let grant = intent.grant();
        let details =
            granted_details(intent.id(), &rights.authorization_details).map_err(server_error)?;
        let claims = TransactionClaims {
            iss: issuer.to_owned(),
            sub: chain.root().clone(),
            aud: Audiences::new(token.audiences.clone()).map_err(server_error)?,
            iat: NumericDate::floor(issued_at).map_err(server_error)?,
            exp: NumericDate::floor(expires_at).map_err(server_error)?,
            jti: token.id.clone(),
            txn: transaction.id,
            scope: scope.clone(),
            req_wl: token.client.clone(),
            act: chain.act(issuer),
            may_act: rights.on_behalf.as_ref().and_then(|behalf| only_actor(behalf, issuer)),
            tctx: transaction.context.details,
            rctx: transaction.context.request,
            cnf: token.confirmation,
            authorization_details: details.clone(),
            intent: IntentClaim {
                id: intent.id().clone(),
                digest: grant_digest,
                playbook: grant.playbook.id.clone(),
                version: grant.playbook.version,
            },
            rights: rights.claims(),
            envelope: Envelope::new(
                &rights,
                Bearings::of(grant, chain.person().map(str::to_owned)),
            ),
        };
        let token = sign_compact(Some(TRANSACTION_TOKEN_TYPE), &claims, &*self.keys.signer())
            .map_err(unavailable)?;
        let expires_in =
            Duration::try_from(expires_at.duration_since(issued_at)).map_err(server_error)?;
        let details = answered_details(details, asked_rights.as_ref()).map_err(server_error)?;
        Ok(TokenResponse::new(IssuedToken::TransactionToken, token, expires_in, scope, details))
    }

    fn sign_grant(
        &self,
        (server, profile, resources): (&AuthorizationServer, GrantProfile, &[String]),
        chain: &Chain,
        token: &TokenRecord,
        decision: &Decision,
    ) -> Result<TokenResponse, OAuthError> {
        let issuer = self.config.issuer.as_str();
        // The intent means nothing in another domain; what it permits does.
        let details = decision.rights.authorization_details.iter().map(serde_json::to_value);
        let details: Vec<_> = details.collect::<Result<_, _>>().map_err(server_error)?;
        let claims = GrantClaims {
            iss: issuer.to_owned(),
            sub: chain.root().clone(),
            aud: server.issuer.clone(),
            client_id: server.client_id(&token.client).to_owned(),
            jti: token.id.clone(),
            iat: NumericDate::floor(decision.issued_at).map_err(server_error)?,
            exp: NumericDate::floor(decision.expires_at).map_err(server_error)?,
            scope: decision.scope.clone(),
            resource: Resources::of(resources),
            act: chain.act(issuer),
            authentication: chain.authentication().clone(),
            authorization_details: details.clone(),
            environment: self.config.environment,
        };
        let grant = sign_compact(Some(profile.typ()), &claims, &*self.keys.signer())
            .map_err(unavailable)?;
        let lasts = decision.expires_at.duration_since(decision.issued_at);
        let expires_in = Duration::try_from(lasts).map_err(server_error)?;
        let scope = decision.scope.clone();
        Ok(TokenResponse::new(profile.issued(), grant, expires_in, scope, details))
    }
}
