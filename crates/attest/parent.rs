//! The `parent` attestor: the selectors of a supervisor, for the processes that it started.
//!
//! A process has each selector of its direct parent with `parent:` before it, such as
//! `parent:unix:path:/usr/bin/supervisor` or `parent:systemd:id:supervisor.service`. Both are
//! pinned, and that one is the parent of the other is read again last, so that the selectors end
//! with the parent: at the next attestation, the orphan has none.
//!
//! The kernel keeps no record of who started a process: an orphan gets its namespace's init, or a
//! child subreaper above it, as if that had started it. Refused is what can be told:
//!
//! - an init as parent, of the visible tree or of a pid namespace (`NSpid`), as it adopts;
//! - a parent that started after its child;
//! - a process in a session or process group that neither it nor its parent made: somebody in
//!   between did;
//! - a parent that runs a set-user-id or set-group-id program, or bears several users or groups:
//!   anybody can start a child and then execute such a program, whose user says nothing about who
//!   started what;
//! - a parent whose executable this daemon may not see.
//!
//! What remains: a process that the supervisor did start can start others that look the same
//! (`CLONE_PARENT`; or below a subreaper, an orphan in a session of its own). So the selectors
//! prove that the process or one it descends from was started by the parent's *process*. And a
//! process may start a child before it executes the supervisor's program: name the parent's user
//! or unit beside its path.
//!
//! Deliberately absent: grandparents, and the order of `/proc/PID/task/*/children`, which tells
//! some adoptions but changes as well when a thread of the parent ends.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_spiffe::{Selector, SelectorSet};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::attestor::Attestor;
use crate::error::AttestError;
use crate::pin::ProcessPin;
use crate::proc::Stat;

/// What [`ParentAttestor`] takes over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParentAttestorConfig {
    /// The kinds of the parent's selectors that are taken over, such as `unix`; all if empty.
    pub kinds: Vec<String>,
}

/// Says the selectors of a process's parent.
#[derive(Debug)]
pub struct ParentAttestor {
    attestors: Vec<Arc<dyn Attestor>>,
}

/// How often the parent of a process that gets another one meanwhile is looked at again.
const MAX_ATTEMPTS: usize = 3;

const SET_USER_OR_GROUP_ID: u16 = 0o6000;

impl ParentAttestor {
    /// An attestor that asks these about the parent: those of the node, without this one.
    pub fn new(config: &ParentAttestorConfig, attestors: &[Arc<dyn Attestor>]) -> Self {
        let wanted = |attestor: &&Arc<dyn Attestor>| {
            config.kinds.is_empty() || config.kinds.iter().any(|kind| kind == attestor.kind())
        };
        Self { attestors: attestors.iter().filter(wanted).cloned().collect() }
    }

    async fn gather(&self, process: &ProcessPin) -> Result<SelectorSet, AttestError> {
        let mut last = AttestError::ParentChanged { pid: process.pid() };
        for _attempt in 0..MAX_ATTEMPTS {
            let parent = process.stat()?.parent;
            match self.attempt(process, parent).await {
                // The parent ended: the process has another one now, or none that counts.
                Err(error) if process.stat()?.parent != parent => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    async fn attempt(&self, process: &ProcessPin, parent: i32) -> Result<SelectorSet, AttestError> {
        let Some(parent) = starter(process, parent)? else { return Ok(SelectorSet::default()) };
        let mut found = SelectorSet::default();
        for attestor in &self.attestors {
            let selectors = attestor.selectors(&parent).await;
            if selectors.is_err() && !parent.is_alive() {
                return Err(AttestError::Exited { pid: parent.pid() });
            }
            let prefixed = |selector: Selector| Selector::new("parent", selector.as_str()).ok();
            found.extend(selectors?.into_iter().filter_map(prefixed));
        }
        parent.recheck()?;
        require_parent(process, &parent)?;
        Ok(found)
    }
}

impl Attestor for ParentAttestor {
    fn kind(&self) -> &'static str {
        "parent"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(self.gather(process))
    }
}

/// The parent, pinned, unless there is a sign that it did not start the process.
fn starter(process: &ProcessPin, parent: i32) -> Result<Option<ProcessPin>, AttestError> {
    if matches!(parent, 0 | 1) {
        return Ok(None);
    }
    let parent = ProcessPin::open(parent)?;
    // A parent's pid stays its own while the child still names it.
    let child = require_parent(process, &parent)?;
    let refused = if !may_have_started(process.pid(), &child, &parent.stat()?) {
        "it did not start the process"
    } else if !is_steady(&parent)? {
        "it is an init, is hidden, or its program lends it another user"
    } else {
        return Ok(Some(parent));
    };
    tracing::debug!(pid = process.pid(), parent = parent.pid(), "parent does not count: {refused}");
    Ok(None)
}

fn require_parent(process: &ProcessPin, parent: &ProcessPin) -> Result<Stat, AttestError> {
    let stat = process.stat()?;
    if stat.parent != parent.pid() {
        return Err(AttestError::ParentChanged { pid: process.pid() });
    }
    Ok(stat)
}

/// Whether nothing speaks against one process having started the other: it is not younger, and the
/// child's session and process group are the parent's or its own. An id of 0 is one unseen here.
fn may_have_started(pid: i32, child: &Stat, parent: &Stat) -> bool {
    let known = |id: i32, parents: i32| id > 0 && (id == pid || id == parents);
    parent.start_time <= child.start_time
        && known(child.session, parent.session)
        && known(child.process_group, parent.process_group)
}

/// Whether the process is no init, and of one user and group that its program did not give it.
fn is_steady(parent: &ProcessPin) -> Result<bool, AttestError> {
    let status = parent.status()?;
    let is_init = status.namespace_pids.last().is_none_or(|pid| *pid == 1);
    if is_init || !status.uids.are_one() || !status.gids.are_one() {
        return Ok(false);
    }
    let path = format!("/proc/{}/exe", parent.pid());
    let facts = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS);
    Ok(parent.executable_is_visible()
        && facts.is_ok_and(|facts| facts.stx_mode & SET_USER_OR_GROUP_ID == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::parse_stat;

    fn stat(session: i32, group: i32, start_time: u64) -> Stat {
        let text =
            format!("0 (x) S 1 {group} {session} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start_time} 0");
        parse_stat(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_parent_is_not_younger_and_shares_what_the_child_did_not_make() {
        let parent = stat(10, 11, 500);
        for (session, group, start, possible) in [
            (10, 11, 500, true),
            (10, 11, 499, false),
            (42, 42, 500, true),
            (10, 42, 501, true),
            (42, 11, 501, true),
            (12, 42, 501, false),
            (10, 12, 501, false),
            (0, 42, 501, false),
            (42, 0, 501, false),
        ] {
            let child = stat(session, group, start);
            assert_eq!(may_have_started(42, &child, &parent), possible, "{child:?}");
        }
        let unseen = stat(0, 0, 500);
        assert!(!may_have_started(42, &unseen, &unseen));
    }
}
