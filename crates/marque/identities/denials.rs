//! Whom the doors refused lately: a line in the daemon's log that says where to look, and the last few for operators.
//!
//! A caller that is refused comes again, and again; a process can change its looks at will. So the same caller gets one
//! line a minute, all of them together a bounded number, and memory is bounded too.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_attest::Fingerprint;
use marque_registry::Registry;
use marque_spiffe::{Clock, SelectorSet};
use marque_workload::IdentityUser;

use super::loggable;

/// How long one caller's refusals are told by one line.
const QUIET: Duration = Duration::from_secs(60);
/// How many lines are written within [`QUIET`] at most, whoever the callers are.
const LINES: usize = 60;
/// How many refusals are kept for operators.
const KEPT: usize = 64;

/// The refusals of one trust domain's doors.
pub struct Denials {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whom a line was written about, and when; at most [`LINES`].
    told: HashMap<(Option<u32>, Fingerprint, &'static str), Timestamp>,
    /// How many refusals were not told since the last line.
    untold: u64,
    kept: VecDeque<Denied>,
}

/// One refusal; several in a row by one process are one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) at: Timestamp,
    /// What was called.
    pub(crate) method: &'static str,
    /// The stable code.
    pub(crate) code: &'static str,
    pub(crate) user: IdentityUser,
    /// What the caller attested as: shown to operators, never written anywhere.
    pub(crate) selectors: SelectorSet,
    /// How often.
    pub(crate) times: u64,
}

impl Denials {
    /// Nobody was refused yet.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        Self { registry, clock, state: Mutex::default() }
    }

    /// Says that a caller was refused an identity.
    pub(crate) fn refused(
        &self,
        method: &'static str,
        code: &'static str,
        user: &IdentityUser,
        selectors: &SelectorSet,
    ) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.keep(Denied {
            at: now,
            method,
            code,
            user: *user,
            selectors: selectors.clone(),
            times: 1,
        });
        let Some(untold) = state.may_tell((user.uid, user.fingerprint, code), now) else { return };
        drop(state);
        let pid = user.process.map(|process| process.pid());
        let document = self.registry.document();
        let selectors = loggable(&document, selectors);
        let trust_domain = document.name();
        let hint = pid.map_or_else(
            || "marque explain denials".to_owned(),
            |pid| format!("marque explain pid {pid} --trust-domain {trust_domain}"),
        );
        tracing::warn!(
            %trust_domain,
            method,
            code,
            pid,
            uid = user.uid,
            fingerprint = %user.fingerprint,
            ?selectors,
            untold,
            "no identity issued; for the reason: `{hint}`"
        );
    }

    /// The refusals of late, the last first.
    pub(crate) fn recent(&self) -> Vec<Denied> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept.iter().rev().cloned().collect()
    }
}

impl State {
    fn keep(&mut self, denied: Denied) {
        let same = |kept: &Denied| {
            (kept.method, kept.code, kept.user) == (denied.method, denied.code, denied.user)
        };
        let before = self.kept.iter().position(same).and_then(|at| self.kept.remove(at));
        let times = before.map_or(0, |before| before.times);
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Denied { times: times + 1, ..denied });
    }

    /// Whether a line may be written now, and how many refusals it stands for beside its own.
    fn may_tell(
        &mut self,
        caller: (Option<u32>, Fingerprint, &'static str),
        now: Timestamp,
    ) -> Option<u64> {
        self.told.retain(|_, at| now < *at + QUIET);
        if self.told.contains_key(&caller) || self.told.len() >= LINES {
            self.untold += 1;
            return None;
        }
        self.told.insert(caller, now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").finish_non_exhaustive()
    }
}

impl fmt::Debug for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        let Self { at, method, code, user, selectors: _, times } = self;
        f.debug_struct("Denied")
            .field("at", at)
            .field("method", method)
            .field("code", code)
            .field("user", user)
            .field("times", times)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use marque_attest::ProcessInstance;
    use marque_registry::TrustDomainDocument;
    use marque_testkit::FixedClock;

    use super::*;

    const DOCUMENT: &str = include_str!("../../registry/folder/tests/trust-domain.toml");

    fn denials() -> (FixedClock, Denials) {
        let clock = FixedClock::default();
        let document = TrustDomainDocument::parse(std::path::Path::new("t"), DOCUMENT).unwrap();
        let registry = Registry::new(Arc::new(document), Vec::new()).unwrap();
        (clock.clone(), Denials::new(Arc::new(registry), Arc::new(clock)))
    }

    fn user(pid: i32) -> (IdentityUser, SelectorSet) {
        let selectors: SelectorSet =
            [format!("unix:path:/bin/canary-{pid}").parse().unwrap()].into_iter().collect();
        let process = Some(ProcessInstance::named(pid, 1));
        let fingerprint = Fingerprint::of(&selectors);
        (IdentityUser { fingerprint, process, uid: Some(1000) }, selectors)
    }

    fn refuse(denials: &Denials, pid: i32) {
        let (user, selectors) = user(pid);
        denials.refused("FetchX509SVID", "no_identity", &user, &selectors);
    }

    fn told(denials: &Denials) -> usize {
        denials.state.lock().unwrap().told.len()
    }

    #[test]
    fn one_caller_gets_one_line_a_minute_and_all_together_a_bounded_number() {
        let (clock, denials) = denials();
        for _ in 0..10 {
            refuse(&denials, 1);
        }
        assert_eq!((told(&denials), denials.state.lock().unwrap().untold), (1, 9));
        for pid in 1..200 {
            refuse(&denials, pid);
        }
        assert_eq!(told(&denials), LINES);
        clock.advance(QUIET);
        refuse(&denials, 1);
        // The new line says how many went untold.
        assert_eq!((told(&denials), denials.state.lock().unwrap().untold), (1, 0));
    }

    #[test]
    fn the_last_refusals_are_kept_and_repeated_ones_are_one() {
        let (_clock, denials) = denials();
        for pid in [1, 2, 1, 1] {
            refuse(&denials, pid);
        }
        let recent = denials.recent();
        let pids = |denied: &Denied| denied.user.process.unwrap().pid();
        assert_eq!(
            recent.iter().map(|one| (pids(one), one.times)).collect::<Vec<_>>(),
            [(1, 3), (2, 1)]
        );
        for pid in 0..500 {
            refuse(&denials, pid);
        }
        assert_eq!(denials.recent().len(), KEPT);
        assert!(!format!("{:?} {denials:?}", denials.recent()).contains("canary"));
    }
}
