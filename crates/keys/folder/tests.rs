use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;

fn private() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open_or_create_private(&dir.path().join("keys")).unwrap();
    (dir, folder)
}

#[test]
fn a_new_folder_and_its_files_are_closed_to_others() {
    let (_dir, folder) = private();
    folder.create("one", b"content").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path), 0o700);
    assert_eq!(mode(&folder.path_of("one")), 0o600);
    assert_eq!(folder.read("one", 7).unwrap().unwrap().as_slice(), b"content");
}

#[test]
fn a_private_folder_that_others_may_look_into_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o710, 0o701, 0o740, 0o704, 0o720, 0o702, 0o755, 0o1777] {
        fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        let error = Folder::open_or_create_private(dir.path()).unwrap_err();
        assert!(matches!(error, FileError::NotPrivate { .. }), "{mode:o}: {error:?}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}

#[test]
fn an_existing_file_is_never_replaced_and_leaves_nothing_behind() {
    let (_dir, folder) = private();
    folder.create("one", b"first").unwrap();
    assert!(matches!(folder.create("one", b"second"), Err(FileError::Exists { .. })));
    assert_eq!(folder.read("one", 64).unwrap().unwrap().as_slice(), b"first");
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1);
}

#[test]
fn a_link_in_the_place_of_a_new_file_is_not_followed() {
    let (dir, folder) = private();
    symlink(dir.path().join("elsewhere"), folder.path_of("one")).unwrap();
    assert!(matches!(folder.create("one", b"content"), Err(FileError::Exists { .. })));
    assert!(!dir.path().join("elsewhere").exists());
}

#[test]
fn what_a_crash_left_unfinished_is_not_a_file_of_the_folder() {
    let (_dir, folder) = private();
    fs::write(folder.path_of(format!("{UNFINISHED}0011223344556677")), b"hal").unwrap();
    assert!(folder.names().unwrap().is_empty());
    folder.create("one", b"content").unwrap();
    assert_eq!(folder.names().unwrap(), ["one"]);
}

/// What a process that was killed while it wrote leaves behind.
fn leave_unfinished(folder: &Folder) -> PathBuf {
    let path = folder.path_of(format!("{UNFINISHED}0011223344556677"));
    fs::write(&path, b"hal").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn what_a_crash_left_unfinished_goes_with_the_next_opening() {
    let (_dir, folder) = private();
    let left = leave_unfinished(&folder);
    folder.remove_unfinished();
    assert!(!left.exists());
}

#[test]
fn what_another_process_is_writing_stays() {
    let (_dir, folder) = private();
    let unfinished = folder.write_unfinished(b"content").unwrap();
    let path = folder.path_of(&unfinished.name);
    Folder::open_or_create_private(&folder.path).unwrap().remove_unfinished();
    assert!(path.exists());
    drop(unfinished);
    assert!(!path.exists());
}

#[test]
fn only_files_that_were_written_here_are_removed() {
    let (_dir, folder) = private();
    let strange = [
        format!("{UNFINISHED}001122334455667"),
        format!("{UNFINISHED}00112233445566778"),
        format!("{UNFINISHED}001122334455667g"),
        format!("{UNFINISHED}001122334455667A"),
        ".unfinished-0011223344556677".to_owned(),
        "one".to_owned(),
    ];
    for name in &strange {
        fs::write(folder.path_of(name), b"x").unwrap();
    }
    let link = format!("{UNFINISHED}aaaaaaaaaaaaaaaa");
    symlink(folder.path_of("one"), folder.path_of(&link)).unwrap();
    let inner = format!("{UNFINISHED}bbbbbbbbbbbbbbbb");
    fs::create_dir(folder.path_of(&inner)).unwrap();
    folder.remove_unfinished();
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), strange.len() + 2);
}

#[test]
fn an_unfinished_file_of_another_user_stays() {
    let (_dir, folder) = private();
    let left = leave_unfinished(&folder);
    let owner = rustix::fs::Uid::from_raw(4242);
    if rustix::fs::chown(&left, Some(owner), None).is_err() {
        return; // Only root may give files away.
    }
    folder.remove_unfinished();
    assert!(left.exists());
}

#[test]
fn a_file_that_others_may_touch_is_refused() {
    let (_dir, folder) = private();
    folder.create("one", b"content").unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
        fs::set_permissions(folder.path_of("one"), Permissions::from_mode(mode)).unwrap();
        assert!(matches!(folder.read("one", 64), Err(FileError::NotPrivate { .. })), "{mode:o}");
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    let (_dir, folder) = private();
    folder.create("one", b"content").unwrap();
    let owner = rustix::fs::Uid::from_raw(4242);
    if rustix::fs::chown(folder.path_of("one"), Some(owner), None).is_err() {
        return; // Only root may give files away.
    }
    assert!(matches!(folder.read("one", 64), Err(FileError::ForeignOwner { owner: 4242, .. })));
}

#[test]
fn only_regular_files_are_read() {
    let (_dir, folder) = private();
    folder.create("real", b"content").unwrap();
    symlink("real", folder.path_of("link")).unwrap();
    fs::create_dir(folder.path_of("folder")).unwrap();
    let pipe = folder.path_of("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for name in ["link", "folder", "pipe"] {
        let error = folder.read(name, 64).unwrap_err();
        assert!(matches!(error, FileError::NotAFile { .. }), "{name}: {error:?}");
    }
}

#[test]
fn a_file_one_byte_too_long_is_refused() {
    let (_dir, folder) = private();
    folder.create("one", b"12345678").unwrap();
    assert_eq!(folder.read("one", 8).unwrap().unwrap().len(), 8);
    assert!(matches!(folder.read("one", 7), Err(FileError::TooLong { limit: 7, .. })));
}

#[test]
fn a_missing_file_is_none_and_may_be_removed() {
    let (_dir, folder) = private();
    assert!(folder.read("one", 64).unwrap().is_none());
    folder.remove("one").unwrap();
    folder.create("one", b"content").unwrap();
    folder.remove("one").unwrap();
    assert!(folder.read("one", 64).unwrap().is_none());
}

#[test]
fn a_folder_whose_parent_is_missing_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let error = Folder::open_or_create_private(&dir.path().join("a/b")).unwrap_err();
    assert!(matches!(error, FileError::Io { operation: "create", .. }), "{error:?}");
}
