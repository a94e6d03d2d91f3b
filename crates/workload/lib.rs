//! What a caller is entitled to right now: SVID cache, renewal, subscriptions and pushes.
//!
//! [`Workload`] stands between an [`Issuer`] (the authority in this process, or later one across a
//! network) and the edges that speak a protocol. It never sees an authority's key. What a caller
//! gets follows from its selectors and from the newest [`IssuerState`] alone, and is worked out again
//! before each answer: an entry that ended, a bundle that changed or a kill that arrived takes effect
//! with the next message, and a stream that lost its last identity ends.
//!
//! Deliberately absent: gRPC, sockets and attestation (a caller is a [`marque_spiffe::SelectorSet`]
//! here), authority keys, and timers that are not driven by the clock handed in.

mod bundles;
mod entitlement;
mod error;
mod follow;
mod group;
mod groups;
mod jwt;
mod material;
mod profiles;
mod scope;
mod settle;
mod sharing;
mod slot;
mod state;
mod terms;
mod turn;
mod wit;
mod workload;
mod x509;

pub use bundles::{BundleProfile, BundleSubscription, BundleUpdate};
pub use error::{InvalidAudience, WorkloadError};
pub use jwt::{MAX_AUDIENCE_BYTES, MAX_AUDIENCES, check_audience};
pub use material::{JwtSvidMaterial, PrivateKey, WitSvidMaterial, X509SvidMaterial};
pub use profiles::Profiles;
pub use sharing::{HolderFacts, IdentityUser, Observed, SharedUse, Sharing, SharingLimits, Stay};
pub use state::{BundleSet, Issuer, IssuerState, Stops};
pub use wit::{WitIdentity, WitSubscription, WitUpdate};
pub use workload::{Workload, WorkloadLimits};
pub use x509::{X509Identity, X509Subscription, X509Update};

#[cfg(test)]
mod scenes;
