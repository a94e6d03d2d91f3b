//! Introspection (RFC 7662): is this token good, and for what, as far as the caller may know. As JSON or, where it is
//! offered and asked for, as a signed JWT (RFC 9701).
//!
//! A caller learns about tokens for its own audience and about its own tokens; everything else is
//! `{"active": false}` and nothing more, whatever the reason (CVE-2026-37979). A token of a single use is used by the first
//! resource server that is told that it is active. Deliberately absent: encrypted answers.

use marque_intent::StopPoint;
use marque_jose::{CompactToken, MAX_TOKEN_BYTES, NumericDate, sign_compact_within};
use marque_spiffe::SpiffeId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    AuthenticatedClient, Endpoint, IntrospectionRequest, OAuthError, Presented, TokenKind,
    TokenRecord, TokenService, TokenUse, is_live,
    service::{server_error, unavailable},
};

/// The `typ` of a signed answer (RFC 9701 §5).
pub const INTROSPECTION_TOKEN_TYPE: &str = "token-introspection+jwt";
/// The media type of a signed answer, by which it is asked for (RFC 9701 §4).
pub const INTROSPECTION_MEDIA_TYPE: &str = "application/token-introspection+jwt";
/// The longest signed answer: it holds all that a token says.
const MAX_ANSWER_BYTES: usize = 2 * MAX_TOKEN_BYTES;

/// The form in which an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AnswerForm {
    /// JSON.
    #[default]
    Json,
    /// A signed JWT, where that is offered; else JSON.
    Jwt,
}

/// An answer about a token.
#[derive(Debug)]
pub enum Introspection {
    /// As JSON.
    Json(Value),
    /// As a signed JWT. It is no access token: its `typ` is [`INTROSPECTION_TOKEN_TYPE`].
    Jwt(CompactToken),
}

/// The claims of a signed answer (RFC 9701 §5). Neither `sub` nor `exp`: what is said of the token is inside.
#[derive(Serialize)]
struct AnswerClaims<'a> {
    iss: &'a str,
    aud: &'a SpiffeId,
    iat: NumericDate,
    token_introspection: Value,
}

/// In which part a caller may know of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Holder,
    ResourceServer,
}

impl TokenService {
    /// Answers about one token.
    ///
    /// # Errors
    /// The caller is not authenticated, or storage cannot be read. A token that is not good is no error.
    pub async fn introspect(
        &self,
        request: IntrospectionRequest,
        _presented: Presented,
    ) -> Result<Introspection, OAuthError> {
        let caller = self.authenticate(&request.client, Endpoint::Introspection).await?;
        let members = self.known_to(&caller, request.token.expose_token()).await?;
        let answer = members.map_or_else(inactive, active);
        match request.form {
            AnswerForm::Jwt if self.config.offers.jwt_introspection => {
                self.signed_answer(&caller, answer)
            }
            AnswerForm::Jwt | AnswerForm::Json => Ok(Introspection::Json(answer)),
        }
    }

    /// What a live token says, to a caller that may know it.
    async fn known_to(
        &self,
        caller: &AuthenticatedClient,
        token: &str,
    ) -> Result<Option<Map<String, Value>>, OAuthError> {
        let Some(token) = self.own_access_token(token) else { return Ok(None) };
        let id = &token.claims.jti;
        let Some((record, intent)) = self.store.token(id).await.map_err(unavailable)? else {
            return Ok(None);
        };
        let kills = self.store.current_kills().map_err(unavailable)?;
        let part = self.part(caller, &record);
        if part.is_none()
            || record.kind != TokenKind::AccessToken
            || kills.stops_agent(caller.id(), StopPoint::Use).is_some()
        {
            return Ok(None);
        }
        let now = self.clock.now();
        let live = match (is_live(&record, &intent, &kills, now), part) {
            // Whether it is live is asked again where its use is written: of all who ask at once, one is told so.
            (Ok(()), Some(Part::ResourceServer)) if record.single_use => {
                let order = TokenUse {
                    token: record.id.clone(),
                    intent: record.intent.clone(),
                    by: caller.id().clone(),
                    now,
                };
                self.life.use_token(order).await.map_err(unavailable)?
            }
            (live, _) => live,
        };
        if live.is_ok() && intent.is_worth_hearing(now) {
            let heard = self.life.heard(&record.intent, now).await;
            if let Err(error) = heard {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, intent = %record.intent, "an idle clock could not be put off");
            }
        }
        Ok(match live {
            Ok(()) => Some(token.members),
            Err(denial) => {
                tracing::debug!(token = %record.id, %denial, "an introspected token is not live");
                None
            }
        })
    }

    pub(crate) fn part(&self, caller: &AuthenticatedClient, record: &TokenRecord) -> Option<Part> {
        if record.client == *caller.id() {
            return Some(Part::Holder);
        }
        let answers_to = |audience: &String| {
            let servers = &self.config.resource_servers;
            servers
                .iter()
                .any(|server| server.audience == *audience && server.callers.contains(caller.id()))
        };
        record.audiences.iter().any(answers_to).then_some(Part::ResourceServer)
    }

    fn signed_answer(
        &self,
        caller: &AuthenticatedClient,
        answer: Value,
    ) -> Result<Introspection, OAuthError> {
        let claims = AnswerClaims {
            iss: self.config.issuer.as_str(),
            aud: caller.id(),
            iat: NumericDate::floor(self.clock.now()).map_err(server_error)?,
            token_introspection: answer,
        };
        let typ = Some(INTROSPECTION_TOKEN_TYPE);
        sign_compact_within(typ, &claims, &*self.keys.signer(), MAX_ANSWER_BYTES)
            .map(Introspection::Jwt)
            .map_err(unavailable)
    }
}

fn inactive() -> Value {
    json!({"active": false})
}

/// Everything that the token says, with `act`, `may_act`, `cnf`, `status` and the envelope as far as it has them: a resource
/// server must not learn less from here than from the token (keycloak#53029).
fn active(mut members: Map<String, Value>) -> Value {
    let bound_to_a_key = members.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some());
    let token_type = if bound_to_a_key { "DPoP" } else { "Bearer" };
    members.insert("token_type".to_owned(), token_type.into());
    members.insert("active".to_owned(), true.into());
    Value::Object(members)
}

#[cfg(test)]
mod tests;
