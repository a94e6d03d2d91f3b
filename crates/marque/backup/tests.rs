use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use super::files::{Digested, Staging};
use super::{
    AuthorityGeneration, BackedUpFile, BackupCode, BackupError, KeptHere, LogPosition, Manifest,
    Work, archive, files, inspect, keeping, place,
};
use crate::clock::{SystemClock, SystemRandomness};

fn manifest(files: Vec<BackedUpFile>) -> Manifest {
    Manifest {
        format: 1,
        version: "0.1.0".to_owned(),
        taken_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        trust_domain: "prod.example.org".parse().unwrap(),
        environment: marque_spiffe::Environment::Production,
        engine: "postgres".to_owned(),
        log: LogPosition { size: 3, root: "A".to_owned(), checkpoint: None },
        kill_epoch: 0,
        authorities: vec![AuthorityGeneration {
            slot: "jwt-svid-a-1".to_owned(),
            public_key_sha256: "00".repeat(32),
            bundle_sequence: 1,
            key_included: true,
        }],
        files,
    }
}

fn listed(path: &str, content: &[u8]) -> BackedUpFile {
    let Digested { bytes, sha256 } = files::digest(content, std::io::sink()).unwrap();
    BackedUpFile { path: path.to_owned(), bytes, sha256 }
}

/// A backup with two files in it.
fn backup(folder: &Path) -> Vec<u8> {
    let (key, journal) = (b"{\"sealed\":\"x\"}", b"");
    std::fs::create_dir(folder.join("keys")).unwrap();
    std::fs::write(folder.join("keys/jwt-svid-a-1.key"), key).unwrap();
    std::fs::write(folder.join("journal.kills"), journal).unwrap();
    let files = vec![listed("journal.kills", journal), listed("keys/jwt-svid-a-1.key", key)];
    let to = folder.join("backup.tar");
    archive::write(files::create(&to).unwrap(), &manifest(files), folder, &Work::quiet()).unwrap();
    std::fs::read(to).unwrap()
}

fn damage(bytes: &[u8]) -> String {
    let error: BackupError = inspect(Cursor::new(bytes)).unwrap_err();
    assert_eq!(error.code(), BackupCode::Damaged);
    error.to_string()
}

#[test]
fn a_backup_reads_back_and_is_unpacked_where_its_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = backup(folder.path());
    let read = inspect(Cursor::new(&bytes)).unwrap();
    assert_eq!(read.files.len(), 2);
    let to = Staging::make(folder.path(), ".to-", &SystemRandomness::default()).unwrap();
    assert_eq!(archive::unpack(Cursor::new(&bytes), to.path()).unwrap(), read);
    let key = std::fs::read(to.path().join("keys/jwt-svid-a-1.key")).unwrap();
    assert_eq!(key, b"{\"sealed\":\"x\"}");
    let path = to.path().to_owned();
    drop(to);
    assert!(!path.exists(), "a folder that was not kept is left over");
}

#[test]
fn whatever_is_changed_in_a_backup_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = backup(folder.path());
    inspect(Cursor::new(&bytes)).unwrap();
    // Every byte: headers, names, sums, times, contents, padding, digest and end.
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let Err(error) = inspect(Cursor::new(&flipped)) else { panic!("a bit of byte {at}") };
        assert_eq!(error.code(), BackupCode::Damaged, "byte {at}: {error}");
    }
    let at = bytes.windows(6).rposition(|part| part == b"sealed").unwrap();
    let mut flipped = bytes;
    flipped[at] ^= 1;
    assert!(damage(&flipped).contains("is not what was backed up"));
}

