//! What SPIRE prints as JSON: registration entries (`spire-server entry show -output json`) and bundles (`spire-server bundle
//! list -output json`), as the messages of its server API name them (`spire.api.types.Entry`, `.Bundle`).
//!
//! Versions differ: names are in snake or camel case, 64-bit integers are texts or numbers, SPIFFE IDs are objects or texts,
//! and before 1.5 one `ttl` was for both kinds of SVID. All of that is read; members that are not known are kept by name, so
//! that nobody loses them silently. Deliberately absent: what becomes of them here.

mod bundles;
mod entries;
mod read;

pub use bundles::{MAX_SPIRE_BUNDLES, SpireBundle, SpireBundleError, parse_spire_bundles};
pub use entries::{MAX_SPIRE_ENTRIES, SpireEntry, parse_spire_entries};
pub use read::SpireError;

#[cfg(test)]
mod tests;
