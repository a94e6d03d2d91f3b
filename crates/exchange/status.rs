//! Token status lists (draft-ietf-oauth-status-list-21): which issued tokens ended before their time, for resource servers
//! that cannot introspect.
//!
//! Every access token has a place. The list of a place is made anew from storage whenever it is asked for and the last one
//! is older than [`STATUS_LIST_REBUILT_EVERY`] or than the newest kill, so nothing has to tell it of changes; however many
//! ask, one of them builds and the others wait for it. What it says of a token is [`is_live`]'s answer. Deliberately absent:
//! HTTP, and the lists' form (`marque-status-list`).

mod place;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::lock::Mutex as AsyncMutex;
use jiff::Timestamp;
use marque_intent::DenialCode;
use marque_jose::{CompactToken, NumericDate, base64url, sha256, sign_compact_within};
use marque_status_list::{
    Bits, MAX_LIST_TOKEN_BYTES, STATUS_LIST_TOKEN_TYPE, Status, StatusClaim, StatusList,
    StatusListClaims, StatusReference,
};
use serde_json::{Value, json};

pub use place::{STATUS_LIST_PLACES, StatusKey, StatusPlace};

use crate::{
    Endpoint, IssuerUrl, OAuthError, SuspectQuery, TokenId, TokenRecord, TokenService, is_live,
    service::{server_error, unavailable},
};

/// How old a list may be at most when it is handed out. Only a kill makes it anew before that.
pub const STATUS_LIST_REBUILT_EVERY: Duration = Duration::from_millis(250);
/// For how long a verifier may keep a copy before it should fetch anew (`ttl`).
pub const STATUS_LIST_TTL: Duration = Duration::from_secs(10);
/// For how long a copy may be relied on at all (`exp`).
pub const STATUS_LIST_LIFETIME: Duration = Duration::from_secs(300);
/// How old the signature of a list that did not change may become.
const SIGNED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How many suspects are read at once.
const READ_AT_ONCE: usize = 500;

/// A signed list.
#[derive(Debug)]
pub struct SignedStatusList {
    token: CompactToken,
    tag: String,
}

impl SignedStatusList {
    /// A list that was signed.
    pub fn new(token: CompactToken) -> Self {
        let tag = base64url::encode(sha256(token.expose_token().as_bytes()));
        Self { token, tag }
    }

    /// The status list token. Everybody may read it.
    pub const fn token(&self) -> &CompactToken {
        &self.token
    }

    /// A name of exactly these bytes, for conditional requests: base64url.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

/// The lists that were asked for.
#[derive(Default)]
pub(crate) struct StatusLists(Mutex<BTreeMap<u64, Arc<AsyncMutex<Kept>>>>);

impl fmt::Debug for StatusLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusLists").field("lists", &self.lock().len()).finish()
    }
}

/// What is kept of one list between two requests.
#[derive(Debug)]
struct Kept {
    /// Tokens that have ended, for good.
    ended: StatusList,
    /// Every token that was decided on before this epoch was looked at when the kills of this epoch were in force.
    examined_epoch: u64,
    built: Option<Built>,
}

#[derive(Debug)]
struct Built {
    at: Timestamp,
    epoch: u64,
    list: StatusList,
    signed_at: Timestamp,
    signed: Arc<SignedStatusList>,
}

impl Default for Kept {
    fn default() -> Self {
        let places = usize::try_from(STATUS_LIST_PLACES).unwrap_or_default();
        Self { ended: StatusList::new(Bits::One, places), examined_epoch: 0, built: None }
    }
}

impl Kept {
    /// The last list, if it is young enough and no kill has come since.
    fn fresh(&self, now: Timestamp, epoch: u64) -> Option<Arc<SignedStatusList>> {
        let built = self.built.as_ref()?;
        let young = within(built.at, STATUS_LIST_REBUILT_EVERY, now);
        (young && built.epoch == epoch).then(|| Arc::clone(&built.signed))
    }
}

impl StatusLists {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<AsyncMutex<Kept>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, list: u64) -> Option<Arc<AsyncMutex<Kept>>> {
        self.lock().get(&list).cloned()
    }

    /// The list's entry; those that are over are forgotten.
    fn entry(&self, list: u64, there: &std::ops::RangeInclusive<u64>) -> Arc<AsyncMutex<Kept>> {
        let mut lists = self.lock();
        lists.retain(|list, _| there.contains(list));
        Arc::clone(lists.entry(list).or_default())
    }
}

fn list_url(issuer: &IssuerUrl, list: u64) -> String {
    format!("{}/{list}", Endpoint::StatusLists.url(issuer))
}

impl TokenService {
    /// The claim `status` of a token that has a place, where lists are offered.
    pub(crate) fn status_claim(&self, token: &TokenRecord) -> Option<StatusClaim> {
        let place = token.status_index.filter(|_| self.config.offers.token_status_list)?;
        let uri = list_url(&self.config.issuer, place.list());
        Some(StatusClaim { status_list: StatusReference { idx: place.idx(), uri } })
    }

