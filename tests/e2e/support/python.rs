//! Python: `MARQUE_TEST_PYTHON` names an interpreter of a virtual environment that has `.ci/requirements.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use super::tools::tool;

/// The interpreter, or `None` where the test is to be skipped.
pub(crate) fn interpreter() -> Option<PathBuf> {
    tool("PYTHON", "a Python with the packages of .ci/requirements.txt")
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
