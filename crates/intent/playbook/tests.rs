mod bounds;
mod decision;
mod emergency;
mod ends;
mod sections;

use std::path::PathBuf;

use marque_spiffe::Environment;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{AGENT, PLAYBOOK, assert_golden};

/// What is wrong with the shipped playbook after one edit: `line: message`.
fn wrong(from: &str, to: &str) -> Vec<String> {
    assert!(PLAYBOOK.contains(from), "{from}");
    errors(&PLAYBOOK.replacen(from, to, 1))
}

fn errors(text: &str) -> Vec<String> {
    match Playbook::parse(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .iter()
            .map(|error| {
                format!(
                    "{}: {}",
                    error.line().map_or_else(|| "-".to_owned(), |l| l.to_string()),
                    error
                )
            })
            .collect(),
    }
}

/// The line of the first occurrence, from 1.
fn line_of(text: &str) -> usize {
    PLAYBOOK.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[track_caller]
fn refused(from: &str, to: &str, because: &str) {
    let found = wrong(from, to);
    assert!(found.iter().any(|error| error.contains(because)), "`{to}`: {found:?}");
}

#[test]
fn the_shipped_playbook_passes_and_its_digest_is_over_the_document_alone() {
    let playbook = Playbook::parse(PLAYBOOK).unwrap();
    let reordered =
        PLAYBOOK.replace("[risk]\nbase = 40\n", "") + "\n# comment\n[risk]\nbase = 40\n";
    assert_eq!(Playbook::parse(&reordered).unwrap().digest(), playbook.digest());
    let edited = PLAYBOOK.replace("service behind", "service before");
    assert_ne!(Playbook::parse(&edited).unwrap().digest(), playbook.digest());
    assert_golden!(playbook.summary());
}

#[test]
fn an_error_names_its_line() {
    let found = wrong("uses = 1", "uses = 0");
    assert_eq!(found, [format!("{}: `time.uses`: is 1 to 100", line_of("uses = 1"))]);
    let found = wrong("scopes = [\"secrets.update\"]", "scopes = [\"*\"]");
    assert!(
        found[0].starts_with(&format!("{}: `permits.0.scopes.0`", line_of("scopes ="))),
        "{found:?}"
    );
    let found = wrong("status = \"active\"", "status = \"live\"");
    assert!(found[0].starts_with(&format!("{}: ", line_of("status ="))), "{found:?}");
    let found = wrong("title = ", "title ");
    assert!(found[0].starts_with(&format!("{}: ", line_of("title ="))), "{found:?}");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = PLAYBOOK.replace("uses = 1", "uses = 0").replace("base = 40", "base = 101");
    assert_eq!(errors(&text).len(), 2);
}

#[test]
fn an_unknown_field_is_refused_at_every_level() {
    for (table, name) in [
        ("apiVersion = \"marque/v1\"", "colour"),
        ("[risk]", "extra"),
        ("[who]", "people"),
        ("[[permits]]", "scope"),
        ("[[permits.authorization_details]]", "namespace"),
        ("[time]", "ttl"),
        ("[change.ticket]", "title"),
        ("[approval]", "quorum"),
    ] {
        refused(table, &format!("{table}\n{name} = \"x\""), name);
    }
    refused("{ approve = 1,", "{ approve = 1, extra = 1,", "extra");
}

#[test]
fn a_field_that_nothing_enforces_yet_is_refused() {
    for path in super::unsupported::all() {
        let text = match path.rsplit_once('.') {
            None => format!("{path} = true\n{PLAYBOOK}"),
            Some(("permits.*", name)) => {
                PLAYBOOK.replacen("[[permits]]", &format!("[[permits]]\n{name} = {{}}"), 1)
            }
            Some(("approval.levels.*.any.*", name)) => {
                PLAYBOOK.replacen("{ approve = 1,", &format!("{{ approve = 1, {name} = true,"), 1)
            }
            Some((table, name)) if PLAYBOOK.contains(&format!("[{table}]")) => {
                PLAYBOOK.replacen(&format!("[{table}]"), &format!("[{table}]\n{name} = true"), 1)
            }
            Some((table, name)) => format!("{PLAYBOOK}\n[{table}]\n{name} = true\n"),
        };
        let found = errors(&text);
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert!(found[0].contains("not supported yet"), "{path}: {found:?}");
        let hint = match path {
            "who.on_behalf" => "`[on_behalf]`",
            "permits.*.cloud" => "no cloud session",
            _ => "",
        };
        assert!(found[0].contains(hint), "{path}: {found:?}");
    }
}

#[test]
fn a_missing_field_is_refused() {
    for line in
        PLAYBOOK.lines().filter(|line| line.contains(" = ") && !line.starts_with([' ', '#', '[']))
    {
        let name = line.split(" = ").next().unwrap();
        let optional = [
            "purpose",
            "data_classes",
            "description",
            "locations",
            "actions",
            "identifier",
            "exclude",
        ];
        if optional.contains(&name) {
            continue;
        }
        let text = PLAYBOOK.replacen(&format!("{line}\n"), "", 1);
        assert!(Playbook::parse(&text).is_err(), "{line}");
    }
}

#[test]
fn unlimited_anything_is_an_error() {
    refused("uses = 1", "uses = 101", "is 1 to 100");
    refused("uses = 1", "uses = -1", "u32");
    refused("request_ttl = \"30m\"", "request_ttl = \"25h\"", "`time.request_ttl`");
    refused("start_within = \"15m\"", "start_within = \"0s\"", "`time.start_within`");
    refused("max_duration = \"10m\"", "max_duration = \"25h\"", "`time.max_duration`");
    refused("expected_runtime = \"3m\"", "expected_runtime = \"61m\"", "`time.expected_runtime`");
    refused(
        "pattern = \"^[a-z0-9-]{1,40}$\"",
        "minLength = 1",
        "has `pattern`, `enum`, `const` or `maxLength`",
    );
    refused(
        "additionalProperties = false",
        "additionalProperties = true",
        "additionalProperties = false",
    );
    refused("base = 40", "base = 101", "`risk.base`");
    for unlimited in ["unlimited", "0", "-1s", "1d", "1.5h", "9999999s", " 3m", "3 m", ""] {
        refused(
            "expected_runtime = \"3m\"",
            &format!("expected_runtime = \"{unlimited}\""),
            "`time.expected_runtime`",
        );
    }
}

#[test]
fn m_62_a_token_lives_as_long_as_the_work_and_a_little() {
    let playbook = Playbook::parse(PLAYBOOK).unwrap();
    assert_eq!(playbook.times().token_lifetime(), Duration::from_secs(300));
    refused("retry_buffer = \"2m\"", "retry_buffer = \"57m\"", "longer than the run itself");
    refused("max_duration = \"10m\"", "max_duration = \"4m\"", "`time.max_duration`");
    let hour = PLAYBOOK
        .replace("expected_runtime = \"3m\"", "expected_runtime = \"59m\"")
        .replace("max_duration = \"10m\"", "max_duration = \"2h\"");
    assert!(errors(&hour)[0].contains("longer than 3600s"));
}

#[test]
fn scopes_and_details_have_no_wildcards() {
    refused("scopes = [\"secrets.update\"]", "scopes = [\"secrets.*\"]", "wildcard");
    refused("scopes = [\"secrets.update\"]", "scopes = [\"a\", \"a\"]", "listed twice");
    refused("scopes = [\"secrets.update\"]", "scopes = []", "at least one scope");
    refused("actions = [\"get\", \"patch\"]", "actions = [\"*\"]", "not one literal word");
    refused("identifier = \"ns/ingress/secret", "identifier = \"ns/*/secret", "wildcard");
    refused(
        "resources = [\"k8s://{{params.region}}/ns",
        "resources = [\"k8s://{{params.region}}/*",
        "`*`",
    );
    refused("type = \"k8s_object\"", "type = \"marque_intent\"", "Marque's own");
}

#[test]
fn templates_ask_only_for_what_is_declared_and_always_there() {
    refused("{{params.service}}-tls\"]", "{{params.cluster}}-tls\"]", "not declared");
    refused("required = [\"service\", \"region\"]", "required = [\"region\"]", "is optional");
    refused("{{params.service}}-tls\"]", "{{env.HOME}}-tls\"]", "asks for `env.HOME`");
    refused("{{params.service}}-tls\"]", "{{params.service-tls\"]", "`resources.0`");
}

#[test]
fn a_free_value_never_chooses_a_host() {
    refused("k8s.{{params.region}}.prod", "k8s.{{params.service}}.prod", "choose a host");
    refused(
        "audience = \"https://ingress.prod",
        "audience = \"https://{{agent.trust_domain}}.prod",
        "choose a host",
    );
    refused(
        "audience = \"https://ingress",
        "audience = \"{{params.region}}://ingress",
        "literal scheme",
    );
}

#[test]
fn who_may_ask_is_narrow() {
    refused(
        "spiffe://prod.example.org/agent/cert-rotator\"",
        "spiffe://dev.example.org/agent/cert-rotator\"",
        "another trust domain",
    );
    refused(
        "spiffe://prod.example.org/agent/cert-rotator\"",
        "spiffe://prod.example.org/*\"",
        "names everybody",
    );
    refused(
        "spiffe://prod.example.org/agent/cert-rotator\"",
        "spiffe://prod.example.org/*/x\"",
        "names everybody",
    );
    refused(
        "spiffe://prod.example.org/agent/cert-rotator\"",
        "spiffe://prod.example.org/agent/cert*\"",
        "`who.agents.0`",
    );
}

#[test]
fn silence_never_approves_and_levels_are_what_is_enforced() {
    refused("on_timeout = \"deny\"", "on_timeout = \"approve\"", "is `deny`");
    refused("exclude = [\"requester\"]", "exclude = [\"everybody\"]", "is one of `requester`");
    refused("[approval]", "[approval]\nmfa = \"sometimes\"", "is `required`");
    refused("approve = 1,", "approve = 0,", "is 1 to 16");
    refused("approve = 1,", "approve = 17,", "is 1 to 16");
    refused("deny = 1,", "deny = 0,", "is 1 to 16");
    refused("deny = 1,", "deny = 17,", "is 1 to 16");
    refused(
        "approve = 1,",
        "approve = 3, distinct_groups = true,",
        "more groups than the rule names",
    );
    refused("any = [", &format!("any = [{}", "{ approve = 1 }, ".repeat(8)), "has 1 to 8 rules");
    let more = "[[approval.levels]]\nany = [{ approve = 1 }]\n\n".repeat(8);
    refused("[[approval.levels]]", &format!("{more}[[approval.levels]]"), "has at most 8 levels");
    refused(
        "[[approval.levels]]",
        "[[approval.levels]]\nany = []\n\n[[approval.levels]]",
        "has 1 to 8 rules",
    );
    refused("review_by", "author = \"alice\"\nreview_by", "is written `group:`");
    let without = PLAYBOOK.split("[[approval.levels]]").next().unwrap();
    assert!(errors(without)[0].contains("at least one level"));
}

#[test]
fn a_playbook_is_for_one_audience() {
    let second =
        "[[permits]]\naudience = \"https://a.example.org\"\nscopes = [\"a\"]\n\n[[permits]]";
    refused("[[permits]]", second, "more than one permit");
}

#[test]
fn ticket_patterns_are_linear_and_whole() {
    refused("^CHG-[0-9]{3,8}$", "CHG-[0-9]+", "anchored");
    refused("^CHG-[0-9]{3,8}$", "^(?=CHG)CHG$", "linear-time");
}

#[test]
fn values_that_have_no_one_spelling_are_refused() {
    refused("version = 1", "version = 9007199254740992", "version");
    refused("version = 1", "version = 0", "positive integer");
    refused("enum = [\"eu-west-1\", \"us-east-1\"]", "enum = [1.5]", "numbers are integers");
    refused("review_by = \"2027-03-01\"", "review_by = \"soon\"", "`review_by`");
    refused("enum = [\"eu-west-1\", \"us-east-1\"]", "enum = [2027-03-01]", "written as strings");
    refused("owner = \"group:platform-sre\"", "owner = \"somebody\"", "kind:name");
    refused("title = \"Rotate", "title = \"\\u001bRotate", "`title`");
}

#[test]
fn a_playbook_has_its_greatest_size() {
    let comment = "#".repeat(MAX_PLAYBOOK_BYTES - PLAYBOOK.len());
    assert!(Playbook::parse(&format!("{PLAYBOOK}{comment}")).is_ok());
    assert!(errors(&format!("{PLAYBOOK}{comment}#"))[0].contains("bytes"));
}

fn scratch(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("marque-playbooks-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    dir
}

fn load(dir: &std::path::Path, environment: Environment) -> Result<PlaybookSet, Vec<String>> {
    let trust_domain = TrustDomain::new("prod.example.org").unwrap();
    let set = PlaybookSet::load(dir, &trust_domain, environment);
    std::fs::remove_dir_all(dir).ok();
    set.map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

#[test]
fn a_folder_gives_its_playbooks_to_those_who_may_ask() {
    let dir = scratch(
        "good",
        &[("ingress-cert-rotation.toml", PLAYBOOK), ("notes.md", "not a playbook")],
    );
    let set = load(&dir, Environment::Production).unwrap();
    let visible = |id: &str| set.visible_to(&id.parse().unwrap()).count();
    assert_eq!(visible(AGENT), 1);
    assert_eq!(visible("spiffe://prod.example.org/agent/reporter"), 0);
    assert!(set.find(&"ingress-cert-rotation".parse().unwrap()).is_some());
    assert!(set.find(&"other".parse().unwrap()).is_none());
}

#[test]
fn one_bad_file_refuses_the_folder_and_is_named_with_its_line() {
    let bad = PLAYBOOK.replace("uses = 1", "uses = 0");
    let dir = scratch("bad", &[("ingress-cert-rotation.toml", &bad)]);
    let findings = load(&dir, Environment::Production).unwrap_err();
    let expected = format!("ingress-cert-rotation.toml:{}: `time.uses`", line_of("uses = 1"));
    assert!(findings[0].contains(&expected), "{findings:?}");
}

#[test]
fn a_file_belongs_to_its_folder_and_its_name() {
    let foreign = PLAYBOOK.replace("prod.example.org", "dev.example.org");
    let findings = load(
        &scratch("foreign", &[("ingress-cert-rotation.toml", &foreign)]),
        Environment::Production,
    );
    assert!(findings.unwrap_err()[0].contains("belongs to `prod.example.org`"));
    let findings = load(&scratch("named", &[("other.toml", PLAYBOOK)]), Environment::Production);
    assert!(findings.unwrap_err()[0].contains("named after its playbook"));
}

#[test]
fn m_55_nothing_is_auto_in_production() {
    let auto = PLAYBOOK.replace("mode = \"always\"", "mode = \"auto\"");
    let files = [("ingress-cert-rotation.toml", auto.as_str())];
    let findings = load(&scratch("auto-prod", &files), Environment::Production);
    assert!(findings.unwrap_err()[0].contains("not for production"));
    assert!(load(&scratch("auto-dev", &files), Environment::NonProduction).is_ok());
}

#[test]
fn a_folder_that_is_not_there_has_no_playbooks() {
    let set =
        load(&std::env::temp_dir().join("marque-no-such-folder"), Environment::Production).unwrap();
    assert_eq!(set.iter().count(), 0);
}

#[test]
fn an_id_has_its_limits() {
    assert!("a".repeat(63).parse::<PlaybookId>().is_ok());
    for bad in ["", "A", "a_b", "a b", "a/b", "../a", &"a".repeat(64)] {
        assert!(bad.parse::<PlaybookId>().is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _outcome = Playbook::parse(&text);
    }

    #[test]
    fn no_edit_makes_the_parser_panic(at in 0..3000_usize, length in 0..20_usize, with in "[a-z=\"\\[\\]{}\n.]{0,8}") {
        let mut text: Vec<char> = PLAYBOOK.chars().collect();
        let start = at.min(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, with.chars());
        let _outcome = Playbook::parse(&text.into_iter().collect::<String>());
    }
}
