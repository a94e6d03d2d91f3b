use marque_attest::{Fingerprint, ProcessInstance};
use marque_audit::{Event, EventKind};
use marque_intent::kill::KillScope;
use marque_registry::EntryRole;
use marque_spiffe::{Clock as _, SelectorSet, SpiffeId};
use marque_workload::IdentityUser;
use nix::unistd::Uid;
use tonic::Code;

use super::super::door::{EntryDoor as _, LogDoor as _};
use super::{Desk, refusal};
use crate::clock::SystemClock;

/// A process of this user that is none of the test's own ancestors.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn start() -> Self {
        Self(std::process::Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What only the sleeper attests as: its executable, as the kernel names it.
fn path_of(pid: i32) -> String {
    format!("unix:path:{}", std::fs::read_link(format!("/proc/{pid}/exe")).unwrap().display())
}

/// Waits until the child has become another program than this one.
fn sleeper() -> Sleeper {
    let (sleeper, own) = (Sleeper::start(), path_of(std::process::id().try_into().unwrap()));
    while path_of(sleeper.pid()) == own {
        std::thread::yield_now();
    }
    sleeper
}

#[tokio::test]
async fn a_process_is_explained_with_what_it_earns() {
    let mut desk = Desk::open().await;
    let sleeper = sleeper();
    desk.stage.register_for("/agent/sleeper", EntryRole::Agent, &path_of(sleeper.pid()));
    let explained = desk.client.explain(sleeper.pid()).await.unwrap();
    assert_eq!((explained.pid, explained.uid), (sleeper.pid(), Uid::effective().as_raw()));
    assert_eq!(explained.attestors[0].kind, "unix");
    assert!(explained.attestors[0].selectors.contains(&path_of(sleeper.pid())));
    assert_eq!(explained.fingerprint.len(), 64);
    let [earned] = explained.earned.as_slice() else { panic!("{explained:?}") };
    assert!(earned.issued, "{earned:?}");
    assert!(earned.entry.spiffe_id.ends_with("/agent/sleeper"));
    assert!(explained.profiles.x509_svid && explained.profiles.wit_svid);
}

#[tokio::test]
async fn an_identity_that_is_earned_and_withheld_says_why() {
    let mut desk = Desk::open().await;
    let sleeper = sleeper();
    let id = desk.stage.register_for("/agent/sleeper", EntryRole::Agent, &path_of(sleeper.pid()));
    desk.client.kill(&super::kill(KillScope::Agent(id), "runs in circles")).await.unwrap();
    let explained = desk.client.explain(sleeper.pid()).await.unwrap();
    assert_eq!(explained.earned[0].withheld_code, "killed", "{explained:?}");
    assert!(!explained.earned[0].issued);
    assert_eq!(explained.kills[0].reason, "runs in circles");
}

#[tokio::test]
async fn a_process_that_is_not_there_or_has_exited_is_told_so() {
    let mut desk = Desk::open().await;
    let not_found = |code: &str| (Code::NotFound, Some(code.to_owned()));
    assert_eq!(refusal(desk.client.explain(i32::MAX).await), not_found("process_not_found"));
    let mut zombie = std::process::Command::new("true").spawn().unwrap();
    let pid: i32 = zombie.id().try_into().unwrap();
    // Exited, and not waited for yet.
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    assert_eq!(refusal(desk.client.explain(pid).await), not_found("process_exited"));
    zombie.wait().unwrap();
    assert_eq!(refusal(desk.client.explain(0).await).0, Code::InvalidArgument);
}

fn user(name: &str, pid: i32) -> (IdentityUser, SelectorSet) {
    let selectors: SelectorSet =
        [format!("unix:path:/bin/{name}").parse().unwrap()].into_iter().collect();
    let fingerprint = Fingerprint::of(&selectors);
    let process = Some(ProcessInstance::named(pid, 1));
    (IdentityUser { fingerprint, process, uid: Some(1000) }, selectors)
}

#[tokio::test]
async fn shared_identities_are_those_of_the_log_and_those_of_now() {
    let mut desk = Desk::open().await;
    assert!(desk.client.shared_identities(None).await.unwrap().is_empty());
    let id: SpiffeId = "spiffe://test.example.org/agent/a".parse().unwrap();
    let before = SystemClock.now();
    // Other leaves, so that the search by time has something to pass over.
    for _ in 0..40 {
        desk.door.log().append(Event::new(EventKind::Kill, before)).await.unwrap();
    }
    let between = SystemClock.now();
    let sharing = desk.door.sharing();
    for (name, pid) in [("one", 1), ("two", 2), ("two", 3)] {
        let (user, selectors) = user(name, pid);
        assert!(sharing.observe(std::slice::from_ref(&id), &user, &selectors).await.is_empty());
    }
    let shared = desk.client.shared_identities(Some(between)).await.unwrap();
    let [identity] = shared.as_slice() else { panic!("{shared:?}") };
    assert_eq!((identity.records, identity.refusals, identity.now), (1, 0, true));
    let pids: Vec<_> = identity.holders.iter().map(|one| one.pids.clone()).collect();
    assert_eq!(pids, [vec![1], vec![2, 3]]);
    assert_eq!(identity.owner, "");
    // What is held now counts, whenever it was recorded.
    let later = SystemClock.now();
    let now = desk.client.shared_identities(Some(later)).await.unwrap();
    assert_eq!((now[0].records, now[0].now), (0, true));
}

#[tokio::test]
async fn refusals_of_late_say_what_was_missing() {
    let mut desk = Desk::open().await;
    desk.stage.register_for("/agent/a", EntryRole::Agent, "unix:path:/bin/other");
    assert!(desk.client.denials().await.unwrap().is_empty());
    let (user, selectors) = user("one", 7);
    desk.door.denials().refused("FetchX509SVID", "no_identity", &user, &selectors);
    let denials = desk.client.denials().await.unwrap();
    let [denied] = denials.as_slice() else { panic!("{denials:?}") };
    assert_eq!((denied.pid, denied.uid, denied.times), (7, Some(1000), 1));
    assert_eq!(denied.selectors, ["unix:path:/bin/one"]);
}
