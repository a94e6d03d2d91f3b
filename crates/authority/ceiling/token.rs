//! What a key for tokens signs: JWT-SVIDs, WIT-SVIDs, or the kinds of token of the token service.

use std::time::Duration;

use jiff::Timestamp;
use marque_jose::{Algorithm, Audiences, KeyId, NumericDate, base64url, present};
use marque_spiffe::{SpiffeId, TrustDomain, UnverifiedWitSvid};
use serde::{Deserialize, de::IgnoredAny};

use super::{Breach, SigningGuard};
use crate::AuthorityConfig;

/// What the key for access tokens signs: nothing but these kinds, in the name of this issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenServiceCeiling {
    /// The issuer identifier. It is `iss`, or, where a kind has no `iss`, what `sub` is below.
    pub issuer: String,
    /// What JWT-SVIDs name as their issuer, where they name any: one of these.
    pub svid_issuers: Vec<String>,
    /// The kinds, each of its own `typ`.
    pub forms: Vec<TokenForm>,
}

/// One kind of token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenForm {
    /// Its `typ`, compared as text.
    pub typ: &'static str,
    /// The longest from `iat` and from now to `exp`; `None` for the statement of a moment, which has no `exp`.
    pub max_lifetime: Option<Duration>,
    /// The claims without which none is signed.
    pub required: &'static [RequiredClaim],
}

/// A claim that a kind of token has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredClaim {
    /// `iss`
    Issuer,
    /// `sub`
    Subject,
    /// `aud`
    Audience,
    /// `client_id`
    Client,
    /// `intent`, an object: no token without the approved intent that it stands on.
    Intent,
    /// `token_introspection`, an object
    Introspection,
    /// `events`, an object
    Events,
    /// `status_list`, an object
    StatusList,
    /// `kill_epoch`
    KillEpoch,
}

/// What one key for tokens signs at most.
#[derive(Clone, Debug)]
pub(crate) struct TokenCeiling {
    kind: Kind,
    guard: SigningGuard,
}

#[derive(Clone, Debug)]
enum Kind {
    JwtSvid(SvidBounds),
    WitSvid(SvidBounds),
    TokenService,
    #[cfg(test)]
    Unbounded,
}

#[derive(Clone, Debug)]
struct SvidBounds {
    trust_domain: TrustDomain,
    max_lifetime: Duration,
    ends_at: Timestamp,
}

/// What the header has to say of its algorithm and its key.
pub(crate) struct JwsHeader<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: &'a KeyId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: Algorithm,
    kid: String,
    typ: String,
}

/// The claims that a ceiling looks at, each with the type that verifiers give it. serde refuses a name that stands twice.
#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "present")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Audiences>,
    #[serde(default, deserialize_with = "present")]
    client_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    cnf: Option<Object>,
    #[serde(default, deserialize_with = "present")]
    intent: Option<Object>,
    #[serde(default, deserialize_with = "present")]
    token_introspection: Option<Object>,
    #[serde(default, deserialize_with = "present")]
    events: Option<Object>,
    #[serde(default, deserialize_with = "present")]
    status_list: Option<Object>,
    #[serde(default, deserialize_with = "present")]
    kill_epoch: Option<u64>,
}

/// An object with any members.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that it is an object is all that is looked at")]
struct Object(std::collections::BTreeMap<String, IgnoredAny>);

impl TokenServiceCeiling {
    /// What this one or `other` lets a key of the same issuer sign: for as long as somebody may still work by either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut both = self.clone();
        let more = other.svid_issuers.iter().filter(|issuer| !self.svid_issuers.contains(issuer));
        both.svid_issuers.extend(more.cloned());
        for form in &mut both.forms {
            let same = other.forms.iter().find(|one| one.typ == form.typ);
            let longest = same.and_then(|same| same.max_lifetime);
            form.max_lifetime =
                form.max_lifetime.map(|own| longest.map_or(own, |one| one.max(own)));
        }
        both
    }
}

impl TokenCeiling {
    /// JWT-SVIDs of the trust domain, and nothing else.
    pub(crate) fn of_jwt_svids(config: &AuthorityConfig, ends_at: Timestamp) -> Self {
        let bounds = SvidBounds::new(config, config.max_jwt_svid_lifetime, ends_at);
        Self { kind: Kind::JwtSvid(bounds), guard: config.guard.clone() }
    }

    /// WIT-SVIDs of the trust domain, and nothing else.
    pub(crate) fn of_wit_svids(config: &AuthorityConfig, ends_at: Timestamp) -> Self {
        let bounds = SvidBounds::new(config, config.max_wit_svid_lifetime, ends_at);
        Self { kind: Kind::WitSvid(bounds), guard: config.guard.clone() }
    }

    /// The tokens of the token service, and nothing else.
    pub(crate) fn of_token_service(config: &AuthorityConfig) -> Self {
        Self { kind: Kind::TokenService, guard: config.guard.clone() }
    }

