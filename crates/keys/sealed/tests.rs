use std::{fs, path::PathBuf, thread};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;
use crate::{KeyPurpose, SealedKeyError};

const CONTEXT: &str = "prod.example.org";
const P256: KeyAlgorithm = KeyAlgorithm::EcdsaP256;

struct Fixture {
    dir: tempfile::TempDir,
    sealing: SealingKey,
}

impl Fixture {
    fn new() -> Self {
        let sealing = SealingKey::from_hex(&"3c".repeat(32)).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), sealing }
    }

    fn open(&self) -> Result<SealedFileKeys, KeyError> {
        self.open_as(CONTEXT)
    }

    fn open_as(&self, context: &str) -> Result<SealedFileKeys, KeyError> {
        SealedFileKeys::open(&self.dir.path().join("keys"), &self.sealing, context)
    }

    fn path(&self, slot: &SlotId) -> PathBuf {
        self.dir.path().join("keys").join(file_name(slot))
    }

    fn edit(&self, slot: &SlotId, member: &str, value: serde_json::Value) {
        let mut file = self.file(slot);
        file[member] = value;
        fs::write(self.path(slot), file.to_string()).unwrap();
    }

    fn file(&self, slot: &SlotId) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path(slot)).unwrap()).unwrap()
    }
}

fn slot() -> SlotId {
    SlotId::first(KeyPurpose::JwtSvid)
}

