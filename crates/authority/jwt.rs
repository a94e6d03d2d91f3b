//! Minting JWT-SVIDs, and the check that each passes before it leaves.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use marque_jose::{CompactToken, NumericDate, Signer, sign_compact};
use marque_keys::SlotId;
use marque_spiffe::{Bundle, Random, SpiffeId, TrustDomain, UnverifiedJwtSvid};
use serde::Serialize;

use crate::{
    AuthorityError, SelfCheckError, TemplateError,
    certificate::whole_second,
    signer::{TokenSigner, token_id},
    x509::{capped_end, check_id},
};

/// The claims of every JWT-SVID. One with an issuer has `iss`, and `sub_sha256` where its `sub` is long; none has others.
const CLAIMS: [&str; 5] = ["aud", "exp", "iat", "jti", "sub"];
const ISSUER: &str = "iss";
const SUBJECT_DIGEST: &str = "sub_sha256";

/// What a JWT-SVID should say.
#[derive(Clone, Debug)]
pub struct JwtSvidTemplate {
    /// The identity, with a path, of the authority's own trust domain.
    pub spiffe_id: SpiffeId,
    /// For whom it is: 1 to [`JwtSvidTemplate::MAX_AUDIENCES`].
    pub audience: Vec<String>,
    /// How long it should last, in whole seconds; capped by the ceiling and by the end of the key.
    pub lifetime: Duration,
}

impl JwtSvidTemplate {
    /// The most audiences of one JWT-SVID.
    pub const MAX_AUDIENCES: usize = 16;
    /// The longest audience, in the bytes of JSON: a quotation mark and a backslash count twice. As many of the longest
    /// stay below the limit for a token.
    pub const MAX_AUDIENCE_BYTES: usize = 512;

    pub(crate) fn check(&self, trust_domain: &TrustDomain) -> Result<(), TemplateError> {
        check_id(&self.spiffe_id, trust_domain)?;
        if self.audience.is_empty() {
            return Err(TemplateError::NoAudience);
        }
        if self.audience.len() > Self::MAX_AUDIENCES {
            return Err(TemplateError::Audiences);
        }
        let is_audience = |text: &String| {
            let escaped = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
            (1..=Self::MAX_AUDIENCE_BYTES).contains(&(text.len() + escaped))
                && !text.chars().any(char::is_control)
        };
        if !self.audience.iter().all(is_audience) {
            return Err(TemplateError::Audience);
        }
        Ok(())
    }
}

/// A JWT-SVID. The token is a secret.
#[derive(Clone, Debug)]
pub struct MintedJwtSvid {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The token.
    pub token: CompactToken,
    /// Its `iat`.
    pub issued_at: Timestamp,
    /// Its `exp`: from then on it is refused.
    pub expires_at: Timestamp,
}

/// The active key for JWT-SVIDs.
#[derive(Debug)]
pub(crate) struct JwtAuthority {
    slot: SlotId,
    signer: Arc<TokenSigner>,
    ends_at: Timestamp,
}

/// `aud` is always an array: the most widely used clients read nothing else. There is no `iss` unless it is asked for: the trust
/// domain in `sub` says whose key signed.
#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    /// What clouds may call the principal instead, where `sub` is too long for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_sha256: Option<String>,
    sub: &'a SpiffeId,
    aud: &'a [String],
    iat: NumericDate,
    exp: NumericDate,
    jti: String,
}

impl JwtAuthority {
    pub(crate) fn new(slot: SlotId, signer: Arc<TokenSigner>, ends_at: Timestamp) -> Self {
        Self { slot, signer, ends_at }
    }

    /// Signs a token and checks it. The template was checked, and comes with the `iss` where there is one; `ceiling` is the longest
    /// lifetime.
    pub(crate) fn mint(
        &self,
        (template, issuer): (&JwtSvidTemplate, Option<&str>),
        ceiling: Duration,
        bundle: &Bundle,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<MintedJwtSvid, AuthorityError> {
        let issued_at = whole_second(now)?;
        let expires_at =
            capped_end(&self.slot, template.lifetime.min(ceiling), self.ends_at, issued_at)?;
        let date = |at| NumericDate::floor(at).map_err(|_range| AuthorityError::Time(at));
        let claims = Claims {
            iss: issuer,
            sub_sha256: issuer.and_then(|_| template.spiffe_id.subject_digest()),
            sub: &template.spiffe_id,
            aud: &template.audience,
            iat: date(issued_at)?,
            exp: date(expires_at)?,
            jti: token_id(random)?,
        };
        let token = self.issue(&claims, (template, issuer), expires_at, bundle, now)?;
        Ok(MintedJwtSvid { spiffe_id: template.spiffe_id.clone(), token, issued_at, expires_at })
    }

    /// Signs whatever `claims` say, and lets it out only if that is what `template` wants.
    fn issue<C: Serialize>(
        &self,
        claims: &C,
        wanted: (&JwtSvidTemplate, Option<&str>),
        expires_at: Timestamp,
        bundle: &Bundle,
        now: Timestamp,
    ) -> Result<CompactToken, AuthorityError> {
        let token = sign_compact(Some("JWT"), claims, self.signer.as_ref())
            .map_err(AuthorityError::Sign)?;
        self.check(&token, wanted, expires_at, bundle, now).map_err(|source| {
            AuthorityError::SelfCheck { id: wanted.0.spiffe_id.clone(), source }
        })?;
        Ok(token)
    }

    fn check(
        &self,
        token: &CompactToken,
        (template, issuer): (&JwtSvidTemplate, Option<&str>),
        expires_at: Timestamp,
        bundle: &Bundle,
        now: Timestamp,
    ) -> Result<(), SelfCheckError> {
        let audience = template.audience.first().map_or("", String::as_str);
        let unverified =
            UnverifiedJwtSvid::parse(token.expose_token()).map_err(SelfCheckError::Jwt)?;
        let key_id = unverified.key_id().clone();
        let svid = unverified.verify(bundle, audience, now).map_err(SelfCheckError::Jwt)?;
        let digest = issuer.and_then(|_| template.spiffe_id.subject_digest());
        let more = [(ISSUER, issuer), (SUBJECT_DIGEST, digest.as_deref())];
        let said = |name: &str| svid.claims().get(name).and_then(serde_json::Value::as_str);
        let wanted = more.iter().filter(|(_, value)| value.is_some()).count();
        let facts = [
            ("SPIFFE ID", *svid.id() == template.spiffe_id),
            (
                "set of audiences",
                svid.audiences().iter().eq(template.audience.iter().map(String::as_str)),
            ),
            ("expiry", svid.expires_at() == expires_at),
            ("time of issue", svid.issued_at() == whole_second(now).ok()),
            ("key id", key_id == *self.signer.key_id()),
            (
                "set of claims",
                svid.claims().len() == CLAIMS.len() + wanted
                    && more.iter().all(|(name, value)| said(name) == *value)
                    && CLAIMS.iter().all(|name| svid.claims().contains_key(*name)),
            ),
        ];
        match facts.into_iter().find(|(_, holds)| !holds) {
            Some((fact, _)) => Err(SelfCheckError::Differs(fact)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
