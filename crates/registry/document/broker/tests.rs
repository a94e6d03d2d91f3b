use std::path::Path;

use super::ReferenceType;
use crate::TrustDomainDocument;

const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");

const BROKER: &str = r#"
[[brokers]]
spiffe_id = "spiffe://example.org/service/supervisor"
references = ["pid", "kubernetes"]
identities = ["spiffe://example.org/agent/*", "spiffe://example.org/tool/one"]
audiences = ["https://gateway.example.org/k8s", "spiffe://example.org/service/x"]
"#;

fn read(brokers: &str) -> Result<TrustDomainDocument, Vec<String>> {
    let text = format!("{DOCUMENT}{brokers}");
    TrustDomainDocument::parse(Path::new("t.toml"), &text)
        .map_err(|found| found.iter().map(ToString::to_string).collect())
}

fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(BROKER.contains(from), "{from}");
    read(&BROKER.replace(from, to)).unwrap_err()
}

#[test]
fn br_2_a_broker_is_allowed_what_its_entry_lists_and_nothing_else() {
    let document = read(BROKER).unwrap();
    let [broker] = document.brokers() else { panic!("{:?}", document.brokers()) };
    assert_eq!(broker.spiffe_id().as_str(), "spiffe://example.org/service/supervisor");
    assert!(broker.may_refer_by(ReferenceType::Pid));
    assert!(broker.may_refer_by(ReferenceType::Kubernetes));
    assert!(broker.may_ask_for("spiffe://example.org/service/x"));
    for audience in ["", "https://gateway.example.org", "https://gateway.example.org/k8s/"] {
        assert!(!broker.may_ask_for(audience), "{audience}");
    }
    let allowed =
        |id: &str| broker.identities().iter().any(|pattern| pattern.matches(&id.parse().unwrap()));
    assert!(allowed("spiffe://example.org/agent/x") && allowed("spiffe://example.org/tool/one"));
    assert!(
        !allowed("spiffe://example.org/agent/x/y") && !allowed("spiffe://example.org/tool/two")
    );
}

#[test]
fn br_2_without_an_entry_nobody_is_a_broker_and_without_audiences_there_are_no_jwt_svids() {
    assert!(read("").unwrap().brokers().is_empty());
    let audiences =
        "audiences = [\"https://gateway.example.org/k8s\", \"spiffe://example.org/service/x\"]";
    let document = read(&BROKER.replace(audiences, "")).unwrap();
    assert!(!document.brokers()[0].may_ask_for("https://gateway.example.org/k8s"));
    let one = read(&BROKER.replace("[\"pid\", \"kubernetes\"]", "[\"pid\"]")).unwrap();
    assert!(!one.brokers()[0].may_refer_by(ReferenceType::Kubernetes));
}

#[test]
fn each_bad_value_of_a_broker_is_one_finding_on_its_line() {
    let references = "[\"pid\", \"kubernetes\"]";
    let identities = "[\"spiffe://example.org/agent/*\", \"spiffe://example.org/tool/one\"]";
    for (from, to, line, expected) in [
        (
            "spiffe://example.org/service/s",
            "spiffe://other.org/service/s",
            29,
            "another trust domain",
        ),
        (
            "spiffe://example.org/service/supervisor",
            "spiffe://example.org",
            29,
            "no workload can have",
        ),
        ("/service/supervisor", "/marque/broker", 29, "no workload can have"),
        ("\"kubernetes\"", "\"docker\"", 30, "`docker`: a reference type is `pid` or `kubernetes`"),
        ("\"kubernetes\"", "\"pid\"", 28, "`pid` is there twice"),
        (references, "[]", 28, "needs at least one of `references`"),
        (identities, "[]", 28, "needs at least one of `identities`"),
        ("identities = [", "identity = [", 31, "unknown field `identity`"),
        (
            "spiffe://example.org/tool/one",
            "spiffe://other.org/tool/one",
            28,
            "another trust domain",
        ),
        ("spiffe://example.org/tool/one", "spiffe://example.org/agent/*", 28, "is there twice"),
        ("spiffe://example.org/tool/one", "spiffe://example.org/tool/o*", 31, "one whole segment"),
        ("https://gateway.example.org/k8s", "https://*", 32, "is not an audience"),
        ("https://gateway.example.org/k8s", "", 32, "is not an audience"),
    ] {
        let found = changed(from, to);
        let place = format!("t.toml:{line}:");
        assert!(
            found.iter().any(|found| found.starts_with(&place) && found.contains(expected)),
            "{to}: {found:?}"
        );
    }
    let twice = read(&format!("{BROKER}{BROKER}")).unwrap_err();
    assert!(twice.len() == 1 && twice[0].contains("is used twice"), "{twice:?}");
}

#[test]
fn an_audience_of_a_broker_has_at_most_512_bytes() {
    let long = |bytes: usize| BROKER.replace("https://gateway.example.org/k8s", &"a".repeat(bytes));
    read(&long(512)).unwrap();
    assert!(read(&long(513)).unwrap_err()[0].contains("is not an audience"));
}
