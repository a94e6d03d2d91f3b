//! Node.js: `MARQUE_TEST_NODE_MODULES` names a `node_modules` with the packages of `tests/node/package-lock.json`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::tools::tool;

/// The packages, or `None` where the test is to be skipped.
pub(crate) fn modules() -> Option<PathBuf> {
    tool("NODE_MODULES", "the node_modules of `npm ci` in tests/node, with Node.js 20 on the path")
}

/// A copy of a script in a folder from where it finds the packages.
pub(crate) fn script(modules: &Path, source: &Path, folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder for scripts");
    let link = folder.join("node_modules");
    if !link.exists() {
        symlink(modules.canonicalize().expect("the packages"), link).expect("a link");
    }
    let copy = folder.join(source.file_name().expect("a name"));
    fs::copy(source, &copy).expect("copy the script");
    copy
}
