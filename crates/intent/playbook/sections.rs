//! The sections of the format, a file each: its part of the document, its checks, and what it is read into.
//!
//! `read` of a section reports everything that is wrong in it. Absent: what one section demands of another beyond its own
//! `check_…` functions, which [`super::checks`] calls when all are read.

pub(super) mod approval;
pub(super) mod change;
pub(super) mod concurrency;
pub(super) mod constraints;
pub(super) mod delegators;
pub(super) mod delivery;
pub(super) mod demands;
pub(super) mod emergency;
pub(super) mod ends;
pub(super) mod enforcement;
pub(super) mod head;
pub(super) mod limits;
pub(super) mod logging;
pub(super) mod on_behalf;
pub(super) mod on_complete;
pub(super) mod permits;
pub(super) mod risk;
pub(super) mod staged;
pub(super) mod time;
pub(super) mod tools;
pub(super) mod who;
pub(super) mod workflow;
