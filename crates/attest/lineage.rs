use nix::unistd::Uid;

use crate::attestor::{Attestation, Attestors};
use crate::error::AttestError;
use crate::peer::Peer;
use crate::pin::ProcessPin;

/// How many processes a lineage may have, the peer itself included.
pub const MAX_LINEAGE: usize = 64;

impl Attestors {
    /// Attests the peer and every ancestor of it up to the top of the visible tree, the peer
    /// first. Whoever guards a door for people refuses a caller when any of these is an agent.
    ///
    /// A guard, not a boundary: a process can leave its ancestry by detaching from it, so this
    /// catches the agent that runs a command, not the one that is out to hide that it does.
    ///
    /// # Errors
    /// When any of them exits or changes meanwhile, when one cannot be attested, or when there
    /// are more than [`MAX_LINEAGE`]: what cannot be told is refused.
    pub async fn attest_lineage(&self, peer: &Peer) -> Result<Vec<Attestation>, AttestError> {
        let ancestors = ancestors_of(peer.process())?;
        let set = self.set();
        let mut attestations = vec![set.attest(peer).await?];
        for ancestor in &ancestors {
            attestations.push(set.attest_process(ancestor).await?);
        }
        // The chain as a whole must still stand: each is still the parent of the one before.
        let mut child = peer.process();
        child.recheck()?;
        for ancestor in &ancestors {
            ancestor.recheck()?;
            require_parent(child, Some(ancestor.pid()))?;
            child = ancestor;
        }
        require_parent(child, None)?;
        Ok(attestations)
    }
}

fn ancestors_of(process: &ProcessPin) -> Result<Vec<ProcessPin>, AttestError> {
    let mut ancestors: Vec<ProcessPin> = Vec::new();
    loop {
        let child = ancestors.last().unwrap_or(process);
        let Some(parent) = child.parent()? else { return Ok(ancestors) };
        if ancestors.len() + 1 == MAX_LINEAGE {
            return Err(AttestError::LineageTooLong { pid: process.pid(), limit: MAX_LINEAGE });
        }
        let pin = ProcessPin::open(parent)?;
        // A parent's pid stays its own while the child still names it.
        require_parent(child, Some(parent))?;
        ancestors.push(pin);
        require_visible(&ancestors)?;
    }
}

/// Refuses an ancestor under the daemon's own user whose executable is hidden: it may be an agent
/// that made itself undumpable. Session servers look the same after they gave up another user's
/// rights (sshd does), and they are told apart by the user of their parent.
fn require_visible(ancestors: &[ProcessPin]) -> Result<(), AttestError> {
    let [.., child, parent] = ancestors else { return Ok(()) };
    let own = Uid::effective().as_raw();
    if !child.executable_is_visible() && child.uid() == own && parent.uid() == own {
        return Err(AttestError::HiddenAncestor { pid: child.pid() });
    }
    Ok(())
}

fn require_parent(child: &ProcessPin, parent: Option<i32>) -> Result<(), AttestError> {
    if child.parent()? == parent {
        Ok(())
    } else {
        Err(AttestError::ParentChanged { pid: child.pid() })
    }
}
