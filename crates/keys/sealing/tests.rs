use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;
use crate::FileError;

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// One byte less.
const SHORT: &str = HEX.split_at(2).1;

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_sealing_key_reads_back_and_is_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealing.key");
    let made = SealingKey::create_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(SealingKey::from_file(&path).unwrap().id(), made.id());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else stays behind");
}

#[test]
fn a_sealing_key_that_a_crash_left_half_made_does_not_stay_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealing.key");
    let left = dir.path().join(".marque-unfinished-0011223344556677");
    write(&left, HEX, 0o600);
    SealingKey::create_file(&path).unwrap();
    assert!(!left.exists());
    write(&left, HEX, 0o600);
    SealingKey::from_file(&path).unwrap();
    assert!(!left.exists());
}

#[test]
fn an_existing_sealing_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealing.key");
    let first = SealingKey::create_file(&path).unwrap();
    assert!(matches!(
        SealingKey::create_file(&path),
        Err(SealingKeyError::File(FileError::Exists { .. }))
    ));
    assert_eq!(SealingKey::from_file(&path).unwrap().id(), first.id());
}

#[test]
fn a_sealing_key_file_holds_64_hexadecimal_characters_and_a_line_feed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealing.key");
    for content in [
        String::new(),
        "\n".to_owned(),
        HEX.to_owned(),
        format!("{}\n", SHORT),
        format!("{HEX}00\n"),
        format!("{HEX}\r\n"),
        format!("{HEX}\n\n"),
        format!("{}zz\n", SHORT),
    ] {
        write(&path, &content, 0o600);
        let error = SealingKey::from_file(&path).unwrap_err();
        assert!(
            matches!(
                error,
                SealingKeyError::FileForm { .. } | SealingKeyError::File(FileError::TooLong { .. })
            ),
            "{content:?}: {error:?}"
        );
    }
    write(&path, &format!("{HEX}\n"), 0o600);
    assert_eq!(SealingKey::from_file(&path).unwrap().id(), SealingKey::from_hex(HEX).unwrap().id());
}

#[test]
fn a_sealing_key_that_others_may_touch_is_refused_with_the_command_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealing.key");
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644] {
        write(&path, &format!("{HEX}\n"), mode);
        let error = SealingKey::from_file(&path).unwrap_err();
        assert!(
            matches!(&error, SealingKeyError::File(FileError::NotPrivate { mode: seen, .. }) if *seen == mode)
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    write(&path, &format!("{HEX}\n"), 0o400);
    SealingKey::from_file(&path).unwrap();
}

#[test]
fn a_sealing_key_in_a_folder_where_others_may_swap_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("etc");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("sealing.key");
    write(&path, &format!("{HEX}\n"), 0o600);
    let read_with = |mode| {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        SealingKey::from_file(&path)
    };
    for mode in [0o777, 0o775, 0o757] {
        let error = read_with(mode).unwrap_err();
        assert!(matches!(error, SealingKeyError::File(FileError::NotPrivate { .. })), "{error:?}");
    }
    for mode in [0o700, 0o755, 0o1777] {
        read_with(mode).unwrap();
    }
}

#[test]
fn a_mounted_secret_may_be_a_link() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("data"), &format!("{HEX}\n"), 0o600);
    symlink("data", dir.path().join("sealing.key")).unwrap();
    SealingKey::from_file(&dir.path().join("sealing.key")).unwrap();
}

#[test]
fn a_path_without_a_file_name_is_refused() {
    for path in ["/", "..", ""] {
        let error = SealingKey::from_file(Path::new(path)).unwrap_err();
        assert!(
            matches!(error, SealingKeyError::File(FileError::NotAFile { .. })),
            "{path}: {error:?}"
        );
    }
}

#[test]
fn neither_the_key_nor_a_mistyped_one_is_ever_shown() {
    let key = SealingKey::from_hex(HEX).unwrap();
    assert!(!format!("{key:?}").contains("0001"), "{key:?}");
    for text in [SHORT, "0g", &format!("{HEX}f"), &HEX.replace('f', "q")] {
        let error = SealingKey::from_hex(text).unwrap_err();
        assert_eq!(error.to_string(), "a sealing key is exactly 64 hexadecimal characters");
        assert_eq!(format!("{error:?}"), "Form");
    }
}

#[test]
fn the_id_tells_sealing_keys_apart() {
    let other = HEX.replace("00", "ff");
    assert_ne!(SealingKey::from_hex(HEX).unwrap().id(), SealingKey::from_hex(&other).unwrap().id());
    assert_eq!(SealingKey::from_hex(HEX).unwrap().id().len(), 16);
}

#[test]
fn a_derived_key_is_of_its_purpose_context_and_sealing_key_alone() {
    let (one, two) = (
        SealingKey::from_hex(&"01".repeat(32)).unwrap(),
        SealingKey::from_hex(&"02".repeat(32)).unwrap(),
    );
    let derived = one.derive("dpop-nonce", "prod.example.org");
    assert_eq!(derived, one.derive("dpop-nonce", "prod.example.org"));
    for other in [
        two.derive("dpop-nonce", "prod.example.org"),
        one.derive("dpop-nonce", "dev.example.org"),
        one.derive("status-list", "prod.example.org"),
        one.derive("dpop-nonce\0prod", "example.org"),
    ] {
        assert_ne!(derived, other);
    }
    assert_ne!(derived.as_slice(), one.expose_bytes());
}
