//! DPoP (RFC 9449) for those who receive proofs: authorization server and resource server alike.
//!
//! A header value becomes an [`UnverifiedProof`], and that a [`Proof`] if its own key signed it for this very request, a
//! moment ago. [`Nonces`] are stateless. Deliberately absent: HTTP, making proofs, whether a proof was shown before (its
//! [`Proof::jti`] and [`Proof::accepted_until`] are what a replay store needs), and which key a token is bound to.

mod nonce;
mod proof;
mod uri;

pub use nonce::{NONCE_WINDOW, NoncePurpose, Nonces};
pub use proof::{
    HEADER, MAX_JTI_BYTES, MAX_NONCE_BYTES, MAX_PROOF_AGE, MAX_PROOF_AHEAD, NONCE_HEADER, Proof,
    ProofError, ProofRequest, UnverifiedProof,
};
pub use uri::{HttpUri, HttpUriError, MAX_URI_BYTES};
