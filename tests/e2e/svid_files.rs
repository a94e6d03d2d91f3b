//! `marque svid` as people and sidecars use it: SVIDs on the screen, in files that fit one another through rotations and a
//! restart of the daemon, and their validation.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::operator::run_marque;
use crate::support::programs::marque;
use crate::support::wait::{until, within};

/// Registers the command line itself, with SVIDs that last for seconds.
async fn register(daemon: &Daemon) -> String {
    let id = daemon.place(NON_PRODUCTION).id("/service/cli");
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let path = format!("unix:path:{}", marque().display());
    daemon
        .operator(NON_PRODUCTION)
        .json(&[
            "entry",
            "create",
            "--expires-in",
            "1d",
            "--spiffe-id",
            &id,
            "--role",
            "service",
            "--owner",
            "group:tests",
            "--selector",
            &uid,
            "--selector",
            &path,
            "--x509-lifetime",
            "3s",
            "--jwt-lifetime",
            "4s",
        ])
        .await;
    id
}

/// Starts `marque svid write` with these arguments more.
fn write(daemon: &Daemon, more: &[&str]) -> Child {
    Command::new(marque())
        .args(["svid", "write", "--socket", &daemon.place(NON_PRODUCTION).workload_api()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(fs::File::create(daemon.path("write.out")).expect("a file"))
        .stderr(fs::File::create(daemon.path("write.err")).expect("a file"))
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("SIGTERM");
}

/// The leaf of a pair of files, after their key was found to be that of the certificate.
fn fitting_leaf(folder: &Path) -> CertificateDer<'static> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(folder.join("svid.pem"))
            .and_then(Iterator::collect)
            .expect("a chain");
    let key = PrivateKeyDer::from_pem_file(folder.join("svid_key.pem")).expect("a key");
    let provider = rustls::crypto::ring::default_provider();
    let leaf = chain[0].clone();
    rustls::sign::CertifiedKey::from_der(chain, key, &provider)
        .expect("the key of the certificate");
    leaf
}

/// What the reload command has kept, in order.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let names =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut kept: Vec<PathBuf> = names.filter(|path| path.extension().is_none()).collect();
    kept.sort_by_key(|path| {
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok())
    });
    kept
}

