//! The kill state as a signed statement: the epoch of the issuer's kill switch, for verifiers that refuse when they have not
//! heard it lately.
//!
//! Who is stopped is not in it: that is in the status lists, and a verifier that hears of a new epoch asks for them anew.

use marque_jose::NumericDate;
use serde::{Deserialize, Serialize};

/// The `typ` of a kill-state statement.
pub const KILL_STATE_TYPE: &str = "kill-state+jwt";
/// Its media type.
pub const KILL_STATE_MEDIA_TYPE: &str = "application/kill-state+jwt";
/// The longest statement, in bytes.
pub const MAX_KILL_STATE_BYTES: usize = 8 * 1024;
/// Where it is, below the issuer.
pub const KILL_STATE_PATH: &str = "/oauth2/kill-state";

/// What a statement says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillStateClaims {
    /// The issuer.
    pub iss: String,
    /// The address that it was fetched from: no other document of the issuer's is taken for it.
    pub sub: String,
    /// When it was so.
    pub iat: NumericDate,
    /// From when on it must not be relied on.
    pub exp: NumericDate,
    /// The epoch: it rises with every kill and every lift, and never goes back.
    pub kill_epoch: u64,
}
