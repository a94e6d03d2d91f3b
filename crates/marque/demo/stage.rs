//! The stage of the story: a folder of its own, the daemon, two agents and a resource server in each environment.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::orders::member;
use super::player::Player;
use crate::cli::DemoOptions;
use crate::endpoints::{Endpoints, TrustDomainEndpoints};

pub(super) const PRODUCTION: &str = "prod.example.org";
pub(super) const NON_PRODUCTION: &str = "dev.example.org";
pub(super) const ROTATOR: &str = "/agent/cert-rotator/one";
pub(super) const SECOND_ROTATOR: &str = "/agent/cert-rotator/two";
pub(super) const RESTARTER: &str = "/agent/preview-restarter/one";

/// A resource server of the story: the trust domain it belongs to, its SPIFFE ID, and what its tokens must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResourceRole {
    pub(super) trust_domain: &'static str,
    pub(super) program: &'static str,
    pub(super) spiffe_id: &'static str,
    pub(super) audience: &'static str,
    pub(super) scope: &'static str,
}

pub(super) const INGRESS: ResourceRole = ResourceRole {
    trust_domain: PRODUCTION,
    program: "ingress",
    spiffe_id: "spiffe://prod.example.org/service/ingress",
    audience: "https://ingress.prod.example.org",
    scope: "secrets.update",
};

pub(super) const PREVIEW: ResourceRole = ResourceRole {
    trust_domain: NON_PRODUCTION,
    program: "preview",
    spiffe_id: "spiffe://dev.example.org/service/preview",
    audience: "https://preview.dev.example.org",
    scope: "deployments.restart",
};

/// Everything that the steps act on.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    /// Removes the folder when the story is over, unless it is to be kept.
    _removal: Option<TempDir>,
    marque: PathBuf,
    trust_domains: PathBuf,
    pub(super) endpoints: Option<Endpoints>,
    daemon: Option<Player>,
    pub(super) rotator: Option<Player>,
    pub(super) second_rotator: Option<Player>,
    pub(super) restarter: Option<Player>,
    resources: Vec<Player>,
    pub(super) ingress_url: String,
    pub(super) preview_url: String,
    pub(super) intent: String,
    pub(super) preview_intent: String,
}

impl Stage {
    /// A stage with nothing on it yet.
    pub(super) fn new(options: DemoOptions) -> anyhow::Result<Self> {
        let DemoOptions { keep, trust_domains, output: _ } = options;
        let trust_domains = trust_domains.unwrap_or_else(|| PathBuf::from("trust-domains"));
        ensure!(
            trust_domains.is_dir(),
            "there is no folder `{}` here; run the demo in a checkout, or name one with --trust-domains",
            trust_domains.display()
        );
        let (folder, removal) = match keep {
            Some(folder) => (folder, None),
            None => {
                let made = tempfile::Builder::new()
                    .prefix("mq")
                    .tempdir()
                    .context("create a folder for the story")?;
                (made.path().to_owned(), Some(made))
            }
        };
        let marque = std::env::current_exe().context("find the running program")?;
        for name in ["bin", "log"] {
            let part = folder.join(name);
            std::fs::create_dir_all(&part)
                .with_context(|| format!("create `{}`", part.display()))?;
        }
        let folder = folder.canonicalize().context("find the story's folder")?;
        Ok(Self {
            folder,
            _removal: removal,
            marque,
            trust_domains,
            endpoints: None,
            daemon: None,
            rotator: None,
            second_rotator: None,
            restarter: None,
            resources: Vec::new(),
            ingress_url: String::new(),
            preview_url: String::new(),
            intent: String::new(),
            preview_intent: String::new(),
        })
    }

    /// The `marque` program.
    pub(super) fn marque(&self) -> &Path {
        &self.marque
    }

    /// A path in the story's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the daemon says how it is reached.
    pub(super) fn endpoints_file(&self) -> PathBuf {
        self.path("s").join("endpoints.json")
    }

    /// How one trust domain is reached.
    pub(super) fn at(&self, trust_domain: &str) -> anyhow::Result<&TrustDomainEndpoints> {
        let endpoints = self.endpoints.as_ref().context("the daemon is not up")?;
        endpoints.find(trust_domain).with_context(|| format!("`{trust_domain}` is not served"))
    }

