//! Refusals that an operator can fix: what was found, what was missing, and no selector in any log.

use std::fs;
use std::path::Path;

use crate::reload::reload;
use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER};
use crate::support::folder::{append, edit};
use crate::support::log;
use crate::support::programs::copy_of_this_program;

/// Part of the name of a program, and so of a selector.
const CANARY: &str = "canary-c4f1e-selector";

fn search(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            found.extend(search(&entry, text));
        } else if fs::read(&entry)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        {
            found.push(entry.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_process_is_explained_by_the_selector_that_it_lacks() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let meant = copy_of_this_program("explained-as-meant");
    let id = daemon.place(NON_PRODUCTION).id("/service/explained");
    operator.register(&id, "service", &meant).await;
    let other = copy_of_this_program("explained-by-mistake");
    let mut workload = Workload::start(&other, daemon.place(NON_PRODUCTION));
    let refused = workload.try_jwt_svid(&["a"]).await.unwrap_err();
    assert_eq!(refused, "NoIdentityIssued", "what the client makes of `no identity issued`");

    let pid = workload.pid().to_string();
    let explained = operator.json(&["explain", "pid", &pid]).await;
    let explained = &explained[0];
    assert_eq!(explained["earned"], serde_json::json!([]), "{explained}");
    let near = explained["near"].as_array().unwrap();
    let near = near.iter().find(|near| near["spiffe_id"] == id).expect("it came close");
    let missing = near["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{near}");
    assert_eq!(missing[0]["selector"], format!("unix:path:{}", meant.display()));
    assert_eq!(missing[0]["found"][0], format!("unix:path:{}", other.display()));
    let text = operator.arguments(&["explain", "pid", &pid]);
    let text: Vec<String> =
        text.into_iter().filter(|word| word != "--output" && word != "json").collect();
    let said = crate::support::operator::run_marque(&text).await.succeeded().out;
    assert!(said.contains(&format!("missing unix:path:{}", meant.display())), "{said}");

    // The daemon's log says where to look, and the last refusals are there when the process is not.
    assert!(daemon.output().contains(&format!("marque explain pid {pid}")), "{}", daemon.output());
    drop(workload);
    let gone = crate::support::wait::until("the end of the process", async || {
        let said = operator.run(&["explain", "pid", &pid]).await;
        (said.code != 0).then_some(said)
    });
    let gone = gone.await;
    assert!(
        gone.err.contains("process_not_found") || gone.err.contains("process_exited"),
        "{gone:?}"
    );
    let denials = operator.json(&["explain", "denials"]).await;
    let denied = denials
        .as_array()
        .unwrap()
        .iter()
        .find(|denied| denied["pid"].as_i64() == pid.parse().ok());
    let denied = denied.unwrap_or_else(|| panic!("{denials}"));
    assert_eq!(
        (&denied["method"], &denied["code"]),
        (&"FetchJWTSVID".into(), &"no_identity".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_explained_to_operators_and_not_to_agents() {
    let daemon = Daemon::start().await;
    let mut agent = daemon.agent(RESTARTER);
    let operator = daemon.operator(NON_PRODUCTION);
    let pid = agent.pid().to_string();
    let explained = operator.json(&["explain", "pid", &pid]).await;
    assert_eq!(explained[0]["earned"][0]["issued"], true, "{explained}");
    // The same command, started by the agent.
    let marque = crate::support::programs::marque();
    for command in
        [&["explain", "pid", &pid][..], &["explain", "denials"], &["report", "shared-identities"]]
    {
        let ran = agent.run(marque, &operator.arguments(command)).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.said.contains("approver_not_eligible"), "{ran:?}");
    }
}

/// Refuses a process whose path is the canary, and adds and removes an entry with it; gives what was said.
async fn use_the_canary(daemon: &Daemon, name: &str) -> String {
    let operator = daemon.operator(PRODUCTION);
    let program = copy_of_this_program(name);
    let id = daemon.place(PRODUCTION).id("/service/canary");
    let uid = "unix:uid:4294967290";
    let path = format!("unix:path:{}", program.display());
    let create = [
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
        uid,
        "--selector",
        &path,
    ];
    let created = operator.json(&create).await;
    let mut workload = Workload::start(&program, daemon.place(PRODUCTION));
    let refused = workload.try_jwt_svid(&["a"]).await.unwrap_err();
    let again = operator.run(&create).await.failed();
    operator.run(&["entry", "delete", created["id"].as_str().unwrap()]).await.succeeded();
    format!("{refused}{}", again.err)
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_reach_no_log_no_audit_leaf_and_no_refusal() {
    let mut daemon = Daemon::start().await;
    let said = use_the_canary(&daemon, CANARY).await;
    assert!(!said.contains(CANARY), "{said}");
    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;
    let created =
        leaves.iter().rev().find(|leaf| leaf["type"] == "org.marque.entry.created").unwrap();
    assert_eq!(created["data"]["detail"]["selectors"], serde_json::json!([]), "{created}");
    assert_eq!(created["data"]["detail"]["selectors_sha256"].as_str().unwrap().len(), 64);
    daemon.stop().await;
    assert!(daemon.output().contains("no identity issued; for the reason"), "nobody was refused");
    assert!(!daemon.output().contains(CANARY), "{}", daemon.output());
    assert_eq!(search(&daemon.path("log"), CANARY), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_that_the_document_allows_are_in_the_logs_and_no_others() {
    let mut daemon = Daemon::start_with(|trust_domains: &Path| {
        let document = trust_domains.join(PRODUCTION).join("trust-domain.toml");
        let text = fs::read_to_string(&document).expect("the document");
        let text = format!("{text}\n[attestation]\nlog_selectors = [\"unix:path\"]\n");
        fs::write(document, text).expect("the document");
    })
    .await;
    use_the_canary(&daemon, "canary-c4f1e-allowed").await;
    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;
    let created =
        leaves.iter().rev().find(|leaf| leaf["type"] == "org.marque.entry.created").unwrap();
    let selectors = created["data"]["detail"]["selectors"].to_string();
    assert!(
        selectors.contains("canary-c4f1e-allowed") && !selectors.contains("4294967290"),
        "{created}"
    );
    daemon.stop().await;
    let line = daemon.output();
    let line =
        line.lines().find(|line| line.contains("no identity issued; for")).expect("a refusal");
    assert!(line.contains("canary-c4f1e-allowed") && !line.contains("unix:uid"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reload_says_of_selectors_holds_from_the_next_line_on() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = daemon.path("trust-domains").join(PRODUCTION);
    let setting = "\n[attestation]\nlog_selectors = [\"unix:path\"]\n";
    // Each has a line of its own: one caller gets one a minute.
    let refused = async |name: &str| {
        let program = copy_of_this_program(name);
        let mut workload = Workload::start(&program, daemon.place(PRODUCTION));
        workload.try_jwt_svid(&["a"]).await.expect_err("nobody knows it");
        let hint = format!("marque explain pid {} ", workload.pid());
        crate::support::wait::until("its line", async || {
            daemon.output().lines().find(|line| line.contains(&hint)).map(ToOwned::to_owned)
        })
        .await
    };
    let line = refused("canary-c4f1e-before").await;
    assert!(!line.contains("canary-c4f1e"), "{line}");
    append(&folder, "trust-domain.toml", setting);
    reload(&operator).await;
    let line = refused("canary-c4f1e-allowed").await;
    assert!(line.contains("canary-c4f1e-allowed") && !line.contains("unix:uid"), "{line}");
    edit(&folder, "trust-domain.toml", setting, "");
    reload(&operator).await;
    let line = refused("canary-c4f1e-after").await;
    assert!(!line.contains("canary-c4f1e"), "{line}");
}
