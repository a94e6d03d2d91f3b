//! The admin API over real sockets, in front of a door that only remembers.

pub(super) mod door;
mod inquiries;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use marque_audit::{Event, EventKind, LogStore};
use marque_intent::Reason;
use marque_intent::kill::{KillMode, KillScope};
use marque_intent::{DenialCode, State};
use marque_registry::{EntryRole, NewEntry};
use marque_spiffe::Clock;
use nix::unistd::Uid;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use self::door::{FakeDoor, intent};
use super::super::client::CallError;
use super::super::serve::{Limits, ServeError};
use super::super::stage::{PATIENCE, Stage, distinguishing};
use super::{AdminClient, AdminDoors, KillScopeView, NewKillOrder, RemoteLog, serve_admin};
use crate::clock::SystemClock;

const TOKEN: &str = "tok_00000000000000000000000000000001";

struct Desk {
    stage: Stage,
    door: Arc<FakeDoor>,
    client: AdminClient,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Desk {
    async fn open() -> Self {
        let stage = Stage::new();
        let door = Arc::new(FakeDoor::new(Arc::clone(&stage.registry)));
        let (socket, listener) = stage.listen("a.sock");
        let shutdown = CancellationToken::new();
        let attestors = Arc::clone(&stage.attestors);
        let task = tokio::spawn(serve_admin(
            listener,
            AdminDoors::new({
                let door = Arc::clone(&door);
                move || Arc::clone(&door) as _
            }),
            attestors,
            Limits::default(),
            shutdown.clone(),
        ));
        let client = AdminClient::connect(&socket).await.unwrap();
        Self { stage, door, client, shutdown, task }
    }
}

/// How a call was refused: the gRPC code and our own.
fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> (Code, Option<String>) {
    match answer.unwrap_err() {
        CallError::Refused { kind, code, .. } => (kind, code),
        other => panic!("{other:?}"),
    }
}

fn denied(code: DenialCode) -> (Code, Option<String>) {
    (Code::PermissionDenied, Some(code.as_str().to_owned()))
}

/// How each of the calls that are about no single intent is refused.
async fn every_general_call(client: &mut AdminClient) -> Vec<(Code, Option<String>)> {
    vec![
        refusal(client.status().await),
        refusal(client.entries().await),
        refusal(client.reload(true).await),
        refusal(client.create_entry(&new_entry("/service/x")).await),
        refusal(client.delete_entry("x".to_owned()).await),
        refusal(client.playbooks().await),
        refusal(client.playbook("x".to_owned()).await),
        refusal(client.intents(None, None, None).await),
        refusal(client.kill(&kill(KillScope::TrustDomain, "test")).await),
        refusal(client.kill_state().await),
        refusal(client.log_info().await),
        refusal(client.leaves(0, false).await.map(|_| ())),
        refusal(client.explain(1).await),
        refusal(client.denials().await),
        refusal(client.shared_identities(None).await),
        refusal(client.token(TOKEN.to_owned()).await),
        refusal(client.revoke_token(TOKEN.to_owned(), "test".to_owned()).await),
    ]
}

/// How each of the calls about one intent is refused.
async fn every_call_about(client: &mut AdminClient, id: &str) -> Vec<(Code, Option<String>)> {
    let digest = format!("sha256:{}", "00".repeat(32));
    vec![
        refusal(client.intent(id.to_owned()).await),
        refusal(client.approve(id.to_owned(), digest, None, None).await),
        refusal(client.deny(id.to_owned(), "other".to_owned(), String::new(), None).await),
        refusal(client.revoke(id.to_owned(), "test".to_owned(), None).await),
        refusal(client.tokens(id.to_owned()).await),
    ]
}

fn new_entry(path: &str) -> NewEntry {
    NewEntry {
        spiffe_id: format!("spiffe://test.example.org{path}").parse().unwrap(),
        selectors: ["unix:uid:4294967290".parse().unwrap()].into_iter().collect(),
        role: EntryRole::Service,
        owner: "group:tests".parse().unwrap(),
        hint: Some("x".parse().unwrap()),
        x509_lifetime: Some("30m".parse().unwrap()),
        jwt_lifetime: None,
        dns_names: vec!["x.example.org".parse().unwrap()],
        audiences: Default::default(),
        delegation: Default::default(),
        federates_with: Default::default(),
        repository: Some("github.com/example/x@refs/heads/main".parse().unwrap()),
        expires_at: Some("2099-01-01T00:00:00Z".parse().unwrap()),
    }
}

#[tokio::test]
async fn an_operator_adds_sees_and_removes_an_entry() {
    let mut desk = Desk::open().await;
    let created = desk.client.create_entry(&new_entry("/service/x")).await.unwrap();
    assert_eq!(created.spiffe_id, "spiffe://test.example.org/service/x");
    assert_eq!((created.role, created.x509_svid_lifetime_s), ("service", Some(1800)));
    assert_eq!(created.repository, "github.com/example/x@refs/heads/main");
    assert_eq!(created.expires_at, Some("2099-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!(desk.client.entries().await.unwrap(), std::slice::from_ref(&created));
    desk.client.delete_entry(created.id.clone()).await.unwrap();
    assert_eq!(desk.client.entries().await.unwrap(), []);
    assert_eq!(refusal(desk.client.delete_entry(created.id).await).0, Code::NotFound);
    let user = format!("({})", Uid::effective());
    assert!(
        desk.door
            .actors()
            .iter()
            .all(|actor| actor.starts_with("operator:") && actor.ends_with(&user))
    );
}

#[tokio::test]
async fn an_entry_that_breaks_a_rule_is_refused_with_the_rule() {
    let mut desk = Desk::open().await;
    let foreign =
        NewEntry { spiffe_id: "spiffe://other.example.org/x".parse().unwrap(), ..new_entry("/x") };
    let bare = NewEntry { selectors: Default::default(), ..new_entry("/x") };
    let endless = NewEntry { expires_at: None, ..new_entry("/x") };
    for (entry, code) in [
        (foreign, "entry_outside_trust_domain"),
        (bare, "entry_invalid"),
        (endless, "entry_no_expiry"),
    ] {
        let refused = refusal(desk.client.create_entry(&entry).await);
        assert_eq!(refused, (Code::InvalidArgument, Some(code.to_owned())));
    }
    desk.client.create_entry(&new_entry("/x")).await.unwrap();
    let twice = refusal(desk.client.create_entry(&new_entry("/x")).await);
    assert_eq!(twice, (Code::AlreadyExists, Some("entry_duplicate_spiffe_id".to_owned())));
}

#[tokio::test]
async fn an_approval_carries_the_digest_that_was_shown() {
    let mut desk = Desk::open().await;
    let pending = intent("spiffe://test.example.org/agent/a", SystemClock.now());
    desk.door.keep(pending.clone());
    let shown = desk.client.intent(pending.id().to_string()).await.unwrap();
    assert_eq!(
        (shown.state.as_str(), shown.grant.digest.clone()),
        ("pending", pending.grant().digest().to_string())
    );
    assert_eq!(shown.grant.parameters, serde_json::json!({ "service": "shop" }));
    assert_eq!(shown.justification, "please");
    assert_eq!((&*shown.asked_of, &*shown.binding_message), ("platform-sre", "W4SCT"));

    let other = format!("sha256:{}", "00".repeat(32));
    let mismatch = refusal(desk.client.approve(shown.id.clone(), other, None, None).await);
    assert_eq!(mismatch, (Code::FailedPrecondition, Some("approval_digest_mismatch".to_owned())));
    let approved =
        desk.client.approve(shown.id.clone(), shown.grant.digest, None, None).await.unwrap();
    assert_eq!(approved.state, "approved");
    assert!(approved.approvals[0].approver.starts_with("operator:"));
}

#[tokio::test]
async fn intents_are_listed_by_state_denied_and_revoked() {
    let mut desk = Desk::open().await;
    let intents = ["a", "b"]
        .map(|name| intent(&format!("spiffe://test.example.org/agent/{name}"), SystemClock.now()));
    intents.iter().for_each(|intent| desk.door.keep(intent.clone()));
    let [one, two] =
        intents.map(|intent| (intent.id().to_string(), intent.grant().digest().to_string()));
    for (reason, remark) in [("no", ""), ("", "not today"), ("other", &"a".repeat(300))] {
        let refused = desk.client.deny(one.0.clone(), reason.to_owned(), remark.to_owned(), None);
        let CallError::Refused { kind, message, .. } = refused.await.unwrap_err() else {
            panic!("not refused")
        };
        assert_eq!(kind, Code::InvalidArgument);
        assert!(reason == "other" || message.contains("`ticket_mismatch`"), "{message}");
    }
    let (reason, remark) = ("wrong_time".to_owned(), "not today".to_owned());
    let denied = desk.client.deny(one.0.clone(), reason, remark, None).await.unwrap();
    assert_eq!((denied.state.as_str(), &*denied.reason), ("denied", "wrong_time: not today"));
    desk.client.approve(two.0.clone(), two.1, None, None).await.unwrap();
    assert_eq!(desk.client.revoke(two.0, "over".to_owned(), None).await.unwrap().state, "revoked");
    let found = desk.client.intents(Some(State::Denied), None, None).await.unwrap();
    assert_eq!(found.iter().map(|intent| intent.id.as_str()).collect::<Vec<_>>(), [one.0.as_str()]);
    assert_eq!(desk.client.intents(None, None, Some(1)).await.unwrap().len(), 1);
    let unknown = refusal(desk.client.intent("int_00000000000000000000000000".to_owned()).await);
    assert_eq!(unknown.0, Code::NotFound);
}

#[tokio::test]
async fn what_does_not_read_is_refused_by_the_name_of_its_field() {
    let mut desk = Desk::open().await;
    let CallError::Refused { kind, message, .. } =
        desk.client.intent("x".to_owned()).await.unwrap_err()
    else {
        panic!("not refused")
    };
    assert_eq!(kind, Code::InvalidArgument);
    assert!(message.contains("`id`"), "{message}");
    let kill = desk.client.kill(&kill(KillScope::All, " ")).await;
    assert_eq!(refusal(kill).0, Code::InvalidArgument);
}

#[tokio::test]
async fn an_agent_decides_nothing_and_its_own_intent_least_of_all() {
    let mut desk = Desk::open().await;
    let agent = desk.stage.register("/agent/a", EntryRole::Agent);
    let (own, other) = (
        intent(agent.as_str(), SystemClock.now()),
        intent("spiffe://test.example.org/agent/b", SystemClock.now()),
    );
    desk.door.keep(own.clone());
    desk.door.keep(other.clone());

    let own_calls = every_call_about(&mut desk.client, own.id().as_str()).await;
    assert_eq!(own_calls, vec![denied(DenialCode::SelfApprovalForbidden); 5]);
    let other_calls = every_call_about(&mut desk.client, other.id().as_str()).await;
    assert_eq!(other_calls, vec![denied(DenialCode::ApproverNotEligible); 5]);
    let general = every_general_call(&mut desk.client).await;
    assert_eq!(general, vec![denied(DenialCode::ApproverNotEligible); 17]);

    let refusals = desk.door.refusals();
    assert_eq!(refusals.len(), 27);
    assert_eq!(refusals[1].method, "ApproveIntent");
    assert_eq!((&refusals[1].agents, &refusals[1].intent), (&vec![agent], &Some(own.id().clone())));
    assert_eq!(desk.door.stored(own.id()).state(), State::Pending);
}

#[tokio::test]
async fn a_program_that_an_agent_started_is_refused_like_the_agent() {
    let desk = &mut Desk::open().await;
    let lineage = desk.stage.own_lineage().await;
    let found = lineage
        .iter()
        .skip(1)
        .find_map(|above| distinguishing(&above.selectors, &lineage[0].selectors));
    let selector = found.expect("the test runs under another program");
    let agent = desk.stage.register_for("/agent/above", EntryRole::Agent, &selector);
    let own = intent(agent.as_str(), SystemClock.now());
    desk.door.keep(own.clone());
    let calls = every_call_about(&mut desk.client, own.id().as_str()).await;
    assert_eq!(calls, vec![denied(DenialCode::SelfApprovalForbidden); 5]);
}

#[tokio::test]
async fn a_service_under_an_operators_uid_is_no_agent() {
    let mut desk = Desk::open().await;
    desk.stage.register("/service/a", EntryRole::Service);
    assert_eq!(desk.client.entries().await.unwrap().len(), 1);
}

fn kill(scope: KillScope, reason: &str) -> NewKillOrder {
    let (mode, reason) = (KillMode::Stop, Reason::new(reason).unwrap());
    NewKillOrder { scope, mode, reason, expires_at: None }
}

fn view(scope: &str, selector: Option<&str>) -> KillScopeView {
    KillScopeView { scope: scope.to_owned(), selector: selector.map(ToOwned::to_owned) }
}

#[tokio::test]
async fn a_kill_of_each_scope_stands_with_who_and_why() {
    let mut desk = Desk::open().await;
    let scopes = [
        KillScope::Agent("spiffe://test.example.org/agent/a".parse().unwrap()),
        KillScope::Playbook("rotate".parse().unwrap()),
        KillScope::parse("tool", Some("crm.read")).unwrap(),
        KillScope::TrustDomain,
        KillScope::All,
    ];
    for scope in &scopes {
        desk.client.kill(&kill(scope.clone(), "drill")).await.unwrap();
    }
    let state = desk.client.kill_state().await.unwrap();
    let told: Vec<_> = state.kills.iter().map(|kill| kill.scope.clone()).collect();
    let expected = [
        view("agent", Some("spiffe://test.example.org/agent/a")),
        view("playbook", Some("rotate")),
        view("tool", Some("crm.read")),
        view("trust_domain", None),
        view("all", None),
    ];
    assert_eq!(told, expected);
    assert_eq!(state.epoch, 5);
    assert!(
        state
            .kills
            .iter()
            .all(|kill| kill.reason == "drill" && kill.actor.starts_with("operator:"))
    );
}

#[tokio::test]
async fn the_log_is_served_from_an_offset_and_followed() {
    let mut desk = Desk::open().await;
    let log = desk.door.memory_log();
    for _ in 0..300 {
        log.append(Event::new(EventKind::Kill, SystemClock.now())).await.unwrap();
    }
    let leaves: Vec<_> =
        desk.client.leaves(298, false).await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(leaves.iter().map(|leaf| leaf.seq).collect::<Vec<_>>(), [298, 299]);
    let all: Vec<_> = desk.client.leaves(0, false).await.unwrap().collect().await;
    assert_eq!(all.len(), 300);
    assert_eq!(desk.client.leaves(301, false).await.unwrap().count().await, 0);

    let mut followed = desk.client.leaves(300, true).await.unwrap();
    log.append(Event::new(EventKind::Kill, SystemClock.now())).await.unwrap();
    assert_eq!(timeout(PATIENCE, followed.next()).await.unwrap().unwrap().unwrap().seq, 300);
    desk.shutdown.cancel();
    let end = timeout(PATIENCE, followed.next()).await.unwrap().unwrap();
    assert_eq!(refusal(end).0, Code::Unavailable);
    drop((followed, desk.client));
    timeout(PATIENCE, desk.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_remote_log_is_the_same_log_and_cannot_be_written() {
    let mut desk = Desk::open().await;
    let log = desk.door.memory_log();
    for _ in 0..3 {
        log.append(Event::new(EventKind::Kill, SystemClock.now())).await.unwrap();
    }
    let info = desk.client.log_info().await.unwrap();
    assert_eq!((info.size, info.verifier_key), (3, desk.door.key().to_string()));
    let remote = RemoteLog::open(desk.client).await.unwrap();
    // What comes later is not part of it.
    log.append(Event::new(EventKind::Kill, SystemClock.now())).await.unwrap();
    let hashes = async |log: &dyn LogStore| {
        log.leaves(0, 3).await.unwrap().iter().map(|leaf| leaf.hash()).collect::<Vec<_>>()
    };
    assert_eq!(hashes(&remote).await, hashes(&*log).await);
    assert_eq!(remote.leaves(0, 100).await.unwrap().len(), 3);
    assert_eq!(remote.leaves(2, 100).await.unwrap().len(), 1);
    assert!(remote.append(Event::new(EventKind::Kill, SystemClock.now())).await.is_err());
}

#[tokio::test]
async fn the_status_tells_what_is_served() {
    let mut desk = Desk::open().await;
    desk.stage.register("/service/a", EntryRole::Service);
    let status = desk.client.status().await.unwrap();
    assert_eq!(
        (status.trust_domain.as_str(), status.environment),
        ("test.example.org", "non-production")
    );
    assert_eq!((status.entries, status.registry_revision, status.bundle_sequence), (1, 2, 7));
    let age = SystemClock.now().duration_since(status.started_at.unwrap());
    assert!(age.unsigned_abs() < Duration::from_secs(3600));
}
