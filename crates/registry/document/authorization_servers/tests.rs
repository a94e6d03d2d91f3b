use std::path::Path;

use super::*;
use crate::{Finding, TrustDomainDocument};

const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");
const SERVER: &str = r#"
[[authorization_servers]]
name = "partner"
environment = "non-production"
issuer = "https://issuer.partner.example.org"
grants_for = ["jwt", "id-jag"]
scopes = ["orders.read"]
grants_of = ["id-jag"]
jwks_uri = "https://issuer.partner.example.org/oauth2/jwks"
ca_file = "partner/ca.pem"

[authorization_servers.clients]
"spiffe://example.org/agent/clerk" = "clerk-17"
"#;
const OIDC: &str = r#"
[[oidc_issuers]]
name = "partner"
environment = "non-production"
issuer = "https://issuer.partner.example.org"
audiences = ["marque"]
jwks_file = "oidc/partner.json"
"#;

fn parse(lines: &str) -> Result<TrustDomainDocument, Vec<Finding>> {
    TrustDomainDocument::parse(Path::new("trust-domain.toml"), &format!("{DOCUMENT}\n{lines}\n"))
}

#[test]
fn everything_of_a_server_is_read() {
    let document = parse(SERVER).unwrap();
    let [server] = document.authorization_servers() else { panic!("one server") };
    assert_eq!((server.name(), server.issuer()), ("partner", "https://issuer.partner.example.org"));
    assert_eq!(server.grants_for(), &BTreeSet::from([GrantKind::Jwt, GrantKind::IdJag]));
    assert_eq!(server.grants_of(), &BTreeSet::from([GrantKind::IdJag]));
    assert!(server.scopes().unwrap().contains("orders.read"));
    let clerk = "spiffe://example.org/agent/clerk".parse().unwrap();
    assert_eq!(server.clients()[&clerk], "clerk-17");
    let IssuerKeys::Fetched { ca_file, .. } = server.keys().unwrap() else { panic!() };
    assert_eq!(ca_file, Path::new("partner/ca.pem"));
    let names: Vec<_> = document.issuer_keys().map(|(name, _)| name).collect();
    assert_eq!(names, ["partner"]);
}

#[test]
fn a_server_may_be_for_one_direction_alone() {
    let out = "[[authorization_servers]]\nname = \"out\"\nenvironment = \"non-production\"\n\
               issuer = \"https://out.example.org\"\ngrants_for = [\"jwt\"]";
    let document = parse(out).unwrap();
    assert_eq!(document.issuer_keys().count(), 0, "nothing of it is verified");
    assert_eq!(document.authorization_servers()[0].scopes(), None);
    let back = "[[authorization_servers]]\nname = \"in\"\nenvironment = \"non-production\"\n\
                issuer = \"https://in.example.org\"\ngrants_of = [\"jwt\"]\njwks_file = \"in.json\"";
    let document = parse(back).unwrap();
    let (_, keys) = document.issuer_keys().next().unwrap();
    assert_eq!(keys.file(), Some(Path::new("in.json")));
}

#[test]
fn oauth_17_11_a_server_of_the_other_environment_is_a_finding() {
    let findings = parse(&SERVER.replace("\"non-production\"", "\"production\"")).unwrap_err();
    let told = findings[0].to_string();
    assert!(told.contains("environment_boundary") && told.contains("no chain crosses"), "{told}");
    assert_eq!(findings[0].line, Some(DOCUMENT.lines().count() + 5), "{told}");
    let production = DOCUMENT.replace("non-production", "production");
    let file = Path::new("trust-domain.toml");
    let findings = TrustDomainDocument::parse(file, &format!("{production}\n{SERVER}"));
    assert!(findings.unwrap_err()[0].to_string().contains("environment_boundary"));
    let unsaid = parse(&SERVER.replace("environment = \"non-production\"\n", "")).unwrap_err();
    assert!(unsaid[0].to_string().contains("`environment` in [authorization_servers] is missing"));
}

