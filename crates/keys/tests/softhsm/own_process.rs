//! A test in a process of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the folder of a test is named to the process that runs it.
const FOLDER: &str = "MARQUE_SOFTHSM_TEST_FOLDER";

/// The library, where it is installed.
pub(crate) fn module() -> Option<PathBuf> {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so"];
    places.into_iter().map(PathBuf::from).find(|path| path.exists())
}

/// Runs `body` in a new process whose SoftHSM keeps its tokens in a folder of its own; `name` is the test's whole name.
pub(crate) fn run(name: &str, body: impl FnOnce(&Path)) {
    if let Some(folder) = variable(FOLDER) {
        return body(Path::new(&folder));
    }
    if module().is_none() {
        assert!(variable("MARQUE_REQUIRE_SOFTHSM").is_none(), "SoftHSM 2 is not installed");
        println!("skipped: SoftHSM 2 is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("tokens")).expect("a folder");
    let settings = folder.path().join("softhsm2.conf");
    let tokens = folder.path().join("tokens");
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
    fs::write(&settings, text).expect("settings");
    let program = env::current_exe().expect("this program");
    let ran = Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env("SOFTHSM2_CONF", &settings)
        .env(FOLDER, folder.path())
        .output()
        .expect("a process");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

#[expect(clippy::disallowed_methods, reason = "the settings of a test come from its environment")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
