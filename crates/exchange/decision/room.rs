//! Whether a token has room for what was decided: asked before a use is spent, because no token is signed that is too long.
//!
//! Counted is what has no small bound of its own. Deliberately absent: all other claims, for which there is room enough.

use marque_intent::{Denial, DenialCode, Rights, ToolId};
use serde::Serialize;

use super::{Decision, Refusal};
use crate::{OAuthErrorCode, act::Chain, txn::Transaction};

/// How much JSON of rights, names of tools, `act` and context a token has room for, in bytes: three quarters of
/// [`marque_jose::MAX_TOKEN_BYTES`] hold all of its claims.
pub(crate) const MAX_CARRIED_BYTES: usize = 9 * 1024;

impl Decision {
    /// Whether a token of this chain, in this transaction, has room for it.
    pub(crate) fn fits(
        &self,
        chain: &Chain,
        transaction: Option<&Transaction>,
        issuer: &str,
    ) -> Result<(), Refusal> {
        let context = transaction.map(|transaction| &transaction.context);
        let context =
            context.map_or(0, |context| length(&context.request) + length(&context.details));
        within(length_of(&self.rights) + context + length(&chain.act(issuer)))
    }
}

/// Whether a token has room for these rights, whoever gets it.
pub(super) fn has_room(rights: &Rights) -> Result<(), Refusal> {
    within(length_of(rights))
}

fn within(length: usize) -> Result<(), Refusal> {
    if length <= MAX_CARRIED_BYTES {
        return Ok(());
    }
    let detail = "the rights, and what goes along with them, are too long for a token";
    Err(Refusal::new(
        OAuthErrorCode::InvalidAuthorizationDetails,
        "what the token would say is too long for one: ask for less",
        Denial::new(DenialCode::InvalidRequest, detail),
    ))
}

/// The tools are named a second time, in `allowed_tools`.
fn length_of(rights: &Rights) -> usize {
    length(rights) + length(&rights.tools.keys().collect::<Vec<&ToolId>>())
}

fn length(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX / 8, |json| json.len())
}
