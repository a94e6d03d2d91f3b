//! Header blocks as clients send them, in pieces of every size.

use proptest::prelude::*;

use super::super::incoming::Incoming;
use super::*;

const HEADERS: u8 = 1;
const MAX_FRAME_BYTES: usize = 16_384;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = payload.len().to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A literal with incremental indexing, as gRPC's C core writes it: both strings plain.
fn plain(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
    [&[0x40, length(name)], name, &[length(value)], value].concat()
}

fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut incoming = Incoming::new(None);
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        incoming.push(piece, &mut out);
    }
    out
}

/// What comes of a HEADERS frame behind preface and settings, whatever the size of the pieces.
fn repaired(flags: u8, payload: &[u8]) -> Vec<u8> {
    let begin = [PREFACE, &frame(4, 0, &[])].concat();
    let bytes = [&begin[..], &frame(HEADERS, flags, payload)].concat();
    let whole = through(&bytes, bytes.len());
    for piece in 1..40 {
        assert_eq!(through(&bytes, piece), whole, "pieces of {piece}");
    }
    assert_eq!(whole.len(), bytes.len());
    whole[begin.len() + FRAME_HEADER_BYTES..].to_vec()
}

#[test]
fn the_path_in_a_plain_authority_is_made_readable() {
    let path = plain(b":path", b"/SpiffeWorkloadAPI/FetchJWTSVID");
    let block =
        |authority: &[u8]| [&path[..], &plain(AUTHORITY, authority), &[0x83, 0x86]].concat();
    let (before, after) =
        (block(b"%2Ftmp%2Fmq%2Fworkload.sock"), block(b"-2Ftmp-2Fmq-2Fworkload.sock"));
    assert_eq!(repaired(4, &before), after);
    assert_eq!(repaired(4, &block(b"/tmp/mq.sock")), block(b"-tmp-mq.sock"));
    assert_eq!(repaired(4, &block(b"localhost")), block(b"localhost"));
}

#[test]
fn the_authority_is_found_by_its_index_and_in_every_form_of_literal() {
    for first in [0x41, 0x01, 0x11] {
        let block = |value: &[u8]| [&[0x3f, 0x00, first, 4], value].concat();
        assert_eq!(repaired(4, &block(b"%2Fa")), block(b"-2Fa"), "{first:#x}");
    }
    let other = [&[0x44, 4][..], b"/%2F"].concat();
    assert_eq!(repaired(4, &other), other, "a path is no authority");
}

#[test]
fn padding_and_priority_are_not_taken_for_headers() {
    let block = |value: &[u8]| plain(AUTHORITY, value);
    let padded = |value: &[u8]| [&[3, 0, 0, 0, 0, 16][..], &block(value), b"%%%"].concat();
    assert_eq!(repaired(4 | PADDED | PRIORITY, &padded(b"/a")), padded(b"-a"));
}

#[test]
fn a_block_that_goes_on_in_another_frame_is_repaired_as_far_as_it_is_here() {
    let cut = |value: &[u8]| [&plain(AUTHORITY, value)[..], &[0x40, 20, b'x']].concat();
    assert_eq!(repaired(0, &cut(b"/a")), cut(b"-a"));
}

#[test]
fn an_authority_in_the_huffman_code_is_repaired() {
    // From the code's table: `/` 011000, `%` 010101, `-` 010110, `a` 00011, `z` 1111011, and ones up to the byte.
    let before = bits("011000 00011 010101 1111011 011000 1111011");
    let after = bits("010110 00011 010110 1111011 010110 1111011");
    let block =
        |text: &[u8]| [&[0x41, 0x80 | u8::try_from(text.len()).unwrap()][..], text].concat();
    assert_eq!(repaired(4, &block(&before)), block(&after));
    let named = |text: &[u8]| {
        let name = [&[0x40, 0x88][..], AUTHORITY_HUFFMAN].concat();
        [&name[..], &[0x80 | u8::try_from(text.len()).unwrap()], text].concat()
    };
    assert_eq!(repaired(4, &named(&before)), named(&after));
}

#[test]
fn the_name_in_the_huffman_code_is_that_of_the_table() {
    let text = "1011100 00011 101101 01001 100111 00111 101100 00110 01001 1111010";
    assert_eq!(bits(text), AUTHORITY_HUFFMAN);
}

#[test]
fn other_frames_go_through_as_they_came() {
    let data = frame(0, 0, &plain(AUTHORITY, b"/a"));
    let huge = frame(HEADERS, 4, &plain(AUTHORITY, b"/a").repeat(2_000));
    assert!(huge.len() > MAX_FRAME_BYTES + FRAME_HEADER_BYTES);
    let bytes = [PREFACE, &frame(4, 1, &[]), &data, &huge].concat();
    for piece in [1, 7, 9, 10, 4_096, bytes.len()] {
        assert_eq!(through(&bytes, piece), bytes, "pieces of {piece}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_change_their_number(bytes: Vec<u8>, payload: Vec<u8>, flags: u8) {
        let bytes = [PREFACE, &frame(HEADERS, flags, &payload), &bytes].concat();
        prop_assert!(through(&bytes, 5).len() <= bytes.len());
        let whole = [PREFACE, &frame(HEADERS, flags, &payload)].concat();
        prop_assert_eq!(through(&whole, 3).len(), whole.len());
    }
}

/// Bits as bytes, filled up with ones.
fn bits(text: &str) -> Vec<u8> {
    let mut bits: Vec<bool> =
        text.chars().filter(|bit| *bit != ' ').map(|bit| bit == '1').collect();
    bits.resize(bits.len().next_multiple_of(8), true);
    bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
}