    /// No ceiling, for the tests of what else holds.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Self {
        let config = crate::testing::config("prod.example.org");
        Self { kind: Kind::Unbounded, guard: config.guard }
    }

    pub(crate) fn guard(&self) -> &SigningGuard {
        &self.guard
    }

    /// Whether the key with this header signs this signing input (RFC 7515 section 5.1).
    pub(crate) fn check(&self, message: &[u8], own: &JwsHeader<'_>) -> Result<(), Breach> {
        #[cfg(test)]
        if matches!(self.kind, Kind::Unbounded) {
            return Ok(());
        }
        let message = std::str::from_utf8(message).map_err(|_utf8| Breach::Unreadable)?;
        let (header, claims) = message.split_once('.').ok_or(Breach::Unreadable)?;
        let header: Header = read(header)?;
        if header.alg != own.algorithm || header.kid != own.key_id.as_str() {
            return Err(Breach::Header);
        }
        let claims: Claims = read(claims)?;
        match &self.kind {
            Kind::JwtSvid(bounds) => self.check_jwt_svid(bounds, &header.typ, &claims),
            Kind::WitSvid(bounds) => self.check_wit_svid(bounds, &header.typ, &claims),
            Kind::TokenService => self.check_token(&header.typ, &claims),
            #[cfg(test)]
            Kind::Unbounded => Ok(()),
        }
    }

    /// `iss` stands in a JWT-SVID only where clouds are to read it, and then as the one that they know.
    fn check_jwt_svid(
        &self,
        bounds: &SvidBounds,
        typ: &str,
        claims: &Claims,
    ) -> Result<(), Breach> {
        if typ != "JWT" {
            return Err(Breach::Header);
        }
        let known = &self.guard.token_service.svid_issuers;
        if claims.iss.as_ref().is_some_and(|iss| !known.contains(iss)) {
            return Err(Breach::Issuer);
        }
        if claims.aud.is_none() || claims.intent.is_some() {
            return Err(Breach::Claims);
        }
        self.check_svid(bounds, claims)
    }

    /// A WIT-SVID has a key that it is bound to, and no audience (WI-9).
    fn check_wit_svid(
        &self,
        bounds: &SvidBounds,
        typ: &str,
        claims: &Claims,
    ) -> Result<(), Breach> {
        if typ != UnverifiedWitSvid::TYPE {
            return Err(Breach::Header);
        }
        if claims.cnf.is_none() || claims.aud.is_some() || claims.intent.is_some() {
            return Err(Breach::Claims);
        }
        self.check_svid(bounds, claims)
    }

    fn check_svid(&self, bounds: &SvidBounds, claims: &Claims) -> Result<(), Breach> {
        let id = claims.sub.as_deref().and_then(|sub| sub.parse::<SpiffeId>().ok());
        let is_inside =
            id.is_some_and(|id| *id.trust_domain() == bounds.trust_domain && id.has_path());
        if !is_inside {
            return Err(Breach::Name);
        }
        self.check_dates(claims, bounds.max_lifetime, Some(bounds.ends_at))
    }

    fn check_token(&self, typ: &str, claims: &Claims) -> Result<(), Breach> {
        let ceiling = &self.guard.token_service;
        let form = ceiling.forms.iter().find(|form| form.typ == typ).ok_or(Breach::Header)?;
        let is_ours = match (&claims.iss, &claims.sub) {
            (Some(iss), _) => *iss == ceiling.issuer,
            (None, Some(sub)) => is_below(sub, &ceiling.issuer),
            (None, None) => false,
        };
        if !is_ours {
            return Err(Breach::Issuer);
        }
        if !form.required.iter().all(|claim| claims.has(*claim)) {
            return Err(Breach::Claims);
        }
        match (form.max_lifetime, claims.exp) {
            (Some(longest), _) => self.check_dates(claims, longest, None),
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Breach::Claims),
        }
    }

    fn check_dates(
        &self,
        claims: &Claims,
        longest: Duration,
        ends_at: Option<Timestamp>,
    ) -> Result<(), Breach> {
        let (Some(iat), Some(exp)) = (claims.iat, claims.exp) else { return Err(Breach::Claims) };
        let lasts = Duration::try_from(exp.timestamp().duration_since(iat.timestamp()));
        if !lasts.is_ok_and(|lasts| lasts <= longest) {
            return Err(Breach::Lifetime);
        }
        self.guard.check_end(exp.timestamp(), longest, ends_at)
    }
}

impl SvidBounds {
    fn new(config: &AuthorityConfig, max_lifetime: Duration, ends_at: Timestamp) -> Self {
        Self { trust_domain: config.trust_domain.clone(), max_lifetime, ends_at }
    }
}

impl Claims {
    fn has(&self, claim: RequiredClaim) -> bool {
        match claim {
            RequiredClaim::Issuer => self.iss.is_some(),
            RequiredClaim::Subject => self.sub.is_some(),
            RequiredClaim::Audience => self.aud.is_some(),
            RequiredClaim::Client => self.client_id.is_some(),
            RequiredClaim::Intent => self.intent.is_some(),
            RequiredClaim::Introspection => self.token_introspection.is_some(),
            RequiredClaim::Events => self.events.is_some(),
            RequiredClaim::StatusList => self.status_list.is_some(),
            RequiredClaim::KillEpoch => self.kill_epoch.is_some(),
        }
    }
}

/// Whether `url` is a path below `issuer`, and not another host whose name begins alike.
fn is_below(url: &str, issuer: &str) -> bool {
    url.strip_prefix(issuer.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

fn read<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Breach> {
    let bytes = base64url::decode(part).map_err(|_position| Breach::Unreadable)?;
    serde_json::from_slice(&bytes).map_err(|_json| Breach::Unreadable)
}
