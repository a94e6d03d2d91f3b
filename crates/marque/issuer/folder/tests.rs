//! Folders of trust domains: the shipped ones, and copies with something else in them.

use std::fs;

use super::*;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-domains")
}

/// A copy of a shipped trust domain with one text of its document replaced.
fn changed(name: &str, from: &str, to: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut folders = vec![(shipped().join(name), copy.path().to_owned())];
    while let Some((source, target)) = folders.pop() {
        fs::create_dir_all(&target).unwrap();
        for entry in fs::read_dir(source).unwrap().map(Result::unwrap) {
            let into = target.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push((entry.path(), into));
            } else {
                fs::copy(entry.path(), into).unwrap();
            }
        }
    }
    let document = copy.path().join(DOCUMENT);
    let text = fs::read_to_string(&document).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(document, text.replacen(from, to, 1)).unwrap();
    copy
}

fn messages(folder: &Path) -> String {
    let found = check(folder).unwrap_err();
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_trust_domains_have_no_finding_and_two_environments() {
    let folders = find(&shipped()).unwrap();
    assert_eq!(folders.len(), 2);
    let checked: Vec<_> = folders.iter().map(|folder| check(folder).unwrap()).collect();
    let mixed = one_environment(&checked).unwrap_err().to_string();
    assert!(mixed.contains("prod.example.org") && mixed.contains("dev.example.org"), "{mixed}");
    assert_eq!(
        one_environment(checked.iter().take(1)).unwrap(),
        Some(checked[0].folder.document.environment())
    );
}

/// A copy of a shipped trust domain that says it federates with another, with that one's bundle.
fn federating(name: &str, with: &str, environment: &str) -> tempfile::TempDir {
    let tables = format!(
        "[[federation]]\ntrust_domain = \"{with}\"\nenvironment = \"{environment}\"\nbundle = \"other.json\"\n\n[tokens]"
    );
    let folder = changed(name, "[tokens]", &tables);
    let other = marque_testkit::ScratchTrustDomain::new(with).bundle();
    fs::write(folder.path().join("other.json"), other.to_document().to_string()).unwrap();
    folder
}

#[test]
fn the_shipped_trust_domains_cannot_federate_whatever_is_said_of_them() {
    let (production, development) = ("prod.example.org", "dev.example.org");
    // By what it says of the other.
    let found = messages(federating(production, development, "non-production").path());
    assert!(found.contains("environment_boundary"), "{found}");
    let found = messages(federating(development, production, "production").path());
    assert!(found.contains("environment_boundary"), "{found}");
    // By what the other says of itself, where both are at hand.
    for (name, with, claimed) in
        [(production, development, "production"), (development, production, "non-production")]
    {
        let claiming = federating(name, with, claimed);
        let both = [check(claiming.path()), check(&shipped().join(with))].map(Result::unwrap);
        let [finding] = across_the_firebreak(&both).try_into().unwrap();
        let told = finding.to_string();
        assert!(told.contains("environment_boundary") && told.contains(with), "{told}");
        assert!(finding.line.is_some(), "{told}");
        // With nobody to say otherwise there is none.
        assert!(across_the_firebreak(&both[..1]).is_empty());
    }
}

/// A copy of a shipped trust domain with one more table before its last.
fn with_table(name: &str, table: &str) -> tempfile::TempDir {
    changed(name, "[tokens]", &format!("{table}\n\n[tokens]"))
}

fn server(issuer: &str, environment: &str) -> String {
    format!(
        "[[authorization_servers]]\nname = \"other\"\nenvironment = \"{environment}\"\n\
         issuer = \"{issuer}\"\ngrants_for = [\"jwt\"]"
    )
}

#[test]
fn oauth_17_11_no_chain_is_configured_across_the_firebreak_whatever_is_claimed() {
    let (production, development) = ("prod.example.org", "dev.example.org");
    let url = "https://issuer.other.example.org";
    let honest = with_table(production, &server(url, "non-production"));
    assert!(messages(honest.path()).contains("environment_boundary"));
    for (name, other, claimed) in
        [(production, development, "production"), (development, production, "non-production")]
    {
        // Where the other is at hand, what it says of itself counts: by its URL, or by where it listens.
        let named = changed(other, "listen =", &format!("url = \"{url}\"\nlisten ="));
        let port = check(&shipped().join(other)).unwrap().folder.document.hosts().listen();
        for (issuer, at) in
            [(url, named.path().to_owned()), (&*local_url(port), shipped().join(other))]
        {
            let claiming = with_table(name, &server(issuer, claimed));
            let both = [check(claiming.path()), check(&at)].map(Result::unwrap);
            let [finding] = across_the_firebreak(&both).try_into().unwrap();
            let told = finding.to_string();
            assert!(told.contains("environment_boundary: `other`"), "{told}");
            assert!(finding.line.is_some(), "{told}");
            assert!(across_the_firebreak(&both[..1]).is_empty());
        }
    }
}

#[test]
fn scopes_and_servers_that_nobody_could_use_are_findings_with_their_line() {
    let own = check(&shipped().join("prod.example.org")).unwrap().folder.document.hosts().listen();
    let own = local_url(own);
    let client =
        "[[clients]]\nspiffe_id = \"spiffe://prod.example.org/agent/*\"\nscopes = [\"a b\"]";
    let target = "[[resource_servers]]\naudience = \"https://x\"\nscopes = [\"secrets.*\"]";
    for (table, because) in [
        (client, "`scopes` in [clients]: `a b`"),
        (target, "`scopes` in [resource_servers]: `secrets.*`"),
        (
            &format!("{}\nscopes = [\"\\\"\"]", server("https://x.example.org", "production")),
            "`scopes` in [authorization_servers]",
        ),
        (&server("https://x.example.org/", "production"), "trailing slash"),
        (&server(&own, "production"), "is the own one"),
    ] {
        let folder = with_table("prod.example.org", table);
        let found = check(folder.path()).unwrap_err();
        let told = found.iter().map(ToString::to_string).collect::<String>();
        assert!(told.contains(because), "{table}: {told}");
        assert!(found.iter().all(|finding| finding.line.is_some()), "{told}");
    }
}

#[test]
fn trust_domains_of_one_environment_may_federate() {
    let folder = federating("prod.example.org", "partner.example.org", "production");
    let checked = check(folder.path()).unwrap();
    assert_eq!(checked.folder.federated.len(), 1);
    assert!(across_the_firebreak(&[checked]).is_empty());
}

#[test]
fn a_folder_of_one_trust_domain_is_found_and_an_empty_one_is_not() {
    let one = shipped().join("prod.example.org");
    assert_eq!(find(&one).unwrap(), [one]);
    let empty = tempfile::tempdir().unwrap();
    assert!(find(empty.path()).unwrap_err().to_string().contains(DOCUMENT));
}

#[test]
fn a_playbook_of_another_tenant_is_a_finding() {
    let folder = changed("prod.example.org", "tenant = \"example\"", "tenant = \"other\"");
    assert!(messages(folder.path()).contains("is not the trust domain's `other`"));
}

#[test]
fn an_operator_group_that_no_playbook_could_name_is_a_finding() {
    let folder = changed("prod.example.org", "\"platform-sre\"]", "\"Platform.SRE!\"]");
    assert!(messages(folder.path()).contains("approver group `Platform.SRE!`"));
}

#[test]
fn an_issuer_url_that_is_none_is_a_finding() {
    let folder = changed("prod.example.org", "listen =", "url = \"http://x\"\nlisten =");
    assert!(messages(folder.path()).contains("`http://x`"));
    let good = "url = \"https://issuer.prod.example.org\"\nlisten =";
    check(changed("prod.example.org", "listen =", good).path()).unwrap();
}

#[test]
fn m_11_no_identity_has_a_whole_human_role_by_several_playbooks_together() {
    let role = |scopes: &str| format!("[[human_roles]]\nname = \"admin\"\nscopes = [{scopes}]");
    let both = "\"secrets.update\", \"nodes.drain\"";
    let playbook = "playbooks/ingress-cert-rotation.toml";
    let write_second = |folder: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(folder.join(playbook)).unwrap();
        let second = text
            .replace("id = \"ingress-cert-rotation\"", "id = \"node-drain\"")
            .replace("\"secrets.update\"", "\"nodes.drain\"");
        assert!(second.contains(from), "{second}");
        fs::write(folder.join("playbooks/node-drain.toml"), second.replace(from, to)).unwrap();
    };
    let folder = with_table("prod.example.org", &role(both));
    check(folder.path()).unwrap();
    write_second(folder.path(), "title = ", "title = ");
    let found = check(folder.path()).unwrap_err();
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(finding.code, FindingCode::EntryHumanRole);
    assert!(
        finding.file.ends_with("entries/cert-rotator.toml") && finding.line.is_some(),
        "{finding}"
    );
    let told = finding.to_string();
    assert!(
        told.contains("`admin`") && told.contains("`ingress-cert-rotation` and `node-drain`"),
        "{told}"
    );
    // More is in the role than both give, another agent has the second one, or nobody may ask for it.
    let more = with_table("prod.example.org", &role(&format!("{both}, \"clusters.delete\"")));
    write_second(more.path(), "title = ", "title = ");
    check(more.path()).unwrap();
    let agent = "spiffe://prod.example.org/agent/cert-rotator";
    write_second(folder.path(), agent, "spiffe://prod.example.org/agent/drainer");
    check(folder.path()).unwrap();
    write_second(folder.path(), "status = \"active\"", "status = \"disabled\"");
    check(folder.path()).unwrap();
}

#[test]
fn m_25_what_ends_at_this_second_has_ended_and_what_ends_in_the_next_has_not() {
    let folder = check(&shipped().join("prod.example.org")).unwrap();
    let end: Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
    let ended = |now: Timestamp| {
        folder.warnings(now).iter().any(|found| found.code == FindingCode::EntryExpired)
    };
    assert!(ended(end));
    assert!(!ended(end - jiff::SignedDuration::from_secs(1)));
}