#[test]
fn what_is_no_server_is_a_finding() {
    let keys = "jwks_uri = \"https://issuer.partner.example.org/oauth2/jwks\"\nca_file = \"partner/ca.pem\"\n";
    for (from, to, because) in [
        ("\"partner\"", "\"Partner\"", "a-z"),
        ("\"partner\"", "\"spiffe\"", "spiffe"),
        ("\"https://issuer.partner.example.org\"", "\"http://p.example.org\"", "https"),
        ("\"https://issuer.partner.example.org\"", "\"https://p.example.org?x\"", "query"),
        (
            "grants_for = [\"jwt\", \"id-jag\"]",
            "grants_for = [\"saml2\"]",
            "neither `jwt` nor `id-jag`",
        ),
        ("grants_for = [\"jwt\", \"id-jag\"]\n", "", "are for `grants_for`"),
        ("grants_of = [\"id-jag\"]\n", "", "are for `grants_of`"),
        (keys, "", "exactly one of `jwks_file` and `jwks_uri`"),
        ("ca_file = \"partner/ca.pem\"\n", "", "`ca_file` in [authorization_servers] is missing"),
        ("ca_file = \"partner/ca.pem\"", "ca_file = \"../ca.pem\"", "folder"),
        (keys, "jwks_file = \"p.json\"\nmax_staleness = \"1h\"\n", "are for a `jwks_uri`"),
        ("ca_file", "max_staleness = \"25h\"\nca_file", "at most 1d"),
        ("ca_file", "discovery = true\nca_file", "unknown field `discovery`"),
        ("scopes = [\"orders.read\"]", "scopes = [\"a\", \"a\"]", "there twice"),
        ("\"clerk-17\"", "\"clerk 17\"", "client id"),
        ("\"clerk-17\"", "17", "a text"),
        (
            "\"spiffe://example.org/agent/clerk\"",
            "\"spiffe://other.org/a\"",
            "no SPIFFE ID of an agent here",
        ),
        ("\"spiffe://example.org/agent/clerk\"", "\"clerk\"", "no SPIFFE ID of an agent here"),
    ] {
        assert!(SERVER.contains(from), "{from}");
        let findings = parse(&SERVER.replacen(from, to, 1)).unwrap_err();
        let said = findings.iter().any(|finding| finding.to_string().contains(because));
        assert!(said, "{to}: {findings:?}");
        assert!(findings.iter().all(|finding| finding.line.is_some()), "{findings:?}");
    }
    let idle = "[[authorization_servers]]\nname = \"x\"\nenvironment = \"non-production\"\n\
                issuer = \"https://x.example.org\"";
    assert!(parse(idle).unwrap_err()[0].to_string().contains("needs `grants_for`, `grants_of`"));
}

#[test]
fn a_name_is_one_servers_or_one_oidc_issuers() {
    let twice = parse(&format!("{SERVER}{SERVER}")).unwrap_err();
    assert_eq!(twice.len(), 2, "name and issuer: {twice:?}");
    let both = parse(&format!("{OIDC}{SERVER}")).unwrap_err();
    assert!(both[0].to_string().contains("here or in [oidc_issuers]"), "{both:?}");
    // One issuer may be both; its names differ.
    let named = SERVER.replace("name = \"partner\"", "name = \"partner-as\"");
    assert_eq!(parse(&format!("{OIDC}{named}")).unwrap().issuer_keys().count(), 2);
    let many: String = (0..=MAX_AUTHORIZATION_SERVERS)
        .map(|at| SERVER.replace("partner", &format!("p{at}")))
        .collect();
    assert!(parse(&many).unwrap_err()[0].to_string().contains("more than 16"));
    let clients: String = (0..=MAX_FOREIGN_CLIENTS)
        .map(|at| format!("\"spiffe://example.org/a/{at}\" = \"c\"\n"))
        .collect();
    let found = parse(&format!("{SERVER}{clients}")).unwrap_err();
    assert!(found[0].to_string().contains("more than 256"), "{found:?}");
}
