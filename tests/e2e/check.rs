//! `marque check`: what a platform team runs over its folder before it is served.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::folder;
use crate::support::operator::{Said, run_marque};

fn copy() -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    folder::copy(&folder::shipped(), scratch.path());
    scratch
}

async fn check(folder: &Path) -> Said {
    run_marque(&["--output", "json", "check", &folder.display().to_string()].map(ToOwned::to_owned))
        .await
}

/// Replaces `from` by `to` in one file of the folder.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let file = folder.join(file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{} does not hold `{from}`", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test]
async fn the_shipped_folder_has_no_finding() {
    check(&folder::shipped()).await.succeeded();
}

#[tokio::test]
async fn a_roster_that_says_nothing_clear_is_a_finding() {
    const ROSTER: &str = "prod.example.org/rosters/on-call.toml";
    let scratch = copy();
    let file = scratch.path().join(ROSTER);
    fs::create_dir(file.parent().expect("a folder")).expect("a folder");
    let roster = "apiVersion = \"marque/v1\"\nkind = \"Roster\"\ngroup = \"on-call\"\n\
                  time_zone = \"Europe/Berlin\"\n[[shifts]]\nmembers = [\"user:alice\"]\n\
                  days = [\"mon\"]\nfrom = \"09:00\"\nto = \"17:00\"\n";
    fs::write(&file, roster).expect("write the roster");
    check(scratch.path()).await.succeeded();
    edit(scratch.path(), ROSTER, "Europe/Berlin", "Europe/Atlantis");
    let said = check(scratch.path()).await.failed();
    assert!(format!("{}{}", said.out, said.err).contains(ROSTER), "{said:?}");
}

#[tokio::test]
async fn a_finding_names_its_file_and_line() {
    const PLAYBOOK: &str = "prod.example.org/playbooks/ingress-cert-rotation.toml";
    const DOCUMENT: &str = "prod.example.org/trust-domain.toml";
    const POLICY: &str = "prod.example.org/policy/hard.cedar";
    for (file, from, to) in [
        (DOCUMENT, "environment = \"production\"", "environment = \"prod\""),
        (DOCUMENT, "tenant = ", "tenat = "),
        (DOCUMENT, "[issuer]", "[attestation.docker]\nsocket = \"docker.sock\"\n[issuer]"),
        (DOCUMENT, "[issuer]", "[attestation.kubernetes]\ntoken = \"x\"\n[issuer]"),
        (PLAYBOOK, "uses = 1", "uses = 0"),
        (PLAYBOOK, "uses = 1", "uses = 1\nunlimited = true"),
        (PLAYBOOK, "version = 1", "version = \"one\""),
        (PLAYBOOK, "additionalProperties = false", "additionalProperties = true"),
        (PLAYBOOK, "scopes = [\"secrets.update\"]", "scopes = [\"*\"]"),
        (PLAYBOOK, "retry_buffer = \"2m\"", "retry_buffer = \"57m\""),
        (POLICY, "context.has_ticket", "context.has_tickets"),
    ] {
        let scratch = copy();
        edit(scratch.path(), file, from, to);
        let said = check(scratch.path()).await;
        assert_eq!(said.code, 1, "`{to}` in {file} was accepted: {said:?}");
        let told = format!("{}{}", said.out, said.err);
        assert!(told.contains(file), "`{to}`: {file} is not named in {told}");
        let line = told.contains("\"line\":") || told.contains(&format!("{file}:"));
        assert!(line, "`{to}`: no line is named in {told}");
    }
}

