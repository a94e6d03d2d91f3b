//! The folders of a trust domain's data, and the Unix sockets in them.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use tokio::net::UnixListener;

use crate::grpc::serve::ask_for_senders;

/// The longest socket path: Linux allows 107 bytes, and clients may add to what they are told.
const MAX_SOCKET_PATH: usize = 100;

pub(super) fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("create `{}`", path.display()))?;
    let allowed = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, allowed)
        .with_context(|| format!("set the mode of `{}`", path.display()))
}

/// Binds a Unix socket whose peers are attested.
pub(super) fn bind_socket(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    bind_prepared(path, mode, ask_for_senders)
}

/// Binds a Unix socket whose peers are nobody in particular.
pub(crate) fn bind_plain_socket(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    bind_prepared(path, mode, |_listener| Ok(()))
}

/// Binds a Unix socket; a file that a daemon left behind is replaced, a living daemon's is not.
fn bind_prepared(
    path: &Path,
    mode: u32,
    prepare: impl FnOnce(&UnixListener) -> std::io::Result<()>,
) -> anyhow::Result<UnixListener> {
    let length = path.as_os_str().len();
    ensure!(
        length <= MAX_SOCKET_PATH,
        "the socket path `{}` has {length} bytes, more than {MAX_SOCKET_PATH}; choose a shorter --data-dir",
        path.display()
    );
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another marque serves `{}`; stop it or choose another --data-dir", path.display());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("replace `{}`", path.display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("bind `{}`", path.display()))?;
    // At once, so that it holds for every connection that may be queued by now.
    prepare(&listener).with_context(|| format!("prepare `{}`", path.display()))?;
    let allowed = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, allowed)
        .with_context(|| format!("set the mode of `{}`", path.display()))?;
    Ok(listener)
}
