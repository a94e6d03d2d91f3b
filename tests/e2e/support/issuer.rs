//! The real daemon as `marque issuer`, serving one trust domain of a name that does not ship.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::daemon::NON_PRODUCTION;
use super::folder;
use super::operator::Operator;
use super::place::Place;
use super::programs::marque;
use super::wait::{until, within};

/// An issuer; killed when dropped.
#[derive(Debug)]
pub(crate) struct Issuer {
    child: Child,
    folder: TempDir,
    name: &'static str,
    environment: Vec<(&'static str, PathBuf)>,
    pub(crate) place: Place,
}

impl Issuer {
    /// Starts the shipped non-production trust domain under another name.
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::start_with(name, |_folder| {}).await
    }

    /// The same, after `prepare` has changed the trust domain's folder.
    pub(crate) async fn start_with(name: &'static str, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_in(name, Vec::new(), prepare).await
    }

    /// The same, with these variables in its environment.
    pub(crate) async fn start_in(
        name: &'static str,
        environment: Vec<(&'static str, PathBuf)>,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let folder = set_up(name, prepare);
        let mut child = launch(folder.path(), &environment);
        let place = served(folder.path(), &mut child).await;
        Self { child, folder, name, environment, place }
    }

    /// The same, for a folder by which it must not come up; what it said.
    pub(crate) async fn fails_with(name: &'static str, prepare: impl FnOnce(&Path)) -> String {
        let folder = set_up(name, prepare);
        let mut child = launch(folder.path(), &[]);
        let status = within("the issuer's end", child.wait()).await.expect("its status");
        assert!(!status.success(), "{status}");
        fs::read_to_string(folder.path().join("log")).expect("its log")
    }

    /// Ends it, waits for `meanwhile`, and starts it again over the same data.
    pub(crate) async fn down_while(&mut self, meanwhile: impl Future<Output = ()>) {
        self.stop().await;
        meanwhile.await;
        self.restart(|| ()).await;
    }

    /// Ends it, does `between`, and starts it again over the same data.
    pub(crate) async fn restart(&mut self, between: impl FnOnce()) {
        self.stop().await;
        between();
        self.child = launch(self.folder.path(), &self.environment);
        self.place = served(self.folder.path(), &mut self.child).await;
    }

    /// Starts it again where it must not come up; what it said.
    pub(crate) async fn restart_fails(&mut self, between: impl FnOnce()) -> String {
        self.stop().await;
        between();
        self.child = launch(self.folder.path(), &self.environment);
        let status = within("the issuer's end", self.child.wait()).await.expect("its status");
        assert!(!status.success(), "{status}");
        fs::read_to_string(self.path("log")).expect("its log")
    }

    async fn stop(&mut self) {
        super::daemon::end(&mut self.child);
        drop(fs::remove_file(self.path("d/endpoints.json")));
    }

    /// A path in the test's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command line of its operator.
    pub(crate) fn operator(&self) -> Operator {
        let endpoints: PathBuf = self.folder.path().join("d/endpoints.json");
        Operator::new(endpoints, self.name)
    }
}

/// The folders of an issuer that has not begun.
fn set_up(name: &str, prepare: impl FnOnce(&Path)) -> TempDir {
    let folder = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").expect("a folder");
    let path = |name: &str| folder.path().join(name);
    folder::copy(&folder::shipped().join(NON_PRODUCTION), &path("t").join(name));
    rename(&path("t"), name);
    folder::be_patient(&path("t").join(name));
    prepare(&path("t").join(name));
    fs::write(path("sealing.key"), format!("{}\n", "5a".repeat(32))).expect("a key");
    fs::set_permissions(path("sealing.key"), fs::Permissions::from_mode(0o600)).expect("0600");
    folder
}

fn launch(folder: &Path, environment: &[(&'static str, PathBuf)]) -> Child {
    let path = |name: &str| folder.join(name);
    let log = File::create(path("log")).expect("a log file");
    Command::new(marque())
        .arg("issuer")
        .args([Path::new("--trust-domains"), &path("t"), Path::new("--data-dir"), &path("d")])
        .args([Path::new("--certs-dir"), &path("c")])
        .args([Path::new("--sealing-key"), &path("sealing.key")])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the issuer starts")
}

async fn served(folder: &Path, child: &mut Child) -> Place {
    let path = |name: &str| folder.join(name);
    let places = until("the issuer's endpoints", async || {
        if let Some(status) = child.try_wait().expect("its status") {
            let said = fs::read_to_string(path("log")).unwrap_or_default();
            panic!("the issuer ended at once ({status}): {said}");
        }
        Place::read_all(&path("d/endpoints.json"))
    })
    .await;
    places.into_iter().next().expect("one trust domain")
}

/// Says `name` wherever the shipped trust domain's name stood, and listens on any port.
fn rename(folder: &Path, name: &str) {
    for item in fs::read_dir(folder).expect("read a folder") {
        let path = item.expect("an entry").path();
        if path.is_dir() {
            rename(&path, name);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        let text = text.replace(NON_PRODUCTION, name).replace("127.0.0.1:8444", "127.0.0.1:0");
        fs::write(&path, text).expect("write a file");
    }
}
