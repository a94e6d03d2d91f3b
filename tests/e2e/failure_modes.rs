//! The failure modes of privilege that is given just in time, each by its name: what somebody does, the code or the exit
//! status that they get, and what the log has of it afterwards. Those that stand elsewhere: `no_negative_feedback` with
//! [`crate::pace`], `chain_collapse` and `on_behalf_escalation` with [`crate::on_behalf`],
//! `break_glass_as_standing_privilege` with [`crate::break_glass`].

mod approving;
mod asking;
mod folders;
mod identities;
mod lasting;
mod tokens;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::folder::edit;
use crate::support::log;
use crate::support::oauth::{Client, Fields, exchange_fields};
use crate::support::operator::{Operator, Said, run_marque};
use crate::support::programs::copy_of_this_program;

const ROTATION: &str = "prod.example.org/playbooks/ingress-cert-rotation.toml";
const RESTART: &str = "dev.example.org/playbooks/restart-preview.toml";
const PRODUCTION_DOCUMENT: &str = "prod.example.org/trust-domain.toml";
const NON_PRODUCTION_DOCUMENT: &str = "dev.example.org/trust-domain.toml";

/// The leaves of the log, which verifies, after each kind of event was found in them with its code.
async fn recorded(
    daemon: &Daemon,
    trust_domain: &'static str,
    wanted: &[(&str, &str)],
) -> Vec<Value> {
    recorded_by(&daemon.operator(trust_domain), &daemon.path("log"), wanted).await
}

/// The same of whoever's log it is.
async fn recorded_by(operator: &Operator, copy: &Path, wanted: &[(&str, &str)]) -> Vec<Value> {
    let leaves = log::export(operator, copy).await;
    for (kind, code) in wanted {
        let kind = format!("org.marque.{kind}");
        let found = leaves.iter().any(|leaf| leaf["type"] == kind && leaf["data"]["code"] == *code);
        assert!(found, "no {kind} with {code} in {leaves:#?}");
    }
    leaves
}

/// `marque check` over the folder that ships, after one text of one file of it was changed.
async fn checked(file: &str, from: &str, to: &str) -> Said {
    let scratch = tempfile::tempdir().expect("a folder");
    crate::support::folder::copy(&crate::support::folder::shipped(), scratch.path());
    edit(scratch.path(), file, from, to);
    let folder = scratch.path().display().to_string();
    run_marque(&["--output", "json", "check", &folder].map(ToOwned::to_owned)).await
}

/// The shipped playbook under another name, with something else in it.
fn another_playbook(trust_domains: &Path, file: &str, name: &str, changes: &[(&str, &str)]) {
    let shipped = trust_domains.join(file);
    let text = fs::read_to_string(&shipped).expect("the playbook");
    let own = shipped.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let named = text.replace(&format!("id = \"{own}\""), &format!("id = \"{name}\""));
    let text = changes.iter().fold(named, |text, (from, to)| {
        assert!(text.contains(from), "`{from}` is not in {file}");
        text.replace(from, to)
    });
    fs::write(shipped.with_file_name(format!("{name}.toml")), text).expect("write the playbook");
}

/// The request for a preview's restart.
fn restart_of(preview: &str) -> Value {
    json!({ "playbook": "restart-preview", "parameters": { "preview": preview } })
}

/// The exchange of an intent, with one field more or another one in place of its own.
fn exchange_with(client: &Client, intent: &str, name: &'static str, value: &str) -> Fields {
    let mut fields = exchange_fields(&client.svid, intent);
    fields.retain(|(own, _)| *own != name);
    fields.push((name, value.to_owned()));
    fields
}

/// An identity for everything that this user runs. A service's: a test under an agent's uid would be an agent to the admin
/// socket.
async fn register_for_everybody(daemon: &Daemon) -> String {
    let id = daemon.place(NON_PRODUCTION).id("/service/shared");
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let entry = ["entry", "create", "--expires-in", "1d", "--spiffe-id", &id, "--role", "service"];
    let rest = ["--owner", "group:tests", "--selector", &uid];
    daemon.operator(NON_PRODUCTION).json(&[&entry[..], &rest[..]].concat()).await;
    id
}

/// A program that has no entry of its own.
fn unregistered(daemon: &Daemon, name: &str) -> crate::support::agent::Workload {
    let program = copy_of_this_program(name);
    crate::support::agent::Workload::start(&program, daemon.place(NON_PRODUCTION))
}

/// The state of an intent, as an operator of production sees it.
async fn shown(daemon: &Daemon, intent: &str) -> Value {
    daemon.operator(PRODUCTION).json(&["intent", "show", intent]).await
}
