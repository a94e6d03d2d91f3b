//! Who is at the other end of a socket: peer credentials, process facts and selectors.
//!
//! The way through: [`Peer::capture`] pins the process when its connection is accepted;
//! [`Attestors::attest`] gathers selectors from every [`Attestor`] and then compares the pin with
//! what the kernel says *now*, so that selectors are never those of another process, of another
//! executable or of another user than the one that was at the other end when it was accepted.
//!
//! That alone says nothing about who *speaks* on the connection: a process can queue a request, then
//! execute the program that is pinned, and leave the answer to a helper. Whoever owns the socket has
//! to see to that the pinned process itself answered something which it can have learnt only after
//! the pin, and that every byte is its own (sender credentials, unix(7)).
//!
//! Deliberately absent: which identity a set of selectors earns (`marque-registry`), and facts that
//! the attested process could write itself: its mount table, its working directory, its title. The
//! one exception is [`ScriptAttestor`], which says what its arguments are worth.
//!
//! # What a selector proves
//! `docs/attestation.md` says it for each. `unix:uid`, `systemd:id` and container selectors
//! separate processes. `unix:path`, `unix:sha256` and `script:…` only narrow a user: processes of
//! one uid that may trace one another, or start one another with a library preloaded, are one
//! security domain.

mod attestor;
pub mod cgroup;
mod container;
mod engine;
mod error;
mod glance;
mod hash;
mod http;
mod known;
mod kubernetes;
mod lineage;
mod namespace;
mod object;
mod parent;
mod peer;
mod pid_namespace;
mod pin;
pub mod proc;
mod script;
mod slots;
mod source;
mod survey;
mod systemd;
mod unix;

pub use attestor::{Attestation, Attestor, Attestors, FRESH_FOR, Fingerprint};
pub use container::{CgroupSource, ProcCgroups};
pub use engine::{EngineAttestor, EngineConfig};
pub use error::AttestError;
pub use kubernetes::{Kubelet, KubeletTls, KubernetesAttestor, KubernetesConfig};
pub use lineage::MAX_LINEAGE;
pub use object::{KubernetesObject, ObjectAttestor};
pub use parent::{ParentAttestor, ParentAttestorConfig};
pub use peer::Peer;
pub use pin::{ProcessInstance, ProcessPin};
pub use script::{Interpreter, Language, ScriptAttestor, ScriptAttestorConfig};
pub use source::SourceError;
pub use survey::{Found, Survey};
pub use systemd::{SystemdAttestor, SystemdAttestorConfig, SystemdError};
pub use unix::{UnixAttestor, UnixAttestorConfig};

/// How many supplementary groups an attested process may be in.
pub const MAX_SUPPLEMENTARY_GROUPS: usize = 1024;

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod processes;
