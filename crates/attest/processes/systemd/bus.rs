//! A real message bus, and a systemd on it that says what a test wants.

use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::unistd::{Uid, User};
use tempfile::TempDir;
use zbus::{Fd, OwnedObjectPath};

use crate::processes::role::Started;

const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/agent_2eservice";

/// `dbus-daemon` at a socket of its own.
pub(super) struct Bus {
    folder: TempDir,
    daemon: Option<Started>,
}

impl Bus {
    /// `None`, with a reason, where there is no `dbus-daemon`.
    pub(super) fn start() -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "how CI says what must be there")]
        let required = std::env::var_os("MARQUE_REQUIRE_DBUS").is_some_and(|value| value == "1");
        let found = Command::new("dbus-daemon").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            assert!(!required, "MARQUE_REQUIRE_DBUS=1, but there is no dbus-daemon");
            eprintln!("skipped: needs dbus-daemon (Debian: dbus-daemon)");
            return None;
        }
        if !matches!(User::from_uid(Uid::effective()), Ok(Some(_))) {
            eprintln!("skipped: a bus takes nobody without an account");
            return None;
        }
        let mut bus = Self { folder: TempDir::new().unwrap(), daemon: None };
        bus.revive();
        Some(bus)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("bus")
    }

    pub(super) fn kill(&mut self) {
        self.daemon = None;
    }

    /// Starts it, again at the same socket, and waits until it listens.
    pub(super) fn revive(&mut self) {
        let config = self.folder.path().join("bus.conf");
        let socket = self.socket();
        std::fs::remove_file(&socket).ok();
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow send_destination="*" eavesdrop="true"/>
            <allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#,
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg(format!("--config-file={}", config.display()));
        command.args(["--nofork", "--nopidfile", "--print-address=1"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut daemon = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:"), "{address}");
        self.daemon = Some(Started(daemon));
    }

    async fn connect(&self) -> zbus::Connection {
        let address = format!("unix:path={}", self.socket().display());
        zbus::connection::Builder::address(address.as_str()).build().await.unwrap()
    }

    /// Plays a systemd that knows pidfds.
    pub(super) async fn play(&self, script: &Script) -> Systemd {
        self.play_as(script, Current(script.clone())).await
    }

    /// Plays a systemd from before version 253.
    pub(super) async fn play_older(&self, script: &Script) -> Systemd {
        self.play_as(script, Older(script.clone())).await
    }

    async fn play_as(
        &self,
        script: &Script,
        manager: impl zbus::object_server::Interface,
    ) -> Systemd {
        let connection = self.connect().await;
        let server = connection.object_server();
        server.at("/org/freedesktop/systemd1", manager).await.unwrap();
        server.at(UNIT_PATH, Unit(script.clone())).await.unwrap();
        server.at(UNIT_PATH, Service(script.clone())).await.unwrap();
        connection.request_name("org.freedesktop.systemd1").await.unwrap();
        Systemd(connection)
    }
}

/// A systemd on a bus, until dropped.
pub(super) struct Systemd(zbus::Connection);

impl Systemd {
    pub(super) async fn stop(self) {
        self.0.close().await.unwrap();
    }
}

type Answer = dyn Fn(i32) -> Result<[u8; 16], Refusal> + Send + Sync;

/// What systemd says.
#[derive(Clone)]
pub(super) struct Script {
    /// The invocation id of the unit of a pid, or why there is none.
    pub(super) answer: Arc<Answer>,
    pub(super) control_group: String,
    /// Held by a test for as long as systemd shall not answer.
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
    pub(super) asked: Arc<Mutex<Vec<i32>>>,
}

impl Script {
    pub(super) fn new(
        answer: impl Fn(i32) -> Result<[u8; 16], Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self {
            answer: Arc::new(answer),
            control_group: "/system.slice/agent.service".to_owned(),
            gate: Arc::default(),
            asked: Arc::default(),
        }
    }

    async fn invocation(&self, pid: i32) -> Result<[u8; 16], Refusal> {
        self.asked.lock().unwrap().push(pid);
        let _open = self.gate.lock().await;
        (self.answer)(pid)
    }
}

/// systemd's own errors.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
pub(super) enum Refusal {
    #[zbus(name = "NoUnitForPID")]
    NoUnitForPid(String),
    NoSuchProcess(String),
}

fn unit_path() -> OwnedObjectPath {
    UNIT_PATH.try_into().unwrap()
}

struct Current(Script);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Current {
    #[zbus(name = "GetUnitByPIDFD")]
    async fn get_unit_by_pidfd(
        &self,
        pidfd: Fd<'_>,
    ) -> Result<(OwnedObjectPath, String, Vec<u8>), Refusal> {
        let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let info = std::fs::read_to_string(info).unwrap();
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap();
        let invocation = self.0.invocation(pid.trim().parse().unwrap()).await?;
        Ok((unit_path(), "agent.service".to_owned(), invocation.to_vec()))
    }
}

struct Older(Script);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Older {
    #[zbus(name = "GetUnitByPID")]
    async fn get_unit_by_pid(&self, pid: u32) -> Result<OwnedObjectPath, Refusal> {
        self.0.invocation(pid.try_into().unwrap()).await?;
        Ok(unit_path())
    }
}

struct Unit(Script);

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn id(&self) -> &str {
        "agent.service"
    }

    #[zbus(property)]
    fn fragment_path(&self) -> &str {
        "/etc/systemd/system/agent.service"
    }

    #[zbus(property, name = "InvocationID")]
    fn invocation_id(&self) -> Vec<u8> {
        (self.0.answer)(0).unwrap().to_vec()
    }
}

struct Service(Script);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn slice(&self) -> &str {
        "system.slice"
    }

    #[zbus(property)]
    fn control_group(&self) -> &str {
        &self.0.control_group
    }
}
