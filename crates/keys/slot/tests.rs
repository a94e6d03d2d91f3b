use proptest::prelude::*;

use super::*;

fn every_slot(generation: u32) -> impl Iterator<Item = SlotId> {
    let generation = NonZeroU32::new(generation).unwrap();
    KeyPurpose::ALL.into_iter().flat_map(move |purpose| {
        [Slot::A, Slot::B].map(|slot| SlotId::new(purpose, slot, generation))
    })
}

#[test]
fn the_first_key_of_a_purpose_is_a_1() {
    assert_eq!(SlotId::first(KeyPurpose::JwtSvid).to_string(), "jwt-svid-a-1");
    assert_eq!(SlotId::first(KeyPurpose::X509Authority).to_string(), "x509-authority-a-1");
}

#[test]
fn a_name_has_one_spelling() {
    let refused = [
        ("", SlotIdError::Shape),
        ("jwt-svid", SlotIdError::Shape),
        ("jwt-svid-a", SlotIdError::Slot),
        ("a-1", SlotIdError::Shape),
        ("jwt-svid-c-1", SlotIdError::Slot),
        ("jwt-svid-A-1", SlotIdError::Slot),
        ("JWT-SVID-a-1", SlotIdError::Purpose),
        ("svid-a-1", SlotIdError::Purpose),
        ("-a-1", SlotIdError::Purpose),
        ("jwt-svid-a-", SlotIdError::Generation),
        ("jwt-svid-a-0", SlotIdError::Generation),
        ("jwt-svid-a-01", SlotIdError::Generation),
        ("jwt-svid-a-+1", SlotIdError::Generation),
        ("jwt-svid-a-1 ", SlotIdError::Generation),
        ("jwt-svid-a-4294967296", SlotIdError::Generation),
        ("jwt-svid-a-1/../x", SlotIdError::Generation),
    ];
    for (text, error) in refused {
        assert_eq!(text.parse::<SlotId>(), Err(error), "`{text}`");
    }
    assert_eq!("wit-svid-b-4294967295".parse::<SlotId>().unwrap().generation(), u32::MAX);
}

#[test]
fn a_purpose_says_which_algorithms_it_has_and_the_first_is_its_default() {
    use KeyAlgorithm::{EcdsaP256, Ed25519, Rsa2048};
    for purpose in KeyPurpose::ALL {
        let expected: &[_] = match purpose {
            KeyPurpose::AuditCheckpoint => &[Ed25519],
            KeyPurpose::X509Authority | KeyPurpose::WitSvid => &[EcdsaP256],
            KeyPurpose::JwtSvid | KeyPurpose::AccessToken => &[EcdsaP256, Rsa2048],
        };
        assert_eq!(purpose.algorithms(), expected, "{purpose}");
        assert_eq!(purpose.algorithms().first(), Some(&purpose.default_algorithm()), "{purpose}");
    }
}

#[test]
fn the_name_of_an_algorithm_reads_back() {
    for algorithm in KeyAlgorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    for unknown in ["", "rsa-1024", "RSA-2048", "ecdsa-p256 "] {
        assert!(unknown.parse::<KeyAlgorithm>().is_err(), "{unknown}");
    }
}

#[test]
fn a_slot_is_a_string_in_json() {
    let slot = SlotId::first(KeyPurpose::AccessToken);
    let json = serde_json::to_string(&slot).unwrap();
    assert_eq!(json, "\"access-token-a-1\"");
    assert_eq!(serde_json::from_str::<SlotId>(&json).unwrap(), slot);
    // An escape forces an owned string; both ways of borrowing must parse.
    assert_eq!(serde_json::from_str::<SlotId>("\"\\u0061ccess-token-a-1\"").unwrap(), slot);
    let refused = serde_json::from_str::<SlotId>("\"access-token-a-0\"").unwrap_err().to_string();
    assert!(refused.contains("generation"), "{refused}");
}

proptest! {
    #[test]
    fn every_name_reads_back(generation in 1_u32..) {
        for slot in every_slot(generation) {
            prop_assert_eq!(slot.to_string().parse::<SlotId>(), Ok(slot));
        }
    }

    #[test]
    fn what_parses_prints_as_it_was_written(text in "(jwt-svid|access-token|x)?-?[abc]?-?[0-9+ ]{0,11}") {
        if let Ok(slot) = text.parse::<SlotId>() {
            prop_assert_eq!(slot.to_string(), text);
        }
    }
}

#[test]
fn keys_of_a_purpose_are_made_in_the_order_of_their_places() {
    let mut slot = SlotId::first(KeyPurpose::JwtSvid);
    let mut names = vec![slot.to_string()];
    for _ in 0..4 {
        let next = slot.successor().unwrap();
        assert!(next.place() > slot.place());
        names.push(next.to_string());
        slot = next;
    }
    assert_eq!(
        names,
        ["jwt-svid-a-1", "jwt-svid-b-1", "jwt-svid-a-2", "jwt-svid-b-2", "jwt-svid-a-3"]
    );
    let last = SlotId::new(KeyPurpose::JwtSvid, Slot::B, NonZeroU32::MAX);
    assert_eq!(last.successor(), None);
}