/// What made trust policies of CI systems worthless: a wildcard for a subject, claims that the other side chooses, and
/// tokens that are for nobody in particular.
#[tokio::test]
async fn oh_my_dc_the_check_finds_trust_in_everybody_in_chosen_claims_and_in_tokens_for_nobody() {
    const PLAYBOOK: &str = "prod.example.org/playbooks/ingress-cert-rotation.toml";
    const DOCUMENT: &str = "prod.example.org/trust-domain.toml";
    const AGENT: &str = "\"spiffe://prod.example.org/agent/cert-rotator\"";
    let issuer = |more: &str| {
        format!(
            "[[oidc_issuers]]\nname = \"corp\"\nenvironment = \"production\"\n\
             issuer = \"https://login.example.org\"\njwks_file = \"corp.json\"\n{more}\n[tokens]"
        )
    };
    let for_us = "audiences = [\"marque-prod\"]\n";
    for (name, file, from, to, because) in [
        ("any agent", PLAYBOOK, AGENT, "\"spiffe://prod.example.org/*\"".to_owned(), "everybody"),
        ("any trust domain", PLAYBOOK, AGENT, "\"spiffe://*/agent/a\"".to_owned(), "who.agents"),
        (
            "half a name",
            PLAYBOOK,
            AGENT,
            "\"spiffe://prod.example.org/a*\"".to_owned(),
            "who.agents",
        ),
        (
            "an agent by a parameter",
            PLAYBOOK,
            AGENT,
            "\"spiffe://prod.example.org/agent/{{params.service}}\"".to_owned(),
            "who.agents",
        ),
        (
            "a host by a parameter",
            PLAYBOOK,
            "https://ingress.prod",
            "https://{{params.service}}.prod".to_owned(),
            "host",
        ),
        ("tokens for nobody", DOCUMENT, "[tokens]", issuer(""), "audiences"),
        ("tokens for no one", DOCUMENT, "[tokens]", issuer("audiences = []\n"), "audiences"),
        (
            "a group that people give themselves",
            DOCUMENT,
            "[tokens]",
            issuer(&format!("{for_us}groups_claim = \"preferred_username\"\n")),
            "say of themselves",
        ),
        (
            "a condition that people meet by writing it",
            DOCUMENT,
            "[tokens]",
            issuer(&format!("{for_us}[oidc_issuers.required_claims]\nemail = \"a@b.c\"\n")),
            "say of themselves",
        ),
    ] {
        let scratch = copy();
        edit(scratch.path(), file, from, &to);
        let said = check(scratch.path()).await;
        assert_eq!(said.code, 1, "{name} was accepted: {said:?}");
        let told = format!("{}{}", said.out, said.err);
        assert!(told.contains(file) && told.contains(because), "{name}: {told}");
    }
}

#[tokio::test]
async fn a_folder_with_a_finding_is_not_served() {
    let scratch = copy();
    edit(scratch.path(), "dev.example.org/trust-domain.toml", "tenant = ", "tenat = ");
    let state = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").unwrap();
    let (folder, data) = (scratch.path().display().to_string(), state.path().display().to_string());
    let arguments = ["dev", "--trust-domains", &folder, "--data-dir", &data, "--certs-dir", &data];
    let said = run_marque(&arguments.map(ToOwned::to_owned)).await.failed();
    assert!(said.err.contains("dev.example.org/trust-domain.toml"), "{said:?}");
}

#[tokio::test]
async fn a_name_decides_no_environment() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("prod-like.example.org");
    folder::copy(&folder::shipped().join("dev.example.org"), &folder);
    rename(&folder, "dev.example.org", "prod-like.example.org");
    let told = check(scratch.path()).await.succeeded().json();
    assert_eq!(told["trust_domains"][0]["name"], "prod-like.example.org", "{told}");
    assert_eq!(told["trust_domains"][0]["environment"], "non-production", "{told}");
}

/// Replaces a trust domain's name in every file of the folder.
fn rename(folder: &Path, from: &str, to: &str) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            rename(&entry, from, to);
        } else {
            let text = fs::read_to_string(&entry).unwrap();
            fs::write(&entry, text.replace(from, to)).unwrap();
        }
    }
}

#[tokio::test]
async fn an_alert_to_a_webhook_that_is_not_there_is_a_finding() {
    const EMERGENCY: &str =
        include_str!("../../crates/intent/testdata/emergency-network-remediation.toml");
    const PLAYBOOK: &str = "prod.example.org/playbooks/emergency-network-remediation.toml";
    let scratch = copy();
    let text = EMERGENCY.replace("alert = \"log\"", "alert = \"webhook:pager\"");
    fs::write(scratch.path().join(PLAYBOOK), text).expect("write the playbook");
    let said = check(scratch.path()).await.failed();
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("emergency.alert") && told.contains("[[webhooks]] `pager`"), "{said:?}");
    let hook = "\n[[webhooks]]\nname = \"pager\"\nurl = \"https://hooks.example.org/marque\"\n\
                ca_file = \"ca.pem\"\nsecret_file = \"secret\"\nevents = []\n";
    let file = scratch.path().join("prod.example.org/trust-domain.toml");
    let document = fs::read_to_string(&file).expect("the document");
    fs::write(&file, format!("{document}{hook}")).expect("write the document");
    let said = check(scratch.path()).await;
    assert!(!format!("{}{}", said.out, said.err).contains("emergency.alert"), "{said:?}");
}

