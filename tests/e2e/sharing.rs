//! One identity, two programs: put on record, shown to operators, and refused where the trust domain says so (M 2, M 3).

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::log;
use crate::support::programs::copy_of_this_program;
use crate::support::wait::until;

const SHARED: &str = "org.marque.identity.shared";

/// Starts a daemon whose non-production trust domain has these lines more.
async fn daemon(lines: &str) -> Daemon {
    Daemon::start_with(|trust_domains: &Path| {
        let document = trust_domains.join(NON_PRODUCTION).join("trust-domain.toml");
        let text = fs::read_to_string(&document).expect("the document");
        fs::write(document, format!("{text}\n{lines}\n")).expect("the document");
    })
    .await
}

/// Registers an identity for everything that this user runs. A service's, since a test under an agent's uid would be an
/// agent to the admin socket.
async fn register_for_everybody(daemon: &Daemon) -> String {
    let id = daemon.place(NON_PRODUCTION).id("/service/shared");
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    daemon
        .operator(NON_PRODUCTION)
        .json(&[
            "entry",
            "create",
            "--expires-in",
            "1d",
            "--spiffe-id",
            &id,
            "--role",
            "service",
            "--owner",
            "group:tests",
            "--selector",
            &uid,
        ])
        .await;
    id
}

fn program(daemon: &Daemon, name: &str) -> Workload {
    Workload::start(&copy_of_this_program(name), daemon.place(NON_PRODUCTION))
}

async fn report(daemon: &Daemon, more: &[&str]) -> Vec<Value> {
    let command = [&["report", "shared-identities"], more].concat();
    let shared = daemon.operator(NON_PRODUCTION).json(&command).await;
    shared.as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_with_one_identity_are_on_record_and_reported_also_after_a_restart() {
    let mut daemon = daemon("").await;
    let id = register_for_everybody(&daemon).await;
    assert_eq!(report(&daemon, &[]).await, Vec::<Value>::new());
    let (mut one, mut two) = (program(&daemon, "sharer-one"), program(&daemon, "sharer-two"));
    one.jwt_svid("a").await;
    assert_eq!(report(&daemon, &[]).await, Vec::<Value>::new(), "one program is no sharing");
    two.jwt_svid("a").await;
    two.x509_svid().await.expect("reported, not refused");

    let shared = report(&daemon, &[]).await;
    let [identity] = shared.as_slice() else { panic!("{shared:?}") };
    assert_eq!(identity["spiffe_id"], id);
    assert_eq!(identity["owner"], "group:tests");
    assert_eq!((&identity["now"], &identity["records"]), (&true.into(), &1.into()), "{identity}");
    let pids: Vec<_> =
        identity["holders"].as_array().unwrap().iter().map(|one| one["pids"].clone()).collect();
    assert_eq!(pids, [serde_json::json!([one.pid()]), serde_json::json!([two.pid()])]);
    let fingerprint = |index: usize| identity["holders"][index]["fingerprint"].as_str().unwrap();
    assert_ne!(fingerprint(0), fingerprint(1));

    let leaves = log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
    let recorded: Vec<_> = leaves.iter().filter(|leaf| leaf["type"] == SHARED).collect();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["data"]["agent"], id);
    assert_eq!(recorded[0]["data"]["detail"]["newcomer"]["pids"][0], two.pid());

    // It survives the daemon, which then knows what was recorded and not who is there.
    daemon.stop().await;
    assert!(daemon.output().contains("one identity is used by two programs"), "no warning");
    daemon.launch().await;
    let shared = report(&daemon, &["--since", "1h"]).await;
    assert_eq!(
        (&shared[0]["now"], &shared[0]["records"]),
        (&false.into(), &1.into()),
        "{shared:?}"
    );
    let later = report(&daemon, &["--since", "2999-01-01T00:00:00Z"]).await;
    assert_eq!(later, Vec::<Value>::new());
    let operator = daemon.operator(NON_PRODUCTION);
    operator.run(&["report", "shared-identities", "--fail"]).await.failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_sharing_is_denied_the_newcomer_is_refused_and_the_holder_never() {
    let daemon = daemon("[identities]\nsharing = \"deny\"\nsharing_window = \"2s\"").await;
    let id = register_for_everybody(&daemon).await;
    let (mut one, mut two) = (program(&daemon, "sharer-one"), program(&daemon, "sharer-two"));
    one.watch().await;
    for _ in 0..3 {
        for refused in
            [two.try_jwt_svid(&["a"]).await.unwrap_err(), two.x509_svid().await.unwrap_err()]
        {
            assert_eq!(
                refused, "NoIdentityIssued",
                "what the client makes of `no identity issued`"
            );
        }
        one.jwt_svid("a").await;
    }
    let explained =
        daemon.operator(NON_PRODUCTION).json(&["explain", "pid", &two.pid().to_string()]).await;
    let earned = &explained[0]["earned"][0];
    assert_eq!((&earned["spiffe_id"], &earned["issued"]), (&id.clone().into(), &false.into()));
    assert_eq!(earned["withheld_code"], "identity_shared", "{earned}");

    let shared = report(&daemon, &[]).await;
    assert_eq!(shared[0]["now"], false, "one program holds it: {shared:?}");
    assert_eq!(shared[0]["holders"][1]["refused"], true, "{shared:?}");
    assert!(shared[0]["refusals"].as_u64() >= Some(1));
    // Another program of the same looks is no newcomer.
    program(&daemon, "sharer-one").jwt_svid("a").await;

    // The holder's end alone does not free the identity; the window after it does.
    drop(one);
    until("the window to be over", async || two.try_jwt_svid(&["a"]).await.ok()).await;
    let mut one = program(&daemon, "sharer-one");
    let refused = one.try_jwt_svid(&["a"]).await.unwrap_err();
    assert_eq!(refused, "NoIdentityIssued", "what the client makes of `no identity issued`");
}
