//! `[limits]`: what one socket lets its clients do, and how many connections the HTTPS edge takes.
//!
//! The names of the fields are the keys of the table, the labels of the metric `marque_limit_refusals_total` and, where a
//! refusal is answered at all, its stable code.

use std::time::Duration;

use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// The limits of one socket and of the HTTPS edge. Every one may be absent from the document and then has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Connections, in all.
    pub connections: u32,
    /// Connections of one uid.
    pub connections_per_uid: u32,
    /// Calls that one connection has open (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113 §6.5.2).
    pub streams_per_connection: u32,
    /// Calls that are open, in all.
    pub calls: u32,
    /// Calls that one uid has open, over all its connections.
    pub calls_per_uid: u32,
    /// Calls that one broker has open, over all its connections: by default four streams for each of a thousand workloads.
    pub calls_per_broker: u32,
    /// Calls that one uid may make in a second, sustained.
    pub requests_per_second_per_uid: u32,
    /// Calls that one uid may make at once after a pause.
    pub request_burst_per_uid: u32,
    /// The largest message of a client, in bytes.
    pub message_bytes: usize,
    /// The largest list of request headers, in bytes as HTTP/2 counts them (RFC 9113 §10.5.1).
    pub header_list_bytes: u32,
    /// Streams that a connection has reset before they were accepted, and that were not cleaned up yet (rapid reset).
    pub pending_resets: u32,
    /// Streams of a connection that had to be reset because of what the client sent on them, over its whole life.
    pub local_error_resets: u32,
    /// How long a client may take from the accept until it has proved that the process which connected is still the one
    /// that speaks.
    pub handshake: Duration,
    /// How often an idle connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How long calls that are open may go on when the daemon stops.
    pub drain: Duration,
    /// Connections to the HTTPS edge, in all; more wait in the listener's queue.
    pub https_connections: u32,
    /// Connections to the HTTPS edge from one IPv4 address or one IPv6 /64.
    pub https_connections_per_address: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_uid: 256,
            streams_per_connection: 100,
            calls: 16_384,
            calls_per_uid: 4096,
            calls_per_broker: 4096,
            requests_per_second_per_uid: 2000,
            request_burst_per_uid: 4000,
            message_bytes: 64 * 1024,
            header_list_bytes: 16 * 1024,
            pending_resets: 20,
            local_error_resets: 100,
            handshake: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain: Duration::from_secs(5),
            https_connections: 1024,
            https_connections_per_address: 256,
        }
    }
}

/// The most that any count may be set to: what a limit of more would keep away is already too much for a host.
const MAX_COUNT: u32 = 1_000_000;
/// The most bytes that a message or a list of headers may be allowed.
const MAX_BYTES: u32 = 4 * 1024 * 1024;
/// The fewest: less, and the calls of the standard no longer fit.
const MIN_BYTES: u32 = 1024;
/// The longest that any clock may be set to.
const MAX_DURATION: Duration = Duration::from_hours(1);

/// Reads the table.
pub(super) fn read(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> LimitSettings {
    let mut limits = LimitSettings::default();
    let counts: [(&'static str, &mut u32); 12] = [
        ("connections", &mut limits.connections),
        ("connections_per_uid", &mut limits.connections_per_uid),
        ("streams_per_connection", &mut limits.streams_per_connection),
        ("calls", &mut limits.calls),
        ("calls_per_uid", &mut limits.calls_per_uid),
        ("calls_per_broker", &mut limits.calls_per_broker),
        ("requests_per_second_per_uid", &mut limits.requests_per_second_per_uid),
        ("request_burst_per_uid", &mut limits.request_burst_per_uid),
        ("pending_resets", &mut limits.pending_resets),
        ("local_error_resets", &mut limits.local_error_resets),
        ("https_connections", &mut limits.https_connections),
        ("https_connections_per_address", &mut limits.https_connections_per_address),
    ];
    for (key, limit) in counts {
        number(&mut table, key, 1..=MAX_COUNT, limit, log);
    }
    let bytes = MIN_BYTES..=MAX_BYTES;
    let mut message_bytes: Option<u32> = None;
    number(&mut table, "message_bytes", bytes.clone(), &mut message_bytes, log);
    if let Some(bytes) = message_bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        limits.message_bytes = bytes;
    }
    number(&mut table, "header_list_bytes", bytes, &mut limits.header_list_bytes, log);
    let clocks: [(&'static str, &mut Duration); 4] = [
        ("handshake", &mut limits.handshake),
        ("keepalive_interval", &mut limits.keepalive_interval),
        ("keepalive_timeout", &mut limits.keepalive_timeout),
        ("drain", &mut limits.drain),
    ];
    for (key, limit) in clocks {
        duration(&mut table, key, limit, log);
    }
    table.finish(log);
    limits
}

fn number(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u32>,
    limit: &mut impl From<u32>,
    log: &mut Log<'_>,
) {
    let Some(Lined { value, line }) = table.optional_lined_number(key, log) else { return };
    if range.contains(&value) {
        *limit = value.into();
    } else {
        let (from, to) = (range.start(), range.end());
        log.at(line, format!("`{key}` in [limits] must be from {from} to {to}"));
    }
}

fn duration(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    limit: &mut Duration,
    log: &mut Log<'_>,
) {
    let Some(Lined { value, line }) = table.optional_lined_text::<Lifetime>(key, log) else {
        return;
    };
    if value.as_duration() <= MAX_DURATION {
        *limit = value.as_duration();
    } else {
        log.at(line, format!("`{key}` in [limits] must be at most 1h"));
    }
}

#[cfg(test)]
mod tests;
