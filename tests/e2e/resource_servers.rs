//! The worked examples of docs/resource-servers.md before the real daemon: each takes a good token and nothing else.
//!
//! Rust with `marque-verify`, Python with joserfc, JavaScript with oauth4webapi, Envoy's `jwt_authn`, and Apache's
//! mod_oauth2, which nobody here wrote.

mod apache;
mod bound;
mod envoy;
mod node;
mod python;
mod rust;
mod stage;