/// Every lint of the folder as a whole: its code, its file, its line where it has one, and what to do.
#[tokio::test]
async fn each_lint_of_a_folder_has_its_code_and_says_what_to_do() {
    const PLAYBOOK: &str = "prod.example.org/playbooks/ingress-cert-rotation.toml";
    const DOCUMENT: &str = "prod.example.org/trust-domain.toml";
    const ENTRY: &str = "prod.example.org/entries/cert-rotator.toml";
    let second = |more: &str| {
        format!(
            "[[entry]]\nid = \"second\"\nspiffe_id = \"spiffe://prod.example.org/agent/cert-rotator\"\n\
             role = \"agent\"\nowner = \"group:b\"\nselectors = [\"unix:user:b\"]\n{more}\n[[entry]]"
        )
    };
    let role = "[[human_roles]]\nname = \"admin\"\nscopes = [\"secrets.update\"]\n[tokens]";
    let everybody = "agents = [\n    \"spiffe://prod.example.org/*\",";
    let overdue = "[playbooks]\noverdue = \"refuse\"\n[tokens]";
    let warns = "[identities]\nwithout_expiry = \"warn\"\n[tokens]";
    let template = |more: &str| {
        format!(
            "[[template]]\nid = \"team\"\nspiffe_id = \"spiffe://prod.example.org/team/{{unix:user}}\"\nrole = \"agent\"\n\
             owner = \"group:a\"\nselectors = [\"unix:path:/bin/a\"]\nmax_identities = 5\n{more}\n[[entry]]"
        )
    };
    for (list, code, edits) in [
        ("findings", "owner_missing", vec![(ENTRY, "owner = \"group:platform-sre\"", "")]),
        ("findings", "owner_missing", vec![(PLAYBOOK, "owner = \"group:platform-sre\"", "")]),
        ("findings", "entry_duplicate_spiffe_id", vec![(ENTRY, "[[entry]]", second("").as_str())]),
        (
            "findings",
            "playbook_human_role",
            // The finding is about the playbook, whatever the role says.
            vec![(DOCUMENT, "[tokens]", role), (PLAYBOOK, "review_by", "review_by")],
        ),
        ("findings", "pattern_names_everybody", vec![(PLAYBOOK, "agents = [", everybody)]),
        ("findings", "field_unknown", vec![(DOCUMENT, "tenant = ", "tenat = ")]),
        ("findings", "toml_syntax", vec![(DOCUMENT, "tenant = ", "tenant = = ")]),
        (
            "findings",
            "playbook_review_overdue",
            vec![
                (PLAYBOOK, "review_by = \"2027-03-01\"", "review_by = \"2020-01-01\""),
                (DOCUMENT, "[tokens]", overdue),
            ],
        ),
        (
            "warnings",
            "playbook_review_overdue",
            vec![(PLAYBOOK, "review_by = \"2027-03-01\"", "review_by = \"2020-01-01\"")],
        ),
        (
            "findings",
            "entry_no_expiry",
            vec![(ENTRY, "expires_at = \"2031", "# expires_at = \"2031")],
        ),
        ("warnings", "entry_expired", vec![(ENTRY, "2031-01-01", "2020-01-01")]),
        ("findings", "entry_no_expiry", vec![(ENTRY, "[[entry]]", template("").as_str())]),
        (
            "warnings",
            "entry_expired",
            vec![(ENTRY, "[[entry]]", template("expires_at = \"2020-01-01T00:00:00Z\"").as_str())],
        ),
        (
            "warnings",
            "entry_no_expiry",
            vec![
                (ENTRY, "expires_at = \"2031", "# expires_at = \"2031"),
                (DOCUMENT, "[tokens]", warns),
            ],
        ),
        (
            "warnings",
            "entry_no_expiry",
            vec![(ENTRY, "[[entry]]", template("").as_str()), (DOCUMENT, "[tokens]", warns)],
        ),
        (
            "warnings",
            "pattern_names_everybody",
            vec![(
                DOCUMENT,
                "[tokens]",
                "[audit]\nreaders = [\"spiffe://prod.example.org/*\"]\n[tokens]",
            )],
        ),
    ] {
        let scratch = copy();
        for (file, from, to) in &edits {
            edit(scratch.path(), file, from, to);
        }
        let said = check(scratch.path()).await;
        assert_eq!(said.code, i32::from(list == "findings"), "{code}: {said:?}");
        let report = said.json();
        let found = report[list].as_array().unwrap().iter().find(|found| found["code"] == code);
        let found = found.unwrap_or_else(|| panic!("no {code} in {report:#}"));
        let file = found["file"].as_str().unwrap();
        assert!(edits.iter().any(|(edited, ..)| file.ends_with(edited)), "{code}: {file}");
        assert!(found["help"].as_str().is_some_and(|help| help.len() > 10), "{found}");
        let folder = scratch.path().display().to_string();
        let strict = ["check", "--strict", &folder].map(ToOwned::to_owned);
        run_marque(&strict).await.failed();
    }
}

