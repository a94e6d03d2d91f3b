//! Bundles and SVIDs through the public interface, against scratch authorities; tests are named after the clauses of the
//! SPIFFE specifications.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what does not unwrap fails its test"
)]

mod bundle;
mod bundle_map;
mod jwt;
mod revocation;
mod signed_part;
mod wit;
mod x509_leaf;
mod x509_path;
