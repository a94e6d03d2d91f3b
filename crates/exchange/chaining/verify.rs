//! Grants of other domains, verified with the keys of their issuers.
//!
//! The issuer is one of the configured ones, its keys are its own, and the grant is for this service and for the client that
//! shows it. Whatever is wrong is `invalid_grant` (RFC 7523 §3.1). Deliberately absent: fetching keys.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use marque_intent::{AuthorizationDetail, Scope};
use marque_jose::{
    Audiences, ClaimsError, JwsError, NumericDate, Thumbprint, UnverifiedJws, present, sha256,
};
use marque_spiffe::{Environment, SpiffeId};
use serde::Deserialize;
use serde_json::Value;

use super::{AUTHORIZATION_GRANT_TYPE, AuthorizationServer, GrantProfile, ID_JAG_TYPE};
use crate::{
    Endpoint, MAX_GRANT_LIFETIME, MayAct, OidcKeys, ProofKind, ReplayKey, SingleUse, StaleOidcKeys,
    TokenServiceConfig, authentication::Authentication,
};

/// The longest `sub`, `jti` and `client_id` of a grant, in bytes.
const MAX_GRANT_NAME_BYTES: usize = 512;

/// A grant of another domain that is for this client.
#[derive(Debug, Clone)]
pub(crate) struct ForeignGrant {
    /// Whom it is about: `<name of the issuer>:<sub>`.
    pub(crate) principal: String,
    /// The scopes that it carries.
    pub(crate) scopes: BTreeSet<Scope>,
    /// The details that it carries; `None` where it says nothing of them.
    pub(crate) details: Option<Vec<AuthorizationDetail>>,
    /// The resources that it is for; empty where it says nothing of them.
    pub(crate) resources: BTreeSet<String>,
    /// How the person logged in there whom it is about.
    pub(crate) authentication: Authentication,
    pub(crate) expires_at: Timestamp,
    /// Its only use.
    pub(crate) single_use: SingleUse,
}

/// Why a grant is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    #[error("it is no JWS of claims, or its signature does not verify")]
    Jws(#[source] JwsError),
    #[error("its type is that of no grant")]
    Type,
    #[error("its issuer gives no such grants for this service")]
    Issuer,
    #[error("its issuer has no key that could verify it")]
    Key,
    #[error(transparent)]
    StaleKeys(StaleOidcKeys),
    #[error("its claims are mistyped or missing")]
    Claims(#[source] ClaimsError),
    #[error("it is for somebody else")]
    Audience,
    #[error("it is expired, not good yet, or lives too long")]
    Time,
    #[error("it is for another client")]
    Client,
    #[error("it is bound to a key")]
    Bound,
    #[error("it is of the other environment")]
    Environment,
    #[error("it names nobody, or has no id that fits")]
    Name,
    #[error("what it says of a login is too long")]
    Authentication,
    #[error("its scope is no list of scopes, or is empty")]
    Scope,
    #[error("its details are no list of details")]
    Details,
    #[error("its resources are no list of resources")]
    Resources,
}

/// The claims that are looked at. A mistyped one is an error and never absent.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audiences,
    client_id: String,
    jti: String,
    exp: NumericDate,
    iat: NumericDate,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
    scope: String,
    #[serde(default, deserialize_with = "present")]
    resource: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    authorization_details: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "present")]
    cnf: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    may_act: Option<MayAct>,
    /// What a server of this kind says; another one says nothing of it.
    #[serde(default, deserialize_with = "present")]
    environment: Option<Environment>,
    #[serde(flatten)]
    authentication: Authentication,
}

/// What grants are verified against.
#[derive(Debug)]
pub(crate) struct GrantVerifier<'a> {
    pub(crate) config: &'a TokenServiceConfig,
    pub(crate) keys: &'a Arc<dyn OidcKeys>,
    pub(crate) client: &'a SpiffeId,
    pub(crate) now: Timestamp,
}