#[test]
fn whatever_is_missing_from_a_backup_or_was_added_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = backup(folder.path());
    for size in 0..bytes.len() {
        damage(&bytes[..size]);
    }
    let at = bytes.windows(6).rposition(|part| part == b"sealed").unwrap();
    // Cut at the end of the last file but one.
    assert!(damage(&bytes[..at - at % 512 - 512]).contains("cut off"));
    assert!(damage(&[]).contains("empty"));
    assert!(damage(&[0; 4096]).contains("empty"));
    assert!(damage(&[bytes.as_slice(), &[0]].concat()).contains("goes on behind its end"));
    // A file more, in front of the manifest's digest; and as `tar --append` does it.
    let digest = bytes.windows(15).rposition(|part| part == b"manifest.sha256").unwrap();
    let more = &bytes[digest - 1024..digest];
    damage(&[&bytes[..digest], more, &bytes[digest..]].concat());
    damage(&[&bytes[..bytes.len() - 1024], more, &[0; 1024]].concat());
    // The same file twice, and two files in the other order.
    let key = bytes.windows(9).rposition(|part| part == b"keys/jwt-").unwrap();
    damage(&[&bytes[..key + 1024], &bytes[key..]].concat());
    let journal = bytes.windows(13).rposition(|part| part == b"journal.kills").unwrap();
    let (journal, key, rest) =
        (&bytes[journal..key], &bytes[key..key + 1024], &bytes[key + 1024..]);
    damage(
        &[&bytes[..bytes.len() - journal.len() - key.len() - rest.len()], key, journal, rest]
            .concat(),
    );
}

#[test]
fn long_names_and_a_backup_of_no_file_read_back() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("federation")).unwrap();
    let name = format!("federation/{}.json", "a".repeat(200));
    std::fs::write(folder.path().join(&name), b"{}").unwrap();
    for files in [Vec::new(), vec![listed(&name, b"{}")]] {
        let to = folder.path().join(format!("backup-{}.tar", files.len()));
        let (open, manifest) = (files::create(&to).unwrap(), manifest(files));
        archive::write(open, &manifest, folder.path(), &Work::quiet()).unwrap();
        assert_eq!(inspect(std::fs::File::open(&to).unwrap()).unwrap(), manifest);
        // What other programs make of it.
        let checked = std::process::Command::new("tar").arg("-tf").arg(&to).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

#[test]
fn a_folder_that_an_ended_process_left_goes_and_one_that_is_worked_on_or_became_something_stays() {
    let folder = tempfile::tempdir().unwrap();
    let random = SystemRandomness::default();
    let make = || Staging::make(folder.path(), ".to-", &random).unwrap();
    let left = make().keep();
    std::fs::write(left.join("much"), b"content").unwrap();
    let became = make().keep();
    std::fs::remove_file(became.join(files::UNFINISHED)).unwrap();
    std::fs::write(became.join("content"), b"of somebody").unwrap();
    let other = folder.path().join(".to-day");
    std::fs::create_dir(&other).unwrap();
    let (one, two) = (make(), make());
    assert!(!left.exists(), "what an ended process left blocks the disk");
    assert!(one.path().exists() && two.path().exists() && became.exists() && other.exists());
}

#[test]
fn a_start_tidies_up_what_a_restore_left_of_its_own_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let random = SystemRandomness::default();
    let (one, other) = (folder.path().join("one"), folder.path().join("one-more"));
    std::fs::create_dir(&one).unwrap();
    let make =
        |private: &Path| Staging::make(folder.path(), &place::staged(private), &random).unwrap();
    let worked_on = make(&other);
    let (of_other, left) = (make(&other).keep(), make(&one).keep());
    let tidy_up = |private: &Path| place::tidy_up(private, &SystemClock).unwrap();
    tidy_up(&one);
    assert!(!left.exists(), "what an ended restore left blocks the disk");
    assert!(of_other.exists() && worked_on.path().exists(), "they are another trust domain's");
    std::fs::create_dir(&other).unwrap();
    tidy_up(&other);
    assert!(!of_other.exists());
    assert!(worked_on.path().exists(), "somebody works on it");
}

