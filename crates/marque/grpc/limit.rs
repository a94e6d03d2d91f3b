//! The limits of a socket, and of the HTTPS edge, by name, and how a refusal by one of them is counted.
//!
//! Their values are `[limits]` of the trust domain's document (`marque_registry::LimitSettings`).

/// A limit that refused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// A connection too many; it is closed without a word, as there is no protocol before HTTP/2's first frames.
    Connections,
    /// As above, for one uid.
    ConnectionsPerUid,
    /// A call too many on one connection; HTTP/2 refuses it (`REFUSED_STREAM`).
    StreamsPerConnection,
    /// An open call too many.
    Calls,
    /// As above, for one uid.
    CallsPerUid,
    /// As above, for one broker.
    CallsPerBroker,
    /// Calls came too fast.
    RequestsPerSecondPerUid,
    /// A message is too large.
    MessageBytes,
    /// The headers are too large.
    HeaderListBytes,
    /// Too many streams were reset before they were accepted; HTTP/2 ends the connection.
    PendingResets,
    /// Too many streams had to be reset; HTTP/2 ends the connection.
    LocalErrorResets,
    /// Too many CONTINUATION frames; HTTP/2 ends the connection. The limit is h2's own: a quarter more than the headers
    /// need, and at least five.
    ContinuationFrames,
    /// Anything else that HTTP/2 ends a connection for with `ENHANCE_YOUR_CALM`.
    Http2,
    /// The process took too long to prove itself.
    Handshake,
    /// A connection too many from one address to the HTTPS edge; it is closed before its handshake.
    HttpsConnectionsPerAddress,
}

impl Limit {
    /// The name: the key of the configuration, the label of the metric and the stable code.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerUid => "connections_per_uid",
            Self::StreamsPerConnection => "streams_per_connection",
            Self::Calls => "calls",
            Self::CallsPerUid => "calls_per_uid",
            Self::CallsPerBroker => "calls_per_broker",
            Self::RequestsPerSecondPerUid => "requests_per_second_per_uid",
            Self::MessageBytes => "message_bytes",
            Self::HeaderListBytes => "header_list_bytes",
            Self::PendingResets => "pending_resets",
            Self::LocalErrorResets => "local_error_resets",
            Self::ContinuationFrames => "continuation_frames",
            Self::Http2 => "http2",
            Self::Handshake => "handshake",
            Self::HttpsConnectionsPerAddress => "https_connections_per_address",
        }
    }

    /// Counts a refusal.
    pub(crate) fn count(self) {
        metrics::counter!("marque_limit_refusals_total", "limit" => self.as_str()).increment(1);
    }
}
