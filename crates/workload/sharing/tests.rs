use std::sync::Arc;
use std::time::Duration;

use marque_attest::{Fingerprint, ProcessInstance};
use marque_registry::SharingRule;
use marque_spiffe::{Selector, SpiffeId};
use marque_testkit::FixedClock;

use super::{IdentityUser, Observed, Sharing, SharingLimits};

const WINDOW: Duration = Duration::from_secs(600);

fn fingerprint(name: &str) -> Fingerprint {
    let selector: Selector = format!("unix:path:/bin/{name}").parse().unwrap();
    Fingerprint::of(&[selector].into_iter().collect())
}

/// The process `pid`, running the program `name`.
fn user(name: &str, pid: i32) -> IdentityUser {
    let process = Some(ProcessInstance::named(pid, 1000));
    IdentityUser { fingerprint: fingerprint(name), process, uid: Some(1000) }
}

fn id(path: &str) -> SpiffeId {
    format!("spiffe://test.example.org/{path}").parse().unwrap()
}

struct Scene {
    clock: FixedClock,
    sharing: Arc<Sharing>,
}

impl Scene {
    fn new(rule: SharingRule) -> Self {
        Self::with(rule, SharingLimits::default())
    }

    fn with(rule: SharingRule, limits: SharingLimits) -> Self {
        let clock = FixedClock::default();
        let sharing = Sharing::with_limits(rule, WINDOW, Arc::new(clock.clone()), limits);
        Self { clock, sharing: Arc::new(sharing) }
    }

    fn uses(&self, user: &IdentityUser) -> Observed {
        self.sharing.observe(&[id("agent/a")], user)
    }

    fn later(&self, seconds: u64) -> &Self {
        self.clock.advance(Duration::from_secs(seconds));
        self
    }
}

fn names(observed: &Observed) -> Vec<(Fingerprint, Fingerprint)> {
    let pair =
        |shared: &super::SharedUse| (shared.earlier.fingerprint, shared.newcomer.fingerprint);
    observed.records.iter().map(pair).collect()
}

#[test]
fn one_program_in_many_processes_is_not_sharing() {
    let scene = Scene::new(SharingRule::Deny);
    for pid in 1..100 {
        assert_eq!(scene.uses(&user("a", pid)), Observed::default(), "{pid}");
    }
    assert!(scene.sharing.shared().is_empty());
}

#[test]
fn two_programs_with_one_identity_are_put_on_record_once_per_pair_and_window() {
    let scene = Scene::new(SharingRule::Report);
    assert_eq!(scene.uses(&user("a", 1)), Observed::default());
    let observed = scene.later(1).uses(&user("b", 2));
    assert_eq!(names(&observed), [(fingerprint("a"), fingerprint("b"))]);
    assert!(observed.refused.is_empty());
    let [shared] = observed.records.as_slice() else { panic!("{observed:?}") };
    assert_eq!(
        (shared.earlier.pids.as_slice(), shared.newcomer.pids.as_slice()),
        (&[1][..], &[2][..])
    );
    // Neither side is told of again while the record is fresh.
    for seconds in [1, 300, 200] {
        scene.later(seconds);
        assert_eq!(scene.uses(&user("a", 1)), Observed::default());
        assert_eq!(scene.uses(&user("b", 2)), Observed::default());
    }
    // A window after the record it still goes on: once more.
    assert_eq!(names(&scene.later(200).uses(&user("a", 1))).len(), 1);
    // A third makes two more pairs.
    assert_eq!(names(&scene.uses(&user("c", 3))).len(), 2);
}

#[test]
fn after_the_window_the_identity_is_free_and_one_instant_before_it_is_not() {
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("a", 1));
    scene.later(599);
    assert_eq!(scene.uses(&user("b", 2)).refused, [id("agent/a")]);
    assert_eq!(scene.later(1).uses(&user("b", 2)), Observed::default());
}

