use std::path::Path;

use super::*;
use crate::document::MAX_LISTED;
use crate::{Finding, ResourceServer, Revocation, TrustDomainDocument};

const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");
const CLIENT: &str = r#"
[[clients]]
spiffe_id = "spiffe://example.org/agent/*"
scopes = ["secrets.read", "secrets.update"]
audiences = ["https://gateway.example.org/k8s"]
max_token_lifetime = "2m"
"#;

fn document(lines: &str) -> Result<TrustDomainDocument, Vec<Finding>> {
    TrustDomainDocument::parse(Path::new("trust-domain.toml"), &format!("{DOCUMENT}\n{lines}\n"))
}

fn parse(lines: &str) -> Result<Vec<ClientCeiling>, Vec<Finding>> {
    document(lines).map(|document| document.clients().to_vec())
}

fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_ceiling_is_read_and_what_is_absent_bounds_nothing() {
    let [ceiling] = parse(CLIENT).unwrap().try_into().unwrap();
    assert_eq!(ceiling.spiffe_id().as_str(), "spiffe://example.org/agent/*");
    assert_eq!(ceiling.scopes(), Some(&texts(&["secrets.read", "secrets.update"])));
    assert_eq!(ceiling.audiences(), Some(&texts(&["https://gateway.example.org/k8s"])));
    assert_eq!(ceiling.max_token_lifetime(), Some(Duration::from_secs(120)));
    assert_eq!(ceiling.line(), DOCUMENT.lines().count() + 3);
    let lines = "[[clients]]\nspiffe_id = \"spiffe://example.org/agent/a\"\nscopes = []";
    let [ceiling] = parse(lines).unwrap().try_into().unwrap();
    assert_eq!(ceiling.scopes(), Some(&BTreeSet::new()), "an empty list leaves nothing");
    assert_eq!((ceiling.audiences(), ceiling.max_token_lifetime()), (None, None));
    assert!(parse("").unwrap().is_empty());
}

#[test]
fn what_is_no_ceiling_is_a_finding_with_its_line() {
    let first = DOCUMENT.lines().count() + 3;
    let many = |prefix: &str| {
        let texts: Vec<_> = (0..=MAX_LISTED).map(|at| format!("\"{prefix}{at}\"")).collect();
        format!("[{}]", texts.join(","))
    };
    let scopes = "[\"secrets.read\", \"secrets.update\"]";
    for (from, to, at, because) in [
        ("/agent/*", "/agent/*/x", 1, "neither a SPIFFE ID nor one with `/*`"),
        ("/agent/*", "", 1, "has no path"),
        ("spiffe://example.org/agent/*", "spiffe://other.org/*", 1, "another trust domain"),
        ("/agent/*", "/marque/*", 1, "no client can have"),
        ("spiffe_id = \"spiffe://example.org/agent/*\"\n", "", 0, "`spiffe_id`"),
        (scopes, "[\"a\", \"a\"]", 0, "`a` is there twice"),
        (scopes, "[\"\"]", 2, "1 to 256"),
        (scopes, &many("s"), 0, "more than 64"),
        (scopes, "\"a\"", 2, "a list of texts"),
        ("https://gateway.example.org/k8s", "gateway", 3, "no absolute URI"),
        ("\"2m\"", "\"61m\"", 4, "at most 1h"),
        ("\"2m\"", "\"soon\"", 4, "`soon`"),
        ("max_token_lifetime", "max_lifetime", 4, "unknown field `max_lifetime`"),
    ] {
        let because = because.replace("no absolute", "not an absolute");
        assert!(CLIENT.contains(from), "{from}");
        let findings = parse(&CLIENT.replacen(from, to, 1)).unwrap_err();
        let told = findings.first().unwrap();
        assert!(told.to_string().contains(&because), "{to}: {told}");
        assert_eq!(told.line, Some(first + at), "{to}: {told}");
    }
    let nothing = "[[clients]]\nspiffe_id = \"spiffe://example.org/agent/a\"";
    assert!(parse(nothing).unwrap_err()[0].to_string().contains("bounds nothing"));
    let twice = parse(&format!("{CLIENT}{CLIENT}")).unwrap_err();
    assert!(twice[0].to_string().contains("is used twice"), "{twice:?}");
    let many: String = (0..=MAX_CLIENT_CEILINGS)
        .map(|at| CLIENT.replace("/agent/*", &format!("/agent/{at}")))
        .collect();
    assert!(parse(&many).unwrap_err()[0].to_string().contains("more than 256"));
}

#[test]
fn a_resource_server_says_what_it_takes() {
    let server = "[[resource_servers]]\naudience = \"https://x.example.org\"\nspiffe_ids = []\n";
    let parse = |lines: &str| {
        document(&format!("{server}{lines}"))
            .map(|document| document.resource_servers().last().cloned().unwrap())
    };
    let plain = parse("").unwrap();
    assert_eq!((plain.scopes(), plain.max_token_lifetime()), (None, None));
    let bounded: ResourceServer =
        parse("scopes = [\"dns.read\"]\nmax_token_lifetime = \"30s\"").unwrap();
    assert_eq!(bounded.scopes(), Some(&texts(&["dns.read"])));
    assert_eq!(bounded.max_token_lifetime(), Some(Duration::from_secs(30)));
    // One for which nobody introspects hears of nothing, unless the document says how it does.
    assert_eq!(plain.revocation(), Revocation::None);
    let lists = parse("revocation = \"status_list\"").unwrap();
    assert_eq!(lists.revocation(), Revocation::StatusList);
    let hears = |lines: &str, audience: &str| {
        document(&format!("{server}{lines}")).unwrap().hears_of_ends(audience)
    };
    assert!(hears("revocation = \"status_list\"", "https://x.example.org"));
    assert!(!hears("revocation = \"none\"", "https://x.example.org"));
    assert!(!hears("revocation = \"status_list\"", "https://y.example.org"));
    assert!(hears("", "https://gateway.example.org/k8s"), "somebody introspects there");
    for (lines, because) in [
        ("revocation = \"introspection\"", "lets nobody introspect"),
        ("revocation = \"soon\"", "is none of `introspection`, `status_list` and `none`"),
        ("scopes = [\"a\", \"a\"]", "`scopes` in [resource_servers]: `a` is there twice"),
        ("scopes = [1]", "`scopes` in [resource_servers] must be a text"),
        ("max_token_lifetime = \"2h\"", "`max_token_lifetime` must be at most 1h"),
        ("lifetime = \"2m\"", "unknown field `lifetime`"),
    ] {
        let findings = parse(lines).unwrap_err();
        assert!(findings[0].to_string().contains(because), "{findings:?}");
    }
}
