//! The gRPC edge: the SPIFFE Workload API and the admin API, each on a Unix socket of its own.
//!
//! Generated message types stop in this folder: nothing outside it names one. Absent on purpose: every rule. What a
//! caller is entitled to, what an intent may become and who may approve is decided in the domain crates.

pub mod admin;
mod authority;
mod client;
mod connection;
mod header;
mod proto;
pub mod serve;
#[cfg(test)]
mod stage;
mod time;
pub mod workload;

pub use client::CallError;
