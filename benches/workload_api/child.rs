//! This program once more, playing a part: how it is started, told things and looked at.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, Stdin};
use tokio::process::{Child as Process, ChildStdin, ChildStdout, Command};

/// The first argument of a child.
pub(crate) const PART: &str = "part";

/// A child process and the lines between it and us.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// A child that serves a socket in a folder of its own.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Child {
    /// Starts a part and waits until it says that it is ready.
    pub(crate) async fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(program)
            .arg(PART)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program again");
        let orders = process.stdin.take().expect("a pipe");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut child = Self { process, orders, lines };
        assert_eq!(child.line().await, "ready");
        child
    }

    pub(crate) async fn tell(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("a pipe");
    }

    /// The next line that it says.
    pub(crate) async fn line(&mut self) -> String {
        self.lines.next_line().await.expect("a line").expect("the child goes on")
    }

    /// Microseconds of processor time that all its threads have used.
    pub(crate) fn processor_micros(&self) -> f64 {
        let tasks = format!("/proc/{}/task", self.process.id().expect("it runs"));
        let used = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread may end meanwhile.
            let used = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            used.split_whitespace().next()?.parse::<f64>().ok()
        };
        std::fs::read_dir(tasks).expect("its threads").filter_map(used).sum::<f64>() / 1e3
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> f64 {
        let status = format!("/proc/{}/status", self.process.id().expect("it runs"));
        let status = std::fs::read_to_string(status).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
    }
}

impl Server {
    pub(crate) async fn start(part: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").expect("a folder");
        let socket = folder.path().join("w.sock");
        let program = super::support::programs::this_program();
        let child = Child::start(&program, &[part, &socket.display().to_string()]).await;
        Self { child, socket, _folder: folder }
    }
}

/// In a child: the lines from whoever started it.
pub(crate) fn commands() -> Lines<BufReader<Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}

/// In a child: a line for whoever started it.
pub(crate) fn say(line: &str) {
    println!("{line}");
}
