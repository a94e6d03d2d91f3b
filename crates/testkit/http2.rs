//! HTTP/2 written by hand (RFC 9113), for clients that do what no library would do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The types of frames.
pub mod kind {
    #![expect(missing_docs, reason = "they are named as in RFC 9113 §6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// An acknowledgement of SETTINGS or PING.
pub const ACK: u8 = 1;
/// The last frame of a request or an answer.
pub const END_STREAM: u8 = 1;
/// The last frame of a list of headers.
pub const END_HEADERS: u8 = 4;

/// No test waits longer for a frame.
const PATIENCE: Duration = Duration::from_secs(60);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream that it is about; 0 for the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    /// The answer to a PING.
    #[must_use]
    pub fn pong(ping: &[u8]) -> Self {
        Self::new(kind::PING, ACK, 0, ping)
    }

    /// An acknowledgement of SETTINGS.
    #[must_use]
    pub fn settings_ack() -> Self {
        Self::new(kind::SETTINGS, ACK, 0, &[])
    }

    /// HEADERS in one piece, each field as a literal that is never indexed (RFC 7541 §6.2.2).
    #[must_use]
    pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Self {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                integer(text.len(), &mut block);
                block.extend_from_slice(text.as_bytes());
            }
        }
        Self::new(kind::HEADERS, flags | END_HEADERS, stream, &block)
    }

    /// The frame as it travels.
    ///
    /// # Panics
    /// It is too long.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a length");
        let [zero, a, b, c] = length.to_be_bytes();
        assert_eq!(zero, 0, "the frame is too long");
        let mut bytes = vec![a, b, c, self.kind, self.flags];
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Takes the first frame off `bytes`, if it is whole.
    ///
    /// # Panics
    /// Never on a platform of 32 bits or more.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let (&[a, b, c, kind, flags, s, t, u, v], _) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("a length");
        let payload = bytes.get(9..9 + length)?.to_vec();
        bytes.drain(..9 + length);
        Some(Self { kind, flags, stream: u32::from_be_bytes([s, t, u, v]), payload })
    }
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn integer(mut value: usize, out: &mut Vec<u8>) {
    let low = |value: usize| u8::try_from(value & 0x7f).expect("seven bits");
    if value < 0x7f {
        out.push(low(value));
        return;
    }
    out.push(0x7f);
    value -= 0x7f;
    while value >= 0x80 {
        out.push(0x80 | low(value));
        value >>= 7;
    }
    out.push(low(value));
}

/// What a client sends first: the preface, SETTINGS, and leave to answer as much as there is (RFC 9113 §6.9).
#[must_use]
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(Frame::new(kind::SETTINGS, 0, 0, &[]).bytes());
    bytes.extend(Frame::new(kind::WINDOW_UPDATE, 0, 0, &[0x40, 0, 0, 0]).bytes());
    bytes
}

/// The headers of a gRPC call, without those of the application.
#[must_use]
pub fn call_fields(path: &str) -> Vec<(&str, &str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
}

/// A whole gRPC call with one message.
///
/// # Panics
/// The message is too long.
#[must_use]
pub fn call(stream: u32, path: &str, fields: &[(&str, &str)], message: &[u8]) -> Vec<u8> {
    let fields = [&call_fields(path), fields].concat();
    let mut bytes = Frame::headers(stream, 0, &fields).bytes();
    let mut data = vec![0];
    data.extend_from_slice(&u32::try_from(message.len()).expect("a length").to_be_bytes());
    data.extend_from_slice(message);
    bytes.extend(Frame::new(kind::DATA, END_STREAM, stream, &data).bytes());
    bytes
}

/// A connection of which every byte is the test's own. Blocks.
#[derive(Debug)]
pub struct RawClient {
    stream: UnixStream,
    read: Vec<u8>,
}

impl RawClient {
    /// Connects, and says nothing.
    ///
    /// # Panics
    /// Nobody listens.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).expect("somebody listens"))
    }

    /// Speaks on a connection that is there.
    ///
    /// # Panics
    /// It is no connection.
    #[must_use]
    pub fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, read: Vec::new() }
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends bytes; `false` when the other end has closed.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    ///
    /// # Panics
    /// Nothing comes.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.read) {
                return Some(frame);
            }
            let mut piece = [0; 4096];
            let count = match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                read => read.expect("a frame"),
            };
            if count == 0 {
                return None;
            }
            self.read.extend(piece.iter().take(count));
        }
    }

    /// The next frame that is not about keeping the connection, each of which is answered as it should be.
    pub fn next_answered(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next_frame()?;
            match (frame.kind, frame.flags & ACK) {
                (kind::SETTINGS, 0) => self.send(&Frame::settings_ack().bytes()),
                (kind::PING, 0) => self.send(&Frame::pong(&frame.payload).bytes()),
                (kind::SETTINGS | kind::PING, _) => true,
                _ => return Some(frame),
            };
        }
    }

    /// Whether the call on `stream` is answered by a message. Its end without one, and that of the connection, are `false`.
    pub fn gets_a_message(&mut self, stream: u32) -> bool {
        while let Some(frame) = self.next_answered() {
            let is_last = frame.flags & END_STREAM != 0 || frame.kind == kind::RST_STREAM;
            match frame.kind {
                kind::DATA if frame.stream == stream && !frame.payload.is_empty() => return true,
                _ if frame.stream == stream && is_last => return false,
                _ => {}
            }
        }
        false
    }

    /// Reads to the end of the connection; the code of the GOAWAY that came before it.
    pub fn goaway(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next_answered() {
            if let (kind::GOAWAY, Some((_, rest))) =
                (frame.kind, frame.payload.split_first_chunk::<4>())
            {
                code = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
            }
        }
        code
    }
}
