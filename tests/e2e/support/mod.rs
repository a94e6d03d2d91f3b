//! What the tests stand on: the real daemon, real processes, an operator's command line, an HTTPS client.

pub(crate) mod agent;
pub(crate) mod browser;
pub(crate) mod collector;
pub(crate) mod daemon;
pub(crate) mod envoy;
pub(crate) mod folder;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod log;
pub(crate) mod mutual_tls;
pub(crate) mod node;
pub(crate) mod oauth;
pub(crate) mod operator;
pub(crate) mod place;
pub(crate) mod programs;
pub(crate) mod python;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod supervisor;
pub(crate) mod telemetry;
pub(crate) mod tickets;
pub(crate) mod tokens;
pub(crate) mod tools;
pub(crate) mod wait;
pub(crate) mod wit;
