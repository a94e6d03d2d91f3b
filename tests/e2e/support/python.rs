//! Python: `MARQUE_TEST_PYTHON` names an interpreter of a virtual environment that has `.ci/requirements.txt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::tools::tool;

/// The interpreter, or `None` where the test is to be skipped.
pub(crate) fn interpreter() -> Option<PathBuf> {
    tool("PYTHON", "a Python with the packages of .ci/requirements.txt")
}

/// Runs `tests/python/<name>.py` and gives it an order, in JSON on its standard input.
pub(crate) async fn run_script(python: &Path, name: &str, order: &Value) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name);
    let mut child = Command::new(python)
        .arg(script.with_extension("py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONWARNINGS", "ignore")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let order = order.to_string();
    let mut stdin = child.stdin.take().expect("standard input");
    let feed = tokio::spawn(async move { stdin.write_all(order.as_bytes()).await });
    let output = child.wait_with_output().await.expect("the script ends");
    let fed = feed.await.expect("the writer ends");
    fed.unwrap_or_else(|error| panic!("the script reads: {error}: {output:?}"));
    output
}

/// What a script said, which is JSON.
pub(crate) fn said(output: &Output) -> Value {
    let said = serde_json::from_slice(&output.stdout);
    said.unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Gives a script an interpreter of its own: a virtual environment whose program is a copy, so that the process is told
/// from every other Python on the machine.
pub(crate) fn own_interpreter(python: &Path, folder: &Path, name: &str) -> PathBuf {
    let environment = python.parent().and_then(Path::parent).expect("<environment>/bin/python");
    let own = folder.join(name);
    fs::create_dir_all(own.join("bin")).expect("a folder for the interpreter");
    fs::copy(environment.join("pyvenv.cfg"), own.join("pyvenv.cfg"))
        .expect("MARQUE_TEST_PYTHON is of a venv");
    std::os::unix::fs::symlink(environment.join("lib"), own.join("lib"))
        .expect("a link to the packages");
    let program = own.join("bin").join(name);
    fs::copy(python.canonicalize().expect("the interpreter"), &program)
        .expect("copy the interpreter");
    program.canonicalize().expect("the copy")
}
