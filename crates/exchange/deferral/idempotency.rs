//! What makes a token request with an inline request safe to send again (specs/intents.md 7).

use marque_intent::{Appeal, Digest, IdempotencyKey};

use crate::{
    Asked, AuthenticatedClient, OAuthError, Presented, details::InlineRequest, request::invalid,
    service::server_error,
};

/// The domain tag of what a key stands for. The assertions of a request change from one try to the next; what it asks does
/// not.
const BODY_TAG: &str = "marque/inline-request/v1";

/// The key that came with a request, if one did.
pub(crate) fn idempotency_key(
    client: &AuthenticatedClient,
    inline: &InlineRequest,
    asked: &Asked,
    appeal: Option<&Appeal>,
    presented: &Presented,
) -> Result<Option<IdempotencyKey>, OAuthError> {
    if !presented.idempotency_key.is_present() {
        return Ok(None);
    }
    let text = presented
        .idempotency_key
        .one()
        .ok_or_else(|| invalid("there is more than one idempotency key"))?;
    let body = serde_json::json!({
        "request": inline.members(),
        "asked": asked,
        "appeal": appeal,
    });
    let body = Digest::of_document(BODY_TAG, &body).map_err(server_error)?;
    IdempotencyKey::new(client.id().clone(), text, body.as_bytes()).map(Some).map_err(|source| {
        invalid("an idempotency key has 1 to 128 printable ASCII characters").with_source(source)
    })
}
