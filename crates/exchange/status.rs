//! Token status lists (draft-ietf-oauth-status-list-21): which issued tokens ended before their time, for resource servers
//! that cannot introspect.
//!
//! Every access token has a place. The list of a place is made anew from storage whenever it is asked for and the last one
//! was done [`STATUS_LIST_REBUILT_EVERY`] ago or before the newest kill, so nothing has to tell it of changes. Anybody may
//! ask, so asking must cost little: however many ask and however long it takes, one of them builds and the others share
//! what it has built; which lists there are is read as rarely. What a list says of a token is [`is_live`]'s answer.
//! Deliberately absent: HTTP, the lists' form (`marque-status-list`), and the tasks in which lists are built.

mod kept;
mod place;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_intent::{DenialClass, DenialCode};
use marque_jose::{CompactToken, NumericDate, base64url, sha256, sign_compact_within};
use marque_status_list::{
    MAX_LIST_TOKEN_BYTES, STATUS_LIST_TOKEN_TYPE, Status, StatusClaim, StatusList,
    StatusListClaims, StatusReference,
};
use serde_json::{Value, json};

pub(crate) use kept::StatusLists;
pub use place::{STATUS_LIST_PLACES, StatusKey, StatusPlace};

use kept::{Built, Kept, There};

use crate::{
    Endpoint, IssuerUrl, OAuthError, SuspectQuery, TokenId, TokenRecord, TokenService, is_live,
    service::{server_error, unavailable},
};

/// How long ago a list may have been done when it is handed out. Only a kill makes it anew before that.
pub const STATUS_LIST_REBUILT_EVERY: Duration = Duration::from_millis(250);
/// For how long a verifier may keep a copy before it should fetch anew (`ttl`).
pub const STATUS_LIST_TTL: Duration = Duration::from_secs(10);
/// For how long a copy may be relied on at all (`exp`).
pub const STATUS_LIST_LIFETIME: Duration = Duration::from_secs(300);
/// How old the signature of a list that did not change may become.
const SIGNED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How many suspects are read at once.
const READ_AT_ONCE: usize = 500;
/// How many places of a list may be left when the one after it begins to exist: more than are given out in the time for
/// which nobody looks which lists there are.
const NEXT_LIST_FROM: u64 = STATUS_LIST_PLACES / 8;

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

/// What can be said of a list at once.
#[derive(Debug)]
pub enum Listed {
    /// It is as young as it has to be.
    Fresh(Arc<SignedStatusList>),
    /// It exists and is to be built by [`TokenService::status_list`].
    Due {
        /// The epoch of the kill switch that the list must at least know.
        epoch: u64,
    },
    /// There is no such list (any more), or none are offered.
    Absent,
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

    /// What can be said of the list of this number without building it.
    ///
    /// # Errors
    /// `temporarily_unavailable` when storage cannot be read.
    pub async fn look_up_status_list(&self, list: u64) -> Result<Listed, OAuthError> {
        if !self.config.offers.token_status_list {
            return Ok(Listed::Absent);
        }
        let kills = self.store.current_kills().map_err(unavailable)?;
        // A list that is being built is as good as one that is to be.
        let kept = self.status_lists.known(list);
        let kept = kept.as_ref().and_then(|kept| kept.try_lock());
        if let Some(fresh) = kept.and_then(|kept| kept.fresh(self.clock.now(), kills.epoch)) {
            return Ok(Listed::Fresh(fresh));
        }
        if self.lists().await?.contains(&list) {
            Ok(Listed::Due { epoch: kills.epoch })
        } else {
            Ok(Listed::Absent)
        }
    }

