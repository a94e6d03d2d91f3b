//! The kill state as a signed statement, for verifiers that refuse when they have not heard it lately (specs/intents.md 8).
//!
//! It says nothing but the epoch. A replica that has not heard of the others for
//! [`KILLS_HEARD_WITHIN`](crate::KILLS_HEARD_WITHIN) says nothing at all. Deliberately absent: HTTP, and who is stopped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use marque_jose::{CompactToken, KeyId, NumericDate, sign_compact_within};
use marque_status_list::{KILL_STATE_TYPE, KillStateClaims, MAX_KILL_STATE_BYTES};

use crate::service::{server_error, unavailable};
use crate::{Endpoint, OAuthError, TokenService};

/// For how long a statement may be relied on at most, whatever a verifier's own limit is.
pub const KILL_STATE_LIFETIME: Duration = Duration::from_secs(10);

/// The last statement that was signed: all who ask within a second get the same.
#[derive(Debug, Default)]
pub(crate) struct KillStatements(Mutex<Option<Signed>>);

#[derive(Debug)]
struct Signed {
    iat: NumericDate,
    epoch: u64,
    signed_by: KeyId,
    token: Arc<CompactToken>,
}

impl TokenService {
    /// The epoch that is in force here, signed.
    ///
    /// # Errors
    /// `temporarily_unavailable` when what other replicas did is not heard of, or nothing can be signed.
    pub fn kill_state(&self) -> Result<Arc<CompactToken>, OAuthError> {
        let epoch = self.store.current_kills().map_err(unavailable)?.epoch;
        let now = self.clock.now();
        let iat = NumericDate::floor(now).map_err(server_error)?;
        let kept = || self.kill_statements.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signer = self.keys.signer();
        let same = |one: &&Signed| {
            (one.iat, one.epoch) == (iat, epoch) && one.signed_by == *signer.key_id()
        };
        if let Some(signed) = kept().as_ref().filter(same) {
            return Ok(Arc::clone(&signed.token));
        }
        // Nobody waits for a lock while a key in a device signs; two who come at once sign twice.
        let claims = KillStateClaims {
            iss: self.config.issuer.as_str().to_owned(),
            sub: Endpoint::KillState.url(&self.config.issuer),
            iat,
            exp: NumericDate::floor(now + KILL_STATE_LIFETIME).map_err(server_error)?,
            kill_epoch: epoch,
        };
        let typ = Some(KILL_STATE_TYPE);
        let token = sign_compact_within(typ, &claims, &*signer, MAX_KILL_STATE_BYTES);
        let token = Arc::new(token.map_err(unavailable)?);
        let signed_by = signer.key_id().clone();
        *kept() = Some(Signed { iat, epoch, signed_by, token: Arc::clone(&token) });
        Ok(token)
    }
}
