//! The daemon `marque`: the command line, the roles, and the edges. Protocol rules live in the rooms below.

pub mod approvers;
mod attestors;
pub mod authzen;
mod change;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
mod cursor;
#[cfg(feature = "demo")]
pub mod demo;
pub mod dev;
pub mod discovery;
pub mod endpoints;
mod error;
pub mod federation;
pub mod grpc;
pub mod http;
pub mod identities;
pub mod irrevocable;
pub mod issuer;
mod oidc;
mod outgoing;
mod payloads;
mod pem;
mod post_checks;
mod process;
pub mod rehearsal;
mod reports;
pub mod sinks;
pub mod ssf;
pub mod telemetry;
pub mod templates;
pub mod tls;
pub mod trust_policy;
pub mod webhooks;
mod witnesses;