#[tokio::test]
async fn m_1_an_identity_that_is_shared_on_purpose_is_listed_with_its_reasons() {
    const ENTRY: &str = "prod.example.org/entries/cert-rotator.toml";
    const WHY: &str = "shared = true\nreason = \"blue and green units of one agent\"\n";
    let share = |trust_domains: &Path| {
        let file = trust_domains.join(ENTRY);
        let text = fs::read_to_string(&file).unwrap();
        let blue = text.replace("[[entry]]", &format!("[[entry]]\n{WHY}"));
        let green = blue
            .replace("id = \"cert-rotator\"", "id = \"green\"")
            .replace("marque-cert-rotator", "marque-green")
            .replace("group:platform-sre", "group:green");
        fs::write(file, format!("{blue}\n{green}")).unwrap();
    };
    let scratch = copy();
    share(scratch.path());
    let report = check(scratch.path()).await.succeeded().json();
    let warnings = report["warnings"].as_array().unwrap();
    assert_eq!(warnings.iter().filter(|found| found["code"] == "entry_shared").count(), 2);

    let daemon = Daemon::start_with(share).await;
    let operator = daemon.operator(PRODUCTION);
    let listed = operator.json(&["report", "shared-identities", "--fail"]).await;
    let [shared] = listed.as_array().unwrap().as_slice() else { panic!("{listed:#}") };
    assert_eq!(shared["spiffe_id"], "spiffe://prod.example.org/agent/cert-rotator");
    let declared = shared["declared"].as_array().unwrap();
    assert_eq!(declared.len(), 2, "{shared:#}");
    assert!(declared.iter().any(|one| one["entry_id"] == "green" && one["owner"] == "group:green"));
    assert!(declared.iter().all(|one| one["reason"] == "blue and green units of one agent"));
}

#[tokio::test]
async fn the_schemas_and_the_codes_are_printed() {
    let schemas = run_marque(&["--output", "json", "schema"].map(ToOwned::to_owned)).await;
    for schema in schemas.succeeded().json().as_array().unwrap() {
        let name = schema["name"].as_str().unwrap().to_owned();
        let printed = run_marque(&["schema".to_owned(), name]).await.succeeded().json();
        assert_eq!(printed["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    let unknown = run_marque(&["schema", "colours"].map(ToOwned::to_owned)).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.err.contains("trust-domain, entries, playbook"), "{unknown:?}");
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("schemas").display().to_string();
    run_marque(&["schema".to_owned(), "--out".to_owned(), out.clone()]).await.succeeded();
    assert!(Path::new(&out).join("playbook.schema.json").is_file());
    let codes = run_marque(&["check", "--codes"].map(ToOwned::to_owned)).await.succeeded();
    assert!(codes.out.contains("entry_duplicate_spiffe_id"), "{codes:?}");
}
