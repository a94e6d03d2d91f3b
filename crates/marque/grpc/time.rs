//! Instants and lifetimes on the wire.

use std::time::Duration;

use jiff::Timestamp;

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    // jiff counts nanoseconds away from zero, protobuf only forwards.
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    let (seconds, nanos) =
        if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) };
    prost_types::Timestamp { seconds, nanos }
}

pub(super) fn duration(length: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(length.subsec_nanos()).unwrap_or(0);
    prost_types::Duration { seconds, nanos }
}

pub(super) fn from_timestamp(at: prost_types::Timestamp) -> Option<Timestamp> {
    let prost_types::Timestamp { seconds, nanos } = at;
    if !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    Timestamp::from_second(seconds)
        .ok()?
        .checked_add(Duration::from_nanos(nanos.unsigned_abs().into()))
        .ok()
}

pub(super) fn from_duration(length: prost_types::Duration) -> Option<Duration> {
    let prost_types::Duration { seconds, nanos } = length;
    if !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_comes_back_as_it_went() {
        for text in
            ["2026-11-22T02:31:38.000000001Z", "1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z"]
        {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(from_timestamp(timestamp(at)), Some(at));
        }
    }

    #[test]
    fn what_is_no_instant_or_length_is_refused() {
        assert_eq!(from_timestamp(prost_types::Timestamp { seconds: 0, nanos: -1 }), None);
        assert_eq!(from_timestamp(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(from_duration(prost_types::Duration { seconds: -1, nanos: 0 }), None);
        assert_eq!(from_duration(prost_types::Duration { seconds: 1, nanos: 1_000_000_000 }), None);
        let length = Duration::new(90, 5);
        assert_eq!(from_duration(duration(length)), Some(length));
    }
}
