use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::tiles::{Kind, Tiler, path};
use super::*;
use crate::testing::{MemoryLog, ORIGIN, TestSigner, leaves};
use crate::{Hash, LogStore, Sequencer, merkle};

async fn exported(count: usize, dir: &Path) -> Arc<MemoryLog> {
    let store = Arc::new(MemoryLog::of(leaves(count)));
    Sequencer::new(store.clone(), Arc::new(TestSigner::new(1)), ORIGIN.to_owned())
        .advance()
        .await
        .unwrap();
    export(dir, store.as_ref(), &TestSigner::new(1).key()).await.unwrap();
    store
}

fn verify(dir: &Path) -> Result<crate::VerifiedLog, FolderError> {
    verify_folder(dir, &TestSigner::new(1).key(), None)
}

fn flip(file: &Path, byte: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[byte] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn tiles_are_named_as_the_specification_names_them() {
    let name = |kind, index, width| path(kind, index, width).to_str().unwrap().to_owned();
    assert_eq!(name(Kind::Level(0), 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(name(Kind::Level(2), 0, 256), "tile/2/000");
    assert_eq!(name(Kind::Level(1), 1000, 17), "tile/1/x001/000.p/17");
    assert_eq!(name(Kind::Entries, 999, 1), "tile/entries/999.p/1");
}

#[test]
fn a_tiles_name_has_one_spelling() {
    for name in
        ["0/000", "2/x001/000.p/17", "entries/x001/x234/067", "63/999.p/1", "entries/000.p/255"]
    {
        let tile: TilePath = name.parse().unwrap();
        assert_eq!(tile.to_path().to_str().unwrap(), format!("tile/{name}"));
    }
    for name in [
        "",
        "0",
        "0/",
        "0/0",
        "0/00",
        "0/0000",
        "00/000",
        "64/000",
        "-1/000",
        "+1/000",
        "0/x000/001",
        "0/001/000",
        "0/x001",
        "0/000.p",
        "0/000.p/",
        "0/000.p/0",
        "0/000.p/01",
        "0/000.p/256",
        "0/000.p/+1",
        "0/000.p/1/2",
        "0/000.p/1.p/1",
        "entries",
        "entries/../000",
        "data/000",
        "0/x01/000",
        "0/x0001/000",
        "0/ 00",
        "0/000 ",
        "0/x999/x999/x999/x999/x999/x999/x999/999",
        "0/٠٠٠",
    ] {
        assert_eq!(name.parse::<TilePath>(), Err(NotATile), "{name}");
    }
}

#[test]
fn a_tree_of_70000_has_the_tiles_of_the_specifications_example() {
    let mut tiler = Tiler::default();
    let hashes: Vec<_> = (0..70_000_u32).map(|n| Hash::of_leaf(&n.to_be_bytes())).collect();
    let full: Vec<_> = hashes.iter().flat_map(|hash| tiler.push(*hash)).collect();
    let count = |level| full.iter().filter(|tile| tile.level == level).count();
    assert_eq!((count(0), count(1), count(2)), (273, 1, 0));
    let partial: Vec<_> =
        tiler.finish().map(|tile| (tile.level, tile.index, tile.hashes.len())).collect();
    assert_eq!(partial, [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
    let level_one = full.iter().find(|tile| tile.level == 1).unwrap();
    assert_eq!(level_one.hashes[3], merkle::root(&hashes[768..1024]));
}

#[tokio::test]
async fn a_folder_holds_what_it_should_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let store = exported(600, dir.path()).await;
    assert_eq!(verify(dir.path()).unwrap().leaves, 600);
    let bundle = fs::read(dir.path().join("tile/entries/002.p/88")).unwrap();
    let first = store.leaves(512, 1).await.unwrap().remove(0);
    let length = u16::from_be_bytes([bundle[0], bundle[1]]);
    assert_eq!(usize::from(length), first.bytes().len());
    assert_eq!(&bundle[2..2 + usize::from(length)], first.bytes());
    assert_eq!(fs::metadata(dir.path().join("tile/0/001")).unwrap().len(), 8192);
    assert_eq!(fs::metadata(dir.path().join("tile/1/000.p/2")).unwrap().len(), 64);
}

#[tokio::test]
async fn a_folder_of_exactly_256_leaves_has_no_empty_tile() {
    let dir = tempfile::tempdir().unwrap();
    exported(256, dir.path()).await;
    assert_eq!(verify(dir.path()).unwrap().leaves, 256);
    assert!(dir.path().join("tile/1/000.p/1").exists());
    assert!(!dir.path().join("tile/0/001.p").exists());
}

#[tokio::test]
async fn one_flipped_byte_in_a_leaf_names_the_leaf() {
    let dir = tempfile::tempdir().unwrap();
    exported(300, dir.path()).await;
    let file = dir.path().join("tile/entries/001.p/44");
    let bytes = fs::read(&file).unwrap();
    let first = usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) + 2;
    flip(&file, first + 100);
    let error = verify(dir.path()).unwrap_err();
    let FolderError::Verify(found) = error else { panic!("{error}") };
    assert_eq!((found.kind(), found.seq()), ("leaf_altered", Some(257)));
}

#[tokio::test]
async fn one_flipped_byte_in_any_other_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "checkpoint"] {
        exported(300, dir.path()).await;
        let whole = fs::read(dir.path().join(file)).unwrap();
        flip(&dir.path().join(file), 0);
        assert!(verify(dir.path()).is_err(), "{file}");
        fs::write(dir.path().join(file), whole).unwrap();
        assert!(verify(dir.path()).is_ok(), "{file}");
    }
}

#[tokio::test]
async fn missing_shortened_and_lengthened_files_are_found() {
    let dir = tempfile::tempdir().unwrap();
    exported(300, dir.path()).await;
    for file in ["tile/0/000", "tile/entries/000", "tile/entries/001.p/44", "tile/1/000.p/1"] {
        let file = dir.path().join(file);
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(verify(dir.path()).is_err(), "{} missing", file.display());
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert!(verify(dir.path()).is_err(), "{} shortened", file.display());
        fs::write(&file, [whole.as_slice(), &[0; 32]].concat()).unwrap();
        assert!(verify(dir.path()).is_err(), "{} lengthened", file.display());
        fs::write(&file, whole).unwrap();
    }
    assert!(verify(dir.path()).is_ok());
}

#[tokio::test]
async fn a_grown_log_continues_its_folder_and_old_partial_tiles_may_go() {
    let dir = tempfile::tempdir().unwrap();
    exported(300, dir.path()).await;
    let old = fs::read(dir.path().join("checkpoint")).unwrap();
    exported(520, dir.path()).await;
    let key = TestSigner::new(1).key();
    let verified =
        verify_folder(dir.path(), &key, Some(std::str::from_utf8(&old).unwrap())).unwrap();
    assert_eq!(verified.leaves, 520);
    // The older checkpoint still verifies from the full tiles that grew out of its partial ones.
    fs::remove_dir_all(dir.path().join("tile/entries/001.p")).unwrap();
    fs::remove_dir_all(dir.path().join("tile/0/001.p")).unwrap();
    fs::write(dir.path().join("checkpoint"), old).unwrap();
    assert_eq!(verify(dir.path()).unwrap().leaves, 300);
}

#[tokio::test]
async fn a_fork_is_not_written_over_the_folder_of_another_log() {
    let dir = tempfile::tempdir().unwrap();
    exported(300, dir.path()).await;
    let mut fork = leaves(300);
    let event = fork[2].event().clone().with_ticket("CHG-6666");
    fork[2] =
        crate::Leaf::seal(event, &crate::testing::trust_domain(), 2, fork[2].recorded()).unwrap();
    let store = Arc::new(MemoryLog::of(fork));
    Sequencer::new(store.clone(), Arc::new(TestSigner::new(1)), ORIGIN.to_owned())
        .advance()
        .await
        .unwrap();
    let refused = export(dir.path(), store.as_ref(), &TestSigner::new(1).key()).await;
    assert!(matches!(refused, Err(FolderError::Differs { .. })), "{refused:?}");
    assert!(verify(dir.path()).is_ok());
}