/// How many certificates those are. A reload may come for a token alone.
fn leaves(folder: &Path) -> usize {
    let mut leaves: Vec<_> = kept(folder).iter().map(|folder| fitting_leaf(folder)).collect();
    leaves.dedup();
    leaves.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_rotate_together_with_a_reload_each_time_and_survive_a_restart_of_the_daemon() {
    let mut daemon = Daemon::start().await;
    register(&daemon).await;
    let (dir, record) = (daemon.path("svid"), daemon.path("record"));
    fs::create_dir(&record).unwrap();
    // Keeps what a reloading program would read.
    let script = format!(
        "cd {record} && n=$(ls -d [0-9]* 2>/dev/null | wc -l) && mkdir $n.new && cp -L {dir}/svid.pem {dir}/svid_key.pem \
         {dir}/jwt_svid.token $n.new/ && mv $n.new $n && exit 3",
        record = record.display(),
        dir = dir.display(),
    );
    let dir_text = dir.display().to_string();
    let mut child = write(
        &daemon,
        &[
            "--dir",
            &dir_text,
            "--jwt-audience",
            "https://api.example.org",
            "--reload-first",
            "--reload-command",
            "sh",
            "-c",
            &script,
        ],
    );
    until("three rotations", async || (leaves(&record) >= 4).then_some(())).await;
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("svid_key.pem"), mode("jwt_svid.token")), (0o600, 0o600));
    assert_eq!(
        (mode("svid.pem"), mode("bundle.pem"), mode("jwt_bundle.json")),
        (0o644, 0o644, 0o644)
    );

    // Without a daemon the files stay; with the next one they go on.
    daemon.stop().await;
    let before = fitting_leaf(&dir);
    until("word of the interruption", async || {
        fs::read_to_string(daemon.path("write.err")).unwrap().contains("trying again").then_some(())
    })
    .await;
    assert_eq!(fitting_leaf(&dir), before);
    daemon.launch().await;
    let seen = leaves(&record);
    until("rotations after the restart", async || (leaves(&record) >= seen + 2).then_some(()))
        .await;

    terminate(&child);
    let status = within("the end after SIGTERM", child.wait()).await.unwrap();
    assert!(
        status.success(),
        "{status}: {}",
        fs::read_to_string(daemon.path("write.err")).unwrap()
    );
    let kept = kept(&record);
    let token = |folder: &PathBuf| fs::read_to_string(folder.join("jwt_svid.token")).unwrap();
    assert_ne!(token(&kept[0]), token(&kept[kept.len() - 1]), "the token was never renewed");
    // That the reload failed (exit 3) is said and ends nothing.
    let said = fs::read_to_string(daemon.path("write.err")).unwrap();
    assert!(said.contains("the reload failed") && said.contains("exit status: 3"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_writes_what_there_is_or_fails_and_a_folder_for_everybody_is_refused() {
    let daemon = Daemon::start().await;
    let socket = daemon.place(NON_PRODUCTION).workload_api();
    let dir = daemon.path("svid").display().to_string();
    let run = async |more: &[&str]| {
        let line =
            [&["svid", "write", "--once", "--socket", &socket, "--dir", &dir], more].concat();
        run_marque(&line.iter().map(ToString::to_string).collect::<Vec<_>>()).await
    };
    let refused = run(&[]).await.failed();
    assert!(refused.err.contains("no identity issued"), "{refused:?}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);

    register(&daemon).await;
    run(&[]).await.succeeded();
    fitting_leaf(Path::new(&dir));
    run(&["--bundle-only", "--jwt-bundle"]).await.succeeded();
    assert!(Path::new(&dir).join("bundle.pem").exists());
    assert!(
        fs::read_to_string(Path::new(&dir).join("jwt_bundle.json")).unwrap().contains("\"keys\"")
    );
    assert!(!Path::new(&dir).join("svid_key.pem").exists(), "a key that nobody asked for");
    run(&["--svid-file", "tls.crt", "--key-file", "tls.key", "--key-mode", "0640"])
        .await
        .succeeded();
    let key = fs::metadata(Path::new(&dir).join("tls.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o640);
    let refused = run(&["--hint", "another"]).await.failed();
    assert!(refused.err.contains("not among"), "{refused:?}");

    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = run(&[]).await.failed();
    assert!(refused.err.contains("everybody may write"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn svids_are_shown_checked_and_validate_by_api_and_by_files() {
    let daemon = Daemon::start().await;
    let id = register(&daemon).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let path = |name: &str| daemon.path(name).display().to_string();

    let x509 = operator.json(&["svid", "x509", "--write", &path("svid")]).await;
    assert_eq!(x509[0]["spiffe_id"], id);
    assert!(x509[0]["chain"].as_array().unwrap().contains(&x509[0]["thumbprint"]));
    let (chain, bundle) = (path("svid/svid.pem"), path("svid/bundle.pem"));
    let valid = ["svid", "validate", "x509", &chain, "--bundle", &bundle, "--spiffe-id"];
    assert_eq!(operator.json(&[&valid[..], &[&id]].concat()).await["spiffe_id"], id);
    let other = daemon.place(NON_PRODUCTION).id("/service/other");
    operator.run(&[&valid[..], &[&other]].concat()).await.failed();

    let audience = "https://api.example.org";
    let jwt = operator.json(&["svid", "jwt", "--audience", audience]).await;
    assert_eq!(jwt[0]["claims"]["sub"], id);
    fs::write(daemon.path("jwt"), jwt[0]["svid"].as_str().unwrap()).unwrap();
    let file = format!("@{}", path("jwt"));
    let valid = operator.json(&["svid", "validate", "jwt", "--audience", audience, &file]).await;
    assert_eq!((&valid["valid"], &valid["spiffe_id"]), (&true.into(), &id.clone().into()));
    let refused =
        operator.run(&["svid", "validate", "jwt", "--audience", "another", &file]).await.failed();
    assert!(refused.err.contains("token_invalid"), "{refused:?}");

    let wit = operator.json(&["svid", "wit"]).await;
    assert_eq!(wit[0]["spiffe_id"], id);
    assert!(wit[0]["holder_thumbprint"].is_string() && wit[0].get("key").is_none(), "{wit}");
    fs::write(daemon.path("wit"), wit[0]["svid"].as_str().unwrap()).unwrap();
    let file = format!("@{}", path("wit"));
    assert_eq!(operator.json(&["svid", "validate", "wit", &file]).await["spiffe_id"], id);
    operator.run(&["svid", "validate", "jwt", "--audience", audience, &file]).await.failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_each_rotation_until_it_is_interrupted() {
    let daemon = Daemon::start().await;
    let id = register(&daemon).await;
    let out = daemon.path("watch.out");
    let mut child = Command::new(marque())
        .args(["svid", "watch", "--output", "json", "--socket"])
        .arg(daemon.place(NON_PRODUCTION).workload_api())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let updates = || -> Vec<Value> {
        let text = fs::read_to_string(&out).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    until("three rotations", async || (updates().len() >= 4).then_some(())).await;
    terminate(&child);
    assert!(within("the end after SIGTERM", child.wait()).await.unwrap().success());
    let updates = updates();
    assert_eq!(updates[0]["added"][0], id);
    for update in &updates[1..] {
        assert_eq!(update["rotated"][0], id, "{update}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_4_the_environment_names_the_socket_and_anything_but_a_unix_path_is_refused() {
    let daemon = Daemon::start().await;
    let id = register(&daemon).await;
    let run = async |socket: &str| {
        let output = Command::new(marque())
            .args(["--output", "json", "svid", "x509"])
            .env("SPIFFE_ENDPOINT_SOCKET", socket)
            .output()
            .await
            .expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = run(&daemon.place(NON_PRODUCTION).workload_api()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&id), "{said}");
    for (socket, why) in [
        ("tcp:127.0.0.1:8080", "over TCP"),
        ("unix://localhost/run/a.sock", "no authority"),
        ("unix:run/a.sock", "not absolute"),
        ("/run/a.sock", "names no Unix socket"),
    ] {
        let (code, said) = run(socket).await;
        assert_eq!(code, Some(2), "{socket}: {said}");
        assert!(said.contains(why), "{socket}: {said}");
    }
}
