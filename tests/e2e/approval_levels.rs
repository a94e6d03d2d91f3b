//! More than one approver: levels, thresholds, who is excluded, factors, limits, duty and approving less, with several local
//! users. They need a daemon that root runs; anybody else's has one user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::log;
use crate::support::oauth::{Client, rotation};
use crate::support::operator::{Operator, Said};
use crate::support::programs::copy_of_this_program;
use crate::support::tools::several_users;

/// Local users that nobody has, in the groups that the tests put them in.
const DEV: u32 = 64_001;
const OTHER_DEV: u32 = 64_002;
const LEAD: u32 = 64_003;
const SEC: u32 = 64_004;
const OWNER: u32 = 64_005;

/// Replaces the levels of the production playbook, and adds operators and more to the document.
fn prepare(folder: &Path, approval: &str, document: &str) {
    let file = folder.join("prod.example.org/playbooks/ingress-cert-rotation.toml");
    let text = fs::read_to_string(&file).expect("the playbook");
    let before = text.split("[approval]").next().expect("a section [approval]");
    let section = format!("[approval]\nmode = \"always\"\non_timeout = \"deny\"\n{approval}");
    fs::write(&file, format!("{before}{section}")).expect("write the playbook");
    let file = folder.join("prod.example.org/trust-domain.toml");
    let mut text = fs::read_to_string(&file).expect("the document");
    for (uid, group) in
        [(DEV, "dev"), (OTHER_DEV, "dev"), (LEAD, "lead"), (SEC, "sec"), (OWNER, "tests")]
    {
        text.push_str(&format!("\n[[operators]]\nuid = {uid}\ngroups = [\"{group}\"]\n"));
    }
    fs::write(&file, format!("{text}\n{document}\n")).expect("write the document");
}

async fn start(approval: &str, document: &str) -> Daemon {
    let daemon = Daemon::start_with(|folder| prepare(folder, approval, document)).await;
    // Other users go through the test's folder to the socket.
    let allowed = fs::Permissions::from_mode(0o755);
    fs::set_permissions(daemon.path(""), allowed).expect("open the folder");
    daemon
}

fn refused(said: &Said, code: &str) {
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(code), "`{code}` is not in {said:?}");
}

async fn approve(operator: &Operator, uid: u32, intent: &str) -> Said {
    operator.of_user(uid).run(&["approve", "--yes", intent]).await
}

const TWO_LEVELS: &str = r#"
[[approval.levels]]
any = [{ approve = 2, deny = 2, groups = ["dev"] }, { approve = 1, deny = 2, groups = ["lead"] }]

