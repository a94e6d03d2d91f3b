//! The answer to the challenge among other frames, in pieces of every size.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const OURS: [u8; 8] = *b"\x01challng";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = payload.len().to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, 0], payload].concat()
}

/// What comes of the frames behind the preface, and whether the challenge is answered then.
fn read(frames: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let bytes = [PREFACE, &frames.concat()].concat();
    let through = |piece: usize| {
        let mut incoming = Incoming::new(Some(Challenge::of(OURS)));
        let mut out = Vec::new();
        let answers = bytes.chunks(piece).filter(|piece| incoming.push(piece, &mut out)).count();
        assert!(answers <= 1, "answered once");
        (out.split_off(PREFACE.len()), answers == 1)
    };
    let whole = through(bytes.len());
    for piece in 1..40 {
        assert_eq!(through(piece), whole, "pieces of {piece}");
    }
    whole
}

#[test]
fn the_answer_is_noticed_and_taken_out() {
    let (settings, ack, data) = (frame(4, 0, &[]), frame(4, 1, &[]), frame(0, 0, b"abc"));
    let answer = frame(PING, 1, &OURS);
    let frames = [settings.clone(), ack.clone(), answer, data.clone()];
    assert_eq!(read(&frames), ([settings, ack, data].concat(), true));
}

#[test]
fn only_the_first_answer_is_ours() {
    let answer = frame(PING, 1, &OURS);
    assert_eq!(read(&[answer.clone(), answer.clone()]), (answer, true));
}

#[test]
fn a_ping_that_is_no_answer_goes_through() {
    let on_a_stream = [&frame(PING, 1, &OURS)[..8], &[1], &OURS].concat();
    for ping in [
        frame(PING, 0, &OURS),
        frame(PING, 1, b"\x01challnG"),
        frame(PING, 1, &[0; 8]),
        frame(PING, 1, &OURS[..7]),
        frame(PING, 1, &[&OURS[..], b"x"].concat()),
        on_a_stream,
        frame(4, 1, &[]),
        frame(0, 1, &frame(PING, 1, &OURS)),
    ] {
        assert_eq!(read(std::slice::from_ref(&ping)), (ping, false));
    }
}

#[test]
fn an_answer_that_is_cut_short_is_none() {
    let answer = frame(PING, 1, &OURS);
    assert!(!read(&[answer[..16].to_vec()]).1);
}
