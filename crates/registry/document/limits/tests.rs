use std::path::Path;

use super::*;
use crate::TrustDomainDocument;

const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");

fn read(limits: &str) -> Result<LimitSettings, Vec<String>> {
    TrustDomainDocument::parse(Path::new("t.toml"), &format!("{DOCUMENT}\n[limits]\n{limits}\n"))
        .map(|document| *document.limits())
        .map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

#[test]
fn limits_that_are_not_there_have_their_defaults() {
    let document = TrustDomainDocument::parse(Path::new("t.toml"), DOCUMENT).unwrap();
    assert_eq!(document.limits(), &LimitSettings::default());
    assert_eq!(read(""), Ok(LimitSettings::default()));
}

#[test]
fn every_limit_is_read() {
    let all = "connections = 1\nconnections_per_uid = 2\nstreams_per_connection = 3\ncalls = 4\n\
               calls_per_uid = 5\nrequests_per_second_per_uid = 6\nrequest_burst_per_uid = 7\n\
               pending_resets = 8\nlocal_error_resets = 9\nmessage_bytes = 1024\n\
               header_list_bytes = 1025\nhandshake = \"1s\"\nkeepalive_interval = \"2s\"\n\
               keepalive_timeout = \"3s\"\ndrain = \"4s\"\ncalls_per_broker = 10\n\
               https_connections = 11\nhttps_connections_per_address = 12";
    let expected = LimitSettings {
        connections: 1,
        connections_per_uid: 2,
        streams_per_connection: 3,
        calls: 4,
        calls_per_uid: 5,
        calls_per_broker: 10,
        requests_per_second_per_uid: 6,
        request_burst_per_uid: 7,
        pending_resets: 8,
        local_error_resets: 9,
        message_bytes: 1024,
        header_list_bytes: 1025,
        handshake: Duration::from_secs(1),
        keepalive_interval: Duration::from_secs(2),
        keepalive_timeout: Duration::from_secs(3),
        drain: Duration::from_secs(4),
        https_connections: 11,
        https_connections_per_address: 12,
    };
    assert_eq!(read(all), Ok(expected));
}

#[test]
fn a_limit_keeps_its_range_and_one_past_it_is_refused() {
    for (good, bad) in [
        ("connections = 1000000", "connections = 1000001"),
        ("calls = 1", "calls = 0"),
        ("message_bytes = 4194304", "message_bytes = 4194305"),
        ("header_list_bytes = 1024", "header_list_bytes = 1023"),
        ("handshake = \"1h\"", "handshake = \"3601s\""),
    ] {
        read(good).unwrap();
        let found = read(bad).unwrap_err();
        let line = DOCUMENT.lines().count() + 3;
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("t.toml:{line}: `")),
            "{found:?}"
        );
    }
}

#[test]
fn a_limit_that_does_not_exist_is_a_finding() {
    let found = read("connection = 1").unwrap_err();
    assert!(
        found[0].contains("unknown field `connection` in [limits], expected one of `calls`,"),
        "{found:?}"
    );
    assert_eq!(read("calls = \"many\"").unwrap_err().len(), 1);
    assert_eq!(read("drain = 5").unwrap_err().len(), 1);
}