fn refusal(result: Result<impl std::fmt::Debug, KeyError>) -> SealedKeyError {
    match result.unwrap_err() {
        KeyError::Sealed { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_the_same_after_it_is_opened_again() {
    let fixture = Fixture::new();
    for purpose in KeyPurpose::ALL {
        let made = fixture
            .open()
            .unwrap()
            .generate(&SlotId::first(purpose), purpose.default_algorithm())
            .unwrap();
        let found = fixture.open().unwrap().load(&SlotId::first(purpose)).unwrap().unwrap();
        assert_eq!(found.public_key(), made.public_key());
        assert_eq!(found.algorithm(), purpose.default_algorithm());
    }
    let mut expected: Vec<_> = KeyPurpose::ALL.into_iter().map(SlotId::first).collect();
    expected.sort();
    assert_eq!(fixture.open().unwrap().list().unwrap(), expected);
}

#[test]
fn what_a_crash_left_unfinished_goes_with_the_next_opening() {
    let fixture = Fixture::new();
    fixture.open().unwrap();
    let left = fixture.dir.path().join("keys/.marque-unfinished-0011223344556677");
    fs::write(&left, "{").unwrap();
    fixture.open().unwrap();
    assert!(!left.exists());
}

#[test]
fn a_slot_is_never_filled_twice() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    let made = keys.generate(&slot(), P256).unwrap();
    assert!(matches!(keys.generate(&slot(), P256), Err(KeyError::AlreadyExists { .. })));
    assert_eq!(keys.load(&slot()).unwrap().unwrap().public_key(), made.public_key());
}

#[test]
fn of_many_that_open_and_fill_one_slot_at_once_exactly_one_wins() {
    let fixture = Fixture::new();
    let made: Vec<_> = thread::scope(|scope| {
        let fill = || fixture.open().unwrap().generate(&slot(), P256);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(fill)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (winners, losers): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    let winners: Vec<_> = winners.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    for loser in losers {
        let error = loser.unwrap_err();
        assert!(matches!(error, KeyError::AlreadyExists { .. }), "{error:?}");
    }
    let names = fs::read_dir(fixture.dir.path().join("keys")).unwrap().count();
    assert_eq!(names, 1, "nothing unfinished stays behind");
    assert_eq!(
        fixture.open().unwrap().load(&slot()).unwrap().unwrap().public_key(),
        winners[0].public_key()
    );
}

#[test]
fn the_wrong_sealing_key_is_named_and_the_right_one_asked_for() {
    let mut fixture = Fixture::new();
    fixture.open().unwrap().generate(&slot(), P256).unwrap();
    let right = fixture.sealing.id();
    fixture.sealing = SealingKey::from_hex(&"4d".repeat(32)).unwrap();
    let error = refusal(fixture.open());
    let text = error.to_string();
    assert!(matches!(error, SealedKeyError::OtherSealingKey { .. }), "{error:?}");
    assert!(text.contains(&right) && text.contains("start with the sealing key"), "{text}");
}

#[test]
fn an_rsa_key_is_kept_with_its_algorithm_and_reads_back() {
    let fixture = Fixture::new();
    let made = fixture.open().unwrap().generate(&slot(), KeyAlgorithm::Rsa2048).unwrap();
    assert_eq!(fixture.file(&slot())["algorithm"], "rsa-2048");
    let found = fixture.open().unwrap().load(&slot()).unwrap().unwrap();
    assert_eq!(found.algorithm(), KeyAlgorithm::Rsa2048);
    assert_eq!(found.public_key(), made.public_key());
    // Whoever edits the clear member meets the seal.
    fixture.edit(&slot(), "algorithm", "ecdsa-p256".into());
    assert_eq!(refusal(fixture.open()), SealedKeyError::Broken);
}

#[test]
fn a_file_of_version_1_which_names_no_algorithm_still_opens() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    let pkcs8 = generate_pkcs8(&slot(), P256).unwrap();
    let file = format::seal_version_1(&pkcs8, &fixture.sealing, CONTEXT, &slot());
    fs::write(fixture.path(&slot()), &file).unwrap();
    let mut permissions = fs::metadata(fixture.path(&slot())).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(fixture.path(&slot()), permissions).unwrap();
    assert_eq!(keys.load(&slot()).unwrap().unwrap().algorithm(), P256);
    // A file of one version that is dressed as the other does not open.
    fixture.edit(&slot(), "version", 2.into());
    assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Malformed);
    fixture.edit(&slot(), "algorithm", "ecdsa-p256".into());
    assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Broken);
}

#[test]
fn a_key_of_an_algorithm_that_its_purpose_does_not_have_is_not_made() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    for purpose in KeyPurpose::ALL {
        for algorithm in KeyAlgorithm::ALL {
            let slot = SlotId::first(purpose);
            if purpose.algorithms().contains(&algorithm) {
                continue;
            }
            let error = keys.generate(&slot, algorithm).unwrap_err();
            assert!(matches!(error, KeyError::NotAllowed { .. }), "{error:?}");
            assert!(!fixture.path(&slot).exists());
        }
    }
}

#[test]
fn two_files_that_swap_their_names_do_not_open() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    let (one, other) = (SlotId::first(KeyPurpose::JwtSvid), SlotId::first(KeyPurpose::AccessToken));
    keys.generate(&one, P256).unwrap();
    keys.generate(&other, P256).unwrap();
    fs::rename(fixture.path(&one), fixture.path(&one).with_extension("tmp")).unwrap();
    fs::rename(fixture.path(&other), fixture.path(&one)).unwrap();
    fs::rename(fixture.path(&one).with_extension("tmp"), fixture.path(&other)).unwrap();
    assert_eq!(refusal(keys.load(&one)), SealedKeyError::OtherSlot { found: other });
    // Whoever edits the clear member as well meets the seal.
    fixture.edit(&one, "slot", one.to_string().into());
    assert_eq!(refusal(keys.load(&one)), SealedKeyError::Broken);
}

#[test]
fn a_file_of_another_trust_domain_does_not_open() {
    let fixture = Fixture::new();
    fixture.open().unwrap().generate(&slot(), P256).unwrap();
    let other = "dev.example.org";
    assert_eq!(
        refusal(fixture.open_as(other)),
        SealedKeyError::OtherContext { found: CONTEXT.to_owned(), expected: other.to_owned() }
    );
    fixture.edit(&slot(), "context", other.into());
    assert_eq!(refusal(fixture.open_as(other)), SealedKeyError::Broken);
}

