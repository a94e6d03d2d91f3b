mod expiry;
mod trust;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::TrustDomainFolder;
use crate::{EntryRole, EntrySource, Finding, FindingCode, OperatorPrincipal, TokenBinding};

const DOCUMENT: &str = include_str!("tests/trust-domain.toml");
const ENTRY: &str = include_str!("tests/entry.toml");

/// A folder with the document and these entry files.
fn folder(document: &str, entries: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("trust-domain.toml"), document).unwrap();
    std::fs::create_dir(folder.path().join("entries")).unwrap();
    for (name, text) in entries {
        std::fs::write(folder.path().join("entries").join(name), text).unwrap();
    }
    folder
}

/// What is wrong, as `file:line: message` with files relative to the folder.
fn findings(folder: &TempDir) -> Vec<String> {
    let findings = TrustDomainFolder::load(folder.path()).unwrap_err();
    let prefix = format!("{}/", folder.path().display());
    findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect()
}

/// What is found; nothing where nothing is wrong.
fn all_findings(folder: &TempDir) -> Vec<String> {
    match TrustDomainFolder::load(folder.path()) {
        Ok(_folder) => Vec::new(),
        Err(_findings) => findings(folder),
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../trust-domains").join(name)
}

#[test]
fn the_shipped_trust_domains_load() {
    for (name, environment, port) in
        [("prod.example.org", "production", 8443), ("dev.example.org", "non-production", 8444)]
    {
        let folder = TrustDomainFolder::load(&shipped(name)).unwrap();
        assert_eq!(folder.document.name().as_str(), name);
        assert_eq!(folder.document.environment().as_str(), environment);
        assert_eq!(folder.document.hosts().listen().port(), port);
        assert!(folder.entries.iter().all(|entry| entry.role() == EntryRole::Agent));
        // What ships must not match anything on whatever host it is tried on.
        assert!(folder.entries.iter().all(|entry| entry.selectors().len() > 1));
        crate::Registry::new(folder.document.into(), folder.entries).unwrap();
    }
}

#[test]
fn every_field_of_a_folder_is_read() {
    let folder = folder(DOCUMENT, &[("a.toml", ENTRY)]);
    let TrustDomainFolder {
        path,
        document,
        entries,
        templates,
        federated,
        issuer_keys,
        revocation_lists,
    } = TrustDomainFolder::load(folder.path()).unwrap();
    assert!(templates.is_empty() && federated.is_empty());
    assert!(issuer_keys.is_empty() && revocation_lists.is_empty());
    assert_eq!(path, folder.path());
    assert_eq!(document.tenant().as_str(), "example");
    assert_eq!(document.ca_lifetime().as_secs(), 30 * 86_400);
    assert_eq!(document.x509_svid_lifetime().as_secs(), 3_600);
    assert_eq!(document.jwt_svid_lifetime().as_secs(), 300);
    assert_eq!(document.refresh_hint().as_secs(), 120);
    assert_eq!(document.max_access_token_lifetime().as_secs(), 600);
    assert_eq!(document.hosts().listen().to_string(), "127.0.0.1:8443");
    let [alice, uid] = document.operators() else { panic!("{:?}", document.operators()) };
    assert_eq!(alice.principal(), &OperatorPrincipal::User("alice".to_owned()));
    assert_eq!(alice.groups(), ["platform-sre", "operators"]);
    assert_eq!(uid.principal(), &OperatorPrincipal::Uid(1000));
    assert!(alice.matches(7, Some("alice")) && !alice.matches(7, Some("bob")));
    assert!(!alice.matches(7, None) && uid.matches(1000, None) && !uid.matches(1001, None));
    let [server] = document.resource_servers() else { panic!("one resource server") };
    assert_eq!(server.audience(), "https://gateway.example.org/k8s");
    assert_eq!(server.spiffe_ids()[0].as_str(), "spiffe://example.org/service/gateway");
    assert_eq!(server.binding(), TokenBinding::Optional);

    let [entry] = entries.as_slice() else { panic!("one entry") };
    assert_eq!(entry.id().as_str(), "reader");
    assert_eq!(entry.spiffe_id().as_str(), "spiffe://example.org/agent/reader");
    assert_eq!(entry.role(), EntryRole::Service);
    assert_eq!(entry.owner(), "group:platform-sre");
    assert_eq!(entry.selectors().len(), 2);
    assert_eq!(entry.hint().unwrap().as_str(), "main");
    assert_eq!(entry.x509_lifetime().unwrap().as_secs(), 1_800);
    assert_eq!(entry.jwt_lifetime().unwrap().as_secs(), 60);
    assert_eq!(entry.dns_names()[0].as_str(), "reader.example.org");
    assert_eq!(entry.expires_at().unwrap().to_string(), "2031-01-01T00:00:00Z");
    let file = folder.path().join("entries/a.toml");
    assert_eq!(entry.source(), &EntrySource::File { path: file, line: 2 });
}

#[test]
fn all_findings_of_all_files_are_reported_at_once_with_their_lines() {
    let document = "name = \"Example.org\"\nenvironment = \"prod\"\ntenant = 7\ncolour = \"red\"\n\
                    [lifetimes]\nauthority = \"1h\"\nx509_svid = \"11m\"\njwt_svid = \"0s\"\n\
                    [issuer]\nlisten = \"localhost:1\"\nport = 5\n[[operators]]\ngroups = [\"a b\"]\n\
                    emails = [\"alice\", \"a@b@c\", \"a@example.org\"]\n\
                    [[resource_servers]]\naudience = \"gateway\"\nspiffe_ids = [\"spiffe://x\", \"http://y\"]\n";
    let first = "[[entry]]\nid = \"A\"\nspiffe_id = \"spiffe://example.org/a\"\nowner = \"x\"\n\
                 role = \"king\"\nselectors = [\"unix\", 5]\nselector = []\n";
    let folder =
        folder(document, &[("b.toml", first), ("c.toml", "[[entry]]\nid =\nx = 1\nx = 2\n")]);
    starts_match(
        &findings(&folder),
        &[
            "entries/b.toml:2: `id` in [entry]: `A`: an entry id is",
            "entries/b.toml:5: `role` in [entry]: `king`: a role is `agent` or `service`",
            "entries/b.toml:6: `selectors` in [entry] must be a text",
            "entries/b.toml:6: `selectors` in [entry]: `unix`: selector has no `:`",
            "entries/b.toml:7: unknown field `selector` in [entry]",
            "entries/c.toml:2:",
            "entries/c.toml:4: duplicate key",
            "trust-domain.toml:1: `name`: `Example.org`:",
            "trust-domain.toml:1: `tokens` is missing",
            "trust-domain.toml:2: `environment`: `prod`:",
            "trust-domain.toml:3: `tenant` must be a text",
            "trust-domain.toml:4: unknown field `colour`",
            "trust-domain.toml:5: `refresh_hint` in [lifetimes] is missing",
            "trust-domain.toml:7: `x509_svid` in [lifetimes] must be at most a sixth of `authority`",
            "trust-domain.toml:8: `jwt_svid` in [lifetimes]: `0s`: must be at least one second",
            "trust-domain.toml:10: `listen` in [issuer]: `localhost:1`:",
            "trust-domain.toml:11: unknown field `port` in [issuer]",
            "trust-domain.toml:12: [operators] needs exactly one of `user` and `uid`",
            "trust-domain.toml:13: `groups` in [operators]: `a b`:",
            "trust-domain.toml:14: `emails` in [operators]: `a@b@c`: is not an address",
            "trust-domain.toml:14: `emails` in [operators]: `alice`: is not an address",
            "trust-domain.toml:16: `audience` in [resource_servers]: `gateway`: is not an absolute URI",
            "trust-domain.toml:17: `spiffe_ids` in [resource_servers]: `http://y`:",
        ],
    );
}

fn starts_match(found: &[String], expected: &[&str]) {
    let matching = found.iter().zip(expected).filter(|(found, start)| found.starts_with(**start));
    assert_eq!((matching.count(), found.len()), (expected.len(), expected.len()), "{found:#?}");
}

#[test]
fn each_ceiling_holds_and_one_past_it_is_refused() {
    for (field, last, first_refused) in [
        ("authority = \"30d\"", "authority = \"3650d\"", "authority = \"87600h 1s\""),
        ("x509_svid = \"1h\"", "x509_svid = \"24h\"", "x509_svid = \"86401s\""),
        ("jwt_svid = \"5m\"", "jwt_svid = \"1h\"", "jwt_svid = \"3601s\""),
        ("refresh_hint = \"2m\"", "refresh_hint = \"24h\"", "refresh_hint = \"86401s\""),
        ("max_lifetime = \"10m\"", "max_lifetime = \"1h\"", "max_lifetime = \"3601s\""),
    ] {
        assert!(DOCUMENT.contains(field), "{field}");
        TrustDomainFolder::load(folder(&DOCUMENT.replace(field, last), &[]).path()).unwrap();
        let found = findings(&folder(&DOCUMENT.replace(field, first_refused), &[]));
        assert!(found[0].contains("must be at most"), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn what_an_authority_signs_takes_at_most_a_sixth_of_its_life() {
    let sixth = DOCUMENT.replace("authority = \"30d\"", "authority = \"6h\"");
    TrustDomainFolder::load(folder(&sixth, &[]).path()).unwrap();
    let less = DOCUMENT.replace("authority = \"30d\"", "authority = \"21599s\"");
    assert_eq!(findings(&folder(&less, &[])).len(), 1);
    for (field, of_an_hour, more) in [
        ("jwt_svid = \"5m\"", "jwt_svid = \"10m\"", "jwt_svid = \"601s\""),
        ("max_lifetime = \"10m\"", "max_lifetime = \"10m\"", "max_lifetime = \"601s\""),
    ] {
        let short = DOCUMENT
            .replace("authority = \"30d\"", "authority = \"1h\"")
            .replace("x509_svid = \"1h\"", "x509_svid = \"10m\"");
        let with = |text: &str| all_findings(&folder(&short.replace(field, text), &[]));
        assert_eq!(with(of_an_hour), Vec::<String>::new());
        assert!(with(more)[0].contains("at most a sixth"), "{:?}", with(more));
    }
}

#[test]
fn the_next_key_is_published_for_three_times_the_refresh_hint_before_it_signs() {
    let short = |authority: &str, hint: &str| {
        let text = DOCUMENT
            .replace("authority = \"30d\"", &format!("authority = \"{authority}\""))
            .replace("x509_svid = \"1h\"", "x509_svid = \"2s\"")
            .replace("jwt_svid = \"5m\"", "jwt_svid = \"2s\"")
            .replace("max_lifetime = \"10m\"", "max_lifetime = \"2s\"")
            .replace("refresh_hint = \"2m\"", &format!("refresh_hint = \"{hint}\""));
        all_findings(&folder(&text, &[]))
    };
    assert_eq!(short("12s", "1s"), Vec::<String>::new());
    assert_eq!(short("90s", "9s"), Vec::<String>::new());
    let found = short("90s", "10s");
    assert!(found[0].contains("`refresh_hint` in [lifetimes] is too long"), "{found:?}");
    assert!(found[0].contains("at most 9s"), "{found:?}");
    let found = short("11s", "1s");
    assert!(found.iter().any(|text| text.contains("give `authority` at least 12s")), "{found:?}");
}

#[test]
fn the_lifetime_of_wit_svids_is_that_of_x509_svids_unless_it_is_said_with_the_same_limits() {
    let wit_svid = |document: &str| {
        let folder = TrustDomainFolder::load(folder(document, &[]).path()).unwrap();
        folder.document.wit_svid_lifetime().as_secs()
    };
    let with = |lifetime: &str| {
        DOCUMENT.replace("jwt_svid =", &format!("wit_svid = \"{lifetime}\"\njwt_svid ="))
    };
    assert_eq!(wit_svid(DOCUMENT), 3_600);
    assert_eq!((wit_svid(&with("5m")), wit_svid(&with("24h"))), (300, 86_400));
    let found = findings(&folder(&with("86401s"), &[]));
    assert_eq!(found, ["trust-domain.toml:8: `wit_svid` must be at most 1d"]);
    let sixth = with("2h").replace("authority = \"30d\"", "authority = \"12h\"");
    assert_eq!(wit_svid(&sixth), 7_200);
    let found = findings(&folder(&sixth.replace("\"12h\"", "\"43199s\""), &[]));
    assert_eq!(
        found,
        ["trust-domain.toml:8: `wit_svid` in [lifetimes] must be at most a sixth of `authority`"]
    );
}

#[test]
fn an_operator_is_named_one_way() {
    for (name, good) in [
        ("user = \"bob\"", true),
        ("uid = 0", true),
        ("uid = 4294967295", true),
        ("uid = 4294967296", false),
        ("uid = -1", false),
        ("uid = \"1\"", false),
        ("user = \"\"", false),
        ("user = \"bob\"\nuid = 5", false),
    ] {
        let document = DOCUMENT.replace("uid = 1000", name);
        let loaded = TrustDomainFolder::load(folder(&document, &[]).path());
        assert_eq!(loaded.is_ok(), good, "{name}: {loaded:?}");
    }
}

#[test]
fn an_audience_is_an_absolute_uri_used_once() {
    let audience = "https://gateway.example.org/k8s";
    for (text, good) in [
        ("urn:example:gateway", true),
        ("https://x/?a=b", true),
        ("", false),
        ("https:", false),
        ("/k8s", false),
        ("1https://x", false),
        ("https://x/#part", false),
        ("https://x/ y", false),
        ("https://x/\u{e9}", false),
    ] {
        let document = DOCUMENT.replace(audience, text);
        let loaded = TrustDomainFolder::load(folder(&document, &[]).path());
        assert_eq!(loaded.is_ok(), good, "{text}: {loaded:?}");
    }
    for (text, binding) in [
        ("\"required\"", Some(TokenBinding::Required)),
        ("\"optional\"", Some(TokenBinding::Optional)),
        ("\"dpop\"", None),
        ("true", None),
    ] {
        let server = "[[resource_servers]]\naudience = \"https://x.example.org\"";
        let document = format!("{DOCUMENT}{server}\nspiffe_ids = []\nbinding = {text}\n");
        let loaded = TrustDomainFolder::load(folder(&document, &[]).path());
        let found = loaded.ok().map(|loaded| loaded.document.resource_servers()[1].binding());
        assert_eq!(found, binding, "{text}");
    }
    let twice = format!("{DOCUMENT}[[resource_servers]]\naudience = \"{audience}\"\n");
    assert!(findings(&folder(&twice, &[]))[0].contains("is used twice"));
}

#[test]
fn ids_and_spiffe_ids_are_unique_over_all_files() {
    let other = |from, to| ENTRY.replace(from, to);
    let same_id = other("agent/reader\"", "agent/other\"");
    let same_spiffe_id = other("\"reader\"", "\"other\"");
    let folder =
        folder(DOCUMENT, &[("a.toml", ENTRY), ("b.toml", &same_id), ("c.toml", &same_spiffe_id)]);
    starts_match(
        &findings(&folder),
        &[
            "entries/b.toml:2: entry `reader` exists already at entries/a.toml:2",
            "entries/c.toml:2: SPIFFE ID `spiffe://example.org/agent/reader` exists already at entries/a.toml:2",
        ],
    );
}

#[test]
fn an_entry_keeps_the_rules_of_its_trust_domain() {
    for (from, to, expected) in [
        (
            "spiffe://example.org/agent/reader",
            "spiffe://other.org/agent/reader",
            "is not of trust domain",
        ),
        ("spiffe://example.org/agent/reader", "spiffe://example.org", "has no path"),
        ("/agent/reader", "/marque", "is reserved"),
        ("/agent/reader", "/marque/broker", "is reserved"),
        ("/agent/reader", "/spire/server", "is reserved"),
        ("spiffe://example.org/agent/reader", "spiffe://other.org/marqued", "is not of trust"),
        (
            "x509_lifetime = \"30m\"",
            "x509_lifetime = \"3601s\"",
            "x509_lifetime of 3601s is longer",
        ),
        ("jwt_lifetime = \"1m\"", "jwt_lifetime = \"301s\"", "jwt_lifetime of 301s is longer"),
        ("owner = \"group:platform-sre\"", "", "`owner` in [entry] is missing"),
        ("owner = \"group:platform-sre\"", "owner = \"\"", "an owner is"),
        (
            "selectors = [\"unix:uid:1000\", \"unix:path:/usr/bin/reader\"]",
            "selectors = []",
            "at least one selector",
        ),
        ("2031-01-01T00:00:00Z", "tomorrow", "`expires_at`"),
    ] {
        assert!(ENTRY.contains(from), "{from}");
        let found = findings(&folder(DOCUMENT, &[("a.toml", &ENTRY.replace(from, to))]));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn a_missing_list_of_selectors_is_named() {
    let selectors = "selectors = [\"unix:uid:1000\", \"unix:path:/usr/bin/reader\"]";
    let found = findings(&folder(DOCUMENT, &[("a.toml", &ENTRY.replace(selectors, ""))]));
    assert!(found.iter().any(|f| f.contains("`selectors` in [entry] is missing")), "{found:?}");
}

#[test]
fn a_folder_without_a_document_says_so_and_still_reads_its_entries() {
    let folder = folder(DOCUMENT, &[("a.toml", "entry = 5"), ("notes.txt", "not read")]);
    std::fs::remove_file(folder.path().join("trust-domain.toml")).unwrap();
    let found = findings(&folder);
    assert!(
        found[0].starts_with("entries/a.toml:1: `entry` must be a list of tables"),
        "{found:?}"
    );
    assert!(found[1].starts_with("trust-domain.toml: cannot be read"), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_file_at_the_size_limit_is_read_and_one_past_it_is_not() {
    let limit = usize::try_from(super::MAX_FILE).unwrap();
    let padded = |size: usize| format!("{ENTRY}#{}", "x".repeat(size - ENTRY.len() - 1));
    TrustDomainFolder::load(folder(DOCUMENT, &[("a.toml", &padded(limit))]).path()).unwrap();
    let found = findings(&folder(DOCUMENT, &[("a.toml", &padded(limit + 1))]));
    assert_eq!(found, ["entries/a.toml: is larger than 1048576 bytes"]);
}

#[test]
fn entries_are_in_the_order_of_files_and_lines() {
    let named = |name: &str| {
        ENTRY.replace("\"reader\"", &format!("\"{name}\"")).replace("agent/reader", name)
    };
    let both = format!("{}{}", named("z"), named("y"));
    let folder = folder(DOCUMENT, &[("b.toml", &named("a")), ("a.toml", &both)]);
    let loaded = TrustDomainFolder::load(folder.path()).unwrap();
    let registry = crate::Registry::new(loaded.document.into(), loaded.entries).unwrap();
    let snapshot = registry.snapshot();
    let ids: Vec<_> = snapshot.entries().iter().map(|entry| entry.id().as_str()).collect();
    assert_eq!(ids, ["z", "y", "a"]);
}

#[test]
fn a_finding_reads_as_compilers_write_it() {
    let file = Path::new("a/b.toml");
    assert_eq!(Finding::at(file, 3, "is wrong").to_string(), "a/b.toml:3: is wrong");
    assert_eq!(Finding::about(file, "is wrong").to_string(), "a/b.toml: is wrong");
}

#[test]
fn an_identity_is_shared_only_by_entries_that_say_so_and_why() {
    let one = |id: &str, role: &str, more: &str| {
        format!(
            "[[entry]]\nid = \"{id}\"\nspiffe_id = \"spiffe://example.org/a\"\nrole = \"{role}\"\nowner = \"group:a\"\n\
             expires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:user:{id}\"]\n{more}\n"
        )
    };
    let why = "shared = true\nreason = \"two units of one agent\"";
    let load = |first: String, second: String| {
        TrustDomainFolder::load(folder(DOCUMENT, &[("a.toml", &(first + &second))]).path())
    };
    let loaded = load(one("a", "agent", why), one("b", "agent", why)).unwrap();
    assert_eq!(loaded.entries[1].sharing().unwrap().as_str(), "two units of one agent");
    for (first, second, code) in [
        (one("a", "agent", ""), one("b", "agent", ""), "entry_duplicate_spiffe_id"),
        (one("a", "agent", why), one("b", "agent", ""), "entry_duplicate_spiffe_id"),
        (one("a", "agent", ""), one("b", "agent", why), "entry_duplicate_spiffe_id"),
        (one("a", "agent", why), one("b", "service", why), "entry_duplicate_spiffe_id"),
        (one("a", "agent", "shared = true"), String::new(), "field_missing"),
        (one("a", "agent", "reason = \"x\""), String::new(), "entry_invalid"),
        (one("a", "agent", "shared = true\nreason = \" \""), String::new(), "field_value"),
        (one("a", "agent", ""), one("a", "agent", why), "entry_duplicate_id"),
    ] {
        let findings = load(first.clone(), second.clone()).unwrap_err();
        let found = findings.iter().any(|finding| finding.code.as_str() == code);
        assert!(found, "{code}: {first}{second}: {findings:?}");
    }
}

#[test]
fn a_finding_has_a_code_that_says_what_kind_it_is() {
    for (from, to, code) in [
        ("name = ", "name = = ", FindingCode::TomlSyntax),
        ("tenant = ", "tenat = ", FindingCode::FieldUnknown),
        ("tenant = \"example\"", "", FindingCode::FieldMissing),
        ("tenant = \"example\"", "tenant = 7", FindingCode::FieldType),
        ("tenant = \"example\"", "tenant = \"A\"", FindingCode::FieldValue),
        ("user = \"alice\"\n", "", FindingCode::TrustDomainInvalid),
    ] {
        assert!(DOCUMENT.contains(from), "{from}");
        let folder = folder(&DOCUMENT.replacen(from, to, 1), &[]);
        let findings = TrustDomainFolder::load(folder.path()).unwrap_err();
        assert!(findings.iter().any(|finding| finding.code == code), "{to}: {findings:?}");
    }
    let nobody = ENTRY.replace("owner = \"group:platform-sre\"\n", "");
    let findings = TrustDomainFolder::load(folder(DOCUMENT, &[("a.toml", &nobody)]).path());
    assert_eq!(findings.unwrap_err()[0].code, FindingCode::OwnerMissing);
}
