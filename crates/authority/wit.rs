//! Minting WIT-SVIDs with the key that each is bound to, and the check that each passes before it leaves.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use marque_jose::{CompactToken, HolderKey, NumericDate, PrivateJwk, Signer, sign_compact};
use marque_keys::SlotId;
use marque_spiffe::{Bundle, Random, SpiffeId, TrustDomain, UnverifiedWitSvid};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    AuthorityError, SelfCheckError, TemplateError,
    certificate::{BACKDATED_SECONDS, plus_seconds, whole_second},
    signer::{TokenSigner, token_id},
    x509::{capped_end, check_id},
};

/// The claims of every WIT-SVID, and no others: no `aud` (WI-9), and no `iss`, whose form would invite to take it for an
/// OpenID Connect token (WI-8).
const CLAIMS: [&str; 6] = ["cnf", "exp", "iat", "jti", "nbf", "sub"];

/// What a WIT-SVID should say.
#[derive(Clone, Debug)]
pub struct WitSvidTemplate {
    /// The identity, with a path, of the authority's own trust domain.
    pub spiffe_id: SpiffeId,
    /// How long it should last, in whole seconds; capped by the ceiling and by the end of the key.
    pub lifetime: Duration,
}

impl WitSvidTemplate {
    pub(crate) fn check(&self, trust_domain: &TrustDomain) -> Result<(), TemplateError> {
        check_id(&self.spiffe_id, trust_domain)
    }
}

/// A WIT-SVID with the private key that it is bound to.
#[derive(Clone, Debug)]
pub struct MintedWitSvid {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The token.
    pub token: CompactToken,
    /// The private half of its `cnf.jwk`, for the holder alone.
    pub private_key: PrivateJwk,
    /// Its `iat`.
    pub issued_at: Timestamp,
    /// Its `exp`: from then on it is refused.
    pub expires_at: Timestamp,
}

/// The active key for WIT-SVIDs.
#[derive(Debug)]
pub(crate) struct WitAuthority {
    slot: SlotId,
    signer: Arc<TokenSigner>,
    ends_at: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a SpiffeId,
    cnf: Value,
    iat: NumericDate,
    nbf: NumericDate,
    exp: NumericDate,
    jti: String,
}

/// What a token has to say, to the byte.
struct Wanted<'a> {
    spiffe_id: &'a SpiffeId,
    holder: &'a HolderKey,
    not_before: Timestamp,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl WitAuthority {
    pub(crate) fn new(slot: SlotId, signer: Arc<TokenSigner>, ends_at: Timestamp) -> Self {
        Self { slot, signer, ends_at }
    }

    /// Makes the holder's key, signs a token for it and checks it. `template` was checked, `ceiling` is the longest
    /// lifetime.
    pub(crate) fn mint(
        &self,
        template: &WitSvidTemplate,
        ceiling: Duration,
        bundle: &Bundle,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<MintedWitSvid, AuthorityError> {
        let issued_at = whole_second(now)?;
        let expires_at =
            capped_end(&self.slot, template.lifetime.min(ceiling), self.ends_at, issued_at)?;
        // The clocks of those who check it differ, and WI-6 knows no leeway for `nbf`.
        let not_before = plus_seconds(issued_at, -BACKDATED_SECONDS)?;
        let holder = HolderKey::generate().map_err(|_never_says_why| AuthorityError::SubjectKey)?;
        let spiffe_id = &template.spiffe_id;
        let wanted = Wanted { spiffe_id, holder: &holder, not_before, issued_at, expires_at };
        let date = |at| NumericDate::floor(at).map_err(|_range| AuthorityError::Time(at));
        let claims = Claims {
            sub: spiffe_id,
            cnf: json!({ "jwk": holder.to_confirmation_jwk().to_value() }),
            iat: date(issued_at)?,
            nbf: date(not_before)?,
            exp: date(expires_at)?,
            jti: token_id(random)?,
        };
        let token = self.issue(&claims, &wanted, bundle, now)?;
        Ok(MintedWitSvid {
            spiffe_id: spiffe_id.clone(),
            token,
            private_key: holder.to_private_jwk(),
            issued_at,
            expires_at,
        })
    }

    /// Signs whatever `claims` say, and lets it out only if that is what is `wanted`.
    fn issue<C: Serialize>(
        &self,
        claims: &C,
        wanted: &Wanted<'_>,
        bundle: &Bundle,
        now: Timestamp,
    ) -> Result<CompactToken, AuthorityError> {
        let token = sign_compact(Some(UnverifiedWitSvid::TYPE), claims, self.signer.as_ref())
            .map_err(AuthorityError::Sign)?;
        self.check(&token, wanted, bundle, now)
            .map_err(|source| AuthorityError::SelfCheck { id: wanted.spiffe_id.clone(), source })?;
        Ok(token)
    }

    fn check(
        &self,
        token: &CompactToken,
        wanted: &Wanted<'_>,
        bundle: &Bundle,
        now: Timestamp,
    ) -> Result<(), SelfCheckError> {
        let unverified =
            UnverifiedWitSvid::parse(token.expose_token()).map_err(SelfCheckError::Wit)?;
        let key_id = unverified.key_id().clone();
        let svid = unverified.verify(bundle, now).map_err(SelfCheckError::Wit)?;
        let facts = [
            ("SPIFFE ID", svid.subject() == wanted.spiffe_id),
            ("holder's key", svid.holder_key() == wanted.holder.public_key()),
            ("holder's algorithm", svid.holder_algorithm() == wanted.holder.algorithm()),
            ("expiry", svid.expires_at() == wanted.expires_at),
            ("beginning", svid.not_before() == Some(wanted.not_before)),
            ("time of issue", svid.issued_at() == Some(wanted.issued_at)),
            ("key id", key_id == *self.signer.key_id()),
            (
                "set of claims",
                svid.claims().len() == CLAIMS.len()
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
