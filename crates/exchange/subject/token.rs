//! A token of this service as the subject: what it says, and what is kept of it.

use marque_intent::Intent;
use marque_jose::CompactToken;

use crate::{
    OAuthError, OAuthErrorCode, TokenKind, TokenRecord, TokenService, claims::AccessTokenClaims,
    service::unavailable, txn::Transaction,
};

/// A token of this service whose signature was verified. Whether it is live was not asked yet.
#[derive(Debug, Clone)]
pub(crate) struct SubjectToken {
    /// What it says.
    pub(crate) claims: AccessTokenClaims,
    /// What makes it a transaction's, if it is one.
    pub(crate) transaction: Option<Transaction>,
    /// What is kept of it.
    pub(crate) record: TokenRecord,
    /// The intent that it is of.
    pub(crate) intent: Intent,
}

impl TokenService {
    /// Verifies a token of this service, and finds what is kept of it.
    pub(crate) async fn subject_token(
        &self,
        token: &CompactToken,
    ) -> Result<SubjectToken, OAuthError> {
        let unacceptable = || {
            OAuthError::new(
                OAuthErrorCode::InvalidRequest,
                "the subject token is not an acceptable token of this service",
            )
        };
        let token = token.expose_token();
        let (claims, transaction) = match self.own_token(token) {
            Some(claims) => (claims, None),
            None => {
                let claims = self.own_transaction_token(token).ok_or_else(unacceptable)?;
                let (claims, transaction) = claims.into_parts();
                (claims, Some(transaction))
            }
        };
        let kept = self.store.token(&claims.jti).await.map_err(unavailable)?;
        let (record, intent) = kept.ok_or_else(unacceptable)?;
        // Signed by us and kept by us: they say the same, or one of them is not what it was.
        let agrees = (record.kind == TokenKind::TransactionToken) == transaction.is_some()
            && record.client == claims.client_id
            && record.intent == claims.intent.id
            && claims.intent.digest == *intent.grant().digest();
        if agrees {
            Ok(SubjectToken { claims, transaction, record, intent })
        } else {
            Err(unacceptable())
        }
    }
}
