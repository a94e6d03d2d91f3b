//! `marque token request`: an agent's tool, as a script would call it. The program that is registered is a copy, because
//! whoever attests as an agent approves nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, PREVIEW};
use crate::support::operator::Said;
use crate::support::programs::marque;
use crate::support::tokens::claims;
use crate::support::wait::{until, within};

/// The tool, registered as an agent of both trust domains.
struct Tool {
    daemon: Daemon,
    program: PathBuf,
}

const ROTATION: [&str; 7] = [
    "ingress-cert-rotation",
    "--param",
    "service=checkout",
    "--param",
    "region=eu-west-1",
    "--ticket",
    "CHG-1842",
];

impl Tool {
    async fn start() -> Self {
        let daemon = Daemon::start().await;
        let program = daemon.path("agent-tool");
        fs::copy(marque(), &program).expect("copy the program");
        for (trust_domain, path) in [
            (PRODUCTION, "/agent/cert-rotator/cli"),
            (NON_PRODUCTION, "/agent/preview-restarter/cli"),
        ] {
            let id = daemon.place(trust_domain).id(path);
            daemon.operator(trust_domain).register(&id, "agent", &program).await;
        }
        Self { daemon, program }
    }

    fn spawn(&self, trust_domain: &'static str, arguments: &[&str]) -> Child {
        self.spawn_in(None, trust_domain, arguments)
    }

