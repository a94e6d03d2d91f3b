//! The SPIFFE Broker API as an agent supervisor uses it: it gets its own SVID, starts an agent, and fetches the agent's.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::log;
use crate::support::programs::copy_of_this_program;
use crate::support::supervisor::{Dial, Order};

const AUDIENCE: &str = "https://ingress.prod.example.org";
const SUPERVISOR: &str = "/service/supervisor";
const NARROW: &str = "/service/narrow-supervisor";

const BROKERS: &str = r#"
[[brokers]]
spiffe_id = "spiffe://prod.example.org/service/supervisor"
references = ["pid"]
identities = ["spiffe://prod.example.org/agent/cert-rotator/*"]
audiences = ["https://ingress.prod.example.org"]

# Sees itself, and agents of another kind.
[[brokers]]
spiffe_id = "spiffe://prod.example.org/service/narrow-supervisor"
references = ["pid"]
identities = ["spiffe://prod.example.org/agent/other/*", "spiffe://prod.example.org/service/*"]
"#;

fn list_brokers(trust_domains: &Path) {
    let document = trust_domains.join(PRODUCTION).join("trust-domain.toml");
    let mut document = OpenOptions::new().append(true).open(document).unwrap();
    document.write_all(BROKERS.as_bytes()).unwrap();
}

async fn daemon() -> Daemon {
    Daemon::start_with(list_brokers).await
}

/// Starts the agent that is registered from the start, as a child of the supervisor.
async fn start_agent(supervisor: &mut Workload) -> i32 {
    let program = copy_of_this_program(ROTATOR.program).display().to_string();
    let started = supervisor.supervise(Order::Start { program }).await.expect("an agent");
    started["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a process id")
}

fn jwt(dial: &Dial, pid: i32, audience: &str, spiffe_id: &str) -> Order {
    let (audience, spiffe_id) = (audience.to_owned(), spiffe_id.to_owned());
    Order::Jwt { dial: dial.clone(), pid, audience, spiffe_id }
}

fn x509(dial: &Dial, pid: i32) -> Order {
    Order::X509 { dial: dial.clone(), pid }
}