    /// Starts `marque dev` with one registration for each agent, each with its own copy of its program.
    pub(super) async fn start_daemon(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.marque);
        command.arg("dev").arg("--trust-domains").arg(&self.trust_domains);
        command.arg("--certs-dir").arg(self.path("certs"));
        command.arg("--data-dir").arg(self.path("s"));
        for trust_domain in [PRODUCTION, NON_PRODUCTION] {
            command.arg("--listen").arg(format!("{trust_domain}=127.0.0.1:0"));
        }
        for (trust_domain, path) in
            [(PRODUCTION, ROTATOR), (PRODUCTION, SECOND_ROTATOR), (NON_PRODUCTION, RESTARTER)]
        {
            let program = self.copy_program(&program_of(path))?;
            command
                .arg("--agent")
                .arg(format!("spiffe://{trust_domain}{path}={}", program.display()));
        }
        let mut daemon = Player::start("the daemon", &mut command, &self.path("log/daemon.log"))?;
        while !daemon.line().await.with_context(|| self.log_of("daemon"))?.contains("ready") {}
        self.daemon = Some(daemon);
        self.endpoints = Some(Endpoints::read(&self.endpoints_file())?);
        Ok(())
    }

    /// Starts the agent registered under `path`.
    pub(super) fn start_agent(&self, trust_domain: &str, path: &str) -> anyhow::Result<Player> {
        let program = program_of(path);
        let at = self.at(trust_domain)?;
        let mut command = Command::new(self.path("bin").join(&program));
        command.arg("demo-agent").arg("--ca-file").arg(&at.ca_file);
        command.env("SPIFFE_ENDPOINT_SOCKET", format!("unix:{}", at.workload_api_socket.display()));
        Player::start(&program, &mut command, &self.path(&format!("log/{program}.log")))
    }

    /// Registers a resource server through the admin API, starts it, and says where it listens.
    pub(super) async fn start_resource(&mut self, role: ResourceRole) -> anyhow::Result<String> {
        let program = self.copy_program(role.program)?;
        let uid = format!("unix:uid:{}", nix::unistd::geteuid());
        let path = format!("unix:path:{}", program.display());
        let entry = [
            "entry",
            "create",
            "--spiffe-id",
            role.spiffe_id,
            "--role",
            "service",
            "--owner",
            "demo",
            "--expires-in",
            "1d",
        ];
        let selectors = ["--selector", &uid, "--selector", &path];
        let made =
            self.run_marque(role.trust_domain, &[&entry[..], &selectors[..]].concat()).await?;
        said_yes("entry create", &made)?;
        let at = self.at(role.trust_domain)?;
        let mut command = Command::new(&program);
        command.arg("demo-resource");
        command.args([
            "--audience",
            role.audience,
            "--scope",
            role.scope,
            "--issuer",
            &at.issuer_url,
        ]);
        command.args(["--jwks-url", &at.jwks_url]).arg("--ca-file").arg(&at.ca_file);
        command.env("SPIFFE_ENDPOINT_SOCKET", format!("unix:{}", at.workload_api_socket.display()));
        let log = self.path(&format!("log/{}.log", role.program));
        let mut resource = Player::start(role.program, &mut command, &log)?;
        let ready: Value = serde_json::from_str(&resource.line().await?)?;
        self.resources.push(resource);
        member(&ready, "url")
            .as_str()
            .map(ToOwned::to_owned)
            .context("the resource server did not say where it listens")
    }

    /// Runs one `marque` command as the operator of a trust domain.
    pub(super) async fn run_marque(
        &self,
        trust_domain: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Output> {
        Command::new(&self.marque)
            .arg("--endpoints")
            .arg(self.endpoints_file())
            .args(["--trust-domain", trust_domain, "--output", "json"])
            .args(arguments)
            .output()
            .await
            .with_context(|| format!("run `marque {}`", arguments.join(" ")))
    }

    /// Stops every process, the daemon last.
    pub(super) async fn clear(&mut self) -> anyhow::Result<()> {
        let agents = [self.rotator.take(), self.second_rotator.take(), self.restarter.take()];
        for mut player in agents.into_iter().flatten().chain(self.resources.drain(..)) {
            player.stop().await?;
        }
        match self.daemon.take() {
            Some(mut daemon) => daemon.stop().await,
            None => Ok(()),
        }
    }

    fn copy_program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let copy = self.path("bin").join(name);
        std::fs::copy(&self.marque, &copy)
            .with_context(|| format!("copy the program to `{}`", copy.display()))?;
        copy.canonicalize().with_context(|| format!("find `{}`", copy.display()))
    }

    fn log_of(&self, name: &str) -> String {
        let log =
            std::fs::read_to_string(self.path(&format!("log/{name}.log"))).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        format!("its last words: {}", tail.into_iter().rev().collect::<Vec<_>>().join(" | "))
    }
}

/// An error with what the command said, unless it succeeded.
pub(super) fn said_yes(what: &str, output: &Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    bail!("`marque {what}` failed: {}", String::from_utf8_lossy(&output.stderr).trim())
}

fn program_of(path: &str) -> String {
    path.trim_start_matches("/agent/").replace('/', "-")
}
