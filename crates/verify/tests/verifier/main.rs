//! The verifier through its public doors: an issuer that is played by this test, its documents, and every refusal.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests; the lint settings cover test functions alone"
)]

mod documents;
mod kills;
mod layer;
mod proofs;
mod settings;
mod status;
mod support;
mod tokens;
