use signed_note::{Note, StandardVerifier, VerifierList};

use super::*;
use crate::Hash;
use crate::testing::{ORIGIN, TestSigner};

/// The key and note of the documentation of golang.org/x/mod/sumdb/note, from which the format comes.
const PUBLISHED_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PUBLISHED_NOTE: &str = concat!(
    "If you think cryptography is the answer to your problem,\n",
    "then you don't know what your problem is.\n\n",
    "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
);

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size: 42, root: Hash::of_leaf(b"root") }
}

fn signed() -> (SignedCheckpoint, VerifierKey) {
    let signer = TestSigner::new(1);
    (SignedCheckpoint::sign(&checkpoint(), &signer).unwrap(), signer.key())
}

#[test]
fn the_published_note_verifies_and_its_key_writes_back() {
    let key: VerifierKey = PUBLISHED_KEY.parse().unwrap();
    assert_eq!(key.to_string(), PUBLISHED_KEY);
    let body = verify_note(PUBLISHED_NOTE, &key).unwrap();
    assert!(body.ends_with("what your problem is.\n"));
    let changed = PUBLISHED_NOTE.replacen("think", "thunk", 1);
    assert!(matches!(verify_note(&changed, &key), Err(AuditError::BadSignature { .. })));
}

#[test]
fn another_implementation_verifies_what_we_sign() {
    let (signed, key) = signed();
    let note = Note::from_bytes(signed.text().as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key.to_string()).unwrap();
    let (verified, unverified) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    assert_eq!(note.text(), checkpoint().to_note_body().as_bytes());
}

#[test]
fn a_signed_checkpoint_verifies_with_its_own_key_alone() {
    let (signed, key) = signed();
    assert_eq!(SignedCheckpoint::verify(signed.text(), &key).unwrap(), signed);
    let other = SignedCheckpoint::verify(signed.text(), &TestSigner::new(2).key());
    assert!(matches!(other, Err(AuditError::NotSignedBy { .. })), "{other:?}");
}

#[test]
fn every_changed_byte_of_the_body_is_found() {
    let (signed, key) = signed();
    let body = checkpoint().to_note_body().len();
    for at in 0..body {
        let mut bytes = signed.text().as_bytes().to_vec();
        bytes[at] ^= 1;
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(SignedCheckpoint::verify(&text, &key).is_err(), "byte {at}");
        }
    }
}

#[test]
fn signatures_of_strangers_are_ignored_and_do_not_help() {
    let (signed, key) = signed();
    let stranger = SignedCheckpoint::sign(&checkpoint(), &TestSigner::new(3)).unwrap();
    let line = stranger.text().rsplit_once("\n\n").unwrap().1;
    let both = format!("{}{line}", signed.text());
    assert!(SignedCheckpoint::verify(&both, &key).is_ok());
    assert!(SignedCheckpoint::verify(stranger.text(), &key).is_err());
}

#[test]
fn a_key_signs_only_for_the_log_it_is_named_for() {
    let (signer, elsewhere) = (TestSigner::new(1), "dev.example.org/marque/audit".to_owned());
    let other = Checkpoint { origin: elsewhere.clone(), ..checkpoint() };
    assert!(SignedCheckpoint::sign(&other, &signer).is_err());
    let (signed, _) = signed();
    let renamed = VerifierKey::new(&elsewhere, *signer.key().public_key()).unwrap();
    assert!(SignedCheckpoint::verify(signed.text(), &renamed).is_err());
}

#[test]
fn malformed_notes_are_refused() {
    let (signed, key) = signed();
    let text = signed.text();
    let (body, line) = text.split_once("\n\n").unwrap();
    let many = format!("{body}\n\n{}", line.repeat(MAX_SIGNATURES));
    assert!(SignedCheckpoint::verify(&many, &key).is_ok());
    for (why, spoiled) in [
        ("no signatures", format!("{body}\n")),
        ("an empty signature block", format!("{body}\n\n\n")),
        ("an unfinished last line", text.trim_end().to_owned()),
        ("a carriage return", text.replacen('\n', "\r\n", 1)),
        ("a hyphen for the dash", text.replace('\u{2014}', "-")),
        ("a signature of four bytes", format!("{text}\u{2014} somebody AAAAAA==\n")),
        ("a name with a plus", format!("{text}\u{2014} some+body AAAAAAA=\n")),
        ("one signature too many", format!("{body}\n\n{}", line.repeat(MAX_SIGNATURES + 1))),
        ("too many bytes", format!("{}\n{text}", "x".repeat(MAX_CHECKPOINT_BYTES))),
    ] {
        assert!(SignedCheckpoint::verify(&spoiled, &key).is_err(), "{why}");
    }
}

#[test]
fn malformed_keys_are_refused() {
    for spoiled in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+Ahpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10",
        "PeterNeumann+c74f20a3+AQ==",
    ] {
        assert!(spoiled.parse::<VerifierKey>().is_err(), "{spoiled}");
    }
}
