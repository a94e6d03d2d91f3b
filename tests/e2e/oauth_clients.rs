//! OAuth clients that this project did not write, in Rust, Python and JavaScript, against the real daemon.

mod crates;
mod node;
mod python;