#[test]
fn a_file_that_was_sealed_by_another_key_and_relabelled_does_not_open() {
    let mut fixture = Fixture::new();
    fixture.open().unwrap().generate(&slot(), P256).unwrap();
    fixture.sealing = SealingKey::from_hex(&"4d".repeat(32)).unwrap();
    fixture.edit(&slot(), "sealing_key", fixture.sealing.id().into());
    assert_eq!(refusal(fixture.open()), SealedKeyError::Broken);
}

#[test]
fn every_changed_byte_breaks_the_seal() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    keys.generate(&slot(), P256).unwrap();
    let sealed = BASE64_STANDARD.decode(fixture.file(&slot())["sealed"].as_str().unwrap()).unwrap();
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        fixture.edit(&slot(), "sealed", BASE64_STANDARD.encode(changed).into());
        assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Broken, "byte {index}");
    }
    for short in [0, 1, 15, 16, sealed.len() - 1] {
        fixture.edit(&slot(), "sealed", BASE64_STANDARD.encode(&sealed[..short]).into());
        assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Broken, "{short} bytes");
    }
    fixture.edit(&slot(), "sealed", BASE64_STANDARD.encode(&sealed).into());
    keys.load(&slot()).unwrap().unwrap();
    fixture.edit(&slot(), "nonce", "000000000000000000000000".into());
    assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Broken);
}

#[test]
fn a_later_version_is_named_and_anything_else_is_malformed() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    keys.generate(&slot(), P256).unwrap();
    let good = fixture.file(&slot());
    fs::write(fixture.path(&slot()), r#"{"version":3,"wrapped":true}"#).unwrap();
    assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Version { found: 3 });

    let malformed = [
        ("extra", serde_json::json!(1)),
        ("version", "1".into()),
        ("slot", "jwt-svid-z-1".into()),
        ("context", "two words".into()),
        ("context", "x".repeat(MAX_CONTEXT + 1).into()),
        ("sealing_key", "xyz".into()),
        ("nonce", "00".into()),
        ("sealed", "***".into()),
        ("sealed", serde_json::Value::Null),
        ("algorithm", "rsa-1024".into()),
        ("algorithm", serde_json::Value::Null),
    ];
    for (member, value) in malformed {
        fs::write(fixture.path(&slot()), good.to_string()).unwrap();
        fixture.edit(&slot(), member, value);
        assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Malformed, "{member}");
    }
    let text = good.to_string();
    for content in
        ["", "{", text.split_at(text.len() / 2).0, &text.replacen('{', r#"{"version":1,"#, 1)]
    {
        fs::write(fixture.path(&slot()), content).unwrap();
        assert_eq!(refusal(keys.load(&slot())), SealedKeyError::Malformed, "{content}");
    }
}

#[test]
fn a_file_longer_than_a_key_can_be_is_refused() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    keys.generate(&slot(), P256).unwrap();
    let mut content = fs::read(fixture.path(&slot())).unwrap();
    content.resize(MAX_FILE, b' ');
    fs::write(fixture.path(&slot()), &content).unwrap();
    keys.load(&slot()).unwrap().unwrap();
    content.push(b' ');
    fs::write(fixture.path(&slot()), &content).unwrap();
    assert!(matches!(keys.load(&slot()), Err(KeyError::File(FileError::TooLong { .. }))));
}

#[test]
fn every_file_has_its_own_nonce() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    let nonces: std::collections::BTreeSet<_> = KeyPurpose::ALL
        .into_iter()
        .map(|purpose| {
            keys.generate(&SlotId::first(purpose), purpose.default_algorithm()).unwrap();
            fixture.file(&SlotId::first(purpose))["nonce"].to_string()
        })
        .collect();
    assert_eq!(nonces.len(), KeyPurpose::ALL.len());
}