    /// The list of this number as it stands; `None` where there is none (any more), or none are offered. A change that was
    /// durable before it was begun is in it, and so before anybody asked who asks [`STATUS_LIST_REBUILT_EVERY`] after it was
    /// done; every kill is that is known here.
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
        let there = self.lists().await?;
        if !there.contains(&list) {
            return Ok(None);
        }
        let kept = self.status_lists.entry(list, &there);
        let mut kept = kept.lock().await;
        let kills = self.store.current_kills().map_err(unavailable)?;
        if let Some(fresh) = kept.fresh(self.clock.now(), kills.epoch) {
            return Ok(Some(fresh));
        }
        self.rebuild(list, &mut kept).await.map(Some)
    }

    /// The list that is being filled, as [`Self::status_list`].
    ///
    /// # Errors
    /// As for [`Self::status_list`].
    pub async fn newest_status_list(&self) -> Result<Option<Arc<SignedStatusList>>, OAuthError> {
        let places = self.life.places().await.map_err(unavailable)?;
        self.status_list(places.end / STATUS_LIST_PLACES).await
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

    /// The lists with a token that is kept, the one that is being filled, and the next one when that is soon full: as they
    /// were [`STATUS_LIST_REBUILT_EVERY`] ago at most. One looks and all who ask meanwhile share what it sees.
    async fn lists(&self) -> Result<RangeInclusive<u64>, OAuthError> {
        let mut seen = self.status_lists.there().await;
        if let Some(fresh) = seen.as_ref().and_then(|there| there.fresh(self.clock.now())) {
            return Ok(fresh);
        }
        let places = self.life.places().await.map_err(unavailable)?;
        let last = places.end.saturating_add(NEXT_LIST_FROM) / STATUS_LIST_PLACES;
        let lists = places.start / STATUS_LIST_PLACES..=last;
        *seen = Some(There { at: self.clock.now(), lists: lists.clone() });
        Ok(lists)
    }

    async fn rebuild(
        &self,
        number: u64,
        kept: &mut Kept,
    ) -> Result<Arc<SignedStatusList>, OAuthError> {
        let (now, kills) = (self.clock.now(), self.store.current_kills().map_err(unavailable)?);
        let first = number.saturating_mul(STATUS_LIST_PLACES);
        let query = SuspectQuery {
            places: first..first.saturating_add(STATUS_LIST_PLACES),
            now,
            decided_before: kept.decided_before(&kills),
        };
        let suspects = self.life.suspects(query).await.map_err(unavailable)?;
        let mut list = kept.over(kills.epoch).clone();
        let unknown = suspects.tokens.into_iter().filter_map(|(place, token)| {
            let idx = StatusPlace::of(place).idx();
            (list.status(idx) == Ok(Status::Valid)).then_some((idx, token))
        });
        let unknown: Vec<(u64, TokenId)> = unknown.collect();
        for some in unknown.chunks(READ_AT_ONCE) {
            let ids = some.iter().map(|(_, id)| id.clone()).collect();
            let found = self.life.tokens(ids).await.map_err(unavailable)?;
            // Of what does not read, or was forgotten meanwhile, nobody says that it is valid.
            let read: BTreeSet<&TokenId> = found.iter().map(|(record, _)| &record.id).collect();
            for (idx, _) in some.iter().filter(|(_, id)| !read.contains(id)) {
                list.set(*idx, Status::Invalid).map_err(server_error)?;
            }
            for (record, intent) in found {
                let Some(place) = record.status_index else { continue };
                let Err(denial) = is_live(&record, &intent, &kills, now) else { continue };
                list.set(place.idx(), Status::Invalid).map_err(server_error)?;
                // On a clock that stepped back a token is not live for a while, and a kill may be lifted; everything else
                // is for good.
                if denial.code() == DenialCode::ClockUnsafe {
                    continue;
                }
                kept.over(kills.epoch).set(place.idx(), Status::Invalid).map_err(server_error)?;
                if denial.class() != DenialClass::Stop {
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
        let signed_by = self.keys.signer().key_id().clone();
        let (signed_at, signed) = match kept.built.take() {
            Some(built)
                if built.list == list
                    && built.epoch == epoch
                    && built.signed_by == signed_by
                    && within(built.signed_at, SIGNED_AGAIN_AFTER, now) =>
            {
                (built.signed_at, built.signed)
            }
            Some(_) | None => (now, Arc::new(self.sign_list(number, &list, (now, epoch))?)),
        };
        // Counted from its end: those who waited for it take it, however long it took.
        let done = self.clock.now();
        let taken = Arc::clone(&signed);
        kept.built = Some(Built { done, epoch, list, signed_at, signed_by, signed: taken });
        Ok(signed)
    }

    fn sign_list(
        &self,
        number: u64,
        list: &StatusList,
        (now, epoch): (Timestamp, u64),
    ) -> Result<SignedStatusList, OAuthError> {
        let claims = StatusListClaims {
            sub: list_url(&self.config.issuer, number),
            iat: NumericDate::floor(now).map_err(server_error)?,
            exp: Some(NumericDate::floor(now + STATUS_LIST_LIFETIME).map_err(server_error)?),
            ttl: NonZeroU64::new(STATUS_LIST_TTL.as_secs()),
            kill_epoch: Some(epoch),
            status_list: list.encode().map_err(server_error)?,
        };
        let typ = Some(STATUS_LIST_TOKEN_TYPE);
        sign_compact_within(typ, &claims, &*self.keys.signer(), MAX_LIST_TOKEN_BYTES)
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
