use super::*;
use crate::{Finding, TrustDomainDocument};

const DOCUMENT: &str = include_str!("../../../folder/tests/trust-domain.toml");
const SINK: &str = r#"
[[audit.sinks]]
name = "siem"
sends = "records"
format = "ocsf"
to = "https://siem.example.org/in?key=1"
ca_file = "audit/ca.pem"
bearer_file = "/run/secrets/siem"
"#;

fn parse(lines: &str) -> Result<Vec<AuditSink>, Vec<Finding>> {
    let document = format!("{DOCUMENT}\n{lines}\n");
    let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)?;
    Ok(document.audit_sinks().to_vec())
}

#[test]
fn a_sink_is_read_and_its_target_is_shown_without_what_protects_it() {
    let sinks = parse(SINK).unwrap();
    assert_eq!(sinks[0].name(), "siem");
    assert_eq!(*sinks[0].sends(), SinkContent::Records("ocsf".to_owned()));
    assert_eq!(sinks[0].to().to_string(), "https://siem.example.org");
    assert_eq!(sinks[0].every(), RECORDS_EVERY);
    let kept = SINK.replace("records", "checkpoints").replace("format = \"ocsf\"", "");
    assert_eq!(parse(&kept).unwrap()[0].every(), CHECKPOINTS_EVERY);
    let slow = parse(&format!("{SINK}every = \"1h\"")).unwrap();
    assert_eq!(slow[0].every(), MAX_EVERY);
}

#[test]
fn a_target_is_a_folder_a_url_or_a_syslog_receiver() {
    for good in [
        "file:///var/log/marque",
        "https://siem.example.org/x",
        "http://127.0.0.1:8088/x",
        "syslog+tls://logs.example.org:6514",
        "syslog+tls://[2001:db8::1]:6514",
        "syslog+tcp://127.0.0.1:601",
        "syslog+udp://[::1]:514",
        "syslog+unix:///dev/log",
    ] {
        assert!(good.parse::<SinkTarget>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "/var/log",
        "file://var/log",
        "file:///var/../etc",
        "http://siem.example.org/",
        "syslog+tcp://logs.example.org:601",
        "syslog+udp://192.0.2.1:514",
        "syslog+tls://logs.example.org",
        "syslog+tls://:6514",
        "syslog+tls://logs.example.org:0",
        "syslog+tls://logs example.org:6514",
        "syslog+unix://log",
        "syslog://127.0.0.1:514",
        "kafka://127.0.0.1:9092",
    ] {
        assert!(bad.parse::<SinkTarget>().is_err(), "{bad}");
    }
}

#[test]
fn what_is_no_sink_is_refused() {
    for (from, to, because) in [
        ("name = \"siem\"", "name = \"SIEM\"", "a-z"),
        ("sends = \"records\"", "sends = \"everything\"", "`sends`"),
        ("format = \"ocsf\"", "", "`format`"),
        ("sends = \"records\"", "sends = \"checkpoints\"", "`format`"),
        ("ca_file = \"audit/ca.pem\"", "", "`ca_file`"),
        ("https://siem.example.org/in?key=1", "syslog+tcp://127.0.0.1:1", "`ca_file`"),
        ("https://siem.example.org/in?key=1", "syslog+tls://a:1", "`bearer_file`"),
        ("https://siem.example.org/in?key=1", "ftp://siem.example.org", "is none of"),
        ("name", "every = \"2h\"\nname", "at most 1h"),
        ("name", "retries = 3\nname", "unknown field"),
    ] {
        assert!(SINK.contains(from), "{from}");
        let findings = parse(&SINK.replacen(from, to, 1)).unwrap_err();
        let said = findings.iter().any(|finding| finding.to_string().contains(because));
        assert!(said, "{to}: {findings:?}");
    }
    assert!(parse(&format!("{SINK}{SINK}")).unwrap_err()[0].to_string().contains("twice"));
    let many: String = (0..=MAX_AUDIT_SINKS)
        .map(|at| SINK.replace("name = \"siem\"", &format!("name = \"s{at}\"")))
        .collect();
    assert!(parse(&many).unwrap_err()[0].to_string().contains("more than 16"));
    assert!(parse("[audit]\nsink = 1").unwrap_err()[0].to_string().contains("unknown field"));
}

#[test]
fn production_pushes_over_tls() {
    let plain = SINK
        .replace("https://siem.example.org/in?key=1", "http://127.0.0.1:1/")
        .replace("ca_file = \"audit/ca.pem\"\n", "");
    parse(&plain).unwrap();
    let production = DOCUMENT.replace("non-production", "production");
    let document = format!("{production}\n{plain}");
    let findings = TrustDomainDocument::parse(Path::new("a"), &document).unwrap_err();
    assert!(findings.iter().any(|finding| finding.to_string().contains("https in production")));
}
