//! Servers that are no part of the daemon, as processes of their own: the worked examples, Apache, and what they guard.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use axum::http::HeaderMap;
use axum::{Json, Router};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::daemon::end;
use super::wait::until;

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:<port>`
    pub(crate) base: String,
}

impl Server {
    /// Starts a program that says `listening on <address>` when it does.
    pub(crate) async fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let (mut child, log) = spawn(&mut command, folder, name);
        let address = until("a server that listens", async || {
            let said = still_running(&mut child, &log);
            let line = said.lines().find_map(|line| line.strip_prefix("listening on "));
            line.filter(|_| said.ends_with('\n')).map(ToOwned::to_owned)
        })
        .await;
        Self { child, base: format!("http://{address}") }
    }

    /// Starts a program that says nothing, and waits until its port answers.
    pub(crate) async fn start_on(
        port: u16,
        mut command: Command,
        folder: &Path,
        name: &str,
    ) -> Self {
        let (mut child, log) = spawn(&mut command, folder, name);
        until("a server that answers", async || {
            still_running(&mut child, &log);
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()
        })
        .await;
        Self { child, base: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn spawn(command: &mut Command, folder: &Path, name: &str) -> (Child, PathBuf) {
    fs::create_dir_all(folder).expect("a folder");
    let log = folder.join(format!("{name}.log"));
    let file = File::create(&log).expect("a log file");
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a log file"))
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{name} starts: {error}"));
    (child, log)
}

fn still_running(child: &mut Child, log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    if let Some(status) = child.try_wait().expect("its status") {
        panic!("the server ended at once ({status}): {said}");
    }
    said
}

/// A port that was free a moment ago, for servers that cannot say which one they got.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    listener.local_addr().expect("its address").port()
}

/// A service that knows nothing of tokens and answers every request with its headers; its port.
pub(crate) async fn plain_service() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let echo = async |headers: HeaderMap| {
        let text = |value: &axum::http::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let told = headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        Json(told.collect::<BTreeMap<_, _>>())
    };
    tokio::spawn(async move {
        drop(axum::serve(listener, Router::new().fallback(echo)).await);
    });
    port
}

/// The example `name` of this package, built when it is older than what it is made of.
pub(crate) fn example(name: &str) -> PathBuf {
    let folder = super::programs::this_program();
    let profile = folder.parent().and_then(Path::parent).expect("<target>/<profile>/deps/<test>");
    let program = profile.join("examples").join(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources =
        [root.join("examples").join(name), root.join("crates/verify"), root.join("crates/jose")];
    let newest = sources.iter().map(|folder| newest_in(folder)).max().expect("sources");
    let built = fs::metadata(&program).and_then(|facts| facts.modified());
    if !built.is_ok_and(|built| built >= newest) {
        let release = profile.file_name() == Some(OsStr::new("release"));
        let status = std::process::Command::new(env!("CARGO"))
            .args(["build", "--locked", "--package", "marque", "--example", name])
            .args(release.then_some("--release"))
            .current_dir(root)
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the example `{name}` does not build");
    }
    program
}

fn newest_in(folder: &Path) -> std::time::SystemTime {
    let entries = fs::read_dir(folder).expect("a folder of sources").flatten();
    let times = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            newest_in(&path)
        } else {
            entry.metadata().and_then(|facts| facts.modified()).expect("a time")
        }
    });
    times.max().unwrap_or(std::time::UNIX_EPOCH)
}
