//! Issuers of ID tokens, and what makes an ID token of theirs good (OpenID Connect Core §2, §3.1.3.7; RFC 8725).
//!
//! Issuers come from configuration alone, and so do the places of their keys: nothing in a token chooses where anything is
//! fetched (CVE-2025-52477, CVE-2026-4874). Deliberately absent: discovery, fetching, user info, logging people in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use marque_jose::{
    Audiences, ClaimsError, Jwk, JwkSet, JwsError, NumericDate, UnverifiedJws, present,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{MayAct, Person, authentication::Authentication};

/// The longest `sub` of an ID token, in bytes (OpenID Connect Core §2).
pub const MAX_PERSON_BYTES: usize = 255;
/// The most groups of one person that are looked at.
pub const MAX_PERSON_GROUPS: usize = 256;

/// An issuer of ID tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIssuer {
    /// What it is called here; `sub` of our tokens begins with it.
    pub name: String,
    /// Its issuer identifier, compared byte by byte.
    pub issuer: String,
    /// Whom its ID tokens are for: one of these and nobody else.
    pub audiences: BTreeSet<String>,
    /// How long after `iat` an ID token is taken.
    pub max_age: Duration,
    /// The claim that lists somebody's groups.
    pub groups_claim: Option<String>,
    /// Claims that an ID token must have, as texts.
    pub required_claims: BTreeMap<String, String>,
}

/// The keys of issuers of ID tokens, kept fresh by somebody else.
pub trait OidcKeys: fmt::Debug + Send + Sync {
    /// The keys of the issuer with this name, if they are not too old at `now`.
    ///
    /// # Errors
    /// There are none, or they are too old to believe: nothing verifies.
    fn keys(&self, issuer: &str, now: Timestamp) -> Result<Arc<JwkSet>, StaleOidcKeys>;

    /// Tells that somebody presented a token of this issuer with a key id that it does not have: perhaps it has a new
    /// key. Whether and when anything is fetched is not the caller's to say.
    fn missing(&self, issuer: &str);
}

/// There are no keys of an issuer, or none that are fresh enough to believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the issuer are missing or too old")]
pub struct StaleOidcKeys;

/// No issuer has keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOidcKeys;

impl OidcKeys for NoOidcKeys {
    fn keys(&self, _issuer: &str, _now: Timestamp) -> Result<Arc<JwkSet>, StaleOidcKeys> {
        Err(StaleOidcKeys)
    }

    fn missing(&self, _issuer: &str) {}
}

/// Verifies ID tokens.
#[derive(Debug, Clone)]
pub(crate) struct PersonVerifier {
    issuers: Vec<OidcIssuer>,
    keys: Arc<dyn OidcKeys>,
    leeway: Duration,
}

/// Why an ID token names nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdTokenError {
    #[error("the token is no JWS of claims, or its signature does not verify")]
    Jws(#[source] JwsError),
    #[error("its type is another than JWT")]
    Type,
    #[error("its issuer is not configured")]
    Issuer,
    #[error("its issuer has no key that could verify it")]
    Key,
    #[error(transparent)]
    StaleKeys(StaleOidcKeys),
    #[error("its claims are mistyped or missing")]
    Claims(#[source] ClaimsError),
    #[error("it is for somebody else")]
    Audience,
    #[error("it is expired, not good yet, or older than it may be")]
    Time,
    #[error("it is bound to a key, which nobody proves here")]
    Bound,
    #[error("it names no person")]
    Subject,
    #[error("a claim that the issuer's tokens must have is missing or another")]
    Required,
    #[error("what it says of the login is too long")]
    Authentication,
    #[error("its groups are not a list of texts")]
    Groups,
}

/// The claims of an ID token that are looked at. A mistyped one is an error and never absent.
#[derive(Deserialize)]
struct IdTokenClaims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: NumericDate,
    iat: NumericDate,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    azp: Option<String>,
    #[serde(default, deserialize_with = "present")]
    may_act: Option<MayAct>,
    #[serde(flatten)]
    authentication: Authentication,
}

impl PersonVerifier {
    pub(crate) fn new(issuers: Vec<OidcIssuer>, keys: Arc<dyn OidcKeys>, leeway: Duration) -> Self {
        Self { issuers, keys, leeway }
    }

    /// Whether a token says that it is of a configured issuer. It is then an ID token or nothing.
    pub(crate) fn is_of_an_issuer(&self, token: &UnverifiedJws) -> bool {
        let issuer = token.dangerous_unverified_claims().get("iss").and_then(Value::as_str);
        issuer.is_some_and(|issuer| self.issuer(issuer).is_some())
    }

    fn issuer(&self, issuer: &str) -> Option<&OidcIssuer> {
        self.issuers.iter().find(|known| known.issuer == issuer)
    }