#[test]
fn a_key_file_with_a_strange_name_stops_the_start_and_other_files_do_not() {
    let fixture = Fixture::new();
    fixture.open().unwrap();
    fs::write(fixture.path(&slot()).with_file_name("README"), "x").unwrap();
    fixture.open().unwrap();
    fs::write(fixture.path(&slot()).with_file_name("mine.key"), "x").unwrap();
    assert!(matches!(fixture.open(), Err(KeyError::StrangeFile { .. })));
}

#[test]
fn a_context_is_1_to_255_printable_characters() {
    let fixture = Fixture::new();
    for context in ["", "two words", "tab\t", "ünïcode", &"x".repeat(256)] {
        assert!(matches!(fixture.open_as(context), Err(KeyError::Context)), "{context}");
    }
    fixture.open_as(&"x".repeat(255)).unwrap();
}

#[test]
fn a_removed_key_is_gone_and_removing_it_again_is_no_error() {
    let fixture = Fixture::new();
    let keys = fixture.open().unwrap();
    keys.generate(&slot(), P256).unwrap();
    keys.remove(&slot()).unwrap();
    keys.remove(&slot()).unwrap();
    assert!(keys.load(&slot()).unwrap().is_none());
    assert!(!fixture.path(&slot()).exists());
}

/// Every way in which six bytes in a row may be printed.
fn printed(secret: &[u8]) -> Vec<String> {
    let decimal = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms: Vec<_> = secret
        .windows(6)
        .flat_map(|bytes| [hex::encode(bytes), hex::encode_upper(bytes), decimal(bytes)])
        .collect();
    // Base64 depends on where a run starts, so all three offsets are looked for; the ends mix with their neighbours.
    forms.extend((0..3).map(|offset| {
        let text = BASE64_STANDARD.encode(&secret[offset..]);
        text.chars().take(20).collect()
    }));
    forms
}

#[test]
fn no_byte_of_a_private_or_sealing_key_is_ever_printed() {
    let mut fixture = Fixture::new();
    fixture.sealing =
        SealingKey::from_hex(&hex::encode(&generate_pkcs8(&slot(), P256).unwrap()[36..68]))
            .unwrap();
    let keys = fixture.open().unwrap();
    let mut secrets = printed(fixture.sealing.expose_bytes());
    let mut output = format!("{keys:?} {:?}", fixture.sealing);
    for purpose in KeyPurpose::ALL {
        let slot = SlotId::first(purpose);
        output += &format!("{:?}", keys.generate(&slot, purpose.default_algorithm()).unwrap());
        let content = fs::read(fixture.path(&slot)).unwrap();
        output += &String::from_utf8_lossy(&content);
        let (_, pkcs8) = format::unseal(&content, &fixture.sealing, CONTEXT, &slot).unwrap();
        // Where ring's PKCS#8 documents hold the private half; the public half may be shown.
        let private = if purpose == KeyPurpose::AuditCheckpoint { 16..48 } else { 36..68 };
        secrets.extend(printed(&pkcs8[private]));

        fixture.edit(&slot, "nonce", "000000000000000000000000".into());
        let broken = keys.load(&slot).unwrap_err();
        output += &format!("{broken} {broken:?} {}", std::error::Error::source(&broken).unwrap());
        fs::write(fixture.path(&slot), &content).unwrap();
        let taken = keys.generate(&slot, purpose.default_algorithm()).unwrap_err();
        output += &format!("{taken} {taken:?}");
    }
    let other = SealingKey::from_hex(&"4d".repeat(32)).unwrap();
    let wrong =
        SealedFileKeys::open(&fixture.dir.path().join("keys"), &other, CONTEXT).unwrap_err();
    output += &format!("{wrong} {wrong:?}");
    for secret in secrets {
        assert!(!output.contains(&secret), "a key byte was printed");
    }
}