#[test]
fn deny_refuses_the_newcomer_and_never_the_earlier_holder() {
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("a", 1));
    let refused = scene.uses(&user("b", 2));
    assert_eq!(refused.refused, [id("agent/a")]);
    assert!(refused.records[0].refused);
    // However often the newcomer comes, it holds nothing, and the holder goes on.
    for _ in 0..20 {
        scene.later(599);
        assert!(scene.uses(&user("a", 1)).refused.is_empty());
        assert_eq!(scene.uses(&user("b", 2)).refused, [id("agent/a")]);
    }
    assert!(scene.sharing.shared().is_empty());
}

#[test]
fn an_open_stream_holds_its_identity_however_long_it_is_silent() {
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("a", 1));
    let stay = scene.sharing.stay(&[id("agent/a")], &user("a", 1));
    scene.later(10 * 600);
    assert_eq!(scene.uses(&user("b", 2)).refused, [id("agent/a")]);
    let (holder, until) = scene.sharing.held_against(&id("agent/a"), &user("b", 2)).unwrap();
    assert_eq!((holder.present, until), (true, None));
    // The window runs from the end of the stream.
    drop(stay);
    assert_eq!(scene.later(599).uses(&user("b", 2)).refused, [id("agent/a")]);
    assert!(scene.later(1).uses(&user("b", 2)).refused.is_empty());
}

#[test]
fn of_two_streams_the_one_that_ends_does_not_end_the_other() {
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("a", 1));
    let first = scene.sharing.stay(&[id("agent/a")], &user("a", 1));
    let second = scene.sharing.stay(&[id("agent/a")], &user("a", 2));
    drop(first);
    assert_eq!(scene.later(6000).uses(&user("b", 3)).refused.len(), 1);
    drop(second);
    assert_eq!(scene.later(600).uses(&user("b", 3)).refused.len(), 0);
}

#[test]
fn a_holder_that_exited_holds_until_the_window_is_over() {
    // Nothing here says that a process exited: that is the point. A program that runs for a moment and another that
    // does so after it share the identity.
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("upgraded-from", 1));
    assert_eq!(scene.later(30).uses(&user("upgraded-to", 2)).refused.len(), 1);
    let (holder, until) =
        scene.sharing.held_against(&id("agent/a"), &user("upgraded-to", 2)).unwrap();
    assert_eq!(until, Some(holder.last_seen + WINDOW));
    assert!(scene.later(570).uses(&user("upgraded-to", 2)).refused.is_empty());
}

#[test]
fn one_process_that_comes_to_look_otherwise_is_one_user() {
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("a", 1));
    let stay = scene.sharing.stay(&[id("agent/a")], &user("a", 1));
    assert_eq!(scene.uses(&user("a-in-other-groups", 1)), Observed::default());
    // It still holds the identity, under its new looks and with the stream it had.
    assert_eq!(scene.later(6000).uses(&user("b", 2)).refused.len(), 1);
    drop(stay);
    // Its old looks are those of somebody else now.
    assert_eq!(scene.uses(&user("a", 3)).refused.len(), 1);
}

#[test]
fn a_process_that_looks_otherwise_while_another_has_its_old_looks_is_on_record_and_not_cut_off() {
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("a", 1));
    scene.uses(&user("a", 2));
    let observed = scene.uses(&user("a-in-other-groups", 1));
    assert_eq!(names(&observed), [(fingerprint("a"), fingerprint("a-in-other-groups"))]);
    assert!(observed.refused.is_empty());
    // Both are holders: neither is cut off later.
    assert!(scene.later(500).uses(&user("a", 2)).refused.is_empty());
    assert!(scene.uses(&user("a-in-other-groups", 1)).refused.is_empty());
}

#[test]
fn a_pid_that_changed_hands_is_another_process() {
    let scene = Scene::new(SharingRule::Deny);
    scene.uses(&user("a", 1));
    let reused = IdentityUser { process: Some(ProcessInstance::named(1, 2000)), ..user("b", 1) };
    assert_eq!(scene.uses(&reused).refused.len(), 1);
}

#[test]
fn users_that_are_no_processes_are_told_apart_by_their_looks_alone() {
    let scene = Scene::new(SharingRule::Deny);
    let container = |name| IdentityUser { process: None, uid: None, ..user(name, 1) };
    scene.uses(&container("a"));
    assert!(scene.uses(&container("a")).refused.is_empty());
    assert_eq!(scene.uses(&container("b")).refused.len(), 1);
}

