use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn noon() -> Timestamp {
    "2026-09-15T12:00:00Z".parse().unwrap()
}

fn read(folder: &Path) -> [Vec<u8>; 3] {
    [CA_FILE, CERTIFICATE_FILE, KEY_FILE].map(|name| fs::read(folder.join(name)).unwrap())
}

#[test]
fn a_second_start_uses_what_the_first_made() {
    let folder = tempfile::tempdir().unwrap();
    let made = DevCertificates::make_or_load(folder.path(), noon()).unwrap();
    assert_eq!(made.ca_path(), folder.path().join(CA_FILE));
    let first = read(folder.path());
    DevCertificates::make_or_load(folder.path(), noon()).unwrap();
    assert_eq!(read(folder.path()), first);
}

#[test]
fn only_the_owner_reads_the_key_and_no_authority_key_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    DevCertificates::make_or_load(folder.path(), noon()).unwrap();
    let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [LOCK_FILE, CA_FILE, KEY_FILE, CERTIFICATE_FILE]);
}

#[test]
fn certificates_about_to_expire_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    DevCertificates::make_or_load(folder.path(), noon()).unwrap();
    let first = read(folder.path());
    DevCertificates::make_or_load(folder.path(), noon() + (DEV_LIFETIME - DEV_RENEWAL)).unwrap();
    assert_eq!(read(folder.path()), first, "still good on the last day before renewal");
    DevCertificates::make_or_load(
        folder.path(),
        noon() + (DEV_LIFETIME - DEV_RENEWAL) + Duration::from_secs(1),
    )
    .unwrap();
    assert_ne!(read(folder.path()), first);
}

#[test]
fn a_set_that_does_not_fit_together_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    DevCertificates::make_or_load(other.path(), noon()).unwrap();
    for name in [CA_FILE, CERTIFICATE_FILE, KEY_FILE] {
        DevCertificates::make_or_load(folder.path(), noon()).unwrap();
        fs::copy(other.path().join(name), folder.path().join(name)).unwrap();
        assert!(load(folder.path(), noon()).is_err(), "{name}");
        DevCertificates::make_or_load(folder.path(), noon()).unwrap();
        load(folder.path(), noon()).unwrap();
    }
}

#[test]
fn a_damaged_or_half_written_set_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    for name in [CA_FILE, CERTIFICATE_FILE, KEY_FILE] {
        DevCertificates::make_or_load(folder.path(), noon()).unwrap();
        fs::write(folder.path().join(name), "-----BEGIN").unwrap();
        fs::write(folder.path().join(format!(".{name}.new")), "left over").unwrap();
        DevCertificates::make_or_load(folder.path(), noon()).unwrap();
        load(folder.path(), noon()).unwrap();
    }
}

#[test]
fn starts_at_the_same_moment_agree_on_one_set() {
    let folder = tempfile::tempdir().unwrap();
    let sets: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    DevCertificates::make_or_load(folder.path(), noon()).unwrap();
                    read(folder.path())
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(sets.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let error = DevCertificates::make_or_load(&blocked, noon()).unwrap_err();
    assert!(error.to_string().contains(&*blocked.to_string_lossy()), "{error}");
}