    /// The list of this number as it stands; `None` where there is none (any more), or none are offered. A change that was
    /// durable [`STATUS_LIST_REBUILT_EVERY`] ago is in it, and every kill that is known here.
    ///
    /// Run it to its end once it was begun: a list that is given up half-way costs as much as one that is finished.
    ///
    /// # Errors
    /// `temporarily_unavailable` when storage cannot be read or nothing can be signed.
    pub async fn status_list(
        &self,
        list: u64,
    ) -> Result<Option<Arc<SignedStatusList>>, OAuthError> {
        if !self.config.offers.token_status_list {
            return Ok(None);
        }
        let kept = match self.status_lists.known(list) {
            Some(kept) => kept,
            None => match self.lists().await? {
                there if there.contains(&list) => self.status_lists.entry(list, &there),
                _ => return Ok(None),
            },
        };
        let mut kept = kept.lock().await;
        if let Some(fresh) = kept.fresh(self.clock.now(), self.store.kill_state().epoch) {
            return Ok(Some(fresh));
        }
        if !self.lists().await?.contains(&list) {
            self.status_lists.lock().remove(&list);
            return Ok(None);
        }
        self.rebuild(list, &mut kept).await.map(Some)
    }

    /// Where every list is (§9.3); `None` where none are offered.
    ///
    /// # Errors
    /// `temporarily_unavailable` when storage cannot be read.
    pub async fn status_lists(&self) -> Result<Option<Value>, OAuthError> {
        if !self.config.offers.token_status_list {
            return Ok(None);
        }
        let lists = self.lists().await?;
        let urls: Vec<String> = lists.map(|list| list_url(&self.config.issuer, list)).collect();
        Ok(Some(json!({"status_lists": urls})))
    }

    /// The lists with a token that has not expired, and the one that is being filled.
    async fn lists(&self) -> Result<std::ops::RangeInclusive<u64>, OAuthError> {
        let places = self.life.places(self.clock.now()).await.map_err(unavailable)?;
        Ok(places.start / STATUS_LIST_PLACES..=places.end / STATUS_LIST_PLACES)
    }

    async fn rebuild(
        &self,
        number: u64,
        kept: &mut Kept,
    ) -> Result<Arc<SignedStatusList>, OAuthError> {
        let (now, kills) = (self.clock.now(), self.store.kill_state());
        let first = number.saturating_mul(STATUS_LIST_PLACES);
        let query = SuspectQuery {
            places: first..first.saturating_add(STATUS_LIST_PLACES),
            now,
            decided_before: if kept.examined_epoch < kills.epoch { kills.epoch } else { 0 },
        };
        let suspects = self.life.suspects(query).await.map_err(unavailable)?;
        let unknown = suspects.tokens.into_iter().filter_map(|(place, token)| {
            let idx = StatusPlace::of(place).idx();
            (kept.ended.status(idx) == Ok(Status::Valid)).then_some(token)
        });
        let unknown: Vec<TokenId> = unknown.collect();
        let mut list = kept.ended.clone();
        for some in unknown.chunks(READ_AT_ONCE) {
            for (record, intent) in self.life.tokens(some.to_vec()).await.map_err(unavailable)? {
                let Some(place) = record.status_index else { continue };
                let Err(denial) = is_live(&record, &intent, &kills, now) else { continue };
                list.set(place.idx(), Status::Invalid).map_err(server_error)?;
                // On a clock that stepped back a token is not live for a while; everything else is for good.
                if denial.code() != DenialCode::ClockUnsafe {
                    kept.ended.set(place.idx(), Status::Invalid).map_err(server_error)?;
                }
            }
        }
        // A kill that is in force and not yet recorded may still be unheard of elsewhere: then tokens of those whom it stops
        // may come after this, and are to be looked at again.
        kept.examined_epoch = suspects.recorded_epoch.min(kills.epoch);
        self.keep(number, kept, list, (now, kills.epoch))
    }

    /// Signs the list, unless it is the one that was signed a moment ago.
    fn keep(
        &self,
        number: u64,
        kept: &mut Kept,
        list: StatusList,
        (now, epoch): (Timestamp, u64),
    ) -> Result<Arc<SignedStatusList>, OAuthError> {
        let (signed_at, signed) = match kept.built.take() {
            Some(built)
                if built.list == list && within(built.signed_at, SIGNED_AGAIN_AFTER, now) =>
            {
                (built.signed_at, built.signed)
            }
            Some(_) | None => (now, Arc::new(self.sign_list(number, &list, now)?)),
        };
        kept.built = Some(Built { at: now, epoch, list, signed_at, signed: Arc::clone(&signed) });
        Ok(signed)
    }

    fn sign_list(
        &self,
        number: u64,
        list: &StatusList,
        now: Timestamp,
    ) -> Result<SignedStatusList, OAuthError> {
        let claims = StatusListClaims {
            sub: list_url(&self.config.issuer, number),
            iat: NumericDate::floor(now).map_err(server_error)?,
            exp: Some(NumericDate::floor(now + STATUS_LIST_LIFETIME).map_err(server_error)?),
            ttl: NonZeroU64::new(STATUS_LIST_TTL.as_secs()),
            status_list: list.encode().map_err(server_error)?,
        };
        let typ = Some(STATUS_LIST_TOKEN_TYPE);
        sign_compact_within(typ, &claims, &*self.signer, MAX_LIST_TOKEN_BYTES)
            .map(SignedStatusList::new)
            .map_err(unavailable)
    }
}

/// Whether `now` is not before `start` and less than `length` after it.
fn within(start: Timestamp, length: Duration, now: Timestamp) -> bool {
    now >= start && start.checked_add(length).is_ok_and(|end| now < end)
}

#[cfg(test)]
mod tests;
