//! The claims of an access token (RFC 9068 §2.2, RFC 8693 §4, RFC 7800, RFC 9396 §9.1, and ours).
//!
//! Deliberately absent: signing, and the judgement what goes into them.

use std::collections::BTreeMap;

use marque_intent::{AuthorizationDetail, Digest, Envelope, IntentId, PlaybookId, RightsClaims};
use marque_jose::{Audiences, NumericDate};
use marque_spiffe::SpiffeId;
use marque_status_list::StatusClaim;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Act, AskedRights, Confirmation, INTENT_DETAIL_TYPE, MayAct, Principal, RIGHTS_DETAIL_TYPE,
    TokenId, authentication::Authentication,
};

/// The claims of an access token (RFC 9068 §2.2, RFC 9396 §9.1, and ours).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccessTokenClaims {
    pub(crate) iss: String,
    pub(crate) sub: Principal,
    pub(crate) aud: Audiences,
    pub(crate) client_id: SpiffeId,
    pub(crate) iat: NumericDate,
    pub(crate) exp: NumericDate,
    pub(crate) jti: TokenId,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Act>,
    /// How the person logged in for whom it is.
    #[serde(flatten)]
    pub(crate) authentication: Authentication,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) may_act: Option<MayAct>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
    pub(crate) authorization_details: Vec<Value>,
    pub(crate) intent: IntentClaim,
    /// Where a resource server that does not introspect looks whether the token still stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<StatusClaim>,
    /// Whether the first resource server that introspects it uses it up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) single_use: bool,
    #[serde(default, skip_serializing_if = "RightsClaims::is_empty")]
    pub(crate) rights: RightsClaims,
    /// What AWS STS takes of the grant into the session.
    #[serde(
        default,
        rename = "https://aws.amazon.com/tags",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) aws_tags: Option<AwsTags>,
    /// What clouds may call a subject whose name is too long for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sub_sha256: Option<String>,
    #[serde(flatten)]
    pub(crate) envelope: Envelope,
}

/// Session tags of AWS STS. They stay with the session through every role that it assumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AwsTags {
    principal_tags: BTreeMap<String, [String; 1]>,
    transitive_tag_keys: Vec<String>,
}

impl AwsTags {
    /// The playbook and the intent.
    pub(crate) fn of(playbook: &PlaybookId, intent: &IntentId) -> Self {
        let tags = [("marque-playbook", playbook.as_str()), ("marque-intent", intent.as_str())];
        let principal_tags: BTreeMap<_, _> =
            tags.map(|(name, value)| (name.to_owned(), [value.to_owned()])).into();
        Self { transitive_tag_keys: principal_tags.keys().cloned().collect(), principal_tags }
    }
}

/// The claim `intent`: which grant, by digest, and under which playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntentClaim {
    pub(crate) id: IntentId,
    pub(crate) digest: Digest,
    pub(crate) playbook: PlaybookId,
    pub(crate) version: u64,
}

/// The details that a token carries: the intent first, then the playbook's own with every value filled in.
pub(crate) fn granted_details(
    intent: &IntentId,
    details: &[AuthorizationDetail],
) -> Result<Vec<Value>, serde_json::Error> {
    let reference = serde_json::json!({"type": INTENT_DETAIL_TYPE, "intent_id": intent.as_str()});
    std::iter::once(Ok(reference)).chain(details.iter().map(serde_json::to_value)).collect()
}

/// The details of an answer: those of the token, and the one of type `marque_rights` that it was asked for with. The token
/// says the same by its other claims, to whoever knows nothing of our types.
pub(crate) fn answered_details(
    mut details: Vec<Value>,
    asked: Option<&AskedRights>,
) -> Result<Vec<Value>, serde_json::Error> {
    if let Some(asked) = asked {
        let mut detail = serde_json::to_value(asked)?;
        if let Some(members) = detail.as_object_mut() {
            members.insert("type".to_owned(), RIGHTS_DETAIL_TYPE.into());
        }
        details.push(detail);
    }
    Ok(details)
}

#[cfg(test)]
mod tests;