[[approval.levels]]
any = [{ approve = 1, deny = 2, groups = ["sec", "tests"] }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn m_49_every_level_is_satisfied_by_its_own_approvers_one_after_the_other() {
    if !several_users() {
        return;
    }
    let daemon = start(TWO_LEVELS, "").await;
    let operator = daemon.operator(PRODUCTION);
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let once = approve(&operator, DEV, &intent).await.succeeded().json();
    assert_eq!((once["state"].as_str(), once["open_level"].as_u64()), (Some("pending"), Some(1)));
    // The same word again changes nothing; the next level's turn has not come; and nobody else has a say.
    let again = approve(&operator, DEV, &intent).await.succeeded().json();
    assert_eq!(again["approvals"].as_array().map(Vec::len), Some(1));
    refused(&approve(&operator, SEC, &intent).await, "approver_not_eligible");
    let shown = operator.of_user(SEC).json(&["intent", "show", &intent]).await;
    assert_eq!(shown["you"]["code"], "approver_not_eligible", "{shown}");
    let led = approve(&operator, LEAD, &intent).await.succeeded().json();
    assert_eq!((led["state"].as_str(), led["open_level"].as_u64()), (Some("pending"), Some(2)));
    refused(&approve(&operator, OTHER_DEV, &intent).await, "approver_not_eligible");
    rotator.exchange(&intent).await.refused("approval_pending");
    let done = approve(&operator, SEC, &intent).await.succeeded().json();
    assert_eq!(done["state"], "approved");
    rotator.exchange(&intent).await.expect(200);
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let recorded: Vec<&Value> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.approval.recorded").collect();
    assert_eq!(recorded.len(), 3, "{recorded:?}");
    let last = &recorded[2].to_string();
    for part in [&format!("operator:{SEC}({SEC})"), "\"level\":2", "\"sec\"", "admin socket"] {
        assert!(last.contains(part), "`{part}` is not in {last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_end_an_intent_at_their_threshold_and_not_before() {
    if !several_users() {
        return;
    }
    let daemon = start(TWO_LEVELS, "").await;
    let operator = daemon.operator(PRODUCTION);
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let deny = ["deny", &intent, "--because", "too-broad"];
    let stranger = operator.run(&deny).await;
    refused(&stranger, "approver_not_eligible");
    for _time in 0..2 {
        let one = operator.of_user(DEV).run(&deny).await.succeeded().json();
        assert_eq!(
            (one["state"].as_str(), one["objections"].as_array().map(Vec::len)),
            (Some("pending"), Some(1))
        );
    }
    refused(&approve(&operator, DEV, &intent).await, "approver_not_eligible");
    let two = operator.of_user(OTHER_DEV).run(&deny).await.succeeded().json();
    assert_eq!(two["state"], "denied");
    rotator.exchange(&intent).await.refused("approval_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_an_agent_never_approves_for_it() {
    if !several_users() {
        return;
    }
    let levels = "exclude = [\"requester\", \"agent_owner\", \"playbook_author\", \"delegation_chain\"]\n\
                  [[approval.levels]]\nany = [{ approve = 1 }]\n";
    let daemon = start(levels, "").await;
    let operator = daemon.operator(PRODUCTION);
    // Nobody could say whether an approver is meant by what `marque dev` writes for an owner.
    let unowned = Client::start(&daemon, ROTATOR).await;
    unowned.ask(&rotation()).await.refused("sponsor_missing");
    let program = copy_of_this_program("cert-rotator-owned");
    let id = daemon.place(PRODUCTION).id("/agent/cert-rotator/owned");
    operator.register(&id, "agent", &program).await;
    let mut workload = Workload::start(&program, daemon.place(PRODUCTION));
    let place = daemon.place(PRODUCTION).clone();
    let svid = workload.jwt_svid(&place.issuer_url).await;
    let rotator = Client { workload, svid, http: daemon.http(PRODUCTION), place };
    let intent = rotator.ask_rotation().await;
    refused(&approve(&operator, OWNER, &intent).await, "self_approval_forbidden");
    approve(&operator, DEV, &intent).await.succeeded();
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_approvers_who_do_not_exist() {
    for levels in [
        "[[approval.levels]]\nany = [{ approve = 1, groups = [\"nobody\"] }]\n",
        "[[approval.levels]]\nany = [{ approve = 3, groups = [\"dev\"] }]\n",
        "[[approval.levels]]\nany = [{ approve = 1, groups = [\"sec\"] }]\n\
         [[approval.levels]]\nany = [{ approve = 1, groups = [\"sec\"] }]\n",
    ] {
        let daemon = start(levels, "").await;
        let rotator = Client::start(&daemon, ROTATOR).await;
        rotator.ask(&rotation()).await.refused("quorum_unreachable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn approving_less_gives_the_agent_another_digest_and_never_more() {
    let levels = "[[approval.levels]]\nany = [{ approve = 1, groups = [\"operators\"] }]\n";
    let daemon = start(levels, "").await;
    let operator = daemon.operator(PRODUCTION);
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let asked = rotator.look(&intent).await.expect(200).json();
    for wider in [["--uses", "5"], ["--max-duration", "20m"], ["--start-within", "1h"]] {
        let arguments = [&["approve", "--yes", &intent][..], &wider[..]].concat();
        refused(&operator.run(&arguments).await, "exceeds_parent_scope");
    }
    let only_scope = ["approve", "--yes", &intent, "--without-scope", "secrets.update"];
    refused(&operator.run(&only_scope).await, "invalid_request");
    let less = ["approve", "--yes", &intent, "--max-duration", "5m"];
    let approved = operator.json(&less).await;
    assert_eq!(approved["state"], "approved");
    assert_eq!(approved["narrowed"][0]["from"], asked["digest"]);
    let seen = rotator.look(&intent).await.expect(200).json();
    assert_ne!(seen["digest"], asked["digest"], "{seen}");
    assert_eq!(seen["digest"], approved["grant"]["digest"]);
    rotator.exchange(&intent).await.expect(200);
    operator.run(&["audit", "verify"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_wants_more_than_one_factor_gets_it() {
    let levels = "mfa = \"required\"\n[[approval.levels]]\nany = [{ approve = 1, groups = [\"operators\"] }]\n";
    let daemon = start(levels, "").await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let said = daemon.operator(PRODUCTION).run(&["approve", "--yes", &intent]).await;
    refused(&said, "approver_not_eligible");
    let daemon = start(levels, "[approvals]\noperator_mfa = true\n").await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let approved = daemon.operator(PRODUCTION).approve(&intent).await;
    assert_eq!(approved["approvals"][0]["mfa"], "host", "{approved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn approvers_are_asked_for_so_much_and_no_more() {
    let levels = "[[approval.levels]]\nany = [{ approve = 1, groups = [\"operators\"] }]\n";
    let daemon = start(levels, "[approvals]\nmax_per_hour = 1\nmax_pending = 2\n").await;
    let operator = daemon.operator(PRODUCTION);
    let one = Client::start(&daemon, ROTATOR).await;
    let two = Client::start(&daemon, SECOND_ROTATOR).await;
    let first = one.ask_rotation().await;
    let second = two.ask_rotation().await;
    let mut other = rotation();
    other["parameters"]["service"] = "basket".into();
    two.ask(&other).await.refused("approver_queue_full");
    let queue = operator.json(&["approve"]).await;
    assert_eq!(queue.as_array().map(Vec::len), Some(2), "{queue}");
    operator.approve(&first).await;
    refused(&operator.run(&["approve", "--yes", &second]).await, "approver_queue_full");
    // What was decided waits no more, and makes room.
    two.ask(&other).await.expect(202);
    operator.run(&["deny", &second, "--because", "not-needed"]).await.succeeded();
    let report = operator.json(&["report", "approvers"]).await;
    let told = &report[0];
    assert_eq!(
        (told["approved"].as_u64(), told["refused"].as_u64()),
        (Some(1), Some(1)),
        "{report}"
    );
    // It was shown and approved in one breath.
    assert_eq!(told["rubber_stamp"], true, "{report}");
    assert_eq!(operator.run(&["report", "approvers", "--fail"]).await.code, 1);
    let metrics = operator.run(&["metrics"]).await.succeeded();
    assert!(metrics.out.contains("marque_approval_decisions_total"), "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_duty_approves_and_who_was_does_not() {
    if !several_users() {
        return;
    }
    let levels = "[[approval.levels]]\nany = [{ approve = 1, groups = [\"on-call\"] }]\n";
    let daemon = Daemon::start_with(|folder| {
        prepare(folder, levels, "");
        let rosters = folder.join("prod.example.org/rosters");
        fs::create_dir(&rosters).expect("a folder");
        let roster = format!(
            "apiVersion = \"marque/v1\"\nkind = \"Roster\"\ngroup = \"on-call\"\ntime_zone = \"UTC\"\n\
             [[shifts]]\nmembers = [\"uid:{DEV}\"]\nstarts = \"2020-01-01T00:00:00Z\"\nends = \"2020-01-02T00:00:00Z\"\n\
             [[shifts]]\nmembers = [\"uid:{LEAD}\"]\nstarts = \"2020-01-01T00:00:00Z\"\nends = \"2120-01-01T00:00:00Z\"\n"
        );
        fs::write(rosters.join("on-call.toml"), roster).expect("write the roster");
    })
    .await;
    fs::set_permissions(daemon.path(""), fs::Permissions::from_mode(0o755)).expect("open it");
    let operator = daemon.operator(PRODUCTION);
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    refused(&approve(&operator, DEV, &intent).await, "approver_not_eligible");
    approve(&operator, LEAD, &intent).await.succeeded();
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_operator_is_the_person_and_the_mailbox_that_the_document_says() {
    if !several_users() {
        return;
    }
    let levels = "exclude = [\"requester\", \"agent_owner\", \"playbook_author\"]\n\
                  [[approval.levels]]\nany = [{ approve = 1 }]\n";
    let document = format!(
        "[[operators]]\nuid = {LEAD}\npersons = [\"corp:248289\"]\n\n\
         [[operators]]\nuid = {SEC}\nemails = [\"Carol@example.org\"]\n"
    );
    let daemon = Daemon::start_with(|folder| {
        prepare(folder, levels, &document);
        let file = folder.join("prod.example.org/playbooks/ingress-cert-rotation.toml");
        let text = fs::read_to_string(&file).expect("the playbook");
        let text = text.replacen("\nowner = ", "\nauthor = \"person:corp:248289\"\nowner = ", 1);
        fs::write(&file, text).expect("write the playbook");
    })
    .await;
    fs::set_permissions(daemon.path(""), fs::Permissions::from_mode(0o755)).expect("open it");
    let operator = daemon.operator(PRODUCTION);
    let program = copy_of_this_program("cert-rotator-mailed");
    let place = daemon.place(PRODUCTION).clone();
    let id = place.id("/agent/cert-rotator/mailed");
    let path = format!("unix:path:{}", program.display());
    let entry = [
        "entry",
        "create",
        "--expires-in",
        "1d",
        "--spiffe-id",
        &id,
        "--role",
        "agent",
        "--selector",
        &path,
    ];
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let rest = ["--owner", "email:carol@example.org", "--selector", &uid];
    operator.json(&[&entry[..], &rest].concat()).await;
    let mut workload = Workload::start(&program, &place);
    let svid = workload.jwt_svid(&place.issuer_url).await;
    let rotator = Client { workload, svid, http: daemon.http(PRODUCTION), place };
    let intent = rotator.ask_rotation().await;
    for excluded in [LEAD, SEC] {
        refused(&approve(&operator, excluded, &intent).await, "self_approval_forbidden");
    }
    approve(&operator, DEV, &intent).await.succeeded();
}