    /// Verifies an ID token: who it is about.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Person, IdTokenError> {
        let token = UnverifiedJws::parse(token).map_err(IdTokenError::Jws)?;
        let claimed = token.dangerous_unverified_claims().get("iss").and_then(Value::as_str);
        let issuer =
            claimed.and_then(|claimed| self.issuer(claimed)).ok_or(IdTokenError::Issuer)?;
        // RFC 8725 §3.11: an access token, a logout token and whatever else an issuer signs has a type of its own.
        if token.header().typ().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(IdTokenError::Type);
        }
        let keys = self.keys.keys(&issuer.name, now).map_err(IdTokenError::StaleKeys)?;
        let Some(key) = token.header().kid().and_then(|kid| keys.find(kid)) else {
            self.keys.missing(&issuer.name);
            return Err(IdTokenError::Key);
        };
        if !is_for_signatures(key) {
            return Err(IdTokenError::Key);
        }
        let verified = token.verify(&key.key, key.algorithms()).map_err(IdTokenError::Jws)?;
        let members = verified.claims().clone();
        let claims: IdTokenClaims = verified.into_claims().map_err(IdTokenError::Claims)?;
        self.check(issuer, &claims, &members, now)?;
        Ok(Person {
            issuer: issuer.name.clone(),
            groups: groups(issuer, &members)?,
            sub: claims.sub,
            claims: members,
            expires_at: claims.exp.timestamp(),
            may_act: claims.may_act,
            authentication: claims.authentication,
        })
    }

    fn check(
        &self,
        issuer: &OidcIssuer,
        claims: &IdTokenClaims,
        members: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<(), IdTokenError> {
        if claims.iss != issuer.issuer {
            return Err(IdTokenError::Issuer);
        }
        if !is_for_us(issuer, claims) {
            return Err(IdTokenError::Audience);
        }
        let later =
            |instant: Timestamp, by: Duration| instant.saturating_add(by).unwrap_or(Timestamp::MAX);
        let issued_at = claims.iat.timestamp();
        let begun = |from: Timestamp| from <= later(now, self.leeway);
        let fresh = now < later(later(issued_at, issuer.max_age), self.leeway);
        let good = begun(issued_at)
            && claims.nbf.is_none_or(|nbf| begun(nbf.timestamp()))
            && claims.authentication.auth_time.is_none_or(|login| begun(login.timestamp()))
            && now < claims.exp.timestamp()
            && fresh;
        if !good {
            return Err(IdTokenError::Time);
        }
        if !claims.authentication.is_small() {
            return Err(IdTokenError::Authentication);
        }
        if members.contains_key("cnf") {
            return Err(IdTokenError::Bound);
        }
        if !names_a_person(&claims.sub) {
            return Err(IdTokenError::Subject);
        }
        let has = |(name, value): (&String, &String)| {
            members.get(name).and_then(Value::as_str) == Some(value)
        };
        if issuer.required_claims.iter().all(has) { Ok(()) } else { Err(IdTokenError::Required) }
    }
}

/// For exactly one audience, which is ours; for several only where `azp` says that it was issued to one that is.
fn is_for_us(issuer: &OidcIssuer, claims: &IdTokenClaims) -> bool {
    let ours = |audience: &str| issuer.audiences.contains(audience);
    let authorized = claims.azp.as_deref();
    match claims.aud.sole() {
        Some(audience) => ours(audience) && authorized.is_none_or(ours),
        None => authorized.is_some_and(|azp| ours(azp) && claims.aud.contains(azp)),
    }
}

fn is_for_signatures(key: &Jwk) -> bool {
    key.key_use.as_deref().is_none_or(|key_use| key_use == "sig")
}

/// A workload is nobody's person.
fn names_a_person(sub: &str) -> bool {
    (1..=MAX_PERSON_BYTES).contains(&sub.len())
        && sub.bytes().all(|byte| byte.is_ascii_graphic())
        && !sub.to_ascii_lowercase().contains("spiffe://")
}

fn groups(
    issuer: &OidcIssuer,
    members: &Map<String, Value>,
) -> Result<BTreeSet<String>, IdTokenError> {
    let listed = issuer.groups_claim.as_ref().and_then(|claim| members.get(claim));
    let Some(listed) = listed else { return Ok(BTreeSet::new()) };
    let groups = listed.as_array().ok_or(IdTokenError::Groups)?;
    if groups.len() > MAX_PERSON_GROUPS {
        return Err(IdTokenError::Groups);
    }
    let text = |group: &Value| group.as_str().map(str::to_owned).ok_or(IdTokenError::Groups);
    groups.iter().map(text).collect()
}

#[cfg(test)]
mod tests;