#[test]
fn a_restore_makes_no_bundle_younger_and_takes_no_half_of_one_along() {
    let folder = tempfile::tempdir().unwrap();
    let (private, staged) = (folder.path().join("private"), folder.path().join("staged"));
    for (at, content) in [(&private, "here"), (&staged, "backup")] {
        std::fs::create_dir_all(at.join("federation")).unwrap();
        std::fs::write(at.join("federation/a.example.seen"), content).unwrap();
    }
    std::fs::write(private.join("federation/b.example.seen"), "here").unwrap();
    std::fs::write(staged.join("federation/c.example.seen"), "backup").unwrap();
    std::fs::write(private.join("federation/a.example.json.partial"), "{").unwrap();
    let mut kept = KeptHere::default();
    keeping::bundles(&private, &staged, &mut kept).unwrap();
    assert_eq!(kept, KeptHere::default());
    let listed = files::plain_files(&staged.join("federation")).unwrap().into_iter();
    let listed: Vec<_> =
        listed.map(|(name, path)| (name, std::fs::read_to_string(path).unwrap())).collect();
    let expected =
        [("a.example.seen", "here"), ("b.example.seen", "here"), ("c.example.seen", "backup")];
    assert_eq!(listed, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn a_folder_is_used_by_many_or_restored_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("prod.example.org");
    let alone = place::hold_alone(&folder).unwrap();
    assert_eq!(place::hold(&folder).unwrap_err().code(), BackupCode::UnderWay);
    assert_eq!(place::hold_alone(&folder).unwrap_err().code(), BackupCode::DaemonRunning);
    drop(alone);
    let (one, two) = (place::hold(&folder).unwrap(), place::hold(&folder).unwrap());
    assert_eq!(place::hold_alone(&folder).unwrap_err().code(), BackupCode::DaemonRunning);
    drop((one, two));
    place::hold_alone(&folder).unwrap();
}

#[test]
fn work_that_is_told_to_stop_says_so_and_not_what_it_broke() {
    let stop = tokio_util::sync::CancellationToken::new();
    let work = Work::new(|_step| {}, stop.clone());
    work.begin(super::Step::Copy).unwrap();
    let other = || BackupError::damaged("the backup is cut off");
    assert_eq!(work.blame(other()).code(), BackupCode::Damaged);
    stop.cancel();
    assert_eq!(work.begin(super::Step::Write).unwrap_err().code(), BackupCode::Stopped);
    assert_eq!(work.blame(other()).code(), BackupCode::Stopped);
    assert!(std::io::Read::read(&mut work.reads(&b"abc"[..]), &mut [0; 3]).is_err());
}

#[test]
fn a_manifest_leads_nowhere_else() {
    let parse = |manifest: &Manifest| Manifest::parse(&serde_json::to_vec(manifest).unwrap());
    parse(&manifest(vec![listed("keys/a.key", b""), listed("federation/b.json", b"")])).unwrap();
    for path in [
        "../a",
        "/etc/passwd",
        "keys/../a.key",
        "keys/a/b.key",
        "keys/.a.key",
        "keys/a",
        "sealing.key",
        "federation/",
        "other/a",
        "marque.sqlite",
    ] {
        assert!(parse(&manifest(vec![listed(path, b"")])).is_err(), "{path}");
    }
    let twice = vec![listed("keys/a.key", b""), listed("keys/a.key", b"")];
    assert!(parse(&manifest(twice)).is_err());
    assert!(parse(&Manifest { format: 2, ..manifest(Vec::new()) }).is_err());
    assert!(parse(&Manifest { engine: "sqlite".to_owned(), ..manifest(Vec::new()) }).is_err());
    assert!(parse(&Manifest { engine: "other".to_owned(), ..manifest(Vec::new()) }).is_err());
}

#[test]
fn every_code_is_its_own_and_documented() {
    let page = include_str!("../../../docs/backup.md");
    let codes: BTreeSet<&str> = BackupCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.len(), BackupCode::ALL.len());
    for code in BackupCode::ALL {
        assert!(page.contains(&format!("| `{code}` |")), "{code} is not in docs/backup.md");
        assert!(!code.next().is_empty());
    }
}
