use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;
use ring::digest::{Context, SHA256};
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::error::AttestError;
use crate::glance::Glance;
use crate::object::ObjectAttestor;
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
    /// The process, as seen from this process's pid namespace; 0 where no process was looked at.
    pub pid: i32,
}

/// SHA-256 over the selectors in order, each ended by a line feed (which no selector contains).
/// Two processes with one fingerprint look alike to every attestor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// How long a node believes what was gathered about a peer: long enough for a caller that asks again and again, too short for anybody to notice that
/// a user was renamed or a container got a label.
pub const FRESH_FOR: Duration = Duration::from_secs(1);

/// The attestors of a node. They can be replaced while calls are under way: each call is answered by those that were there
/// when it came.
#[derive(Debug)]
pub struct Attestors {
    current: RwLock<Arc<Set>>,
    /// How often they were replaced.
    replaced: watch::Sender<u64>,
}

/// Every attestor of a node, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) attestors: Arc<[Box<dyn Attestor>]>,
    objects: Option<Arc<dyn ObjectAttestor>>,
    fresh_for: Duration,
    /// Tells what these attestors gathered from what others did.
    own: Arc<()>,
}

/// What was gathered about a peer, by whom, when, and how its process looked before that.
#[derive(Debug)]
pub(crate) struct Gathered {
    by: Arc<()>,
    attestation: Attestation,
    since: Instant,
    glance: Glance,
}

impl Attestors {
    /// A node's attestors, asked in this order, each time anew.
    pub fn new(attestors: Vec<Box<dyn Attestor>>) -> Self {
        let (objects, fresh_for, own) = (None, Duration::ZERO, Arc::default());
        Self::of(Set { attestors: attestors.into(), objects, fresh_for, own })
    }

    fn of(set: Set) -> Self {
        Self { current: RwLock::new(Arc::new(set)), replaced: watch::Sender::new(0) }
    }

    /// The same, and what was gathered about a peer is believed for so long as long as nothing about
    /// its process looks different; see [`Attestors::attest`]. A node takes [`FRESH_FOR`].
    #[must_use]
    pub fn fresh_for(self, fresh_for: Duration) -> Self {
        Self::of(Set { fresh_for, ..Set::clone(&self.set()) })
    }

    /// The same, with one that also knows Kubernetes objects by their names.
    #[must_use]
    pub fn with_objects(self, objects: Arc<dyn ObjectAttestor>) -> Self {
        Self::of(Set { objects: Some(objects), ..Set::clone(&self.set()) })
    }

    /// Has others answer from here on. Nothing that was gathered before counts any more.
    pub fn replace(&self, others: &Self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = others.set();
        self.replaced.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Tells when they are replaced: whoever attested before may be something else to the new ones.
    pub fn replacements(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// Those of now.
    pub(crate) fn set(&self) -> Arc<Set> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The kinds of selectors that may be found, in the order in which attestors are asked.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.set().attestors.iter().map(|attestor| attestor.kind()).collect()
    }

    /// Gathers the peer's selectors, then rechecks its pin. As long as that is fresh
    /// ([`Attestors::fresh_for`]) it is enough that the process lives, under the same user and
    /// group, in the same execution of a program whose file was not touched: any difference has
    /// everything gathered anew.
    ///
    /// # Errors
    /// When an attestor fails (a set in part would let an agent pass for less than it is), or
    /// when the peer is no longer the process that connected.
    pub async fn attest(&self, peer: &Peer) -> Result<Attestation, AttestError> {
        self.set().attest(peer).await
    }

    /// As [`Attestors::attest`], and whatever was gathered before counts for nothing.
    ///
    /// # Errors
    /// As [`Attestors::attest`].
    pub async fn attest_anew(&self, peer: &Peer) -> Result<Attestation, AttestError> {
        self.set().attest_process(peer.process()).await
    }

    /// Gathers a pinned process's selectors, then rechecks the pin.
    ///
    /// # Errors
    /// As [`Attestors::attest`].
    pub async fn attest_process(&self, process: &ProcessPin) -> Result<Attestation, AttestError> {
        self.set().attest_process(process).await
    }
}

impl Set {
    pub(crate) fn objects(&self) -> Option<&dyn ObjectAttestor> {
        self.objects.as_deref()
    }

    /// As [`Attestors::attest`].
    pub(crate) async fn attest(&self, peer: &Peer) -> Result<Attestation, AttestError> {
        // Looked at first: whatever changes while selectors are gathered, the next call notices.
        let glance = Glance::at(peer.process());
        if let Some(standing) = self.standing(peer, glance.as_ref()) {
            return Ok(standing);
        }
        let since = Instant::now();
        let attestation = self.attest_process(peer.process()).await?;
        if let Some(glance) = glance {
            let by = Arc::clone(&self.own);
            peer.keep(Gathered { by, attestation: attestation.clone(), since, glance });
        }
        Ok(attestation)
    }

    /// What was gathered about the peer, if it is fresh and the process looks as it did then.
    fn standing(&self, peer: &Peer, now: Option<&Glance>) -> Option<Attestation> {
        let gathered = peer.gathered();
        let gathered = gathered.as_ref().filter(|gathered| Arc::ptr_eq(&gathered.by, &self.own))?;
        let stands = gathered.since.elapsed() < self.fresh_for && Some(&gathered.glance) == now;
        stands.then(|| gathered.attestation.clone())
    }

    /// As [`Attestors::attest_process`].
    pub(crate) async fn attest_process(
        &self,
        process: &ProcessPin,
    ) -> Result<Attestation, AttestError> {
        let since = Instant::now();
        let attested = self.gather(process).instrument(tracing::info_span!("attestation")).await;
        metrics::histogram!("marque_check_seconds", "check" => "attestation")
            .record(since.elapsed());
        attested
    }

    async fn gather(&self, process: &ProcessPin) -> Result<Attestation, AttestError> {
        let mut selectors = SelectorSet::default();
        for attestor in &*self.attestors {
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

impl<T: Attestor + ?Sized> Attestor for Arc<T> {
    fn kind(&self) -> &'static str {
        (**self).kind()
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        (**self).selectors(process)
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
            digest.update(selector.as_str().as_bytes());
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
