use super::read::DEFAULT_AGE;
use super::*;
use crate::{Finding, TrustDomainDocument};

const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");
const PUSH: &str = r#"
[[ssf_streams]]
name = "crm"
audience = "https://crm.example.org"
delivery = "push"
endpoint = "https://crm.example.org/ssf/events"
ca_file = "ssf/ca.pem"
secret_file = "/run/secrets/ssf-crm"
events = ["session-revoked"]
agents = ["spiffe://example.org/agent/*"]
audiences = ["https://crm.example.org"]
"#;
const TRANSMITTER: &str = r#"
[[ssf_transmitters]]
name = "corp-idp"
environment = "non-production"
issuer = "https://login.example.org"
audience = "https://issuer.example.org/ssf"
jwks_file = "ssf/idp.json"
secret_file = "ssf/secret"
agents = ["spiffe://example.org/agent/*"]
[ssf_transmitters.effects]
risk-level-change = "record"
"#;

fn parse(lines: &str) -> Result<TrustDomainDocument, Vec<Finding>> {
    let document = format!("{DOCUMENT}\n{lines}\n");
    TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)
}

fn refused(text: &str, cases: &[(&str, &str, &str)]) {
    for (from, to, because) in cases {
        assert!(text.contains(from), "{from}");
        let findings = parse(&text.replacen(from, to, 1)).unwrap_err();
        let said = findings.iter().any(|finding| finding.to_string().contains(because));
        assert!(said, "{to}: {findings:?}");
    }
}

#[test]
fn a_stream_is_read() {
    let document = parse(PUSH).unwrap();
    let stream = &document.ssf_streams()[0];
    assert_eq!((stream.name(), stream.audience()), ("crm", "https://crm.example.org"));
    assert!(stream.tells(SsfTold::SessionRevoked) && !stream.tells(SsfTold::CredentialChange));
    assert!(matches!(stream.delivery(), SsfDelivery::Push { .. }));
    let polled = PUSH
        .replace("\"push\"", "\"poll\"")
        .replace(
            "endpoint = \"https://crm.example.org/ssf/events\"\nca_file = \"ssf/ca.pem\"\n",
            "",
        )
        .replace("events = [\"session-revoked\"]\n", "");
    let document = parse(&polled).unwrap();
    assert_eq!(document.ssf_streams()[0].delivery(), &SsfDelivery::Poll);
    assert!(document.ssf_streams()[0].tells(SsfTold::CredentialChange));
}

#[test]
fn what_is_no_stream_is_refused() {
    refused(
        PUSH,
        &[
            ("\"crm\"", "\"CRM\"", "a-z"),
            ("\"push\"", "\"poll\"", "needs an `endpoint`"),
            ("\"push\"", "\"pull\"", "neither `push`"),
            ("endpoint = \"https://crm.example.org/ssf/events\"\n", "", "needs an `endpoint`"),
            ("ca_file = \"ssf/ca.pem\"\n", "", "`ca_file`"),
            ("\"session-revoked\"", "\"risk-level-change\"", "neither"),
            (
                "spiffe://example.org/agent/*",
                "spiffe://other.example.org/agent/*",
                "another trust domain",
            ),
            ("secret_file = \"/run/secrets/ssf-crm\"\n", "", "`secret_file`"),
            ("name", "format = 1\nname", "unknown field"),
        ],
    );
    assert!(parse(&format!("{PUSH}{PUSH}")).unwrap_err()[0].to_string().contains("twice"));
    let many: String =
        (0..=MAX_SSF_STREAMS).map(|at| PUSH.replacen("crm", &format!("s{at}"), 1)).collect();
    assert!(parse(&many).unwrap_err()[0].to_string().contains("more than 32"));
    let production = DOCUMENT.replace("non-production", "production");
    let plain = PUSH
        .replace("https://crm.example.org/ssf/events", "http://127.0.0.1:1/")
        .replace("ca_file = \"ssf/ca.pem\"\n", "");
    parse(&plain).unwrap();
    let findings =
        TrustDomainDocument::parse(Path::new("a"), &format!("{production}\n{plain}")).unwrap_err();
    assert!(findings.iter().any(|finding| finding.to_string().contains("https in production")));
}

#[test]
fn a_transmitter_is_read_and_bad_news_stops_unless_it_says_otherwise() {
    let document = parse(TRANSMITTER).unwrap();
    let transmitter = &document.ssf_transmitters()[0];
    assert_eq!(transmitter.effect(SsfHeard::SessionRevoked), SsfEffect::Stop);
    assert_eq!(transmitter.effect(SsfHeard::RiskLevelChange), SsfEffect::Record);
    assert_eq!(transmitter.max_age(), DEFAULT_AGE);
    assert!(document.issuer_keys().any(|(name, _)| name == "ssf:corp-idp"));
}

#[test]
fn what_is_no_transmitter_is_refused() {
    refused(
        TRANSMITTER,
        &[
            ("\"non-production\"", "\"production\"", "environment_boundary"),
            ("https://login", "http://login", "https"),
            ("jwks_file = \"ssf/idp.json\"\n", "", "exactly one"),
            ("agents = [\"spiffe://example.org/agent/*\"]\n", "", "stop nobody"),
            ("agents", "persons = [\"corp\"]\nagents", "no [[oidc_issuers]] `corp`"),
            ("agents", "max_age = \"8d\"\nagents", "at most"),
            ("\"record\"", "\"allow\"", "neither `stop`"),
            ("risk-level-change", "session-established", "unknown field"),
            ("secret_file = \"ssf/secret\"\n", "", "`secret_file`"),
        ],
    );
    assert!(
        parse(&format!("{TRANSMITTER}{TRANSMITTER}")).unwrap_err()[0].to_string().contains("twice")
    );
    let many: String = (0..=MAX_SSF_TRANSMITTERS)
        .map(|at| TRANSMITTER.replacen("corp-idp", &format!("t{at}"), 1))
        .collect();
    assert!(parse(&many).unwrap_err()[0].to_string().contains("more than 16"));
}
