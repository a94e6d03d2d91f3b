//! Templates: one rule that gives each user an identity, within its bound, with the real daemon and real users.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::log;
use crate::support::programs::marque;
use crate::support::tools::several_users;
use crate::support::wait::{until, within};

const AUDIENCE: &str = "https://api.example.org";
const REFUSED: &str = "org.marque.entry.refused";

fn template(window: &str, more: &str) -> String {
    let program = marque().canonicalize().expect("the daemon's program");
    format!(
        "[[template]]\nid = \"users\"\nspiffe_id = \"spiffe://{NON_PRODUCTION}/tenant/{{unix:uid}}\"\n\
         role = \"service\"\nowner = \"group:tests\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:path:{}\"]\n\
         max_identities = 2\nwindow = \"{window}\"\n{more}",
        program.display()
    )
}

fn write(trust_domains: &Path, text: &str) {
    fs::write(trust_domains.join(NON_PRODUCTION).join("entries/templates.toml"), text).unwrap();
}

async fn daemon(window: &str) -> Daemon {
    let text = template(window, "[template.values]\n\"unix:uid\" = \"4*\"\n");
    let daemon = Daemon::start_with(|trust_domains| write(trust_domains, &text)).await;
    // The socket is for everybody; only this test's own folder around it is not.
    fs::set_permissions(daemon.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    daemon
}

/// What a user gets: the SPIFFE ID of a JWT-SVID, or what was said instead.
async fn identity(daemon: &Daemon, uid: u32) -> Result<String, String> {
    let socket = daemon.place(NON_PRODUCTION).workload_api();
    let mut command = Command::new(marque());
    command.args(["svid", "jwt", "--output", "json", "--audience", AUDIENCE, "--socket", &socket]);
    command.env_clear().current_dir("/").uid(uid).gid(uid).kill_on_drop(true);
    let output = within("marque svid", command.output()).await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{out}{err}"));
    }
    let shown: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    Ok(shown[0]["spiffe_id"].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned())
}