impl GrantVerifier<'_> {
    /// Verifies a grant.
    pub(crate) fn verify(&self, token: &str) -> Result<ForeignGrant, GrantError> {
        let token = UnverifiedJws::parse(token).map_err(GrantError::Jws)?;
        let profile = profile(token.header().typ())?;
        let server = self.issuer(&token, profile)?;
        let keys = self.keys.keys(&server.name, self.now).map_err(GrantError::StaleKeys)?;
        let Some(key) = token.header().kid().and_then(|kid| keys.find(kid)) else {
            self.keys.missing(&server.name);
            return Err(GrantError::Key);
        };
        if key.key_use.as_deref().is_some_and(|key_use| key_use != "sig") {
            return Err(GrantError::Key);
        }
        let verified = token.verify(&key.key, key.algorithms()).map_err(GrantError::Jws)?;
        let claims: Claims = verified.into_claims().map_err(GrantError::Claims)?;
        self.check(server, profile, &claims)?;
        Ok(ForeignGrant {
            principal: format!("{}:{}", server.name, claims.sub),
            scopes: scopes(&claims.scope)?,
            details: claims.authorization_details.map(details).transpose()?,
            resources: claims.resource.map(resources).transpose()?.unwrap_or_default(),
            authentication: claims.authentication,
            expires_at: claims.exp.timestamp(),
            single_use: SingleUse {
                key: ReplayKey::new(
                    ProofKind::AuthorizationGrant,
                    &Thumbprint::new(sha256(server.issuer.as_bytes())),
                    &claims.jti,
                ),
                until: later(claims.exp.timestamp(), self.config.leeway),
            },
        })
    }

    fn issuer(
        &self,
        token: &UnverifiedJws,
        profile: GrantProfile,
    ) -> Result<&AuthorizationServer, GrantError> {
        let claimed = token.dangerous_unverified_claims().get("iss").and_then(Value::as_str);
        let servers = self.config.authorization_servers.iter();
        let mut servers = servers.filter(|server| Some(server.issuer.as_str()) == claimed);
        servers
            .find(|server| server.from.contains(&profile))
            .filter(|_| profile.is_offered(&self.config.offers))
            .ok_or(GrantError::Issuer)
    }

    fn check(
        &self,
        server: &AuthorizationServer,
        profile: GrantProfile,
        claims: &Claims,
    ) -> Result<(), GrantError> {
        if claims.iss != server.issuer {
            return Err(GrantError::Issuer);
        }
        // Whatever the configuration here says of the issuer: no chain crosses the firebreak.
        if claims.environment.is_some_and(|environment| environment != self.config.environment) {
            return Err(GrantError::Environment);
        }
        if !claims.aud.sole().is_some_and(|audience| self.is_us(audience, profile)) {
            return Err(GrantError::Audience);
        }
        let latest = later(self.now, self.config.leeway);
        let begun = |from: NumericDate| from.timestamp() <= latest;
        let ends = claims.exp.timestamp();
        let short = ends <= later(latest, MAX_GRANT_LIFETIME)
            && ends <= later(claims.iat.timestamp(), MAX_GRANT_LIFETIME + self.config.leeway);
        if !(begun(claims.iat) && claims.nbf.is_none_or(begun) && self.now < ends && short) {
            return Err(GrantError::Time);
        }
        // The client is named by either of the two that vouch for it.
        let vouchers = [server.issuer.as_str(), self.config.issuer.as_str()];
        let may = |may_act: &MayAct| vouchers.iter().any(|iss| may_act.permits(self.client, iss));
        if claims.client_id != self.client.as_str() || !claims.may_act.as_ref().is_none_or(may) {
            return Err(GrantError::Client);
        }
        if !claims.authentication.is_small() {
            return Err(GrantError::Authentication);
        }
        if claims.cnf.is_some() {
            return Err(GrantError::Bound);
        }
        if is_name(&claims.sub) && is_name(&claims.jti) { Ok(()) } else { Err(GrantError::Name) }
    }

    /// RFC 7523 takes the token endpoint, too; the ID-JAG takes the issuer alone.
    fn is_us(&self, audience: &str, profile: GrantProfile) -> bool {
        let issuer = &self.config.issuer;
        audience == issuer.as_str()
            || (profile == GrantProfile::Jwt && audience == Endpoint::Token.url(issuer))
    }
}

/// By its type, with and without `application/` (RFC 8725 §3.11). A chaining grant may come without one.
fn profile(typ: Option<&str>) -> Result<GrantProfile, GrantError> {
    let Some(typ) = typ else { return Ok(GrantProfile::Jwt) };
    let typ = typ.to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        ID_JAG_TYPE => Ok(GrantProfile::IdJag),
        AUTHORIZATION_GRANT_TYPE | "jwt" => Ok(GrantProfile::Jwt),
        _ => Err(GrantError::Type),
    }
}

fn scopes(text: &str) -> Result<BTreeSet<Scope>, GrantError> {
    let parsed = text.split(' ').map(|scope| scope.parse().map_err(|_none| GrantError::Scope));
    parsed.collect()
}

fn details(details: Vec<Value>) -> Result<Vec<AuthorizationDetail>, GrantError> {
    let typed = |detail| serde_json::from_value(detail).map_err(|_untyped| GrantError::Details);
    details.into_iter().map(typed).collect()
}

/// A string, or an array of strings.
fn resources(value: Value) -> Result<BTreeSet<String>, GrantError> {
    let text = |value: Value| match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(GrantError::Resources),
    };
    match value {
        Value::Array(values) if !values.is_empty() => values.into_iter().map(text).collect(),
        one => Ok([text(one)?].into()),
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_GRANT_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn later(instant: Timestamp, by: Duration) -> Timestamp {
    instant.saturating_add(by).unwrap_or(Timestamp::MAX)
}