#[track_caller]
fn is_refused(outcome: Result<Value, String>, expected: &str) {
    let refused = outcome.expect_err(expected);
    assert!(refused.contains(expected), "{expected}: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn br_6_a_supervisor_fetches_the_svids_of_the_agent_that_it_started_until_the_agent_ends() {
    let daemon = daemon().await;
    let place = daemon.place(PRODUCTION);
    let mut supervisor = daemon.service(PRODUCTION, SUPERVISOR, "supervisor-one").await;
    let (agent, dial) = (json!([place.id(ROTATOR.path)]), Dial::proper(place));
    let pid = start_agent(&mut supervisor).await;
    assert_eq!(supervisor.supervise(x509(&dial, pid)).await.unwrap(), agent);
    let fetched = supervisor.supervise(jwt(&dial, pid, AUDIENCE, "")).await.unwrap();
    assert_eq!(fetched, agent);
    supervisor.supervise(Order::End).await.unwrap();
    is_refused(supervisor.supervise(Order::Next).await, "NotFound WORKLOAD_NOT_FOUND");
    is_refused(supervisor.supervise(x509(&dial, pid)).await, "NotFound WORKLOAD_NOT_FOUND");

    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;
    let given: Vec<_> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.svid.brokered").collect();
    assert_eq!(given.len(), 2, "{given:#?}");
    for (leaf, svid) in given.iter().zip(["x509-svid", "jwt-svid"]) {
        let data = &leaf["data"];
        assert_eq!(data["actor"], json!(place.id(SUPERVISOR)), "{leaf}");
        assert_eq!(data["agent"], json!(place.id(ROTATOR.path)), "{leaf}");
        assert_eq!(data["detail"]["workload"]["pid"], json!(pid), "{leaf}");
        assert_eq!(data["detail"]["svid"], svid, "{leaf}");
    }
    let own = leaves.iter().find(|leaf| leaf["data"]["detail"]["endpoint"] == "broker").unwrap();
    assert_eq!(own["data"]["agent"], json!(dial.server), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn br_1_the_endpoint_shows_a_spiffe_id_of_its_own_and_demands_one_of_its_trust_domain() {
    let daemon = daemon().await;
    let (place, other) = (daemon.place(PRODUCTION), daemon.place(NON_PRODUCTION));
    let mut supervisor = daemon.service(PRODUCTION, SUPERVISOR, "supervisor-two").await;
    let program = copy_of_this_program("supervisor-two");
    daemon.operator(NON_PRODUCTION).register(&other.id(SUPERVISOR), "service", &program).await;
    let (pid, proper) = (start_agent(&mut supervisor).await, Dial::proper(place));
    let impostor = Dial { server: place.id(SUPERVISOR), ..proper.clone() };
    is_refused(supervisor.supervise(x509(&impostor, pid)).await, "UnauthorizedSpiffeId");
    let bare = Dial { identity: None, ..proper.clone() };
    is_refused(supervisor.supervise(x509(&bare, pid)).await, "CertificateRequired");
    let foreign = Dial { identity: Some(other.workload_api()), ..proper.clone() };
    is_refused(supervisor.supervise(x509(&foreign, pid)).await, "UnknownCA");
    let headless = Dial { header: false, ..proper.clone() };
    is_refused(supervisor.supervise(x509(&headless, pid)).await, "InvalidArgument");
    supervisor.supervise(x509(&proper, pid)).await.unwrap();
    assert!(other.broker_api_socket.is_none(), "an endpoint without brokers");
}

#[tokio::test(flavor = "multi_thread")]
async fn br_2_each_broker_gets_what_its_own_entry_lists_and_nobody_else_gets_anything() {
    let daemon = daemon().await;
    let place = daemon.place(PRODUCTION);
    let dial = Dial::proper(place);
    let mut supervisor = daemon.service(PRODUCTION, SUPERVISOR, "supervisor-one").await;
    let pid = start_agent(&mut supervisor).await;
    supervisor.supervise(x509(&dial, pid)).await.unwrap();
    let outcome = supervisor.supervise(jwt(&dial, pid, "https://other.example.org", "")).await;
    is_refused(outcome, "PermissionDenied");
    let second = place.id(SECOND_ROTATOR.path);
    let outcome = supervisor.supervise(jwt(&dial, pid, AUDIENCE, &second)).await;
    is_refused(outcome, "PermissionDenied WORKLOAD_NOT_ENTITLED");
    // Its own process is a workload like any other, with an identity that is not on its list.
    let outcome = supervisor.supervise(x509(&dial, supervisor.pid())).await;
    is_refused(outcome, "PermissionDenied WORKLOAD_NOT_ENTITLED");

    let mut narrow = daemon.service(PRODUCTION, NARROW, "supervisor-narrow").await;
    let outcome = narrow.supervise(x509(&dial, pid)).await;
    is_refused(outcome, "PermissionDenied WORKLOAD_NOT_ENTITLED");
    is_refused(narrow.supervise(jwt(&dial, pid, AUDIENCE, "")).await, "PermissionDenied");
    let own = narrow.supervise(x509(&dial, narrow.pid())).await.unwrap();
    assert_eq!(own, json!([place.id(NARROW)]));

    let mut unlisted = daemon.service(PRODUCTION, "/service/other", "supervisor-unlisted").await;
    for process in [pid, unlisted.pid(), 1] {
        let outcome = unlisted.supervise(x509(&dial, process)).await;
        is_refused(outcome, "PermissionDenied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn br_2_a_killed_supervisor_loses_the_streams_of_its_agents() {
    let daemon = daemon().await;
    let place = daemon.place(PRODUCTION);
    let mut supervisor = daemon.service(PRODUCTION, SUPERVISOR, "supervisor-one").await;
    let (pid, dial) = (start_agent(&mut supervisor).await, Dial::proper(place));
    supervisor.supervise(x509(&dial, pid)).await.unwrap();
    daemon.operator(PRODUCTION).kill(&["agent", &place.id(SUPERVISOR)]).await;
    is_refused(supervisor.supervise(Order::Next).await, "PermissionDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_domain_without_brokers_has_no_broker_socket_and_one_with_them_names_it() {
    let daemon = daemon().await;
    let socket = daemon.place(PRODUCTION).broker_api_socket.clone().expect("a socket");
    assert!(socket.exists() && daemon.output().contains(&format!("unix:{}", socket.display())));
    assert!(!daemon.data_dir().join(NON_PRODUCTION).join("broker.sock").exists());
    let status = daemon.operator(PRODUCTION).json(&["status"]).await;
    assert_eq!(status[0]["broker_api_socket"], json!(socket), "{status}");
    let id = daemon.place(PRODUCTION).id("/marque/broker");
    let arguments = [
        "entry",
        "create",
        "--expires-in",
        "1d",
        "--spiffe-id",
        &id,
        "--role",
        "service",
        "--owner",
        "x",
        "--selector",
        "unix:uid:1",
    ];
    let said = daemon.operator(PRODUCTION).run(&arguments).await.failed();
    assert!(said.err.contains("reserved"), "{said:?}");
}
