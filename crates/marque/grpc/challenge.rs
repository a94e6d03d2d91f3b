//! What makes a connection's process prove that it is the one that speaks: a PING (RFC 9113 §6.7) with random bytes,
//! put into the stream of bytes right behind our first frame.
//!
//! Whatever was written before the accept, by whichever program the process ran then, cannot hold the answer: the bytes
//! are drawn after the process was pinned. An acknowledgement of our SETTINGS would not do, as it can be sent in advance.
//! Every HTTP/2 client must answer a PING, so that none has to know about this.
//!
//! Absent on purpose: who wrote the answer (`received.rs` looks at each piece that is read).

use marque_spiffe::{Random, RandomError};

/// The type of a PING frame.
pub(super) const PING: u8 = 6;
/// A whole PING frame.
pub(super) const PING_BYTES: usize = 17;
const ACK: u8 = 1;

/// Eight bytes that nobody can know before they were sent.
#[derive(Clone, Copy)]
pub(super) struct Challenge([u8; 8]);

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenge(..)")
    }
}

impl Challenge {
    /// Draws a challenge.
    pub(super) fn draw(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = [0; 8];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    #[cfg(test)]
    pub(super) fn of(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Whether a whole PING frame is the answer.
    pub(super) fn is_answered_by(&self, frame: &[u8]) -> bool {
        frame == self.frame(ACK)
    }

    /// The PING that asks.
    pub(super) fn question(&self) -> [u8; PING_BYTES] {
        self.frame(0)
    }

    fn frame(&self, flags: u8) -> [u8; PING_BYTES] {
        let mut frame = [0, 0, 8, PING, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        if let Some(payload) = frame.last_chunk_mut() {
            *payload = self.0;
        }
        frame
    }
}
