//! Token status lists (draft-ietf-oauth-status-list-21): encode, decode, look up; for issuers and for verifiers.
//!
//! A token names its place in a list (claim `status`); the list says by a few bits per place whether the token still
//! stands. Everything here is pure: bytes in, bytes out. Deliberately absent: which token is dead (the token service's to
//! say), signatures (`marque-jose`), fetching and caching, and the CBOR form.

mod claims;
mod kill_state;
mod list;

pub use claims::{
    EncodedStatusList, STATUS_LIST_MEDIA_TYPE, STATUS_LIST_TOKEN_TYPE, StatusClaim,
    StatusListClaims, StatusReference,
};
pub use kill_state::{
    KILL_STATE_MEDIA_TYPE, KILL_STATE_PATH, KILL_STATE_TYPE, KillStateClaims, MAX_KILL_STATE_BYTES,
};
pub use list::{
    Bits, MAX_LIST_BYTES, MAX_LIST_TOKEN_BYTES, OutOfRange, Status, StatusList, StatusListError,
};
