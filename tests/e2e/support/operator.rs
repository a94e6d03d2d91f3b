//! The command line as an operator uses it.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use super::programs::marque;

/// Runs `marque` commands against one trust domain of a running daemon.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    endpoints: PathBuf,
    trust_domain: &'static str,
    uid: Option<u32>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) command: String,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Operator {
    pub(crate) fn new(endpoints: PathBuf, trust_domain: &'static str) -> Self {
        Self { endpoints, trust_domain, uid: None }
    }

    /// The same command line in the hands of another local user, who may open the admin socket by its group. For tests that
    /// run as root.
    pub(crate) fn of_user(&self, uid: u32) -> Self {
        Self { uid: Some(uid), ..self.clone() }
    }

    /// The arguments that name the daemon, the trust domain and the form of the output, before `arguments`.
    pub(crate) fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let endpoints = self.endpoints.display().to_string();
        let place =
            ["--endpoints", &endpoints, "--trust-domain", self.trust_domain, "--output", "json"];
        place.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect()
    }

    /// Runs one command, whatever comes of it.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        run_as(self.uid, &self.arguments(arguments)).await
    }

    /// Runs one command that must succeed, and gives its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).await.succeeded().json()
    }

    /// Registers a program of this user; the id of the entry.
    pub(crate) async fn register(&self, spiffe_id: &str, role: &str, program: &Path) -> String {
        let uid = format!("unix:uid:{}", nix::unistd::geteuid());
        let path = format!("unix:path:{}", program.display());
        let entry =
            ["entry", "create", "--spiffe-id", spiffe_id, "--role", role, "--owner", "group:tests"];
        let rest = ["--expires-in", "1d", "--selector", &uid, "--selector", &path];
        let created = self.json(&[&entry[..], &rest].concat()).await;
        let id = created["id"].as_str();
        id.unwrap_or_else(|| panic!("no id in {created}")).to_owned()
    }

    /// Approves an intent as an operator who has read it.
    pub(crate) async fn approve(&self, intent: &str) -> Value {
        self.json(&["approve", "--yes", intent]).await
    }

    /// Throws the kill switch.
    pub(crate) async fn kill(&self, scope: &[&str]) {
        let arguments = [&["kill"], scope, &["--yes", "--reason", "an end-to-end test"]].concat();
        self.run(&arguments).await.succeeded();
    }
}

/// Runs `marque` with exactly these arguments.
pub(crate) async fn run_marque(arguments: &[String]) -> Said {
    run_as(None, arguments).await
}

async fn run_as(uid: Option<u32>, arguments: &[String]) -> Said {
    let mut command = Command::new(marque());
    if let Some(uid) = uid {
        command.uid(uid).gid(0);
    }
    let Output { status, stdout, stderr } =
        command.args(arguments).kill_on_drop(true).output().await.expect("marque runs");
    Said {
        command: arguments.join(" "),
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn failed(self) -> Self {
        assert_eq!(self.code, 1, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
