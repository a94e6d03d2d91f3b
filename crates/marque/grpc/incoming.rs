//! The bytes of one connection on their way from the client, frame by frame, before HTTP/2 is parsed.
//!
//! Two things happen to them. HEADERS frames get an `:authority` that can be read (`authority.rs`). The answer to the
//! challenge (`challenge.rs`) is noticed and taken out: it is ours, and HTTP/2 never asked for it.
//!
//! Deliberately absent: understanding anything else. What is not one of the two goes through as it came.

use super::authority;
use super::challenge::{Challenge, PING, PING_BYTES};

/// The header of a frame (RFC 9113 §4.1).
pub(super) const FRAME_HEADER_BYTES: usize = 9;
/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;
/// The largest frame that a client may send, as we never announce more (RFC 9113 §6.5.2).
const MAX_FRAME_BYTES: usize = 16_384;
const HEADERS: u8 = 1;

/// Where in the client's bytes we are.
#[derive(Debug)]
pub(super) struct Incoming {
    state: State,
    held: Vec<u8>,
    /// What was asked and is not answered yet.
    challenge: Option<Challenge>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the preface.
    Preface { left: usize },
    /// In the header of a frame, which is held until it is whole.
    FrameHeader,
    /// In a frame that goes through.
    Through { left: usize },
    /// In a HEADERS frame, which is held until it is whole.
    Headers { whole: usize },
    /// In a PING frame, which is held until it is whole.
    Ping,
}

impl Incoming {
    pub(super) fn new(challenge: Option<Challenge>) -> Self {
        Self { state: State::Preface { left: PREFACE_BYTES }, held: Vec::new(), challenge }
    }

    /// Takes what came and appends to `out` what may be read of it by now; says whether it answers the challenge.
    pub(super) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> bool {
        let was_open = self.challenge.is_some();
        while !input.is_empty() {
            input = match self.state {
                State::Preface { left } => {
                    self.pass(input, left, |left| State::Preface { left }, out)
                }
                State::Through { left } => {
                    self.pass(input, left, |left| State::Through { left }, out)
                }
                State::FrameHeader => self.hold(input, FRAME_HEADER_BYTES, Self::begin_frame, out),
                State::Headers { whole } => self.hold(input, whole, Self::repair, out),
                State::Ping => self.hold(input, PING_BYTES, Self::compare, out),
            };
        }
        was_open && self.challenge.is_none()
    }

    /// Passes on up to `left` bytes; gives what is beyond them.
    fn pass<'a>(
        &mut self,
        input: &'a [u8],
        left: usize,
        state: fn(usize) -> State,
        out: &mut Vec<u8>,
    ) -> &'a [u8] {
        let (own, rest) = input.split_at(left.min(input.len()));
        out.extend_from_slice(own);
        self.state = if own.len() == left { State::FrameHeader } else { state(left - own.len()) };
        rest
    }

    /// Holds bytes until there are `whole`, and then does `finish`; gives what is beyond them.
    fn hold<'a>(
        &mut self,
        input: &'a [u8],
        whole: usize,
        finish: fn(&mut Self, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) -> &'a [u8] {
        let missing = whole.saturating_sub(self.held.len());
        let (own, rest) = input.split_at(missing.min(input.len()));
        self.held.extend_from_slice(own);
        if own.len() == missing {
            finish(self, out);
        }
        rest
    }

    fn begin_frame(&mut self, out: &mut Vec<u8>) {
        let length = match self.held.first_chunk() {
            Some([high, middle, low]) => {
                usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low)
            }
            None => 0,
        };
        self.state = match (self.held.get(3), length) {
            (Some(&HEADERS), 1..=MAX_FRAME_BYTES) => {
                State::Headers { whole: FRAME_HEADER_BYTES + length }
            }
            (Some(&PING), _) if FRAME_HEADER_BYTES + length == PING_BYTES => State::Ping,
            (_, 0) => State::FrameHeader,
            (_, left) => State::Through { left },
        };
        if !matches!(self.state, State::Headers { .. } | State::Ping) {
            self.release(self.state, out);
        }
    }

    fn repair(&mut self, out: &mut Vec<u8>) {
        authority::repair(&mut self.held);
        self.release(State::FrameHeader, out);
    }

    fn compare(&mut self, out: &mut Vec<u8>) {
        if self.challenge.as_ref().is_some_and(|challenge| challenge.is_answered_by(&self.held)) {
            self.challenge = None;
            self.held.clear();
        }
        self.release(State::FrameHeader, out);
    }

    /// Passes on what was held. A connection that waits should not keep what its last frame needed.
    fn release(&mut self, next: State, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.held = Vec::new();
        self.state = next;
    }
}

#[cfg(test)]
mod tests;
