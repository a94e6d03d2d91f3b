//! The daemon `marque`: the command line, the roles, and the edges. Protocol rules live in the rooms below.

pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod dev;
pub mod endpoints;
mod error;
pub mod grpc;
pub mod http;
pub mod issuer;
mod process;
mod telemetry;
pub mod tls;
