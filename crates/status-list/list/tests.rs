use proptest::prelude::*;

use super::*;

/// Appendix of the draft: a list of 2^20 places with these set to the values.
const ONE_BIT: [(u64, u8); 11] = [
    (0, 1),
    (1993, 1),
    (25_460, 1),
    (159_495, 1),
    (495_669, 1),
    (554_353, 1),
    (645_645, 1),
    (723_232, 1),
    (854_545, 1),
    (934_534, 1),
    (1_000_345, 1),
];
const TWO_BITS: [(u64, u8); 11] = [
    (0, 1),
    (1993, 2),
    (25_460, 1),
    (159_495, 3),
    (495_669, 1),
    (554_353, 1),
    (645_645, 2),
    (723_232, 1),
    (854_545, 1),
    (934_534, 2),
    (1_000_345, 3),
];
const ONE_BIT_PACKED: &str = "\
    78daeddc010dc0200c0041a88249400ad2903e0f4bba00bd93f002beb7a2a2010000a91e090000000000000000000000\
    000000008072960400000000000000000000000000000000000000000000000000000000000000000000000000000000\
    5c6f4800000000000000fc2c240000000000000000000000be1b12000000000000000000ecaa4b000000000000000000\
    000000000000009b0b0900000000000000000038de9400000000000000002a30cc010000000080642f0bd8011b";
const TWO_BITS_PACKED: &str = "\
    78daeddb310d00211000412ea1a04004fe5520ed357c28c81d3312b6df68bc65480000000000406e2101000000000000\
    0000000000000000000000000000000000000000000000000040795b0200000000000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    0000000000000000000000000080f4ba0400000000000000000000000000406d764a0000000000000000000000000000\
    00000000000000e0922101000000000000000000000000000000000000fc131200000000000000000000000000000000\
    000000000000000000000000000000c0912e01000000000000000000000000000000000000c07d4b0200000000000000\
    0000000000000000a8614a0000000000000000000000406a1fcd60010c";

fn encoded(bits: u8, lst: &str) -> EncodedStatusList {
    EncodedStatusList { bits, lst: lst.to_owned() }
}

fn lst(packed: &str) -> String {
    base64url::encode(hex::decode(packed).unwrap())
}

#[test]
fn oauth_15_3_the_drafts_example_of_one_bit_reads_least_significant_bit_first() {
    let list = StatusList::decode(&encoded(1, "eNrbuRgAAhcBXQ"), MAX_LIST_BYTES).unwrap();
    let values: Vec<u8> = (0..16).map(|idx| list.status(idx).unwrap().value()).collect();
    assert_eq!(values, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
    assert_eq!(list.encode().unwrap(), encoded(1, "eNrbuRgAAhcBXQ"));
}

#[test]
fn oauth_15_3_the_drafts_example_of_two_bits_reads() {
    let list = StatusList::decode(&encoded(2, "eNo76fITAAPfAgc"), MAX_LIST_BYTES).unwrap();
    let values: Vec<u8> = (0..12).map(|idx| list.status(idx).unwrap().value()).collect();
    assert_eq!(values, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]);
    assert_eq!(list.encode().unwrap(), encoded(2, "eNo76fITAAPfAgc"));
}

#[test]
fn oauth_15_3_the_drafts_vectors_of_a_million_places_read_place_by_place() {
    for (bits, set, packed) in
        [(Bits::One, ONE_BIT, ONE_BIT_PACKED), (Bits::Two, TWO_BITS, TWO_BITS_PACKED)]
    {
        let read =
            StatusList::decode(&encoded(bits.count(), &lst(packed)), MAX_LIST_BYTES).unwrap();
        assert_eq!(read.places(), 1 << 20);
        let mut ours = StatusList::new(bits, 1 << 20);
        for (idx, value) in set {
            ours.set(idx, Status::from(value)).unwrap();
        }
        assert!(read == ours, "{bits:?}");
        let again = StatusList::decode(&ours.encode().unwrap(), MAX_LIST_BYTES).unwrap();
        assert!(again == ours, "{bits:?}");
    }
}

#[test]
fn oauth_15_8_a_place_past_the_end_is_refused() {
    let mut list = StatusList::new(Bits::One, 1 << 17);
    assert_eq!(list.places(), 1 << 17);
    assert_eq!(list.status((1 << 17) - 1), Ok(Status::Valid));
    for idx in [1 << 17, 1 << 32, u64::MAX] {
        assert_eq!(list.status(idx), Err(OutOfRange), "{idx}");
        assert_eq!(list.set(idx, Status::Invalid), Err(OutOfRange), "{idx}");
    }
}

