//! Introspection (RFC 7662): is this token good, and for what, as far as the caller may know.
//!
//! A caller learns about tokens for its own audience and about its own tokens; everything else is
//! `{"active": false}` and nothing more, whatever the reason (CVE-2026-37979). Deliberately absent: the JWT form of RFC
//! 9701.

use marque_intent::KillState;
use marque_jose::UnverifiedJws;
use serde_json::{Value, json};

use crate::{
    ACCESS_TOKEN_TYPE, AuthenticatedClient, IntrospectionRequest, OAuthError, Presented,
    TokenRecord, TokenService, is_live, service::unavailable, token::AccessTokenClaims,
};

impl TokenService {
    /// Answers about one token.
    ///
    /// # Errors
    /// The caller is not authenticated, or storage cannot be read. A token that is not good is no error.
    pub async fn introspect(
        &self,
        request: IntrospectionRequest,
        _presented: Presented,
    ) -> Result<Value, OAuthError> {
        let caller = self.authenticate(&request.client)?;
        let Some(claims) = self.own_token(request.token.expose_token()) else {
            return Ok(inactive());
        };
        let Some((record, intent)) = self.store.token(&claims.jti).await.map_err(unavailable)?
        else {
            return Ok(inactive());
        };
        let kills = self.store.kill_state();
        let stopped = kills.stops_agent(caller.id()).is_some();
        if stopped || !self.may_know(&caller, &record) || self.is_dead(&record, &intent, &kills) {
            return Ok(inactive());
        }
        Ok(active(&claims))
    }

    /// The claims of an access token of ours: our key by its id, `typ` at+jwt, so that an SVID is never taken for one.
    fn own_token(&self, token: &str) -> Option<AccessTokenClaims> {
        let jws = UnverifiedJws::parse(token).ok()?;
        if jws.header().typ() != Some(ACCESS_TOKEN_TYPE) {
            return None;
        }
        let kid = jws.header().kid()?.clone();
        let key = self.keys.keys.iter().find(|key| key.kid.as_ref() == Some(&kid))?;
        let claims: AccessTokenClaims =
            jws.verify(&key.key, key.algorithms()).ok()?.into_claims().ok()?;
        (claims.iss == self.config.issuer.as_str()).then_some(claims)
    }

    fn may_know(&self, caller: &AuthenticatedClient, record: &TokenRecord) -> bool {
        record.client == *caller.id()
            || self.config.resource_servers.iter().any(|server| {
                server.callers.contains(caller.id()) && record.audiences.contains(&server.audience)
            })
    }

    fn is_dead(
        &self,
        record: &TokenRecord,
        intent: &marque_intent::Intent,
        kills: &KillState,
    ) -> bool {
        is_live(record, intent, kills, self.clock.now())
            .inspect_err(|denial| tracing::debug!(token = %record.id, %denial, "an introspected token is not live"))
            .is_err()
    }
}

fn inactive() -> Value {
    json!({"active": false})
}

fn active(claims: &AccessTokenClaims) -> Value {
    let mut answer = json!({
        "active": true,
        "token_type": "Bearer",
        "iss": claims.iss,
        "sub": claims.sub,
        "aud": claims.aud,
        "client_id": claims.client_id,
        "iat": claims.iat,
        "exp": claims.exp,
        "jti": claims.jti,
        "authorization_details": claims.authorization_details,
        "intent": claims.intent,
    });
    if let Some(members) = answer.as_object_mut().filter(|_| !claims.scope.is_empty()) {
        members.insert("scope".to_owned(), claims.scope.as_str().into());
    }
    answer
}

#[cfg(test)]
mod tests;
