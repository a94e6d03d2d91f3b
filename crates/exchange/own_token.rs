//! What this service signed itself: recognised by key, type and issuer, and by nothing that a token says of itself.
//!
//! Deliberately absent: whether it is still good ([`crate::is_live`]), and to whom it belongs.

use marque_jose::{UnverifiedJws, VerifiedJws};
use serde_json::{Map, Value};

use crate::{
    ACCESS_TOKEN_TYPE, TRANSACTION_TOKEN_TYPE, TokenService, claims::AccessTokenClaims,
    txn::TransactionClaims,
};

/// An access token of ours, whose signature was verified.
#[derive(Debug)]
pub(crate) struct OwnAccessToken {
    /// What it says, in types.
    pub(crate) claims: AccessTokenClaims,
    /// What it says, every member of it.
    pub(crate) members: Map<String, Value>,
}

/// What a text that somebody presents is.
#[derive(Debug)]
pub(crate) enum Recognised {
    /// An access token of ours.
    AccessToken(Box<OwnAccessToken>),
    /// Something else that we signed: a transaction token, a grant for another server, a signed answer.
    OtherOfOurs,
    /// Nothing that we signed.
    Foreign,
}

impl TokenService {
    /// Says what a text is. Our key by its id, our issuer, and the `typ` of an access token, so that neither an SVID nor
    /// another kind of token is ever taken for one.
    pub(crate) fn recognise(&self, token: &str) -> Recognised {
        let Some(jws) = self.own_jws(token) else { return Recognised::Foreign };
        if jws.header().typ() != Some(ACCESS_TOKEN_TYPE) {
            return Recognised::OtherOfOurs;
        }
        let members = jws.claims().clone();
        match jws.into_claims::<AccessTokenClaims>() {
            Ok(claims) if claims.iss == self.config.issuer.as_str() => {
                Recognised::AccessToken(Box::new(OwnAccessToken { claims, members }))
            }
            Ok(_) | Err(_) => Recognised::Foreign,
        }
    }

    /// The access token of ours that a text is, if it is one.
    pub(crate) fn own_access_token(&self, token: &str) -> Option<Box<OwnAccessToken>> {
        match self.recognise(token) {
            Recognised::AccessToken(token) => Some(token),
            Recognised::OtherOfOurs | Recognised::Foreign => None,
        }
    }

    /// What an access token of ours says.
    pub(crate) fn own_token(&self, token: &str) -> Option<AccessTokenClaims> {
        self.own_access_token(token).map(|token| token.claims)
    }

    /// What a transaction token of ours says.
    pub(crate) fn own_transaction_token(&self, token: &str) -> Option<TransactionClaims> {
        let jws = self.own_jws(token)?;
        if jws.header().typ() != Some(TRANSACTION_TOKEN_TYPE) {
            return None;
        }
        let claims: TransactionClaims = jws.into_claims().ok()?;
        (claims.iss == self.config.issuer.as_str()).then_some(claims)
    }

    fn own_jws(&self, token: &str) -> Option<VerifiedJws> {
        let jws = UnverifiedJws::parse(token).ok()?;
        let kid = jws.header().kid()?.clone();
        let published = self.keys.published();
        let key = published.find(&kid)?;
        jws.verify(&key.key, key.algorithms()).ok()
    }
}
