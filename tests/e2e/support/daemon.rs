//! The real daemon, `marque dev`, with a folder, ports, certificates and agents of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::agent::Workload;
use super::folder;
use super::http::Http;
use super::operator::Operator;
use super::place::Place;
use super::programs::{copy_of_this_program, marque};
use super::wait::{until, within};

pub(crate) const PRODUCTION: &str = "prod.example.org";
pub(crate) const NON_PRODUCTION: &str = "dev.example.org";

/// How long a program may take to end after SIGTERM before it is killed; a failed test may still hold streams open.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// An agent that is registered from the start: a SPIFFE ID and a program of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) trust_domain: &'static str,
    pub(crate) path: &'static str,
    pub(crate) program: &'static str,
}

pub(crate) const ROTATOR: Role =
    Role { trust_domain: PRODUCTION, path: "/agent/cert-rotator/one", program: "cert-rotator-one" };
pub(crate) const SECOND_ROTATOR: Role =
    Role { trust_domain: PRODUCTION, path: "/agent/cert-rotator/two", program: "cert-rotator-two" };
pub(crate) const RESTARTER: Role = Role {
    trust_domain: NON_PRODUCTION,
    path: "/agent/preview-restarter/one",
    program: "preview-restarter-one",
};

/// A running daemon and its folder.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Option<Child>,
    places: Vec<Place>,
    folder: TempDir,
    agents: Vec<(String, PathBuf)>,
    arguments: Vec<String>,
    starts: usize,
}

