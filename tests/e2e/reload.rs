//! Reading a trust domain's folder anew while it is served: what reaches whom, what is refused, and that nobody who asks
//! meanwhile is sent away.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::support::agent::Workload;
use crate::support::daemon::{
    Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR,
};
use crate::support::folder::{append, edit};
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::{Client, PREVIEW, restart};
use crate::support::operator::Operator;
use crate::support::programs::{copy_of_this_program, marque};
use crate::support::wait::{until, within};

const PLAYBOOK: &str = "playbooks/restart-preview.toml";
/// How often the folder is read anew while clients work.
const RELOADS: usize = 50;

pub(crate) fn folder(daemon: &Daemon, trust_domain: &str) -> PathBuf {
    daemon.path("trust-domains").join(trust_domain)
}

/// Takes away the cases of the shipped policies, which hold no others.
fn without_cases(folder: &Path) {
    fs::remove_dir_all(folder.join("policy/tests")).expect("remove the cases");
}

/// Reloads, which has to go well.
pub(crate) async fn reload(operator: &Operator) -> Value {
    let said = operator.json(&["reload"]).await;
    assert_eq!(said[0]["result"], "reloaded", "{said}");
    said[0].clone()
}

/// Reloads, which has to be refused.
pub(crate) async fn refused(operator: &Operator, code: &str) -> Value {
    let said = operator.run(&["reload"]).await.failed().json();
    assert_eq!((&said[0]["result"], &said[0]["code"]), (&json!("refused"), &json!(code)), "{said}");
    said[0].clone()
}

pub(crate) async fn status(operator: &Operator) -> Value {
    operator.json(&["status"]).await[0]["folder"].clone()
}