fn id(uid: u32) -> String {
    format!("spiffe://{NON_PRODUCTION}/tenant/{uid}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_gives_each_user_an_identity_and_no_more_than_its_bound() {
    if !several_users() {
        return;
    }
    let mut daemon = daemon("1h").await;
    assert_eq!(identity(&daemon, 40_001).await, Ok(id(40_001)));
    assert_eq!(identity(&daemon, 40_002).await, Ok(id(40_002)));
    let refused = identity(&daemon, 40_003).await.unwrap_err();
    assert!(refused.contains("template_full"), "{refused}");
    identity(&daemon, 40_003).await.unwrap_err();
    // Who is there stays, and a value that the template does not take gets nothing.
    assert_eq!(identity(&daemon, 40_001).await, Ok(id(40_001)));
    let strange = identity(&daemon, 50_000).await.unwrap_err();
    assert!(strange.contains("no_identity"), "{strange}");

    let operator = daemon.operator(NON_PRODUCTION);
    let entries = operator.json(&["entry", "list"]).await;
    let made: Vec<&Value> = entries
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["source"] == json!("template users"))
        .collect();
    assert_eq!(made.len(), 2, "{entries}");
    assert_eq!(made[0]["owner"], "group:tests");
    assert!(made.iter().all(|entry| entry["expires_at"].is_string()), "{entries}");
    let delete = ["entry", "delete", made[0]["id"].as_str().unwrap()];
    let kept = operator.run(&delete).await.failed();
    assert!(kept.err.contains("was made by template") || kept.out.contains("was made by template"));
    let taken = [
        "entry",
        "create",
        "--expires-in",
        "1d",
        "--spiffe-id",
        &id(49_999),
        "--selector",
        "unix:uid:1",
        "--owner",
        "x",
    ];
    let taken = operator.run(&taken).await.failed();
    assert!(format!("{}{}", taken.out, taken.err).contains("template `users`"), "{taken:?}");

    let figures = operator.json(&["metrics"]).await;
    let figures = figures["prometheus"].as_str().unwrap();
    let has = |name: &str, value: &str| {
        figures
            .lines()
            .any(|line| line.starts_with(name) && line.contains("users") && line.ends_with(value))
    };
    assert!(has("marque_template_identities{", " 2"), "{figures}");
    assert!(has("marque_template_refusals_total{", " 2"), "{figures}");

    // Both refusals came within a minute: one leaf. What was made outlives the daemon, and so does the bound.
    daemon.stop().await;
    daemon.launch().await;
    assert_eq!(identity(&daemon, 40_002).await, Ok(id(40_002)));
    identity(&daemon, 40_003).await.unwrap_err();
    let leaves = log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
    let of = |kind: &str| leaves.iter().filter(|leaf| leaf["type"] == kind).count();
    assert_eq!(of(REFUSED), 2, "one for each run of the daemon");
    let refusal = leaves.iter().find(|leaf| leaf["type"] == REFUSED).unwrap();
    assert_eq!(refusal["data"]["code"], "template_full", "{refusal}");
    assert_eq!(refusal["data"]["agent"], id(40_003));
    let created: Vec<&Value> = leaves
        .iter()
        .filter(|leaf| leaf["data"]["detail"]["template"] == "users" && leaf["type"] != REFUSED)
        .collect();
    assert_eq!(created.len(), 2, "{created:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_has_room_again_when_an_identity_was_not_asked_for_within_its_window() {
    if !several_users() {
        return;
    }
    let daemon = daemon("10s").await;
    for uid in [40_001, 40_002] {
        assert_eq!(identity(&daemon, uid).await, Ok(id(uid)));
    }
    identity(&daemon, 40_003).await.unwrap_err();
    // One of the two goes on asking; the place of the other becomes free.
    let given = until("a free place", async || {
        assert_eq!(identity(&daemon, 40_001).await, Ok(id(40_001)));
        identity(&daemon, 40_003).await.ok()
    })
    .await;
    assert_eq!(given, id(40_003));
    let entries = daemon.operator(NON_PRODUCTION).json(&["entry", "list"]).await.to_string();
    assert!(!entries.contains(&id(40_002)) && entries.contains(&id(40_001)), "{entries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_template_gave_is_killed_and_explained_like_any_other_identity() {
    if !several_users() {
        return;
    }
    let daemon = daemon("1h").await;
    let operator = daemon.operator(NON_PRODUCTION);
    assert_eq!(identity(&daemon, 40_001).await, Ok(id(40_001)));
    operator.kill(&["agent", &id(40_001)]).await;
    let stopped = identity(&daemon, 40_001).await.unwrap_err();
    assert!(stopped.contains("no identity issued"), "{stopped}");
    assert_eq!(identity(&daemon, 40_002).await, Ok(id(40_002)));
    // A process of the daemon's own program that waits: what the template gives to it, and why not.
    let waiting = async |uid: u32| {
        let mut command = Command::new(marque());
        let socket = daemon.place(NON_PRODUCTION).workload_api();
        command.args(["svid", "watch", "--socket", &socket]).uid(uid).gid(uid);
        command.env_clear().current_dir("/").kill_on_drop(true);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let child = waiting(40_002).await;
    let pid = child.id().unwrap().to_string();
    let explained = operator.json(&["explain", "pid", &pid]).await;
    let [found] = explained[0]["templates"].as_array().unwrap().as_slice() else {
        panic!("{explained}")
    };
    assert_eq!(found["spiffe_id"], id(40_002), "{found}");
    assert_eq!((&found["given"], &found["limit"]), (&json!(2), &json!(2)));
    let explained = operator.json(&["explain", "pid", &daemon.pid().to_string()]).await;
    let found = &explained[0]["templates"][0];
    assert_eq!(found["refused_code"], "template_value_not_matched", "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_overlap_or_reach_to_the_root_are_findings() {
    let daemon = Daemon::start().await;
    let folder = daemon.path("trust-domains");
    let check = async || {
        let arguments = ["check".to_owned(), folder.display().to_string()];
        crate::support::operator::run_marque(&arguments).await
    };
    check().await.succeeded();
    let twice = format!("{}\n{}", template("1h", ""), template("1h", "").replace("users", "more"));
    write(&folder, &twice);
    let found = check().await.failed();
    assert!(found.out.contains("overlaps with template `users`"), "{found:?}");
    write(&folder, &template("1h", "").replace("/tenant/{unix:uid}", "/{unix:uid}"));
    let found = check().await.failed();
    assert!(found.out.contains("wildcard at the root"), "{found:?}");
    assert!(found.out.contains("entries/templates.toml:"), "{found:?}");
}
