//! What a restore leaves for the next start, so that the log says that there was one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore};
use marque_spiffe::Clock;
use serde::{Deserialize, Serialize};

/// Its name in a private folder.
pub(super) const MARKER: &str = "restored.json";

/// What was restored, by whom.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    pub(super) restored_at: Timestamp,
    pub(super) by_uid: u32,
    pub(super) taken_at: Timestamp,
    pub(super) log_size: u64,
    pub(super) log_root: String,
    pub(super) kill_epoch: u64,
    /// SHA-256 of the backup's manifest.
    pub(super) manifest_sha256: String,
    /// How many leaves the checkpoint covers that it was held against.
    pub(super) held_against: Option<u64>,
    /// Whether there was anything here that it was held against.
    #[serde(default)]
    pub(super) compared: bool,
    /// How many kills and lifts of the journal here were taken along.
    #[serde(default)]
    pub(super) kept_orders: usize,
}

impl Marker {
    /// The one in a private folder whose restore is not on record yet.
    pub(super) fn read(private: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(private.join(MARKER)).ok()?).ok()
    }
}

/// Records the restore that this start is the first after, if it is.
///
/// # Errors
/// What the restore left does not read, or it cannot be recorded: then nothing is served.
pub(crate) async fn record_restore(
    private: &Path,
    log: &dyn LogStore,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let path = private.join(MARKER);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
    };
    let marker: Marker = serde_json::from_slice(&bytes)
        .with_context(|| format!("read what the restore said in `{}`", path.display()))?;
    let event = Event::new(EventKind::Restored, clock.now())
        .with_actor(format!("operator:uid({})", marker.by_uid))
        .with_epoch(marker.kill_epoch)
        .with_detail("restored_at", marker.restored_at.to_string())
        .with_detail("taken_at", marker.taken_at.to_string())
        .with_detail("log_size", marker.log_size)
        .with_detail("log_root", marker.log_root)
        .with_detail("manifest_sha256", marker.manifest_sha256)
        .with_detail("held_against", marker.held_against)
        .with_detail("kept_orders", marker.kept_orders);
    log.append(event).await.context("record that the trust domain was restored")?;
    // Recorded first: a crash in between records it twice, and never not at all.
    fs::remove_file(&path).with_context(|| format!("remove `{}`", path.display()))
}