#[test]
fn a_status_needs_its_bits() {
    let mut list = StatusList::new(Bits::One, 8);
    assert_eq!(list.set(0, Status::Suspended), Err(OutOfRange));
    list.set(0, Status::Invalid).unwrap();
    list.set(0, Status::Valid).unwrap();
    assert_eq!(list.status(0), Ok(Status::Valid));
    let mut list = StatusList::new(Bits::Eight, 2);
    list.set(1, Status::Other(255)).unwrap();
    assert_eq!((list.status(0), list.status(1)), (Ok(Status::Valid), Ok(Status::Other(255))));
}

#[test]
fn oauth_15_8_a_decompression_bomb_is_cut_at_the_limit() {
    let bomb = StatusList::new(Bits::One, 8 * 64 * 1024 * 1024).encode().unwrap();
    assert!(bomb.lst.len() < 2 * MAX_LIST_TOKEN_BYTES, "{}", bomb.lst.len());
    let refused = StatusList::decode(&bomb, MAX_LIST_BYTES);
    assert!(matches!(refused, Err(StatusListError::TooLarge)), "{refused:?}");
    let fits = StatusList::new(Bits::One, 8 * 1000).encode().unwrap();
    assert!(StatusList::decode(&fits, 1000).is_ok());
    let refused = StatusList::decode(&fits, 999);
    assert!(matches!(refused, Err(StatusListError::TooLarge)), "{refused:?}");
}

#[test]
fn oauth_15_8_what_is_no_list_is_refused() {
    let good = StatusList::new(Bits::One, 64).encode().unwrap();
    let bytes = base64url::decode(&good.lst).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        encoded(1, &base64url::encode(bytes))
    };
    for (name, list) in [
        ("bits_0", encoded(0, &good.lst)),
        ("bits_3", encoded(3, &good.lst)),
        ("bits_16", encoded(16, &good.lst)),
        ("padding", encoded(1, &format!("{}=", good.lst))),
        ("not_base64url", encoded(1, "a+/b")),
        ("empty", encoded(1, "")),
        ("raw_deflate", with(&|bytes| drop(bytes.drain(..2)))),
        ("truncated", with(&|bytes| bytes.truncate(bytes.len() - 1))),
        ("checksum", with(&|bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("trailing", with(&|bytes| bytes.push(0))),
        ("two_streams", with(&|bytes| bytes.extend(bytes.clone()))),
    ] {
        assert!(StatusList::decode(&list, MAX_LIST_BYTES).is_err(), "{name}");
    }
}

#[test]
fn the_worst_list_of_131072_places_has_room_in_a_token() {
    // What cannot be compressed: the output of a generator.
    let mut list = StatusList::new(Bits::One, 1 << 17);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for idx in 0..1 << 17 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let status = if state & 1 == 1 { Status::Invalid } else { Status::Valid };
        list.set(idx, status).unwrap();
    }
    let lst = list.encode().unwrap().lst;
    assert!(lst.len() > 16 * 1024, "{}", lst.len());
    // As the payload of a JWT it is encoded once more.
    assert!((lst.len() + 512) * 4 / 3 + 512 < MAX_LIST_TOKEN_BYTES);
}

proptest! {
    #[test]
    fn what_was_set_is_read_and_nothing_else_changes(
        places in 1_usize..2000,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4), 0..50),
    ) {
        let mut list = StatusList::new(Bits::Two, places);
        let mut model = vec![0; places];
        for (index, value) in changes {
            let at = index.index(places);
            list.set(at as u64, Status::from(value)).unwrap();
            model[at] = value;
        }
        let read = StatusList::decode(&list.encode().unwrap(), MAX_LIST_BYTES).unwrap();
        for (at, value) in model.into_iter().enumerate() {
            prop_assert_eq!(read.status(at as u64).unwrap().value(), value);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bits in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(StatusList::decode(&encoded(bits, &base64url::encode(&bytes)), 1 << 16));
        let with_header: Vec<u8> = [0x78, 0xda].into_iter().chain(bytes).collect();
        drop(StatusList::decode(&encoded(1, &base64url::encode(with_header)), 1 << 16));
    }
}
