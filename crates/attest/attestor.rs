use std::fmt;

use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;
use ring::digest::{Context, SHA256};

use crate::error::AttestError;
use crate::peer::Peer;
use crate::pin::ProcessPin;

/// One source of facts about a process.
///
/// An implementation only gathers: the pin is compared afterwards by [`Attestors`], so facts read
/// from a pid that changed hands, or that runs something else by then, are thrown away.
pub trait Attestor: fmt::Debug + Send + Sync {
    /// The selectors' kind, the part before the first colon.
    fn kind(&self) -> &'static str;

    /// The selectors that the process has. Where this attestor has nothing to say (no such
    /// container, no such unit), the answer is an empty set, never an error.
    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>>;
}

/// What was found out about one process, at one moment.
#[derive(Clone)]
pub struct Attestation {
    /// Everything that the attestors found.
    pub selectors: SelectorSet,
    /// A digest of the selectors.
    pub fingerprint: Fingerprint,
    /// The process, as seen from this process's pid namespace.
    pub pid: i32,
}

/// SHA-256 over the selectors in order, each ended by a line feed (which no selector contains).
/// Two processes with one fingerprint look alike to every attestor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// Every attestor of a node.
#[derive(Debug)]
pub struct Attestors {
    attestors: Vec<Box<dyn Attestor>>,
}

impl Attestors {
    /// A node's attestors, asked in this order.
    pub fn new(attestors: Vec<Box<dyn Attestor>>) -> Self {
        Self { attestors }
    }

    /// Gathers the peer's selectors, then rechecks its pin.
    ///
    /// # Errors
    /// When an attestor fails (a set in part would let an agent pass for less than it is), or
    /// when the peer is no longer the process that connected.
    pub async fn attest(&self, peer: &Peer) -> Result<Attestation, AttestError> {
        self.attest_process(peer.process()).await
    }

    /// Gathers a pinned process's selectors, then rechecks the pin.
    ///
    /// # Errors
    /// As [`Attestors::attest`].
    pub async fn attest_process(&self, process: &ProcessPin) -> Result<Attestation, AttestError> {
        let mut selectors = SelectorSet::default();
        for attestor in &self.attestors {
            let found = attestor.selectors(process).await;
            // That the process ended explains whatever else went wrong.
            if found.is_err() && !process.is_alive() {
                return Err(AttestError::Exited { pid: process.pid() });
            }
            selectors.extend(found?);
        }
        // After, not before: what was gathered in between is then known to be about this process.
        process.recheck()?;
        Ok(Attestation { fingerprint: Fingerprint::of(&selectors), selectors, pid: process.pid() })
    }
}

impl fmt::Debug for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors may hold what a workload was told in confidence: they are not for logs.
        let Self { selectors, fingerprint, pid } = self;
        f.debug_struct("Attestation")
            .field("pid", pid)
            .field("fingerprint", fingerprint)
            .field("selectors", &selectors.len())
            .finish()
    }
}

impl Fingerprint {
    /// The fingerprint of a set of selectors.
    pub fn of(selectors: &SelectorSet) -> Self {
        let mut digest = Context::new(&SHA256);
        for selector in selectors.iter() {
            digest.update(selector.to_string().as_bytes());
            digest.update(b"\n");
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.finish().as_ref());
        Self(bytes)
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
