//! The verifier: from what a request shows to a [`VerifiedToken`], or a refusal.
//!
//! The order is from cheap to dear, and what changes something comes last: form, type, key, signature, claims, issuer,
//! audience, time, binding, scopes, status, and the one use of a single-use token.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use marque_jose::{Algorithm, UnverifiedJws, VerifiedJws};
use marque_status_list::StatusReference;

use crate::challenge::{Challenger, Refused};
use crate::claims::{Claims, MAX_ACTORS};
use crate::credentials::Presentation;
use crate::fetch::Fetch;
use crate::keys::{Keys, Loader};
use crate::kills::Kills;
use crate::refusal::{Lack, Refusal, TokenFault};
use crate::replays::Replays;
use crate::settings::{KillCheck, StatusCheck, VerifierSettings};
use crate::statements::Statements;
use crate::status::StatusLists;
use crate::token::VerifiedToken;

/// The two spellings of an access token's type (RFC 9068 §4).
const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

/// Verifies tokens of one issuer for one resource server. Share one in an [`Arc`]: its keys are fetched once for all.
#[derive(Debug)]
pub struct Verifier {
    pub(crate) settings: VerifierSettings,
    keys: Arc<Keys>,
    lists: StatusLists,
    kills: Option<Kills>,
    pub(crate) replays: Arc<dyn Replays>,
    challenger: Arc<Challenger>,
}

impl Verifier {
    pub(crate) fn new(
        settings: VerifierSettings,
        fetch: Arc<dyn Fetch>,
        replays: Arc<dyn Replays>,
    ) -> Self {
        let loader = Loader {
            fetch: Arc::clone(&fetch),
            issuer: settings.issuer.clone(),
            source: settings.keys.clone(),
            freshness: settings.limits.keys,
        };
        let challenger = Arc::new(Challenger {
            resource_metadata: settings.resource.well_known("oauth-protected-resource"),
            binding: settings.binding,
        });
        let limits = settings.limits;
        let keys = Arc::new(Keys::new(loader, limits.retry_after, Arc::clone(&settings.clock)));
        let statements = Statements {
            fetch,
            issuer: settings.issuer.clone(),
            keys: Arc::clone(&keys),
            freshness: limits.status,
            leeway: limits.leeway,
            clock: Arc::clone(&settings.clock),
        };
        let kills = match settings.kills {
            KillCheck::Off => None,
            KillCheck::Required(freshness) => {
                let statements = Statements { freshness, ..statements.clone() };
                Some(Kills::new(statements, limits.retry_after))
            }
        };
        let lists = StatusLists::new(statements, limits.retry_after);
        Self { settings, keys, lists, kills, replays, challenger }
    }

    /// Verifies what a request shows, and that its token has all of `scopes`.
    ///
    /// # Errors
    /// Why not, with the answer to give.
    pub async fn verify(
        &self,
        shown: &Presentation,
        scopes: &[&str],
    ) -> Result<VerifiedToken, Refused> {
        let now = self.settings.clock.now();
        self.judge(shown, scopes, now).await.map_err(|refusal| {
            tracing::debug!(refusal = refusal.name(), "a request is refused");
            let nonce = shown.asks_for_nonce().then(|| self.nonce(now)).flatten();
            self.challenger.refused(refusal, shown.scheme(), scopes).with_nonce(nonce)
        })
    }

    async fn judge(
        &self,
        shown: &Presentation,
        scopes: &[&str],
        now: Timestamp,
    ) -> Result<VerifiedToken, Refusal> {
        let Some((scheme, token)) = shown.credentials.clone()? else {
            return Err(Refusal::NoToken);
        };
        let jws = self.verified(token.expose_token(), now).await?;
        let all = jws.claims().clone();
        let claims: Claims = jws.into_claims().map_err(|_wrong| TokenFault::Claims)?;
        self.check_claims(&claims)?;
        self.check_times(&claims, now)?;
        let proof = self.check_binding(&claims, (scheme, &token), shown, now)?;
        let single = self.single_use(&claims);
        let status = claims.status.clone().and_then(|status| status.status_list);
        let token = VerifiedToken::new(token, claims, all, Arc::clone(&self.challenger));
        if scopes.iter().any(|scope| !token.scopes().any(|own| own == *scope)) {
            return Err(Refusal::Rights(Lack::Scope));
        }
        self.check_status(status.as_ref(), now).await?;
        // Last: what is used up here was good in every other respect.
        for one in proof.into_iter().chain(single) {
            one.spend(&*self.replays, now).await?;
        }
        Ok(token)
    }

    async fn check_status(
        &self,
        status: Option<&StatusReference>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let epoch = match &self.kills {
            None => 0,
            Some(kills) => kills.epoch(now).await?,
        };
        match (self.settings.status, status) {
            // A kill could not be seen at such a token.
            (_, None) if self.kills.is_some() => Err(TokenFault::NoStatus.into()),
            (StatusCheck::Off, _) | (StatusCheck::WherePresent, None) => Ok(()),
            (StatusCheck::Required, None) => Err(TokenFault::NoStatus.into()),
            (StatusCheck::WherePresent | StatusCheck::Required, Some(place)) => {
                self.lists.check(place, epoch, now).await
            }
        }
    }

    /// The signature, by a key of the issuer that its header names, with an algorithm that the key is for.
    async fn verified(&self, token: &str, now: Timestamp) -> Result<VerifiedJws, Refusal> {
        let jws = UnverifiedJws::parse(token).map_err(|_why| TokenFault::Malformed)?;
        if !jws.header().typ().is_some_and(|typ| TYPES.contains(&typ)) {
            return Err(TokenFault::Type.into());
        }
        let kid = jws.header().kid().ok_or(TokenFault::Key)?.clone();
        let key = self.keys.find(&kid, now).await?;
        let allowed: &[Algorithm] = key.algorithms();
        Ok(jws.verify(&key.key, allowed).map_err(|_why| TokenFault::Signature)?)
    }

    fn check_claims(&self, claims: &Claims) -> Result<(), TokenFault> {
        if claims.iss.0 != self.settings.issuer.as_str() {
            return Err(TokenFault::Issuer);
        }
        if !claims.aud.contains(self.settings.resource.as_str()) {
            return Err(TokenFault::Audience);
        }
        if claims.act.as_ref().is_some_and(|actor| actor.depth() > MAX_ACTORS) {
            return Err(TokenFault::Claims);
        }
        Ok(())
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), TokenFault> {
        let leeway = self.settings.limits.leeway;
        let (issued, expires) = (claims.iat.timestamp(), claims.exp.timestamp());
        let later =
            |then: Timestamp, by: Duration| then.saturating_add(by).unwrap_or(Timestamp::MAX);
        if now >= later(expires, leeway) {
            return Err(TokenFault::Expired);
        }
        let begins = claims.nbf.map_or(issued, |nbf| nbf.timestamp().max(issued));
        if begins > later(now, leeway) {
            return Err(TokenFault::NotYet);
        }
        let life = SignedDuration::try_from(self.settings.limits.token_life);
        if life.is_ok_and(|life| expires.duration_since(issued) > life) {
            return Err(TokenFault::Lifetime);
        }
        Ok(())
    }
}
