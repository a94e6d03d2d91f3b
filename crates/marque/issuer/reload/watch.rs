//! `--watch`: reloads when the files of a folder are others than those in force, and have come to rest.
//!
//! The files are read again and again, so that it works wherever they come from: an editor, a mounted volume, a link that is
//! turned. What was refused is not tried again before it changes.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::issuer::folder::FolderFiles;
use crate::issuer::served::Served;

/// How often the files are looked at. They have come to rest when they are the same twice.
const INTERVAL: Duration = Duration::from_secs(1);
/// In whose name.
const BY: &str = "--watch";

/// Until `stop`.
pub(crate) async fn watch(served: Arc<Served>, stop: CancellationToken) {
    let (mut last, mut tried): (Option<FolderFiles>, Option<FolderFiles>) = (None, None);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let Some(now) = served.files().await else { continue };
        let rests = last.as_ref() == Some(&now);
        if rests && now != served.files_in_force() && tried.as_ref() != Some(&now) {
            if let Err(error) = served.reload(BY.to_owned(), false).await {
                let trust_domain = served.lasting().trust_domain();
                tracing::error!(error = &*error, %trust_domain, "the folder could not be read anew");
            } else {
                tried = Some(now.clone());
            }
        }
        last = Some(now);
    }
}
