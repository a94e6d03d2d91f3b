//! A trust domain's state has one who changes it: the daemon, a restore and commands without the daemon keep each other out.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use crate::backup::{about, backup, refused, restore, state};
use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::operator::Said;
use crate::support::programs::marque;
use crate::support::wait::until;

const RUNNING: &str = "restore_daemon_running";
const UNDER_WAY: &str = "restore_under_way";

/// Asks for a certificate without the daemon.
async fn csr(daemon: &Daemon) -> Said {
    let (documents, data) = (daemon.path("trust-domains"), daemon.data_dir());
    about(NON_PRODUCTION, &documents, &data, &["authority", "csr", "--offline"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_sockets_nobody_finds_still_keeps_others_from_its_state() {
    let mut daemon = Daemon::start().await;
    let same = backup(&daemon, "same.marque-backup").await;
    let folder = daemon.data_dir().join(NON_PRODUCTION);
    let sockets = ["admin.sock", "workload.sock"].map(|name| folder.join(name));
    for socket in &sockets {
        fs::rename(socket, socket.with_extension("elsewhere")).expect("move the socket");
    }
    refused(&csr(&daemon).await, RUNNING);
    refused(&restore(&daemon, &same, &[]).await, RUNNING);
    // A backup takes nothing away.
    backup(&daemon, "another.marque-backup").await;
    for socket in &sockets {
        fs::rename(socket.with_extension("elsewhere"), socket).expect("move the socket back");
    }
    daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
    daemon.stop().await;
    let said = csr(&daemon).await;
    assert!(!said.err.contains(RUNNING), "nobody has it any more: {said:?}");
}

/// A restore that waits in its first word, until that is heard.
struct Waiting {
    child: Child,
    heard: std::io::PipeReader,
}

impl Waiting {
    async fn begin(daemon: &Daemon, file: &std::path::Path) -> Self {
        let (heard, mut said) = std::io::pipe().expect("a pipe");
        nix::fcntl::fcntl(&said, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).expect("its size");
        said.write_all(&[b' '; 4096]).expect("it is full");
        let child = Command::new(marque())
            .args(["--output", "json", "restore", "--progress", "--trust-domain", NON_PRODUCTION])
            .arg("--data-dir")
            .arg(daemon.data_dir())
            .arg("--trust-domains")
            .arg(daemon.path("trust-domains"))
            .arg("--from")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("a restore");
        let folder = daemon.data_dir().join(NON_PRODUCTION);
        until("the folder that is worked in", async || {
            let listing = fs::read_dir(&folder).expect("the folder").flatten();
            let mut names = listing.map(|item| item.file_name().to_string_lossy().into_owned());
            names.any(|name| name.starts_with(".restoring-")).then_some(())
        })
        .await;
        Self { child, heard }
    }

    fn finish(mut self) {
        let mut told = String::new();
        self.heard.read_to_string(&mut told).expect("what it says");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_restore_is_at_work_no_daemon_starts_and_nobody_else_changes_the_state() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let same = backup(&daemon, "same.marque-backup").await;
    let waiting = Waiting::begin(&daemon, &same).await;
    let said = daemon.is_refused().await;
    assert!(said.contains(UNDER_WAY) && said.contains("--offline"), "{said}");
    refused(&restore(&daemon, &same, &[]).await, RUNNING);
    refused(&csr(&daemon).await, RUNNING);
    let to = daemon.path("early.marque-backup").display().to_string();
    refused(&state(&daemon, &daemon.data_dir(), &["backup", "--to", &to]).await, UNDER_WAY);
    waiting.finish();
    daemon.launch().await;
    daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
}
