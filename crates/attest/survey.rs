use std::fmt;

use marque_spiffe::SelectorSet;

use crate::attestor::{Attestation, Attestors, Fingerprint};
use crate::error::AttestError;
use crate::pin::ProcessPin;

/// What each attestor says about one process: for an operator who asks why it gets no identity.
///
/// Nothing is earned by a survey: a caller whose attestation fails in one attestor gets nothing.
#[derive(Debug)]
pub struct Survey {
    /// What each attestor says, in the order in which they are asked.
    pub found: Vec<Found>,
    /// What the process attests as; `None` when an attestor failed.
    pub attestation: Option<Attestation>,
}

/// What one attestor says.
pub struct Found {
    /// The kind of its selectors.
    pub kind: &'static str,
    /// The selectors, or why there are none.
    pub selectors: Result<SelectorSet, AttestError>,
}

impl Attestors {
    /// Asks every attestor about a pinned process, also when one of them fails, then rechecks the
    /// pin.
    ///
    /// # Errors
    /// When the process exits or changes meanwhile.
    pub async fn survey(&self, process: &ProcessPin) -> Result<Survey, AttestError> {
        let set = self.set();
        let mut found = Vec::with_capacity(set.attestors.len());
        for attestor in &*set.attestors {
            let selectors = attestor.selectors(process).await;
            found.push(Found { kind: attestor.kind(), selectors });
        }
        process.recheck()?;
        let sets: Option<Vec<&SelectorSet>> =
            found.iter().map(|found| found.selectors.as_ref().ok()).collect();
        let attestation = sets.map(|sets| {
            let selectors: SelectorSet =
                sets.into_iter().flat_map(SelectorSet::iter).cloned().collect();
            Attestation { fingerprint: Fingerprint::of(&selectors), selectors, pid: process.pid() }
        });
        Ok(Survey { found, attestation })
    }
}

impl Survey {
    /// Every selector that was found, also where an attestor failed.
    pub fn selectors(&self) -> SelectorSet {
        let found = self.found.iter().filter_map(|found| found.selectors.as_ref().ok());
        found.flat_map(SelectorSet::iter).cloned().collect()
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        let Self { kind, selectors } = self;
        f.debug_struct("Found")
            .field("kind", kind)
            .field("selectors", &selectors.as_ref().map(SelectorSet::len))
            .finish()
    }
}
