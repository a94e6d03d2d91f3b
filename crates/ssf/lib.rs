//! Security event tokens (SETs, RFC 8417) as the Shared Signals Framework 1.0 profiles them, with the events of CAEP 1.0:
//! subjects, events, making a SET, and verifying somebody else's.
//!
//! A SET says that something happened and lets nobody do anything. So that it is never taken for a token that does, it has
//! a type of its own, no `sub` and no `exp`, and one that has them is refused. Deliberately absent: delivery, keys, and what
//! follows from an event.

mod event;
mod set;
mod subject;

pub use event::{CAEP, CredentialChange, Event, EventError, EventType, InitiatingEntity};
pub use set::{
    Expected, MAX_JTI_BYTES, MAX_SET_BYTES, NewSet, SET_MEDIA_TYPE, SET_TYPE, SecurityEvent,
    SetClaims, SetError, SetErrorCode, UnverifiedSet,
};
pub use subject::{MAX_ALIASES, MAX_SUBJECT_BYTES, Role, Subject, SubjectError};
