//! The gRPC edge: the SPIFFE Workload API, the SPIFFE Broker API and the admin API, each on a Unix socket of its own; and
//! SPIRE's server API for servers below, over TCP.
//!
//! Generated message types stop in this folder: nothing outside it names one. Absent on purpose: every rule. What a
//! caller is entitled to, what an intent may become and who may approve is decided in the domain crates.

mod accounts;
pub mod admin;
mod admission;
mod answers;
mod arrivals;
mod authority;
pub mod broker;
mod challenge;
mod client;
mod connection;
pub mod downstream;
mod header;
mod incoming;
mod inspection;
pub(crate) mod limit;
pub mod live;
pub mod offer;
mod outgoing;
mod pinned;
mod proto;
mod received;
mod sds;
pub mod serve;
#[cfg(test)]
mod stage;
mod standing;
mod svid_tls;
mod time;
pub(crate) mod upstream;
pub mod workload;

pub use client::CallError;
pub use svid_tls::ServerCertificate;
