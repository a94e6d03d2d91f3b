use super::*;
use crate::testing::{ORIGIN, TestSigner, TestWitness, at};
use crate::{Checkpoint, Hash};

fn signed() -> SignedCheckpoint {
    let checkpoint =
        Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: Hash::of_leaf(b"root") };
    SignedCheckpoint::sign(&checkpoint, &TestSigner::new(1)).unwrap()
}

fn witnesses() -> Vec<TestWitness> {
    (3..6_u8).map(|seed| TestWitness::new(&format!("witness.example.org/w{seed}"), seed)).collect()
}

/// The checkpoint as these witnesses cosigned it, each at its second.
fn cosigned(by: &[(&TestWitness, u64)]) -> String {
    let signed = signed();
    let lines: String =
        by.iter().map(|(witness, second)| witness.cosigns(&signed, at(*second))).collect();
    format!("{}{lines}", signed.text())
}

fn policy(quorum: usize) -> WitnessPolicy {
    WitnessPolicy::new(witnesses().iter().map(TestWitness::key).collect(), quorum).unwrap()
}

#[test]
fn a_key_is_read_as_it_is_written_and_the_log_s_own_is_none_of_a_witness() {
    let key = witnesses()[0].key();
    assert_eq!(key.to_string().parse::<CosignerKey>().unwrap(), key);
    assert!(TestSigner::new(1).key().to_string().parse::<CosignerKey>().is_err());
    assert!(key.to_string().parse::<crate::VerifierKey>().is_err());
    assert!(key.to_string().replace("w3+", "w4+").parse::<CosignerKey>().is_err());
}

#[test]
fn the_published_example_has_the_form_that_is_read() {
    // C2SP tlog-cosignature shows this note; the key of its witness is not published, its name and time are.
    let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let (body, lines) = note::read(note).unwrap();
    let time = u64::from_be_bytes(*lines[1].signature.first_chunk().unwrap());
    assert_eq!((lines[1].name, time), ("witness.example.com/w1", 1_679_315_147));
    assert_eq!(lines[1].signature.len(), 8 + 64);
    let said = String::from_utf8(message(1_679_315_147, body)).unwrap();
    assert_eq!(
        said,
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
         CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    );
    assert_eq!(witnesses()[0].key().find(note).unwrap(), None);
}

#[test]
fn so_many_witnesses_have_to_have_cosigned_and_not_one_less() {
    let [one, two, three] = &witnesses()[..] else { unreachable!() };
    let note = cosigned(&[(one, 1), (three, 2)]);
    assert_eq!(policy(2).check(&note, at(0)).unwrap().len(), 2);
    let missing = policy(3).check(&note, at(0)).unwrap_err();
    assert!(matches!(missing, UnwitnessedError::Missing { found: 2, quorum: 3 }), "{missing}");
    assert_eq!(missing.kind(), "cosignatures_missing");
    // One that cosigns twice is one, and its later word counts.
    let twice = cosigned(&[(two, 9), (two, 5)]);
    assert_eq!(policy(2).check(&twice, at(0)).unwrap_err().kind(), "cosignatures_missing");
    assert_eq!(policy(1).check(&twice, at(0)).unwrap()[0].at(), at(9));
}

#[test]
fn a_cosignature_of_another_checkpoint_or_time_is_false() {
    let one = &witnesses()[0];
    let note = cosigned(&[(one, 1)]);
    policy(1).check(&note, at(0)).unwrap();
    let other = note.replacen("\n7\n", "\n8\n", 1);
    assert_eq!(policy(1).check(&other, at(0)).unwrap_err().kind(), "cosignature_false");
    // Beside a true one, a false one is found all the same.
    let line = cosigned(&[(one, 2)]).lines().last().unwrap().to_owned();
    let (start, blob) = line.rsplit_once(' ').unwrap();
    use base64::Engine as _;
    let mut bytes = base64::engine::general_purpose::STANDARD.decode(blob).unwrap();
    bytes[11] ^= 1;
    let blob = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let forged = format!("{note}{start} {blob}\n");
    assert_eq!(policy(1).check(&forged, at(0)).unwrap_err().kind(), "cosignature_false");
    // Times that no calendar has.
    for time in [u64::MAX, i64::MAX as u64] {
        bytes.splice(4..12, time.to_be_bytes());
        let blob = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let forged = format!("{note}{start} {blob}\n");
        assert_eq!(policy(1).check(&forged, at(0)).unwrap_err().kind(), "cosignature_false");
    }
}

#[test]
fn cosignatures_may_be_so_old_and_not_a_second_older() {
    let [one, two, _] = &witnesses()[..] else { unreachable!() };
    let note = cosigned(&[(one, 100), (two, 110)]);
    let within = |quorum| policy(quorum).within(Duration::from_secs(60));
    assert!(within(2).check(&note, at(160)).is_ok());
    let old = within(2).check(&note, at(161)).unwrap_err();
    assert!(matches!(old, UnwitnessedError::TooOld { fresh: 1, quorum: 2, .. }), "{old}");
    assert_eq!(old.kind(), "cosignatures_too_old");
    assert!(within(1).check(&note, at(161)).is_ok());
    // Nor is a witness believed whose clock is as far ahead.
    assert!(within(1).check(&note, at(50)).is_ok());
    assert!(within(1).check(&note, at(39)).is_err());
}

#[test]
fn a_policy_that_cannot_be_met_or_counts_one_witness_twice_is_none() {
    let keys: Vec<_> = witnesses().iter().map(TestWitness::key).collect();
    for quorum in [0, 4] {
        let refused = WitnessPolicy::new(keys.clone(), quorum).unwrap_err();
        assert_eq!(refused, PolicyError::Quorum);
    }
    let renamed = CosignerKey::new("witness.example.org/other", *keys[0].public_key()).unwrap();
    let twice = vec![keys[0].clone(), renamed];
    assert_eq!(WitnessPolicy::new(twice, 1).unwrap_err(), PolicyError::SameKey);
}

#[test]
fn a_checkpoint_with_cosignatures_is_still_the_log_s_and_has_each_line_once() {
    let one = &witnesses()[0];
    let found = one.key().find(&cosigned(&[(one, 1)])).unwrap().unwrap();
    let cosigned = signed().cosigned([&found, &found]).cosigned([&found]);
    assert_eq!(cosigned.text().matches(found.line()).count(), 1);
    let read = SignedCheckpoint::verify(cosigned.text(), &TestSigner::new(1).key()).unwrap();
    assert_eq!(read, cosigned);
    policy(1).check(read.text(), at(0)).unwrap();
}
