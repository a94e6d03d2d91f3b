use std::sync::Arc;

use marque_audit::merkle::Frontier;
use marque_audit::{Event, EventKind, LogStore as _, StoredCheckpoint};
use marque_store::{SqliteStore, Store};
use marque_testkit::{FixedClock, START};

use super::*;

fn domain() -> TrustDomain {
    "prod.example.org".parse().unwrap()
}

async fn store(folder: &Path, name: &str, leaves: usize) -> Store {
    let clock = Arc::new(FixedClock::default());
    let store = SqliteStore::open(&folder.join(name), &domain(), clock).await.unwrap();
    grow(&store, name, leaves).await;
    store
}

/// Records leaves that say `what`, and keeps a checkpoint, whose signature is nobody's business here.
async fn grow(store: &Store, what: &str, leaves: usize) {
    for _leaf in 0..leaves {
        let event = Event::new(EventKind::EntryCreated, START).with_detail("what", what);
        store.append(event).await.unwrap();
    }
    let size = store.size().await.unwrap();
    let frontier = extended(store, Frontier::new(), size).await.unwrap();
    let text = format!("a checkpoint of {size}");
    store.save_checkpoint(StoredCheckpoint { text, frontier }).await.unwrap();
}

async fn refused(folder: &Path, store: &Store) -> BackupCode {
    HighWater::open(folder, &domain(), store).await.unwrap_err().code()
}

#[tokio::test]
async fn a_store_is_served_only_where_it_goes_on_from_what_was_signed() {
    let folder = tempfile::tempdir().unwrap();
    let here = store(folder.path(), "here", 5).await;
    let mark = HighWater::open(folder.path(), &domain(), &here).await.unwrap();
    assert!(!folder.path().join(FILE).exists(), "nothing was signed yet");
    mark.raise(&here, 0).await.unwrap();
    let read = Mark::read(folder.path(), &domain()).unwrap().unwrap();
    assert_eq!(read.tree.size(), 5);
    assert_eq!(read.checkpoint.as_deref(), Some("a checkpoint of 5"));
    HighWater::open(folder.path(), &domain(), &here).await.unwrap();
    grow(&here, "here", 7).await;
    HighWater::open(folder.path(), &domain(), &here).await.unwrap();

    let shorter = store(folder.path(), "shorter", 4).await;
    assert_eq!(refused(folder.path(), &shorter).await, BackupCode::StoreRolledBack);
    let other = store(folder.path(), "other", 5).await;
    assert_eq!(refused(folder.path(), &other).await, BackupCode::StoreForked);
    grow(&other, "other", 9).await;
    assert_eq!(refused(folder.path(), &other).await, BackupCode::StoreForked);
    let empty = store(folder.path(), "empty", 0).await;
    assert_eq!(refused(folder.path(), &empty).await, BackupCode::StoreRolledBack);
}

#[tokio::test]
async fn a_checkpoint_that_is_behind_or_spoiled_is_no_reason_to_refuse_a_log_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let here = store(folder.path(), "here", 5).await;
    let all = |size| extended(&here, Frontier::new(), size);
    // As a restore notes it, which signs nothing: the log had come further than its newest checkpoint.
    for _leaf in 0..3 {
        here.append(Event::new(EventKind::EntryCreated, START)).await.unwrap();
    }
    let tree = all(8).await.unwrap();
    let mark = Mark { tree, checkpoint: None, kill_epoch: 0, bundle_sequence: 0 };
    mark.write(folder.path(), &domain()).unwrap();
    HighWater::open(folder.path(), &domain(), &here).await.unwrap();
    let spoiled = Frontier::from_parts(16, vec![Hash::of_leaf(b"spoiled")]).unwrap();
    let kept = StoredCheckpoint { text: "spoiled".to_owned(), frontier: spoiled };
    here.save_checkpoint(kept).await.unwrap();
    HighWater::open(folder.path(), &domain(), &here).await.unwrap();
}

#[tokio::test]
async fn kills_and_authorities_that_are_missing_are_noticed_and_a_mark_never_falls() {
    let folder = tempfile::tempdir().unwrap();
    let here = store(folder.path(), "here", 5).await;
    let mark = HighWater::open(folder.path(), &domain(), &here).await.unwrap();
    mark.raise(&here, 3).await.unwrap();
    assert_eq!(refused(folder.path(), &here).await, BackupCode::StoreRolledBack);
    // A database that has forgotten: what was noted stays.
    let shorter = store(folder.path(), "shorter", 4).await;
    mark.raise(&shorter, 9).await.unwrap();
    let read = Mark::read(folder.path(), &domain()).unwrap().unwrap();
    assert_eq!((read.tree.size(), read.bundle_sequence), (5, 3));
    let killed = Mark { bundle_sequence: 0, kill_epoch: 1, ..read };
    killed.write(folder.path(), &domain()).unwrap();
    assert_eq!(refused(folder.path(), &here).await, BackupCode::StoreRolledBack);
}

#[test]
fn a_mark_that_was_altered_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = Frontier::new();
    (0..5_u8).for_each(|leaf| tree.append(Hash::of_leaf(&[leaf])));
    let mark = Mark { tree, checkpoint: None, kill_epoch: 2, bundle_sequence: 3 };
    assert_eq!(Mark::read(folder.path(), &domain()).unwrap(), None);
    mark.write(folder.path(), &domain()).unwrap();
    assert_eq!(Mark::read(folder.path(), &domain()).unwrap(), Some(mark));
    let file = folder.path().join(FILE);
    let text = fs::read_to_string(&file).unwrap();
    for (from, to) in [
        ("\"log_size\": 5", "\"log_size\": 7"),
        ("\"log_root\": \"", "\"log_root\": \"A"),
        ("\"format\": 1", "\"format\": 2"),
        ("prod.example.org", "dev.example.org"),
        ("\"kill_epoch\": 2", "\"kill_epoch\": 2, \"more\": 1"),
        ("{", ""),
    ] {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text);
        fs::write(&file, altered).unwrap();
        let error = Mark::read(folder.path(), &domain()).unwrap_err();
        assert_eq!(error.code(), BackupCode::MarkDamaged, "{to}");
    }
    fs::write(&file, vec![b' '; MAX_BYTES + 1]).unwrap();
    let error = Mark::read(folder.path(), &domain()).unwrap_err();
    assert_eq!(error.code(), BackupCode::MarkDamaged);
}
