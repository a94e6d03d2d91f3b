use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use super::{
    AuthorityGeneration, BackedUpFile, BackupCode, BackupError, LogPosition, Manifest, archive,
    files, inspect,
};
use crate::clock::SystemRandomness;

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
    let (bytes, sha256) = files::digest(content, std::io::sink()).unwrap();
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
    archive::write(files::create(&to).unwrap(), &manifest(files), folder).unwrap();
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
    let to = files::Staging::make(folder.path(), ".to-", &SystemRandomness::default()).unwrap();
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
    let at = bytes.windows(6).rposition(|part| part == b"sealed").unwrap();
    let mut flipped = bytes.clone();
    flipped[at] ^= 1;
    assert!(damage(&flipped).contains("is not what was backed up"));
    // Cut at the end of the last file but one.
    assert!(damage(&bytes[..at - at % 512 - 512]).contains("missing"));
    assert!(damage(&[]).contains("empty"));
    assert!(damage(&[0; 4096]).contains("empty"));
    let mut text = bytes;
    let name = text.windows(13).position(|part| part == b"manifest.json").unwrap();
    text[name] = b'x';
    damage(&text);
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
