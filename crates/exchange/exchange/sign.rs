//! The claims of a token, and its signature.

use std::time::Duration;

use marque_intent::{Bearings, Envelope, Intent, OnBehalf};
use marque_jose::{Audiences, NumericDate, sign_compact};

use crate::{
    ACCESS_TOKEN_TYPE, IssuedToken, MayAct, OAuthError, Principal, TokenRecord, TokenResponse,
    TokenService,
    act::Chain,
    claims::{AccessTokenClaims, AwsTags, IntentClaim, answered_details, granted_details},
    decision::Decision,
    service::{server_error, unavailable},
};

impl TokenService {
    /// Signs what was decided and is kept.
    pub(super) fn sign(
        &self,
        chain: &Chain,
        intent: &Intent,
        token: &TokenRecord,
        decision: Decision,
    ) -> Result<TokenResponse, OAuthError> {
        let Decision {
            grant_digest,
            rights,
            asked_rights,
            audiences,
            scope,
            issued_at,
            expires_at,
            binding_required: _,
        } = decision;
        let issuer = self.config.issuer.as_str();
        let grant = intent.grant();
        let details =
            granted_details(intent.id(), &rights.authorization_details).map_err(server_error)?;
        let aws_tags =
            self.wants_aws_tags(&audiences).then(|| AwsTags::of(&grant.playbook.id, intent.id()));
        let claims = AccessTokenClaims {
            aws_tags,
            sub_sha256: subject_digest(chain.root()),
            iss: issuer.to_owned(),
            sub: chain.root().clone(),
            aud: Audiences::new(audiences).map_err(server_error)?,
            client_id: token.client.clone(),
            iat: NumericDate::floor(issued_at).map_err(server_error)?,
            exp: NumericDate::floor(expires_at).map_err(server_error)?,
            jti: token.id.clone(),
            scope: scope.clone(),
            act: chain.act(issuer),
            authentication: chain.authentication().clone(),
            may_act: rights.on_behalf.as_ref().and_then(|behalf| only_actor(behalf, issuer)),
            cnf: token.confirmation,
            authorization_details: details.clone(),
            intent: IntentClaim {
                id: intent.id().clone(),
                digest: grant_digest,
                playbook: grant.playbook.id.clone(),
                version: grant.playbook.version,
            },
            status: self.status_claim(token),
            single_use: token.single_use,
            rights: rights.claims(),
            envelope: Envelope::new(
                &rights,
                Bearings::of(grant, chain.person().map(str::to_owned)),
            ),
        };
        let access_token = sign_compact(Some(ACCESS_TOKEN_TYPE), &claims, &*self.keys.signer())
            .map_err(unavailable)?;
        let expires_in =
            Duration::try_from(expires_at.duration_since(issued_at)).map_err(server_error)?;
        Ok(TokenResponse::new(
            IssuedToken::access_token(token.confirmation.as_ref()),
            access_token,
            expires_in,
            scope,
            answered_details(details, asked_rights.as_ref()).map_err(server_error)?,
        ))
    }
}

impl TokenService {
    /// Whether the only audience is one whose tokens carry the grant as session tags of AWS.
    fn wants_aws_tags(&self, audiences: &[String]) -> bool {
        let [audience] = audiences else { return false };
        let mut servers = self.config.resource_servers.iter();
        servers.any(|server| server.audience == *audience && server.aws_session_tags)
    }
}

/// What clouds may call an agent whose SPIFFE ID is too long for them.
fn subject_digest(root: &Principal) -> Option<String> {
    match root {
        Principal::Agent(id) => id.subject_digest(),
        Principal::Person(_) => None,
    }
}

/// The claim `may_act` names one party (RFC 8693 §4.4): it is there where the playbook lets exactly one agent act.
pub(super) fn only_actor(behalf: &OnBehalf, issuer: &str) -> Option<MayAct> {
    let [only] = behalf.agents.as_slice() else { return None };
    // A pattern of several is no SPIFFE ID.
    only.as_str().parse().ok().map(|agent| MayAct::agent(&agent, issuer))
}
