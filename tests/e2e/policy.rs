//! Decisions: what is looked at beside the request, and that it is looked at again when somebody approves and at every use.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::Call;
use crate::support::oauth::{Client, restart, rotation};
use crate::support::operator::run_marque;
use crate::support::programs::copy_of_this_program;
use crate::support::{folder, log};

const RESTART: &str = "dev.example.org/playbooks/restart-preview.toml";
const ROTATION: &str = "prod.example.org/playbooks/ingress-cert-rotation.toml";

/// Replaces `from` by `to` in one file of the folder.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let file = folder.join(file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{} does not hold `{from}`", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// A daemon over changed trust domains, of which the shipped cases say nothing.
async fn daemon(change: impl FnOnce(&Path)) -> Daemon {
    let prepare = |folder: &Path| {
        for name in [PRODUCTION, NON_PRODUCTION] {
            fs::remove_dir_all(folder.join(name).join("policy/tests")).unwrap();
        }
        change(folder);
    };
    Daemon::start_with(prepare).await
}

fn append(folder: &Path, file: &str, more: &str) {
    let file = folder.join(file);
    let text = fs::read_to_string(&file).unwrap_or_default();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text + more).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn m_36_risk_is_a_sum_that_approvers_see_and_that_refuses() {
    let weights =
        |weight: u32| format!("base = 40\ndeny_at = 90\n[risk.weights]\nproduction = {weight}");
    let daemon = self::daemon(|folder| edit(folder, ROTATION, "base = 40", &weights(15))).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let shown = daemon.operator(PRODUCTION).json(&["intent", "show", &intent]).await;
    assert_eq!(shown["grant"]["risk"], 55, "{shown}");
    let factor = &shown["grant"]["evidence"]["risk"]["factors"][0];
    assert_eq!((&factor["name"], &factor["points"]), (&json!("production"), &json!(15)), "{shown}");
    drop(daemon);
    let daemon = self::daemon(|folder| edit(folder, ROTATION, "base = 40", &weights(50))).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask(&rotation()).await.refused("risk_too_high");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_47_a_score_asks_a_person_where_policy_would_approve() {
    let daemon = self::daemon(|folder| {
        edit(
            folder,
            RESTART,
            "base = 10",
            "base = 10\napprove_at = 20\n[risk.weights]\nno_ticket = 10",
        );
        edit(folder, RESTART, "mode = \"auto\"", "mode = \"rule\"");
        append(folder, RESTART, "\n[[approval.levels]]\nany = [{ approve = 1, deny = 1 }]\n");
    })
    .await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let answer = restarter.ask(&restart()).await.expect(202);
    assert_eq!(answer.json()["state"], "pending", "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_92_a_raised_posture_ends_the_use_of_a_grant_and_its_end_lets_it_go_on() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let id = restarter.place.id(RESTARTER.path);
    let set = async |posture: &str| {
        let set = ["posture", "set", posture, "--agent", &id, "--reason", "odd calls"];
        operator.json(&set).await
    };
    set("elevated").await;
    set("high").await;
    restarter.exchange(&intent).await.refused("posture_changed");
    let listed = operator.json(&["posture", "list"]).await;
    assert!(listed.to_string().contains("odd calls"), "{listed}");
    set("normal").await;
    restarter.exchange(&intent).await.expect(200);
    set("critical").await;
    restarter
        .ask(&json!({ "playbook": "restart-preview", "parameters": { "preview": "pr-8" } }))
        .await
        .refused("posture_changed");
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let told = leaves.iter().filter(|leaf| leaf["type"] == "org.marque.posture.set").count();
    assert_eq!(told, 4, "{leaves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_80_every_task_is_decided_for_itself_wherever_it_comes_from() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    // The same host, or what a proxy says of where somebody is, is nobody's proof of anything.
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1;host=runner.prod.example.org"),
        ("x-forwarded-client-cert", "URI=spiffe://prod.example.org/agent/cert-rotator/one"),
        ("x-spiffe-id", "spiffe://prod.example.org/agent/cert-rotator/one"),
    ] {
        let call = Call::json(&rotator.place.intents_url, &rotation()).header(name, value);
        assert_eq!(rotator.send(call).await.status, 401, "{name}");
    }
    // An agent that did it well in one session is asked for in the next as in the first.
    let mut request = rotation();
    for session in ["monday", "tuesday"] {
        request["session"] = json!(session);
        request["task"] = json!(format!("rotate-on-{session}"));
        let asked = rotator.ask(&request).await.expect(202).json();
        assert_eq!(asked["state"], "pending", "{asked}");
        let intent = asked["id"].as_str().expect("an id");
        rotator.exchange(intent).await.refused("approval_pending");
        daemon.operator(PRODUCTION).approve(intent).await;
        rotator.exchange(intent).await.expect(200);
        rotator.end(intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m_33_the_agents_code_is_from_a_repository_of_the_playbook() {
    const MAIN: &str = "github.com/example/agents@refs/heads/main";
    let demand = format!("[who]\nrepositories = [\"{MAIN}\"]\n");
    let daemon = self::daemon(|folder| edit(folder, ROTATION, "[who]\n", &demand)).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask(&rotation()).await.refused("repository_not_allowed");
    for (name, repository, fits) in
        [("main", MAIN, true), ("fork", "github.com/fork/agents@refs/heads/main", false)]
    {
        let program = copy_of_this_program(name);
        let id = daemon.place(PRODUCTION).id(&format!("/agent/cert-rotator/{name}"));
        let path = format!("unix:path:{}", program.display());
        let create =
            ["entry", "create", "--expires-in", "1d", "--spiffe-id", &id, "--owner", "group:tests"];
        let more = ["--selector", &path, "--repository", repository];
        daemon.operator(PRODUCTION).json(&[&create[..], &more[..]].concat()).await;
        let place = daemon.place(PRODUCTION).clone();
        let mut workload = crate::support::agent::Workload::start(&program, &place);
        let svid = workload.jwt_svid(&place.issuer_url).await;
        let client = Client { workload, svid, http: daemon.http(PRODUCTION), place };
        let answer = client.ask(&rotation()).await;
        if fits {
            answer.expect(202);
        } else {
            answer.refused("repository_not_allowed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m_39_and_m_40_confidence_and_category_are_structured_and_the_playbooks_to_demand() {
    let demand = "[confidence]\nfloor = 70\n[justification]\ncategories = [\"incident\"]\n[who]\n";
    let daemon = self::daemon(|folder| edit(folder, RESTART, "[who]\n", demand)).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let with = |confidence: u32, category: &str| {
        let mut body = restart();
        body["confidence"] = confidence.into();
        body["category"] = category.into();
        body
    };
    restarter.ask(&restart()).await.refused("params_schema_invalid");
    restarter.ask(&with(90, "whim")).await.refused("params_schema_invalid");
    restarter.ask(&with(69, "incident")).await.refused("confidence_too_low");
    // The same again with a better figure would be the same refusal again.
    let mut another = with(70, "incident");
    another["parameters"]["preview"] = "pr-4711".into();
    restarter.ask(&another).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn m_79_policies_decide_at_every_use_again() {
    let hard = "\n@id(\"dev-calm-uses\")\n@code(\"drift_detected\")\n@reason(\"no uses while somebody watches\")\n\
                forbid (principal, action == Marque::Action::\"use\", resource)\nwhen { context.posture > 0 };\n";
    let file = "dev.example.org/policy/playbooks/restart-preview/hard.cedar";
    let daemon = self::daemon(|folder| append(folder, file, hard)).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let set = ["posture", "set", "elevated", "--playbook", "restart-preview", "--reason", "audit"];
    operator.json(&set).await;
    restarter.exchange(&intent).await.refused("drift_detected");
    let set = ["posture", "set", "normal", "--playbook", "restart-preview", "--reason", "done"];
    operator.json(&set).await;
    restarter.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_says_who_may_approve() {
    let hard = "\n@id(\"prod-approvers\")\n@code(\"approver_not_eligible\")\n\
                forbid (principal, action == Marque::Action::\"approve\", resource)\n\
                unless { principal in Marque::Group::\"nobody-is-in-this\" };\n";
    let daemon =
        self::daemon(|folder| append(folder, "prod.example.org/policy/hard.cedar", hard)).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let said = daemon.operator(PRODUCTION).run(&["approve", "--yes", &intent]).await.failed();
    assert!(format!("{}{}", said.out, said.err).contains("approver_not_eligible"), "{said:?}");
    rotator.exchange(&intent).await.refused("approval_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_131_an_observed_playbook_is_not_refused_and_the_log_says_what_would_have_been() {
    let hard = "\n@id(\"dev-nothing\")\n@code(\"purpose_mismatch\")\n\
                forbid (principal, action == Marque::Action::\"request\", resource);\n";
    let daemon = self::daemon(|folder| {
        append(folder, "dev.example.org/policy/hard.cedar", hard);
        edit(folder, RESTART, "delivery =", "enforcement = \"observe\"\ndelivery =");
    })
    .await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    restarter.exchange(&intent).await.expect(200);
    let leaves = log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
    let told = leaves.iter().any(|leaf| {
        leaf["type"] == "org.marque.intent.requested"
            && leaf.to_string().contains("\"would_deny\":\"purpose_mismatch\"")
    });
    assert!(told, "{leaves:?}");
}

#[tokio::test]
async fn production_observes_only_until_an_end() {
    let scratch = tempfile::tempdir().unwrap();
    folder::copy(&folder::shipped(), scratch.path());
    edit(scratch.path(), ROTATION, "delivery =", "enforcement = \"observe\"\ndelivery =");
    let check =
        async || run_marque(&["check".to_owned(), scratch.path().display().to_string()]).await;
    let said = check().await.failed();
    assert!(said.out.contains("observe_until"), "{said:?}");
    let until = "\n[decisions]\nobserve_until = \"2030-01-01T00:00:00Z\"\n";
    append(scratch.path(), "prod.example.org/trust-domain.toml", until);
    check().await.succeeded();
    append(scratch.path(), "prod.example.org/policy/playbooks/gone/hard.cedar", "\n");
    let said = check().await.failed();
    assert!(said.out.contains("there is no playbook `gone`"), "{said:?}");
}

/// A decision point that answers everybody alike; its URL.
fn decision_point(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut seen = Vec::new();
            let mut chunk = [0; 4096];
            // The question is one JSON object; its end is the end of the request.
            while !seen.ends_with(b"}") {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => seen.extend_from_slice(&chunk[..read]),
                }
            }
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    format!("http://{address}/access/v1/evaluation")
}

fn asks(url: &str) -> String {
    format!("\n[[decision_points]]\nname = \"central\"\nurl = \"{url}\"\ntimeout = \"1s\"\n")
}

const DOCUMENT: &str = "dev.example.org/trust-domain.toml";
const YES: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\nconnection: close\r\n\r\n{\"decision\":true}";
const NO: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 18\r\nconnection: close\r\n\r\n{\"decision\":false}";
const BROKEN: &str =
    "HTTP/1.1 500 Oops\r\ncontent-length: 17\r\nconnection: close\r\n\r\n{\"decision\":true}";

#[tokio::test(flavor = "multi_thread")]
async fn a_further_decision_point_may_refuse_and_never_permits() {
    for (answer, code) in
        [(NO, Some("agent_not_allowed")), (BROKEN, Some("policy_unavailable")), (YES, None)]
    {
        let url = decision_point(answer);
        let daemon = self::daemon(|folder| append(folder, DOCUMENT, &asks(&url))).await;
        let restarter = Client::start(&daemon, RESTARTER).await;
        match code {
            Some(code) => {
                let refused = restarter.ask(&restart()).await;
                assert_eq!(refused.text("code"), code, "{refused:?}");
            }
            None => {
                restarter.ask_restart().await;
                let unknown =
                    json!({ "playbook": "restart-preview", "parameters": { "preview": "x" } });
                restarter.ask(&unknown).await.refused("params_schema_invalid");
            }
        }
    }
}

#[tokio::test]
async fn the_cases_of_a_folder_are_run_with_their_coverage() {
    let shipped = folder::shipped().display().to_string();
    let arguments = |command: &[&str]| -> Vec<String> {
        let own = ["--output", "json", "policy"];
        own.iter().chain(command).map(|word| (*word).to_owned()).collect()
    };
    let said = run_marque(&arguments(&["test", &shipped])).await.succeeded().json();
    let passed = said[0]["cases"].as_array().unwrap().iter().all(|case| case["passed"] == true);
    assert!(passed && said[0]["uncovered"].is_array(), "{said}");
    let shown = run_marque(&arguments(&["show", &shipped])).await.succeeded().json();
    assert!(
        shown.as_array().unwrap().iter().any(|one| one["gives"] == "ticket_missing"),
        "{shown}"
    );
    run_marque(&arguments(&["digest", &shipped])).await.succeeded();

    let scratch = tempfile::tempdir().unwrap();
    folder::copy(&folder::shipped(), scratch.path());
    let cases = "prod.example.org/policy/tests/ingress-cert-rotation.toml";
    edit(scratch.path(), cases, "expect = \"ask\"", "expect = \"approve\"");
    let copy = scratch.path().display().to_string();
    let said = run_marque(&["policy", "test", &copy].map(ToOwned::to_owned)).await.failed();
    assert!(format!("{}{}", said.out, said.err).contains("expected approve"), "{said:?}");
}

const REGO: &str = "package marque\nimport rego.v1\n\nallow := true\n\n\
    deny contains {\"code\": \"data_class_denied\", \"reason\": \"not this one\"} if {\n  \
    input.resource.id == \"restart-preview\"\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn m_83_rego_of_the_folder_refuses_what_cedar_permits() {
    let rego = |text: &'static str| {
        move |folder: &Path| append(folder, "dev.example.org/policy/own.rego", text)
    };
    let daemon = self::daemon(rego(REGO)).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    restarter.ask(&restart()).await.refused("data_class_denied");
    drop(daemon);
    // A rule that fails is no answer, although the other one allows.
    let failing = "package marque\nimport rego.v1\nallow := true\n\
        deny := {\"a\"} if input.action.name == \"request\"\ndeny := {\"b\"} if input.context.risk >= 0\n";
    let daemon = self::daemon(rego(failing)).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let refused = restarter.ask(&restart()).await;
    assert_eq!(refused.text("code"), "policy_error", "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_after_a_change_is_neither_revoked_nor_given() {
    let mut daemon = self::daemon(|_| {}).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    drop(restarter);
    assert!(daemon.stop().await.success());
    let failing = "package marque\nimport rego.v1\nallow := true\n\
        deny := {\"a\"} if input.context.risk >= 0\ndeny := {\"b\"} if input.context.risk >= 0\n";
    append(&daemon.path("trust-domains"), "dev.example.org/policy/own.rego", failing);
    daemon.launch().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    assert_eq!(restarter.look(&intent).await.expect(200).json()["state"], "approved");
    let refused = restarter.exchange(&intent).await;
    assert_eq!(refused.json()["code"], "policy_error", "{refused:?}");
}

#[tokio::test]
async fn rego_is_checked_shown_and_pinned_with_the_rest_and_what_nobody_reads_is_a_finding() {
    let scratch = tempfile::tempdir().unwrap();
    folder::copy(&folder::shipped(), scratch.path());
    fs::remove_dir_all(scratch.path().join("dev.example.org/policy/tests")).unwrap();
    let copy = scratch.path().join("dev.example.org").display().to_string();
    let policy = async |command: &str| {
        let words = ["--output", "json", "policy", command, &copy];
        run_marque(&words.map(ToOwned::to_owned)).await
    };
    let check = async || run_marque(&["check", &copy].map(ToOwned::to_owned)).await;
    let before = policy("digest").await.succeeded().json();
    append(scratch.path(), "dev.example.org/policy/own.rego", REGO);
    let after = policy("digest").await.succeeded().json();
    assert_ne!(before[0]["digest"], after[0]["digest"]);
    let shown = policy("show").await.succeeded().json();
    let own = shown.as_array().unwrap().iter().find(|one| one["id"] == "rego:own.rego").unwrap();
    assert!(own["set"] == "rego" && own["text"] == REGO, "{shown}");
    check().await.succeeded();
    append(scratch.path(), "dev.example.org/policy/own.rego", "\nallow if {\n");
    let said = check().await.failed();
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("policy/own.rego:1"), "{told}");
    fs::remove_file(scratch.path().join("dev.example.org/policy/own.rego")).unwrap();
    append(scratch.path(), "dev.example.org/policy/more.cedar", "// forbid");
    let said = check().await.failed();
    assert!(format!("{}{}", said.out, said.err).contains("more.cedar: is not read"), "{said:?}");
}
