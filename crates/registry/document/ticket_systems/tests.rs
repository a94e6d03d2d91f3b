use std::path::Path;

use super::*;
use crate::{Finding, TrustDomainDocument};

const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");
const SYSTEM: &str = r#"
[[ticket_systems]]
name = "itsm"
url = "https://itsm.example.org/api/changes/{ticket}?fields=all"
ca_file = "itsm/ca.pem"
timeout = "2s"
max_age = "10s"
closed = ["closed", "cancelled"]

[ticket_systems.header]
name = "authorization"
file = "/etc/marque/itsm.header"

[ticket_systems.answer]
state = "/result/state"
title = "/result/title"
planned_from = "/result/start"
planned_until = "/result/end"

[ticket_systems.fields]
service = "/result/service"

[ticket_systems.states]
"3" = "approved"
"#;

fn parse(lines: &str) -> Result<TrustDomainDocument, Vec<Finding>> {
    TrustDomainDocument::parse(Path::new("trust-domain.toml"), &format!("{DOCUMENT}\n{lines}\n"))
}

#[test]
fn everything_of_a_ticket_system_is_read() {
    let document = parse(SYSTEM).unwrap();
    let [system] = document.ticket_systems() else { panic!("one system") };
    assert_eq!((system.name(), system.url().tls()), ("itsm", true));
    let url = system.url().of("CHG-1842").unwrap();
    assert_eq!(url.as_str(), "https://itsm.example.org/api/changes/CHG-1842?fields=all");
    assert_eq!(system.ca_file(), Some(Path::new("itsm/ca.pem")));
    assert_eq!((system.timeout().as_secs(), system.max_age().as_secs()), (2, 10));
    assert!(system.closed().contains("cancelled"));
    let header = ("authorization", Path::new("/etc/marque/itsm.header"));
    assert_eq!(system.header(), Some(header));
    let planned = ("/result/start".to_owned(), "/result/end".to_owned());
    assert_eq!(system.answer().planned, Some(planned));
    assert_eq!(system.fields()["service"], "/result/service");
    assert_eq!(system.states().unwrap()["3"], "approved");
}

#[test]
fn the_name_of_a_ticket_never_changes_where_a_question_goes() {
    let url: TicketUrl = "https://itsm.example.org/changes/{ticket}/state".parse().unwrap();
    for (ticket, path) in [
        ("CHG-1", "/changes/CHG-1/state"),
        ("../admin", "/changes/%2E%2E%2Fadmin/state"),
        ("a?b#c@d:e", "/changes/a%3Fb%23c%40d%3Ae/state"),
        ("%2e", "/changes/%252e/state"),
        ("{ticket}", "/changes/%7Bticket%7D/state"),
    ] {
        let at = url.of(ticket).unwrap();
        assert_eq!((at.authority(), at.target()), ("itsm.example.org", path), "{ticket}");
    }
}

#[test]
fn a_ticket_system_is_asked_over_tls_or_on_this_host() {
    for good in [
        "https://itsm.example.org/{ticket}",
        "http://127.0.0.1:8080/{ticket}",
        "http://[::1]:8080/?id={ticket}",
    ] {
        assert!(good.parse::<TicketUrl>().is_ok(), "{good}");
    }
    for (bad, error) in [
        ("http://itsm.example.org/{ticket}", TicketUrlError::InTheOpen),
        ("http://localhost/{ticket}", TicketUrlError::InTheOpen),
        ("http://127.0.0.1.example.org/{ticket}", TicketUrlError::InTheOpen),
        ("https://itsm.example.org/", TicketUrlError::Place),
        ("https://itsm.example.org/{ticket}/{ticket}", TicketUrlError::Place),
        ("https://{ticket}.example.org/", TicketUrlError::Place),
        ("ftp://itsm.example.org/{ticket}", TicketUrlError::Url(BundleEndpointUrlError::Scheme)),
        (
            "https://user@itsm.example.org/{ticket}",
            TicketUrlError::Url(BundleEndpointUrlError::UserInfo),
        ),
        (
            "https://itsm.example.org/{ticket}#a",
            TicketUrlError::Url(BundleEndpointUrlError::Target),
        ),
    ] {
        assert_eq!(bad.parse::<TicketUrl>(), Err(error), "{bad}");
    }
}

#[test]
fn a_ticket_system_that_could_not_be_asked_is_a_finding() {
    for (from, to, says) in [
        ("ca_file = \"itsm/ca.pem\"\n", "", "`ca_file` in [ticket_systems] goes with `https`"),
        ("https://itsm.example.org", "http://127.0.0.1", "goes with `https`, and with that alone"),
        ("name = \"itsm\"", "name = \"ITSM\"", "`name` in [ticket_systems]"),
        ("timeout = \"2s\"", "timeout = \"11s\"", "must be at most 10s"),
        ("max_age = \"10s\"", "max_age = \"61s\"", "must be at most 1m"),
        ("\"/result/state\"", "\"result.state\"", "JSON pointer"),
        ("\"/result/service\"", "\"/\"", "JSON pointer"),
        ("planned_until = \"/result/end\"\n", "", "go together"),
        ("name = \"authorization\"", "name = \"host\"", "is not a header"),
        ("name = \"authorization\"", "name = \"Authorization\"", "is not a header"),
        ("file = \"/etc/marque/itsm.header\"", "file = \"../x\"", "`file` in [header]"),
        ("closed = ", "shut = ", "unknown field `shut`"),
    ] {
        assert!(SYSTEM.contains(from), "{from}");
        let findings = parse(&SYSTEM.replace(from, to)).unwrap_err();
        assert!(findings.iter().any(|found| found.message.contains(says)), "{to}: {findings:?}");
    }
    assert!(parse(&format!("{SYSTEM}{SYSTEM}")).is_err(), "two of one name");
    let many = |count: usize| -> String {
        let one = |number| SYSTEM.replace("\"itsm\"", &format!("\"itsm-{number}\""));
        (0..count).map(one).collect()
    };
    assert!(parse(&many(MAX_TICKET_SYSTEMS)).is_ok());
    assert!(parse(&many(MAX_TICKET_SYSTEMS + 1)).is_err());
}
