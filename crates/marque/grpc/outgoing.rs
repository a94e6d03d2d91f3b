//! Our own bytes of one connection on their way to the client: where the challenge goes in, and which of HTTP/2's own
//! limits refused something. HTTP/2 says the latter nowhere but in the frames that it sends.
//!
//! Deliberately absent: changing any byte of them.

use super::challenge::{Challenge, PING_BYTES};
use super::incoming::FRAME_HEADER_BYTES;
use super::limit::Limit;

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
/// RFC 9113 §7.
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
/// RFC 9113 §7.
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
/// As much of a payload as anybody looks at: a stream, a code, and the longest of the reasons below.
const KEPT_BYTES: usize = 32;
/// What h2 writes behind the code of a GOAWAY.
const REASONS: [(&[u8], Limit); 3] = [
    (b"too_many_resets", Limit::PendingResets),
    (b"too_many_internal_resets", Limit::LocalErrorResets),
    (b"too_many_continuations", Limit::ContinuationFrames),
];

/// Where in our bytes we are.
#[derive(Debug)]
pub(super) struct Outgoing {
    challenge: Challenge,
    /// How much of the PING is written.
    asked: usize,
    /// Whether our first frame, the SETTINGS, is behind us (RFC 9113 §3.4: nothing goes before it).
    began: bool,
    frame: Frame,
}

/// The frame that is being written, as much of it as anybody looks at.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    header: [u8; FRAME_HEADER_BYTES],
    have: usize,
    left: usize,
    /// The beginning of the payload, where the kind is one that is looked at.
    kept: [u8; KEPT_BYTES],
    kept_bytes: usize,
}

impl Outgoing {
    pub(super) fn new(challenge: Challenge) -> Self {
        Self { challenge, asked: 0, began: false, frame: Frame::default() }
    }

    /// What has to be written of the PING before anything else.
    pub(super) fn question(&self) -> Option<([u8; PING_BYTES], usize)> {
        (self.began && self.asked < PING_BYTES).then(|| (self.challenge.question(), self.asked))
    }

    pub(super) fn wrote_of_question(&mut self, count: usize) {
        self.asked += count;
    }

    /// How many of these bytes may be written in one go; the first frame is written alone.
    pub(super) fn portion(&self, bytes: &[u8]) -> usize {
        if self.began {
            return bytes.len();
        }
        let mut frame = self.frame;
        frame.take(bytes).0
    }

    /// Whether everything may be written as it comes.
    pub(super) fn is_free(&self) -> bool {
        self.began && self.asked == PING_BYTES
    }

    /// Follows bytes that were written; tells `refused` of every limit that refuses something in them.
    pub(super) fn wrote(&mut self, mut bytes: &[u8], mut refused: impl FnMut(Limit)) {
        while !bytes.is_empty() {
            let (taken, is_whole) = self.frame.take(bytes);
            if is_whole {
                self.began = true;
                self.frame.refusal().into_iter().for_each(&mut refused);
                self.frame = Frame::default();
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }
}

impl Frame {
    /// Takes bytes up to the end of the frame; gives how many, and whether the frame is whole.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        while let Some(slot) = self.header.get_mut(self.have) {
            let Some(byte) = bytes.get(taken) else { return (taken, false) };
            *slot = *byte;
            self.have += 1;
            taken += 1;
            if self.have == FRAME_HEADER_BYTES {
                self.left = self.payload_bytes();
            }
        }
        let rest = bytes.get(taken..).unwrap_or_default();
        let now = self.left.min(rest.len());
        if matches!(self.kind(), RST_STREAM | GOAWAY) {
            let room = self.kept.iter_mut().skip(self.kept_bytes);
            for (slot, byte) in room.zip(rest.iter().take(now)) {
                *slot = *byte;
                self.kept_bytes += 1;
            }
        }
        self.left -= now;
        (taken + now, self.left == 0)
    }

    fn kind(&self) -> u8 {
        let [_, _, _, kind, ..] = self.header;
        kind
    }

    fn payload_bytes(&self) -> usize {
        let [high, middle, low, ..] = self.header;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    /// The limit that the frame tells of.
    fn refusal(&self) -> Option<Limit> {
        let payload = self.kept.get(..self.kept_bytes)?;
        match self.kind() {
            RST_STREAM => (payload == REFUSED_STREAM).then_some(Limit::StreamsPerConnection),
            GOAWAY => {
                let reason = payload.get(4..)?.strip_prefix(&ENHANCE_YOUR_CALM)?;
                let known = REASONS.iter().find(|(known, _)| *known == reason);
                Some(known.map_or(Limit::Http2, |(_, limit)| *limit))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];

    /// What reaches the client of these bytes when each write takes at most `piece` of them.
    fn written(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<Limit>) {
        let mut outgoing = Outgoing::new(Challenge::of([7; 8]));
        let (mut out, mut refused, mut rest) = (Vec::new(), Vec::new(), bytes);
        while !rest.is_empty() || outgoing.question().is_some() {
            if let Some((ping, at)) = outgoing.question() {
                let now = piece.min(PING_BYTES - at);
                out.extend_from_slice(&ping[at..at + now]);
                outgoing.wrote_of_question(now);
                continue;
            }
            let (now, later) = rest.split_at(outgoing.portion(rest).min(piece));
            out.extend_from_slice(now);
            outgoing.wrote(now, |limit| refused.push(limit));
            rest = later;
        }
        assert!(outgoing.is_free());
        (out, refused)
    }

    #[test]
    fn the_question_goes_right_behind_the_first_frame_whatever_the_writes() {
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
        let ack = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        let data = [&[0, 0, 3, 0, 0, 0, 0, 0, 1][..], b"abc"].concat();
        let all = [&SETTINGS[..], &ack, &data].concat();
        let expected = [&SETTINGS[..], &ping, &ack, &data].concat();
        for piece in 1..=all.len() {
            assert_eq!(written(&all, piece), (expected.clone(), Vec::new()), "pieces of {piece}");
        }
        assert_eq!(written(&SETTINGS, 4).0, [&SETTINGS[..], &ping].concat());
    }

    #[test]
    fn what_http2_refuses_is_told_and_other_resets_are_not() {
        let reset = |code: u8| vec![0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, code];
        let goaway = |code: u8, reason: &str| {
            let length = u8::try_from(8 + reason.len()).unwrap();
            let head = [0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, code];
            [&head[..], reason.as_bytes()].concat()
        };
        let all = [
            SETTINGS.to_vec(),
            reset(7),
            reset(8),
            goaway(11, "too_many_resets"),
            goaway(11, "too_many_internal_resets"),
            goaway(11, "too_many_continuations"),
            goaway(11, ""),
            goaway(
                11,
                "too_many_continuations and a text that is far longer than anybody looks at",
            ),
            goaway(0, "too_many_resets"),
            reset(7),
        ]
        .concat();
        let expected = [
            Limit::StreamsPerConnection,
            Limit::PendingResets,
            Limit::LocalErrorResets,
            Limit::ContinuationFrames,
            Limit::Http2,
            Limit::Http2,
            Limit::StreamsPerConnection,
        ];
        for piece in 1..=all.len() {
            assert_eq!(written(&all, piece).1, expected, "pieces of {piece}");
        }
    }
}
