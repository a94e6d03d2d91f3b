//! Who may have the receipt of a token: whoever holds it or held what it derives from, the resource servers that it is for,
//! and whoever shows the token itself where it is bound to no key.
//!
//! Deliberately absent: receipts, which are made from the log.

use marque_intent::{DenialCode, StopPoint};

use crate::{
    AuthenticatedClient, OAuthError, TokenId, TokenKind, TokenRecord, TokenService, is_live,
    service::unavailable,
};

/// Why somebody may not have a receipt.
#[derive(Debug)]
pub enum ReceiptRefusal {
    /// It is not known who asks.
    Unauthenticated(OAuthError),
    /// The kill switch stops whoever asks.
    Stopped(DenialCode),
    /// There is no such token, or it is somebody else's.
    NotFound,
    /// Storage cannot be read.
    Unavailable(OAuthError),
}

impl TokenService {
    /// What is kept of a token, for whoever may have its receipt. `bearer` is a JWT-SVID or the token itself.
    ///
    /// # Errors
    /// See [`ReceiptRefusal`].
    pub async fn token_for_receipt(
        &self,
        bearer: &str,
        id: &TokenId,
    ) -> Result<TokenRecord, ReceiptRefusal> {
        let error = match self.authenticator().authenticate(bearer) {
            Ok(caller) => return self.record_for(&caller, id).await,
            Err(error) => error,
        };
        let shown = self.own_token(bearer).filter(|token| token.jti == *id);
        let Some(token) = shown else { return Err(ReceiptRefusal::Unauthenticated(error)) };
        let read = self.store.token(&token.jti).await;
        let kept = read.map_err(unavailable).map_err(ReceiptRefusal::Unavailable)?;
        let kills = self.store.current_kills().map_err(unavailable);
        let kills = kills.map_err(ReceiptRefusal::Unavailable)?;
        let alive = |record: &TokenRecord, intent: &_| {
            record.confirmation.is_none()
                && record.kind == TokenKind::AccessToken
                && is_live(record, intent, &kills, self.clock.now()).is_ok()
        };
        match kept {
            Some((record, intent)) if alive(&record, &intent) => Ok(record),
            Some(_) | None => Err(ReceiptRefusal::Unauthenticated(error)),
        }
    }

    async fn record_for(
        &self,
        caller: &AuthenticatedClient,
        id: &TokenId,
    ) -> Result<TokenRecord, ReceiptRefusal> {
        let kills = self.store.current_kills().map_err(unavailable);
        let kills = kills.map_err(ReceiptRefusal::Unavailable)?;
        if let Some(code) = kills.stops_agent(caller.id(), StopPoint::Use) {
            return Err(ReceiptRefusal::Stopped(code));
        }
        let read = self.store.token(id).await;
        let kept = read.map_err(unavailable).map_err(ReceiptRefusal::Unavailable)?;
        let (record, _) = kept.ok_or(ReceiptRefusal::NotFound)?;
        let known = record.holders().any(|holder| holder == caller.id())
            || self.part(caller, &record).is_some();
        if known { Ok(record) } else { Err(ReceiptRefusal::NotFound) }
    }
}

#[cfg(test)]
mod tests;
