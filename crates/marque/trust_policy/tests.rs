use std::path::Path;

use marque_registry::TrustDomainDocument;

use super::*;
use crate::issuer::folder;

const PLAYBOOK: &str = "ingress-cert-rotation";
const ISSUER: &str = "https://issuer.prod.example.org";

/// The shipped production folder, whose issuer has this URL.
fn shipped(url: Option<&str>) -> (TrustDomainDocument, PlaybookSet) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-domains/prod.example.org");
    let checked = folder::check(&path).unwrap();
    let text = std::fs::read_to_string(path.join("trust-domain.toml")).unwrap();
    let url = url.map_or_else(String::new, |url| format!("url = \"{url}\"\n"));
    let text = text.replace("[issuer]\n", &format!("[issuer]\n{url}"));
    (TrustDomainDocument::parse("x".as_ref(), &text).unwrap(), checked.playbooks)
}

fn id(path: &str) -> SpiffeId {
    format!("spiffe://prod.example.org{path}").parse().unwrap()
}

fn believed(agents: &[String], entries: &[SpiffeId]) -> Result<Believed, TrustPolicyError> {
    let (document, playbooks) = shipped(Some(ISSUER));
    Believed::of(&document, &playbooks, &PLAYBOOK.parse().unwrap(), agents, entries)
}

fn aws() -> Aws {
    Aws { account: "123456789012".to_owned(), partition: "aws".to_owned() }
}

#[test]
fn an_aws_role_is_for_the_exact_subject_the_audience_and_the_playbook() {
    let agents = [id("/agent/cert-rotator/a").to_string()];
    let policy = aws().policy(&believed(&agents, &[]).unwrap(), true).unwrap();
    let statement = &policy.document["Statement"][0];
    let provider = "issuer.prod.example.org";
    assert_eq!(
        statement["Principal"]["Federated"],
        format!("arn:aws:iam::123456789012:oidc-provider/{provider}")
    );
    let expected = serde_json::json!({
        format!("{provider}:aud"): "https://ingress.prod.example.org",
        format!("{provider}:sub"): agents,
        "aws:RequestTag/marque-playbook": PLAYBOOK,
    });
    assert_eq!(statement["Condition"], serde_json::json!({ "StringEquals": expected }));
    let untagged = aws().policy(&believed(&agents, &[]).unwrap(), false).unwrap();
    assert!(untagged.notes.iter().any(|note| note.contains("session_tags")), "{untagged:?}");
}

#[test]
fn the_entries_that_may_ask_are_the_subjects_where_none_is_named() {
    let [one, other] = ["/agent/cert-rotator/a", "/agent/other"].map(id);
    let found = believed(&[], &[one.clone(), other.clone()]).unwrap();
    assert_eq!(found.subjects, [one].into());
    let nobody = believed(&[], &[other]).unwrap_err();
    assert_eq!(nobody.code(), "subject_missing");
}

#[test]
fn a_long_subject_is_named_by_its_digest_at_google_and_refused_past_each_limit() {
    let at = |length: usize| {
        let id = "spiffe://prod.example.org/agent/cert-rotator/";
        format!("{id}{}", "a".repeat(length - id.len()))
    };
    let gcp = Gcp {
        project_number: "1".to_owned(),
        pool: "agents".to_owned(),
        provider: "rotation".to_owned(),
    };
    let of = |length| believed(&[at(length)], &[]).unwrap();
    let short = gcp.policy(&of(127)).unwrap().document;
    assert_eq!(short["provider"]["attributeMapping"]["google.subject"], "assertion.sub");
    let long = gcp.policy(&of(128)).unwrap().document;
    let subject = long["provider"]["attributeMapping"]["google.subject"].as_str().unwrap();
    assert!(subject.contains("assertion.sub_sha256"), "{subject}");
    let digest = at(128).parse::<SpiffeId>().unwrap().subject_digest().unwrap();
    let member = long["binding"]["members"][0].as_str().unwrap();
    assert!(member.ends_with(&format!("/subject/{digest}")), "{member}");
    assert!(long["provider"]["attributeCondition"].as_str().unwrap().contains(&at(128)));

    aws().policy(&of(255), true).unwrap();
    assert_eq!(aws().policy(&of(256), true).unwrap_err().code(), "subject_too_long");
    let (_, playbooks) = shipped(None);
    Azure { name: None }.policy(&of(600), &playbooks).unwrap();
    let refused = Azure { name: None }.policy(&of(601), &playbooks).unwrap_err();
    assert_eq!(refused.code(), "subject_too_long");
}

#[test]
fn a_cloud_that_sees_the_audience_alone_wants_one_for_each_playbook() {
    let (_, shared) = shipped(None);
    let other = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml"),
    );
    let folder = marque_testkit::temp_dir();
    let text = other.unwrap();
    std::fs::write(folder.path().join(format!("{PLAYBOOK}.toml")), &text).unwrap();
    let second = text.replace(&format!("id = \"{PLAYBOOK}\""), "id = \"second\"");
    std::fs::write(folder.path().join("second.toml"), second).unwrap();
    let name = "prod.example.org".parse().unwrap();
    let two = PlaybookSet::load(folder.path(), &name, marque_spiffe::Environment::Production);
    let agents = [id("/agent/cert-rotator/a").to_string()];
    let believed = believed(&agents, &[]).unwrap();
    Azure { name: None }.policy(&believed, &shared).unwrap();
    let refused = Azure { name: None }.policy(&believed, &two.unwrap()).unwrap_err();
    assert_eq!(refused.code(), "audience_shared");
}

#[test]
fn what_names_things_at_a_cloud_is_checked() {
    let agents = [id("/agent/cert-rotator/a").to_string()];
    let of = believed(&agents, &[]).unwrap();
    for account in ["", "12345678901", "1234567890123", "12345678901x", "*"] {
        let aws = Aws { account: account.to_owned(), ..aws() };
        assert_eq!(aws.policy(&of, true).unwrap_err().code(), "place_malformed", "{account}");
    }
    for pool in ["", "*", "Agents", &"a".repeat(33)] {
        let (project_number, provider) = ("1".to_owned(), "rotation".to_owned());
        let gcp = Gcp { project_number, pool: pool.to_owned(), provider };
        assert_eq!(gcp.policy(&of).unwrap_err().code(), "place_malformed", "{pool}");
    }
}