#[test]
fn what_could_not_be_recorded_is_said_again() {
    let scene = Scene::new(SharingRule::Report);
    scene.uses(&user("a", 1));
    let observed = scene.uses(&user("b", 2));
    scene.sharing.not_recorded(&observed.records[0]);
    assert_eq!(names(&scene.uses(&user("b", 2))).len(), 1);
    assert_eq!(names(&scene.uses(&user("b", 2))).len(), 0);
}

#[test]
fn each_identity_is_counted_by_itself() {
    let scene = Scene::new(SharingRule::Deny);
    scene.sharing.observe(&[id("agent/a")], &user("a", 1));
    let both = scene.sharing.observe(&[id("agent/a"), id("agent/b")], &user("b", 2));
    assert_eq!(both.refused, [id("agent/a")]);
    assert_eq!(scene.sharing.holders(&id("agent/b")).len(), 1);
}

#[test]
fn whoever_makes_fingerprints_at_will_fills_neither_memory_nor_the_log() {
    let limits = SharingLimits { identities: 3, fingerprints: 4, processes: 2, records: 5 };
    let scene = Scene::with(SharingRule::Report, limits);
    let records: usize =
        (0..50).map(|n| scene.uses(&user(&format!("p{n}"), n)).records.len()).sum();
    assert_eq!(records, 5);
    assert_eq!(scene.sharing.holders(&id("agent/a")).len(), 4);
    for n in 0..50 {
        scene.later(1).sharing.observe(&[id(&format!("agent/{n}"))], &user("a", 1));
    }
    let state = scene.sharing.lock();
    assert_eq!(state.identities.len(), 3);
    assert!(state.identities.contains_key(&id("agent/49")));
    drop(state);
    for pid in 0..50 {
        scene.sharing.observe(&[id("agent/49")], &user("a", pid));
    }
    assert_eq!(scene.sharing.holders(&id("agent/49"))[0].pids, [48, 49]);
}

#[test]
fn a_denied_newcomer_with_ever_new_looks_does_not_push_the_holder_out() {
    let limits = SharingLimits { identities: 3, fingerprints: 2, processes: 2, records: 5 };
    let scene = Scene::with(SharingRule::Deny, limits);
    scene.uses(&user("a", 1));
    for n in 0..50 {
        assert_eq!(scene.uses(&user(&format!("p{n}"), 100 + n)).refused.len(), 1);
    }
    assert!(scene.uses(&user("a", 1)).refused.is_empty());
}

#[test]
fn the_identities_that_are_shared_now_are_listed_with_their_holders() {
    let scene = Scene::new(SharingRule::Report);
    scene.uses(&user("a", 1));
    scene.later(1).uses(&user("b", 2));
    scene.sharing.observe(&[id("agent/b")], &user("c", 3));
    let shared = scene.sharing.shared();
    let [(spiffe_id, holders)] = shared.as_slice() else { panic!("{shared:?}") };
    assert_eq!(*spiffe_id, id("agent/a"));
    assert_eq!(holders.iter().map(|one| one.pids[0]).collect::<Vec<_>>(), [1, 2]);
    scene.later(600);
    assert!(scene.sharing.shared().is_empty());
}

#[test]
fn another_rule_goes_by_who_uses_what_already() {
    let scene = Scene::new(SharingRule::Report);
    assert!(scene.uses(&user("one", 1)).refused.is_empty());
    assert!(scene.uses(&user("two", 2)).refused.is_empty());
    scene.sharing.set_terms(SharingRule::Deny, WINDOW);
    assert_eq!(scene.uses(&user("three", 3)).refused, [id("agent/a")]);
    assert!(scene.uses(&user("one", 1)).refused.is_empty(), "who had it keeps it");
    scene.sharing.set_terms(SharingRule::Deny, Duration::from_secs(1));
    assert!(scene.later(2).uses(&user("three", 3)).refused.is_empty(), "nobody holds it that long");
}