impl Daemon {
    /// Starts a daemon over the shipped trust domains, with the three usual agents.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_trust_domains| {}).await
    }

    /// The same, after `prepare` has changed this test's own copy of the trust domains.
    pub(crate) async fn start_with(prepare: impl FnOnce(&Path)) -> Self {
        Self::start_told(prepare, Vec::new()).await
    }

    /// The same, with more on its command line.
    pub(crate) async fn start_told(prepare: impl FnOnce(&Path), arguments: Vec<String>) -> Self {
        let mut daemon = Self::prepared(prepare, arguments);
        daemon.launch().await;
        daemon
    }

    /// A daemon that was not started yet.
    pub(crate) fn prepared(prepare: impl FnOnce(&Path), arguments: Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").expect("a folder");
        folder::copy(&folder::shipped(), &folder.path().join("trust-domains"));
        for trust_domain in [PRODUCTION, NON_PRODUCTION] {
            folder::be_patient(&folder.path().join("trust-domains").join(trust_domain));
        }
        prepare(&folder.path().join("trust-domains"));
        let agents = [ROTATOR, SECOND_ROTATOR, RESTARTER]
            .map(|role| (id(role), copy_of_this_program(role.program)))
            .into_iter()
            .collect();
        Self { child: None, places: Vec::new(), folder, agents, arguments, starts: 0 }
    }

    /// Waits until a daemon that was begun has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon was begun");
        within("the daemon's end", child.wait()).await.expect("its status")
    }

    /// Starts the daemon again on the same data, after `kill` or `stop`. Ports change, so everything is read anew.
    pub(crate) async fn launch(&mut self) {
        self.begin();
        self.begun().await;
    }

    /// Starts the daemon again, and does not wait until it serves.
    pub(crate) fn begin(&mut self) {
        assert!(self.child.is_none(), "the daemon is already running");
        self.starts += 1;
        let endpoints = self.endpoints_file();
        if endpoints.exists() {
            fs::remove_file(&endpoints).expect("remove the old endpoints");
        }
        let child = self.command().spawn().expect("the daemon starts");
        self.child = Some(child);
    }

    /// Waits until a daemon that was begun serves.
    pub(crate) async fn begun(&mut self) {
        let endpoints = self.endpoints_file();
        let places = until("the daemon's ready line", async || {
            if let Some(status) =
                self.child.as_mut().and_then(|child| child.try_wait().expect("its status"))
            {
                panic!("the daemon ended at once ({status}): {}", self.output());
            }
            let ready = self.last_output("out").lines().any(|line| line.contains("ready"));
            if ready { Place::read_all(&endpoints) } else { None }
        })
        .await;
        self.places = places;
    }

    /// Starts the daemon again on data that it refuses; what it said.
    pub(crate) async fn is_refused(&mut self) -> String {
        self.begin();
        let mut child = self.child.take().expect("the daemon was begun");
        let status = within("the daemon's end", child.wait()).await.expect("its status");
        let said = self.last_output("err");
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }

    fn command(&self) -> Command {
        let mut command = Command::new(marque());
        command.arg("dev");
        command.arg("--trust-domains").arg(self.path("trust-domains"));
        command.arg("--certs-dir").arg(self.path("certs"));
        command.arg("--data-dir").arg(self.data_dir());
        for trust_domain in [PRODUCTION, NON_PRODUCTION] {
            command.arg("--listen").arg(format!("{trust_domain}=127.0.0.1:0"));
        }
        command.args(&self.arguments);
        for (id, program) in &self.agents {
            command.arg("--agent").arg(format!("{id}={}", program.display()));
        }
        let log = |name| {
            File::create(self.path(&format!("daemon-{}.{name}", self.starts))).expect("a log file")
        };
        command.stdin(Stdio::null()).stdout(log("out")).stderr(log("err")).kill_on_drop(true);
        command
    }

    /// A path in the test's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("s")
    }

    pub(crate) fn endpoints_file(&self) -> PathBuf {
        self.data_dir().join("endpoints.json")
    }

    /// How one trust domain is reached.
    #[track_caller]
    pub(crate) fn place(&self, trust_domain: &str) -> &Place {
        let place = self.places.iter().find(|place| place.name == trust_domain);
        place.unwrap_or_else(|| panic!("`{trust_domain}` is not served: {:?}", self.places))
    }

    /// The command line of one trust domain's operator.
    pub(crate) fn operator(&self, trust_domain: &'static str) -> Operator {
        Operator::new(self.endpoints_file(), trust_domain)
    }

    /// An HTTPS client for one trust domain.
    pub(crate) fn http(&self, trust_domain: &str) -> Http {
        Http::trusting(&self.place(trust_domain).ca_file)
    }

    /// An HTTPS client for one trust domain that shows a certificate: a chain in DER and a key in PKCS#8.
    pub(crate) fn http_with(&self, trust_domain: &str, chain: &[Vec<u8>], key: &[u8]) -> Http {
        Http::showing(&self.place(trust_domain).ca_file, chain, key)
    }

    /// Starts the agent registered for `role`.
    pub(crate) fn agent(&self, role: Role) -> Workload {
        Workload::start(&copy_of_this_program(role.program), self.place(role.trust_domain))
    }

    /// Registers a service through the admin API and starts it.
    pub(crate) async fn service(
        &self,
        trust_domain: &'static str,
        path: &str,
        name: &str,
    ) -> Workload {
        let program = copy_of_this_program(name);
        let id = self.place(trust_domain).id(path);
        self.operator(trust_domain).register(&id, "service", &program).await;
        Workload::start(&program, self.place(trust_domain))
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> Pid {
        let pid = self.child.as_ref().and_then(Child::id).expect("the daemon is running");
        Pid::from_raw(i32::try_from(pid).expect("a process id"))
    }

    /// How many descriptors the daemon has open.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        fs::read_dir(folder).expect("the daemon's descriptors").count()
    }

    /// Kills the daemon as a crash would, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon is running");
        child.kill().await.expect("SIGKILL");
    }

    /// Asks the daemon to end and waits for it.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon is running");
        terminate(&child);
        within("the daemon's end after SIGTERM", child.wait()).await.expect("its status")
    }

    /// Everything that the daemon has written since the test began.
    pub(crate) fn output(&self) -> String {
        let read = |start, name| {
            fs::read_to_string(self.path(&format!("daemon-{start}.{name}"))).unwrap_or_default()
        };
        (1..=self.starts).flat_map(|start| [read(start, "out"), read(start, "err")]).collect()
    }

    fn last_output(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("daemon-{}.{name}", self.starts))).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(30).collect();
            eprintln!(
                "the daemon's last words:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        end(&mut child);
    }
}

/// Ends a process by SIGTERM, so that it can end its own children, and by SIGKILL when that takes too long.
pub(crate) fn end(child: &mut Child) {
    terminate(child);
    let deadline = Instant::now() + DROP_LIMIT;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child.start_kill());
}

fn terminate(child: &Child) {
    if let Some(pid) = child.id() {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("SIGTERM");
    }
}

fn id(role: Role) -> String {
    format!("spiffe://{}{}", role.trust_domain, role.path)
}