    /// The same, in a trace that its caller names.
    fn spawn_in(
        &self,
        trace: Option<&str>,
        trust_domain: &'static str,
        arguments: &[&str],
    ) -> Child {
        let place = self.daemon.operator(trust_domain).arguments(&[]);
        // What names the daemon and the trust domain, without the form of the output.
        let place = place.iter().take_while(|argument| *argument != "--output");
        Command::new(&self.program)
            .envs(trace.map(|trace| ("TRACEPARENT", trace)))
            .args(place)
            .args(["token", "request"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the tool starts")
    }

    async fn run(&self, trust_domain: &'static str, arguments: &[&str]) -> Said {
        said(self.spawn(trust_domain, arguments)).await
    }

    /// The id of the one intent that waits.
    async fn waiting(&self) -> String {
        let operator = self.daemon.operator(PRODUCTION);
        until("an intent that waits", async || {
            let listed = operator.json(&["intent", "list", "--state", "pending"]).await;
            listed[0]["id"].as_str().map(ToOwned::to_owned)
        })
        .await
    }

    async fn state(&self, intent: &str) -> String {
        let shown = self.daemon.operator(PRODUCTION).json(&["intent", "show", intent]).await;
        shown["state"].as_str().expect("a state").to_owned()
    }
}

async fn said(child: Child) -> Said {
    let output = within("the tool's end", child.wait_with_output()).await.expect("its output");
    Said {
        command: "token request".to_owned(),
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_attestation_through_intent_and_exchange_to_the_log() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let tool = Tool::start().await;
    let asked = ["restart-preview", "--param", "preview=pr-1207"];
    let trace = format!("00-{TRACE}-00f067aa0ba902b7-01");
    said(tool.spawn_in(Some(&trace), NON_PRODUCTION, &asked)).await.succeeded();
    let operator = tool.daemon.operator(NON_PRODUCTION);
    let leaves = log::export(&operator, &tool.daemon.path("log")).await;
    let traced = leaves.iter().filter(|leaf| leaf["data"]["trace_id"] == TRACE);
    let kinds: Vec<_> = traced.filter_map(|leaf| leaf["type"].as_str()).collect();
    for kind in ["svid.issued", "intent.requested", "intent.approved", "token.issued"] {
        assert!(kinds.contains(&&*format!("org.marque.{kind}")), "no {kind} in {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_and_nothing_else_is_on_standard_output() {
    let tool = Tool::start().await;
    let asked = ["restart-preview", "--param", "preview=pr-1207"];
    let token = tool.run(NON_PRODUCTION, &asked).await.succeeded();
    assert_eq!((token.out.lines().count(), token.err.as_str()), (1, ""), "{token:?}");
    assert_eq!(claims(token.out.trim())["aud"], PREVIEW.audience);
    let preview = Client::service(&tool.daemon, NON_PRODUCTION, PREVIEW.path).await;
    assert!(preview.is_active(token.out.trim()).await);

    let whole = [&asked[..], &["--output", "json", "--session", "s-1", "--task", "t-1"]].concat();
    let whole = tool.run(NON_PRODUCTION, &whole).await.succeeded().json();
    assert_eq!(whole["token_type"], "Bearer", "{whole}");
    assert_eq!(whole["scope"], PREVIEW.scope, "{whole}");
    let said = claims(whole["access_token"].as_str().expect("a token"));
    assert_eq!((&said["session_id"], &said["task_id"]), (&"s-1".into(), &"t-1".into()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_3_the_tool_waits_for_a_person_and_prints_the_token() {
    let tool = Tool::start().await;
    let waiting = tool.spawn(PRODUCTION, &[&ROTATION[..], &["--wait"]].concat());
    let intent = tool.waiting().await;
    tool.daemon.operator(PRODUCTION).approve(&intent).await;
    let told = said(waiting).await.succeeded();
    assert!(told.err.contains(&format!("marque approve {intent}")), "{told:?}");
    let ingress = Client::service(&tool.daemon, PRODUCTION, INGRESS.path).await;
    assert!(ingress.is_active(told.out.trim()).await);

    let denied = tool.spawn(PRODUCTION, &[&ROTATION[..], &["--wait"]].concat());
    let intent = tool.waiting().await;
    let deny = ["deny", &intent, "--because", "wrong-time", "--remark", "not today"];
    tool.daemon.operator(PRODUCTION).run(&deny).await.succeeded();
    let denied = said(denied).await.failed();
    assert!(denied.out.is_empty() && denied.err.contains("approval_denied"), "{denied:?}");
    assert!(denied.err.contains("next:"), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_the_tool_says_what_waits_and_comes_back_for_it() {
    let tool = Tool::start().await;
    let waits = tool.run(PRODUCTION, &ROTATION).await;
    assert_eq!((waits.code, waits.out.as_str()), (3, ""), "{waits:?}");
    let intent = tool.waiting().await;
    for told in [format!("marque approve {intent}"), format!("--intent {intent}")] {
        assert!(waits.err.contains(&told), "{waits:?}");
    }
    let short = ["--intent", &intent, "--wait", "--timeout", "1"];
    let short = tool.run(PRODUCTION, &short).await;
    assert_eq!((short.code, short.out.as_str()), (3, ""), "{short:?}");
    // What it did not make itself it does not withdraw.
    assert_eq!(tool.state(&intent).await, "pending");
    tool.daemon.operator(PRODUCTION).approve(&intent).await;
    tool.run(PRODUCTION, &["--intent", &intent]).await.succeeded();
    let spent = tool.run(PRODUCTION, &["--intent", &intent]).await.failed();
    assert!(spent.err.contains("grant_consumed"), "{spent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_9_a_tool_that_is_interrupted_withdraws_what_it_asked_for() {
    let tool = Tool::start().await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = tool.spawn(PRODUCTION, &[&ROTATION[..], &["--wait"]].concat());
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        // An interruption before the answer came back would withdraw nothing: it has to be waiting.
        let first = within("a word of it", lines.next_line()).await.expect("it says something");
        let intent = tool.waiting().await;
        assert!(first.as_ref().is_some_and(|first| first.contains(&intent)), "{first:?}");
        kill(Pid::from_raw(pid), signal).expect("a signal");
        let mut rest = Vec::new();
        while let Some(line) = within("the rest", lines.next_line()).await.expect("text") {
            rest.push(line);
        }
        assert_eq!(said(child).await.code, 1, "{rest:?}");
        assert!(rest.iter().any(|line| line.contains("is withdrawn")), "{rest:?}");
        assert_eq!(tool.state(&intent).await, "cancelled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_told_with_what_to_do() {
    let tool = Tool::start().await;
    let intent = "int_00000000000000000000000001";
    for usage in [
        &[][..],
        &["restart-preview", "--intent", intent],
        &["--intent", intent, "--param", "preview=pr-1"],
        &["restart-preview", "--timeout", "1"],
        &["Restart Preview"],
    ] {
        let told = tool.run(NON_PRODUCTION, usage).await;
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{usage:?}: {told:?}");
    }
    for (refused, code) in [
        (&["restart-preview", "--param", "preview=web"][..], "params_schema_invalid"),
        (&["nothing"], "unknown_playbook"),
        (&["--intent", intent], "grant_not_bound_to_session"),
    ] {
        let told = tool.run(NON_PRODUCTION, refused).await.failed();
        assert!(told.out.is_empty() && told.err.contains(code), "{refused:?}: {told:?}");
        assert!(told.err.contains("next:"), "{refused:?}: {told:?}");
    }
    let wider = ["restart-preview", "--param", "preview=pr-1207", "--scope", "deployments.delete"];
    let told = tool.run(NON_PRODUCTION, &wider).await.failed();
    assert!(told.err.contains("invalid_scope"), "{told:?}");
}
