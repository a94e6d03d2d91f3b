mod fields;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::issuer::folder::check;

const DOCUMENT: &str = include_str!("../../../trust-domains/prod.example.org/trust-domain.toml");

fn entry(id: &str, path: &str, selectors: &str, more: &str) -> String {
    format!(
        "[[entry]]\nid = \"{id}\"\nspiffe_id = \"spiffe://prod.example.org/{path}\"\nrole = \"agent\"\n\
         owner = \"group:sre\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [{selectors}]\n{more}\n"
    )
}

/// The shipped production trust domain with these files in place of its own.
fn folder(files: &[(&str, &str)]) -> (TempDir, CheckedFolder) {
    let folder = TempDir::new().unwrap();
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("trust-domains/prod.example.org"),
        folder.path(),
    );
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let checked = check(folder.path()).unwrap();
    (folder, checked)
}

fn copy(from: &Path, to: &Path) {
    for item in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

/// What changes, as effect and sentence.
fn told(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<(Effect, String)> {
    let ((_one, before), (_other, after)) = (folder(before), folder(after));
    let plan = TrustDomainPlan::between(&(&before).into(), &(&after).into());
    assert_eq!(plan.standing == Standing::Same, plan.changes.is_empty());
    assert!(plan.changes.is_sorted(), "what is wider comes first");
    plan.changes.into_iter().map(|change| (change.effect, change.sentence)).collect()
}

#[test]
fn the_same_folder_changes_nothing_wherever_it_lies() {
    assert_eq!(told(&[], &[]), []);
}

#[test]
fn who_gains_and_loses_an_identity_is_said_in_a_sentence() {
    let a = entry("a", "agent/a", "\"unix:user:a\"", "");
    let narrower = entry("a", "agent/a", "\"unix:user:a\", \"unix:path:/bin/a\"", "");
    let other = entry("a", "agent/a", "\"unix:user:b\"", "");
    let renamed = entry("b", "agent/a", "\"unix:user:a\"", "");
    let moved = entry("a", "agent/b", "\"unix:user:a\"", "");
    let of = |before: &str, after: &str| {
        told(&[("entries/a.toml", before)], &[("entries/a.toml", after)])
    };
    assert_eq!(
        of("", &a),
        [(
            Effect::Wider,
            "processes with `unix:user:a` gain `spiffe://prod.example.org/agent/a` as agent (entry `a` of `group:sre`)"
                .to_owned()
        )]
    );
    assert_eq!(
        of(&a, ""),
        [(
            Effect::Narrower,
            "processes with `unix:user:a` lose `spiffe://prod.example.org/agent/a` (entry `a` of `group:sre`)"
                .to_owned()
        )]
    );
    let sentence = "`spiffe://prod.example.org/agent/a` was for processes with `unix:user:a` and is for those with \
                    `unix:path:/bin/a` and `unix:user:a`";
    assert_eq!(of(&a, &narrower), [(Effect::Narrower, sentence.to_owned())]);
    assert_eq!(of(&narrower, &a)[0].0, Effect::Wider);
    assert_eq!(of(&a, &other)[0].0, Effect::Unclear);
    let sentence = "entry `a` is now called `b`".to_owned();
    assert_eq!(of(&a, &renamed), [(Effect::Described, sentence)]);
    let effects: Vec<Effect> = of(&a, &moved).into_iter().map(|(effect, _)| effect).collect();
    assert_eq!(effects, [Effect::Wider, Effect::Narrower]);
    // Where an entry stands in its file says nothing.
    assert_eq!(of(&a, &format!("# a comment\n\n{a}")), []);
}

#[test]
fn what_becomes_of_a_setting_is_said_with_its_name() {
    let of = |from: &str, to: &str| {
        assert!(DOCUMENT.contains(from), "{from}");
        told(&[], &[("trust-domain.toml", &DOCUMENT.replacen(from, to, 1))])
    };
    assert_eq!(
        of("x509_svid = \"1h\"", "x509_svid = \"2h\""),
        [(Effect::Wider, "`lifetimes.x509_svid` was `1h` and is `2h`".to_owned())]
    );
    assert_eq!(of("x509_svid = \"1h\"", "x509_svid = \"60m\"")[0].0, Effect::Described);
    let found = of("listen = \"127.0.0.1:8443\"", "listen = \"127.0.0.1:9443\"");
    assert!(found[0].1.ends_with(" (needs a restart)"), "{found:?}");
    let found = of("listen = ", "url = \"https://issuer.example.org\"\nlisten = ");
    assert!(found[0].1.ends_with(" (needs a restart)"), "{found:?}");
    let found = of("[tokens]", "[[operators]]\nuser = \"mallory\"\n[tokens]");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, Effect::Wider);
    assert!(found[0].1.contains("operators.mallory"), "{found:?}");
    let found = of(
        "spiffe_ids = [\"spiffe://prod.example.org/service/ingress\"]",
        "spiffe_ids = [\"spiffe://prod.example.org/service/ingress\", \"spiffe://prod.example.org/service/b\"]",
    );
    assert_eq!(
        found,
        [(
            Effect::Wider,
            "`resource_servers.https://ingress.prod.example.org.spiffe_ids` gains `spiffe://prod.example.org/service/b`"
                .to_owned()
        )]
    );
}

#[test]
fn each_certificate_that_the_document_names_is_told_when_it_becomes_another() {
    let pem = || {
        let made = marque_testkit::rcgen::generate_simple_self_signed(["a.example.org".to_owned()]);
        made.unwrap().cert.pem()
    };
    let (one, other) = (pem(), pem());
    let witness = marque_audit::CosignerKey::new("witness.example.org/w1", [7; 32]).unwrap();
    for table in [
        "[[decision_points]]\nname = \"central\"\nurl = \"https://pdp.example.org/access\"",
        "[[ticket_systems]]\nname = \"itsm\"\nurl = \"https://itsm.example.org/{ticket}\"\nclosed = [\"closed\"]\n\
         answer = { state = \"/state\" }",
        "[post_checks]",
        "[[audit.sinks]]\nname = \"siem\"\nsends = \"records\"\nformat = \"ocsf\"\nto = \"https://siem.example.org/in\"",
        &format!(
            "[[audit.witnesses]]\nname = \"w1\"\nurl = \"https://witness.example.org/marque\"\n\
             key = \"{witness}\""
        ),
        "[upstream]\nkind = \"vault\"\nurl = \"https://vault.example.org:8200\"\ntoken_file = \"/run/token\"",
    ] {
        let document =
            DOCUMENT.replacen("[tokens]", &format!("{table}\nca_file = \"ca.pem\"\n\n[tokens]"), 1);
        let with = |pem| [("trust-domain.toml", document.as_str()), ("ca.pem", pem)];
        let found = told(&with(&one), &with(&other));
        assert_eq!(
            found,
            [(Effect::Unclear, "`ca.pem` holds something else".to_owned())],
            "{table}"
        );
        assert_eq!(told(&with(&one), &with(&one)), [], "{table}");
    }
}

#[test]
fn the_order_of_entries_is_told_where_it_decides_a_default_identity() {
    let (a, b) = (
        entry("a", "agent/a", "\"unix:user:a\"", ""),
        entry("b", "agent/b", "\"docker:label:app:b\"", ""),
    );
    let told = |before: &str, after: &str| {
        told(&[("entries/a.toml", before)], &[("entries/a.toml", after)])
    };
    let (there, back) = (format!("{a}\n{b}"), format!("{b}\n{a}"));
    let sentence = "`spiffe://prod.example.org/agent/b` is now the default identity of processes that also earn \
                    `spiffe://prod.example.org/agent/a` (entry `a`): entry `b` comes first";
    assert_eq!(told(&there, &back), [(Effect::Unclear, sentence.to_owned())]);
    let other = entry("b", "agent/b", "\"unix:user:b\"", "");
    let (there, back) = (format!("{a}\n{other}"), format!("{other}\n{a}"));
    assert_eq!(told(&there, &back), [], "nobody has both");
}

#[test]
fn playbooks_policies_and_the_rest_are_told_each_in_its_way() {
    let playbook = include_str!(
        "../../../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml"
    );
    let file = "playbooks/ingress-cert-rotation.toml";
    let longer = playbook.replace("max_duration = \"10m\"", "max_duration = \"20m\"");
    assert_eq!(
        told(&[], &[(file, &longer)]),
        [(
            Effect::Wider,
            "playbook `ingress-cert-rotation`: `time.max_duration` was `10m` and is `20m`"
                .to_owned()
        )]
    );
    let other = playbook.replace("id = \"ingress-cert-rotation\"", "id = \"another\"");
    let found = told(&[], &[("playbooks/another.toml", &other)]);
    assert_eq!(found[0].0, Effect::Wider);
    assert!(found[0].1.contains("may ask for the new playbook `another`"), "{found:?}");
    let found = told(&[("playbooks/another.toml", &other)], &[]);
    assert_eq!(found[0].0, Effect::Narrower);
    let calendar = include_str!("../schema/tests/calendar.toml");
    let found = told(&[], &[("calendars/freeze.toml", calendar)]);
    assert_eq!(found, [(Effect::Narrower, "`calendars/freeze.toml` is new".to_owned())]);
    let open = calendar.replace("emergency = true", "emergency = false");
    let found = told(&[("calendars/freeze.toml", &open)], &[("calendars/freeze.toml", calendar)]);
    assert_eq!(found[0].0, Effect::Wider, "{found:?}");
    let found = told(&[], &[("rosters/on-call.toml", include_str!("../schema/tests/roster.toml"))]);
    assert_eq!(found[0].0, Effect::Wider);
    let found =
        told(&[], &[("policy/relations/a.toml", include_str!("../schema/tests/relations.toml"))]);
    assert_eq!(found[0].0, Effect::Unclear);
}

#[test]
fn a_policy_that_forbids_and_goes_is_wider() {
    let hard = include_str!("../../../trust-domains/prod.example.org/policy/hard.cedar");
    let more = format!(
        "{hard}\n@id(\"no-one-else\")\n@code(\"agent_not_allowed\")\nforbid (principal, action, resource)\nunless {{ context.environment == \"production\" }};\n"
    );
    let with = [("policy/hard.cedar", more.as_str())];
    let gained = told(&[], &with);
    assert_eq!(gained[0].0, Effect::Narrower, "{gained:?}");
    assert!(gained[0].1.contains("policy `no-one-else`, which forbids"), "{gained:?}");
    assert_eq!(told(&with, &[])[0].0, Effect::Wider);
}

#[test]
fn a_trust_domain_that_comes_or_goes_takes_its_identities_along() {
    let (_folder, checked) = folder(&[]);
    let added = Plan::between([], [&checked]);
    assert_eq!(added.trust_domains[0].standing, Standing::Added);
    let settings = |change: &&Change| change.kind == Kind::Setting;
    assert!(added.changes().filter(|one| !settings(one)).all(|one| one.effect == Effect::Wider));
    let told: Vec<_> = added.changes().filter(settings).collect();
    assert_eq!(told.len(), 1, "that all of it is to be looked at: {told:?}");
    let removed = Plan::between([&checked], []);
    assert_eq!(removed.trust_domains[0].standing, Standing::Removed);
    assert!(removed.changes().all(|change| change.effect == Effect::Narrower));
    assert!(!added.is_empty() && !removed.is_empty());
    assert!(Plan::between([&checked], [&checked]).is_empty());
}
