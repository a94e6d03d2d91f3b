//! What clients may take of an HTTP server, and how long anything may last.

use std::time::Duration;

/// What one client, or all of them together, may take of the server.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections open at once; more wait in the listener's queue.
    pub connections: usize,
    /// Connections open at once from one IPv4 address or one IPv6 /64, and twice as many from one IPv6 /56; one too many is
    /// closed before its handshake.
    pub connections_per_address: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a request's head may take, which is also how long a connection may idle.
    pub request_head: Duration,
    /// How long one request may take, its body included; and for how long after that its answer may wait to be taken.
    pub request: Duration,
    /// The age at which a connection is asked to end.
    pub connection_age: Duration,
    /// How long connections may take to end once asked.
    pub drain: Duration,
    /// For how long at most a listener that is replaced goes on taking connections in, and each connection may go on to its
    /// first request, or to one more.
    pub leave: Duration,
    /// For how long nobody may have come to such a listener before it is closed.
    pub quiet: Duration,
    /// Requests in flight on one HTTP/2 connection.
    pub streams: u32,
    /// The most header fields in a request.
    pub header_fields: usize,
    /// The largest request head, in bytes.
    pub header_bytes: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 256,
            handshake: Duration::from_secs(5),
            request_head: Duration::from_secs(10),
            request: Duration::from_secs(15),
            connection_age: Duration::from_secs(3600),
            drain: Duration::from_secs(5),
            leave: Duration::from_secs(5),
            quiet: Duration::from_millis(500),
            streams: 100,
            header_fields: 64,
            header_bytes: 32 * 1024,
        }
    }
}

impl HttpLimits {
    /// The longest that a connection to a listener that was replaced may go on, from its handshake to the end of an answer.
    pub(super) fn last_of_all(&self) -> Duration {
        self.handshake + self.leave + self.request * 2
    }
}