pub(crate) fn entry(folder: &Path, name: &str, trust_domain: &str, program: &Path) {
    let text = format!(
        "[[entry]]\nid = \"{name}\"\nspiffe_id = \"spiffe://{trust_domain}/agent/{name}\"\nrole = \"agent\"\n\
         owner = \"group:tests\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:uid:{}\", \"unix:path:{}\"]\n",
        Uid::effective(),
        program.display()
    );
    fs::create_dir_all(folder.join("entries")).expect("the folder");
    fs::write(folder.join(format!("entries/{name}.toml")), text).expect("write the entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_new_file_is_served_at_once_and_open_streams_end_with_the_file() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    let program = copy_of_this_program("newcomer");
    let mut newcomer = Workload::start(&program, daemon.place(PRODUCTION));
    newcomer.try_jwt_svid(&["a"]).await.expect_err("nobody knows it yet");
    let before = status(&operator).await;
    entry(&folder, "newcomer", PRODUCTION, &program);
    assert_eq!(status(&operator).await["differs"], true);
    // A dry run says so and changes nothing.
    let would = operator.json(&["reload", "--dry-run"]).await;
    assert_eq!(would[0]["result"], "would_reload", "{would}");
    assert_eq!(would[0]["entries"]["added"], json!(["newcomer"]), "{would}");
    let change = would[0]["plan"]["changes"][0].clone();
    assert_eq!((&change["effect"], &change["kind"]), (&json!("wider"), &json!("identity")));
    let gained = " gain `spiffe://prod.example.org/agent/newcomer` as agent";
    assert!(change["sentence"].as_str().is_some_and(|said| said.contains(gained)), "{would}");
    newcomer.try_jwt_svid(&["a"]).await.expect_err("nothing was changed");
    let report = reload(&operator).await;
    assert_eq!(report["files"]["added"], json!(["entries/newcomer.toml"]), "{report}");
    assert_eq!(report["digest_before"], before["digest"], "{report}");
    let after = status(&operator).await;
    assert_eq!((&after["digest"], &after["differs"]), (&report["digest"], &json!(false)));
    newcomer.try_jwt_svid(&["a"]).await.expect("it is served now");
    newcomer.watch().await;
    fs::remove_file(folder.join("entries/newcomer.toml")).expect("remove the file");
    let report = reload(&operator).await;
    assert_eq!(report["entries"]["removed"], json!(["newcomer"]), "{report}");
    let ended = within("the end of its stream", newcomer.watch_ended()).await;
    assert!(ended.contains("NoIdentityIssued"), "{ended}");
    // A template comes, as a plan says it and as the report and the log count it.
    let template = "[[template]]\nid = \"team\"\nspiffe_id = \"spiffe://prod.example.org/team/{unix:user}\"\nrole = \"agent\"\n\
                    owner = \"group:tests\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:path:/bin/team\"]\nmax_identities = 5\n";
    fs::write(folder.join("entries/team.toml"), template).expect("write the template");
    let would = operator.json(&["reload", "--dry-run"]).await;
    let sentence = would[0]["plan"]["changes"][0]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("at most 5 (template `team`"), "{would}");
    let report = reload(&operator).await;
    assert_eq!(report["templates"]["added"], json!(["team"]), "{report}");
    assert_eq!(report["plan"], Value::Null, "what was done is no plan: {report}");
    // Those that no file has go on.
    Client::start(&daemon, ROTATOR).await;
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let reloads: Vec<&Value> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.folder.reloaded").collect();
    let [first, second, third] = reloads.as_slice() else { panic!("{reloads:?}") };
    let detail = |leaf: &Value| leaf["data"]["detail"].clone();
    assert_eq!(detail(first)["digest_before"], before["digest"], "{first}");
    assert_eq!(detail(first)["digest"], detail(second)["digest_before"], "{second}");
    assert_eq!(detail(second)["entries"]["removed"], json!(["newcomer"]), "{second}");
    let count = json!({ "added": 0, "removed": 1, "changed": 0 });
    assert_eq!(detail(second)["entries"]["count"], count, "{second}");
    assert_eq!(detail(third)["templates"]["added"], json!(["team"]), "{third}");
    assert_eq!(detail(third)["templates"]["count"]["added"], 1, "{third}");
    assert!(first["data"]["actor"].as_str().is_some_and(|by| !by.is_empty()), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_playbook_holds_at_once_and_ends_what_it_would_not_give() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let folder = folder(&daemon, NON_PRODUCTION);
    without_cases(&folder);
    let restarter = Client::start(&daemon, RESTARTER).await;
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let used = restarter.ask_restart().await;
    let token = restarter.exchange(&used).await.expect(200).text("access_token");
    let unused = restarter.ask_restart().await;
    assert!(preview.is_active(&token).await);
    // A version that granted something keeps its content.
    edit(&folder, PLAYBOOK, "/agent/preview-restarter", "/agent/somebody-else");
    let report = refused(&operator, "folder_invalid").await;
    let found = report["findings"][0].clone();
    assert!(found["file"].as_str().is_some_and(|file| file.ends_with(PLAYBOOK)), "{found}");
    assert!(preview.is_active(&token).await);
    edit(&folder, PLAYBOOK, "version = 1", "version = 2");
    let report = reload(&operator).await;
    assert_eq!(report["playbooks"]["changed"], json!(["restart-preview"]), "{report}");
    assert_eq!(report["grants_ended"], 2, "{report}");
    assert!(!preview.is_active(&token).await);
    assert_eq!(restarter.look(&unused).await.expect(200).json()["state"], "revoked");
    assert_ne!(restarter.exchange(&unused).await.status, 200);
    let code = restarter.ask(&restart()).await.json()["code"].clone();
    assert!(["agent_not_allowed", "unknown_playbook"].contains(&code.as_str().unwrap()), "{code}");
    // And back, for what is asked from then on.
    edit(&folder, PLAYBOOK, "/agent/somebody-else", "/agent/preview-restarter");
    edit(&folder, PLAYBOOK, "version = 2", "version = 3");
    reload(&operator).await;
    let intent = restarter.ask_restart().await;
    restarter.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_a_new_operator_and_a_new_audience_hold_at_once() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let folder = folder(&daemon, NON_PRODUCTION);
    without_cases(&folder);
    let restarter = Client::start(&daemon, RESTARTER).await;
    let hard = "\n@id(\"dev-nothing\")\n@code(\"purpose_mismatch\")\n\
                forbid (principal, action == Marque::Action::\"request\", resource);\n";
    let before = fs::read_to_string(folder.join("policy/hard.cedar")).expect("the policy");
    append(&folder, "policy/hard.cedar", hard);
    restarter.ask_restart().await;
    let report = reload(&operator).await;
    assert_eq!(report["policy_changed"], true, "{report}");
    assert_eq!(report["grants_ended"], 1, "{report}");
    restarter.ask(&restart()).await.refused("purpose_mismatch");
    fs::write(folder.join("policy/hard.cedar"), before).expect("write the policy");
    // An agent may introspect where the document says so, and not before.
    let id = daemon.place(NON_PRODUCTION).id(PREVIEW.path);
    edit(&folder, "trust-domain.toml", &id, "spiffe://dev.example.org/service/elsewhere");
    reload(&operator).await;
    let intent = restarter.ask_restart().await;
    let token = restarter.exchange(&intent).await.expect(200).text("access_token");
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    assert_ne!(preview.introspect(&token).await.json()["active"], true);
    edit(&folder, "trust-domain.toml", "spiffe://dev.example.org/service/elsewhere", &id);
    reload(&operator).await;
    assert!(preview.is_active(&token).await);
}

/// Files that no folder may have, and what stands in them.
const BROKEN: [(&str, &str); 10] = [
    ("trust-domain.toml", "\nplease = true\n"),
    (
        "trust-domain.toml",
        "\n[[webhooks]]\nname = \"bus\"\nurl = \"http://127.0.0.1:9/\"\nsecret_file = \"nowhere\"\nevents = [\"kill\"]\n",
    ),
    ("entries/broken.toml", "[[entry]]\nid = \"broken\"\n"),
    ("entries/broken.toml", "[[entry]"),
    ("playbooks/broken.toml", "id = \"broken\"\n"),
    ("policy/broken.cedar", "permit (\n"),
    ("policy/tests/broken.toml", "[[case]]\n"),
    ("calendars/broken.toml", "nothing = 1\n"),
    ("rosters/broken.toml", "nothing = 1\n"),
    ("exceptions/broken.toml", "nothing = 1\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_anywhere_is_refused_with_its_name_and_everything_goes_on_as_before() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let folder = folder(&daemon, NON_PRODUCTION);
    let restarter = Client::start(&daemon, RESTARTER).await;
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let kept = restarter.ask_restart().await;
    let token = restarter.exchange(&kept).await.expect(200).text("access_token");
    let before = status(&operator).await;
    let program = copy_of_this_program("never");
    for (file, text) in BROKEN {
        let path = folder.join(file);
        let was = fs::read_to_string(&path).ok();
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        append(&folder, file, text);
        // What is right beside it is not taken either.
        entry(&folder, "never", NON_PRODUCTION, &program);
        let report = refused(&operator, "folder_invalid").await;
        let findings = report["findings"].as_array().expect("findings");
        let named = findings.iter().any(|one| one["file"].as_str().unwrap().contains(file));
        assert!(named, "{file}: {report}");
        let now = status(&operator).await;
        assert_eq!(now["digest"], before["digest"], "{file}");
        assert_eq!(now["loaded_at"], before["loaded_at"], "{file}");
        assert_eq!(now["refused"]["code"], "folder_invalid", "{file}: {now}");
        let entries = operator.json(&["entry", "list"]).await;
        assert!(!entries.to_string().contains("/agent/never"), "{file}: {entries}");
        let intent = restarter.ask_restart().await;
        restarter.exchange(&intent).await.expect(200);
        assert!(preview.is_active(&token).await, "{file}");
        match was {
            Some(was) => fs::write(&path, was).expect("mend the file"),
            None => fs::remove_file(&path).expect("remove the file"),
        }
    }
    fs::remove_file(folder.join("entries/never.toml")).expect("remove the file");
    reload(&operator).await;
    assert_eq!(status(&operator).await["refused"], Value::Null);
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let refusals =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.folder.reload_refused").count();
    assert_eq!(refusals, BROKEN.len());
    let metrics = operator.run(&["metrics"]).await.succeeded().out;
    assert!(metrics.contains("marque_folder_reload_total"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_refused_with_its_line_and_nothing_beside_it_is_taken() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    entry(&folder, "beside", PRODUCTION, &copy_of_this_program("beside"));
    edit(
        &folder,
        "trust-domain.toml",
        "listen = \"127.0.0.1:8443\"",
        "listen = \"127.0.0.1:9443\"",
    );
    append(&folder, "trust-domain.toml", "\n[limits]\nconnections = 77\n");
    append(&folder, "trust-domain.toml", "\n[keys]\nkind = \"pkcs11\"\n");
    append(
        &folder,
        "trust-domain.toml",
        "module = \"/lib/x.so\"\ntoken = \"x\"\npin_file = \"/etc/pin\"\n",
    );
    let report = refused(&operator, "restart_required").await;
    let text = fs::read_to_string(folder.join("trust-domain.toml")).expect("the document");
    let line = |begins: &str| text.lines().position(|line| line == begins).map(|at| at + 1);
    let found: Vec<(u64, String)> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["message"].as_str().unwrap().to_owned()))
        .collect();
    let [listen, keys] = found.as_slice() else { panic!("{report}") };
    assert_eq!(usize::try_from(listen.0).ok(), line("[issuer]"), "{report}");
    assert_eq!(usize::try_from(keys.0).ok(), line("[keys]"), "{report}");
    assert!(found.iter().all(|(_, message)| message.contains("restart")), "{report}");
    let entries = operator.json(&["entry", "list"]).await;
    assert!(!entries.to_string().contains("/agent/beside"), "{entries}");
    // A plan says so beforehand, and of what does not need one it does not.
    let trust_domains = daemon.path("trust-domains").display().to_string();
    let plan = operator.json(&["plan", &trust_domains]).await;
    let of = |path: &str| {
        let all = plan["trust_domains"].as_array().expect("trust domains");
        let ours = all.iter().find(|one| one["trust_domain"] == PRODUCTION).expect("ours");
        let changes = ours["changes"].as_array().expect("changes");
        let found = changes.iter().find(|one| one["path"] == path);
        found.unwrap_or_else(|| panic!("{path}: {plan}"))["sentence"].to_string()
    };
    assert!(of("issuer.listen").contains("needs a restart"), "{plan}");
    assert!(of("keys.kind").contains("needs a restart"), "{plan}");
    assert!(!of("limits.connections").contains("restart"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_by_command_that_does_not_fit_the_new_files_stands_in_their_way() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let program = copy_of_this_program("twice");
    let id = daemon.place(PRODUCTION).id("/agent/twice");
    let stored = operator.register(&id, "agent", &program).await;
    entry(&folder(&daemon, PRODUCTION), "twice", PRODUCTION, &program);
    let report = refused(&operator, "stored_entry_conflict").await;
    assert!(report["findings"][0]["message"].as_str().unwrap().contains(&stored), "{report}");
    let mut workload = Workload::start(&program, daemon.place(PRODUCTION));
    workload.try_jwt_svid(&["a"]).await.expect("it is as it was");
    operator.run(&["entry", "delete", &stored]).await.succeeded();
    reload(&operator).await;
    workload.try_jwt_svid(&["a"]).await.expect("by the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reloads_every_trust_domain_and_each_stands_for_itself() {
    let daemon = Daemon::start().await;
    let (production, other) = (daemon.operator(PRODUCTION), daemon.operator(NON_PRODUCTION));
    let program = copy_of_this_program("hung-up");
    entry(&folder(&daemon, PRODUCTION), "hung-up", PRODUCTION, &program);
    append(&folder(&daemon, NON_PRODUCTION), "policy/broken.cedar", "permit (");
    let before = status(&other).await;
    kill(daemon.pid(), Signal::SIGHUP).expect("SIGHUP");
    until("the reload", async || (status(&production).await["differs"] == false).then_some(()))
        .await;
    let refused = until("the refusal", async || {
        let now = status(&other).await;
        now["refused"].is_object().then_some(now)
    })
    .await;
    assert_eq!(refused["refused"]["by"], "SIGHUP", "{refused}");
    assert_eq!(refused["digest"], before["digest"]);
    Workload::start(&program, daemon.place(PRODUCTION)).jwt_svid("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_take_turns() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let program = copy_of_this_program("turns");
    entry(&folder(&daemon, NON_PRODUCTION), "turns", NON_PRODUCTION, &program);
    let (one, two) = tokio::join!(reload(&operator), reload(&operator));
    let first = if one["files"]["added"] == json!([]) { (two, one) } else { (one, two) };
    let (first, second) = first;
    assert_eq!(first["files"]["added"], json!(["entries/turns.toml"]), "{first}");
    assert_eq!(second["files"]["added"], json!([]), "{second}");
    assert_eq!(first["digest"], second["digest_before"], "{first} {second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_an_operator_has_a_folder_read_anew() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let program = copy_of_this_program("not-an-operator");
    entry(&folder(&daemon, PRODUCTION), "stranger", PRODUCTION, &program);
    let mut agent = daemon.agent(ROTATOR);
    agent.jwt_svid("a").await;
    let ran = agent.run(marque(), &operator.arguments(&["reload"])).await;
    assert_ne!(ran.code, 0, "{ran:?}");
    if Uid::effective().is_root() {
        use std::os::unix::fs::PermissionsExt as _;
        let allowed = fs::Permissions::from_mode(0o755);
        fs::set_permissions(daemon.path(""), allowed).expect("open the folder");
        let said = operator.of_user(54_321).run(&["reload"]).await.failed();
        assert!(said.err.contains("not_an_operator") || said.err.contains("operator"), "{said:?}");
    }
    assert_eq!(status(&operator).await["differs"], true);
}

/// What clients do again and again until they are told to stop; each time has to go well.
async fn works(daemon: &Daemon, stop: &AtomicBool, done: &AtomicUsize) {
    let mut restarter = Client::start(daemon, RESTARTER).await;
    let audience = restarter.place.issuer_url.clone();
    while !stop.load(Ordering::Relaxed) {
        restarter.svid = restarter.workload.jwt_svid(&audience).await;
        let intent = restarter.ask_restart().await;
        let token = restarter.exchange(&intent).await.expect(200).text("access_token");
        assert!(!token.is_empty());
        restarter.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same for what needs no intent.
async fn looks(daemon: &Daemon, stop: &AtomicBool, done: &AtomicUsize) {
    let rotator = Client::start(daemon, ROTATOR).await;
    let mut second = daemon.agent(SECOND_ROTATOR);
    while !stop.load(Ordering::Relaxed) {
        rotator.send(Call::get(&rotator.place.bundle_url)).await.expect(200);
        rotator.send(Call::get(&rotator.place.jwks_url)).await.expect(200);
        let playbooks = rotator.place.playbooks_url();
        rotator.send(Call::get(&playbooks).bearer(&rotator.svid)).await.expect(200);
        second.x509_svid().await.expect("an X.509-SVID");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn reloads(daemon: &Daemon, trust_domain: &'static str, done: &[&AtomicUsize]) {
    let operator = daemon.operator(trust_domain);
    let folder = folder(daemon, trust_domain);
    let program = copy_of_this_program("comes-and-goes");
    for round in 0..RELOADS / 2 {
        if round % 2 == 0 {
            entry(&folder, "comes-and-goes", trust_domain, &program);
        } else {
            fs::remove_file(folder.join("entries/comes-and-goes.toml")).expect("remove the file");
        }
        append(&folder, "policy/hard.cedar", &format!("// {round}\n"));
        let before: Vec<usize> = done.iter().map(|one| one.load(Ordering::Relaxed)).collect();
        reload(&operator).await;
        until("work between two reloads", async || {
            let worked =
                |(one, before): (&&AtomicUsize, &usize)| one.load(Ordering::Relaxed) > *before;
            done.iter().zip(&before).any(worked).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_folders_are_read_anew_again_and_again() {
    let daemon = Daemon::start().await;
    let stop = AtomicBool::new(false);
    let (worked, looked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let both = [&worked, &looked];
    let reloading = async {
        tokio::join!(reloads(&daemon, NON_PRODUCTION, &both), reloads(&daemon, PRODUCTION, &both));
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(works(&daemon, &stop, &worked), looks(&daemon, &stop, &looked), reloading);
    for operator in [daemon.operator(PRODUCTION), daemon.operator(NON_PRODUCTION)] {
        let folder = daemon.path(&format!("log-{}", worked.load(Ordering::Relaxed)));
        drop(fs::remove_dir_all(&folder));
        let leaves = log::export(&operator, &folder).await;
        let reloads =
            leaves.iter().filter(|leaf| leaf["type"] == "org.marque.folder.reloaded").count();
        assert_eq!(reloads, RELOADS / 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_is_in_force_when_its_files_have_come_to_rest_and_a_broken_one_is_refused_once()
 {
    let daemon = Daemon::start_told(|_folder| {}, vec!["--watch".to_owned()]).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let folder = folder(&daemon, NON_PRODUCTION);
    let program = copy_of_this_program("watched");
    entry(&folder, "watched", NON_PRODUCTION, &program);
    let mut workload = Workload::start(&program, daemon.place(NON_PRODUCTION));
    until("the identity of the new file", async || workload.try_jwt_svid(&["a"]).await.ok()).await;
    append(&folder, "policy/broken.cedar", "permit (");
    until("the refusal", async || status(&operator).await["refused"].is_object().then_some(()))
        .await;
    fs::remove_file(folder.join("policy/broken.cedar")).expect("remove the file");
    fs::remove_file(folder.join("entries/watched.toml")).expect("remove the file");
    until("the end of the identity", async || workload.try_jwt_svid(&["a"]).await.err()).await;
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let kinds: Vec<&str> = leaves
        .iter()
        .filter(|leaf| leaf["data"]["actor"] == "--watch")
        .filter_map(|leaf| leaf["type"].as_str())
        .collect();
    let (reloaded, refused) = ("org.marque.folder.reloaded", "org.marque.folder.reload_refused");
    assert_eq!(kinds, [reloaded, refused, reloaded]);
}
