use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use marque_spiffe::{Selector, SelectorSet, SpiffeId};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Derived, IdTemplate, IdTemplateError, Template, TemplateRefusal, ValuePattern};
use crate::{
    Entry, EntrySource, NewEntry, Registry, RegistryError, TrustDomainDocument, TrustDomainFolder,
};

const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");
const TEMPLATE: &str = r#"
[[template]]
id = "team"
spiffe_id = "spiffe://example.org/agent/{k8s:ns}/{k8s:sa}"
role = "agent"
owner = "group:platform-sre"
expires_at = "2031-01-01T00:00:00Z"
selectors = ["k8s:container-name:agent"]
max_identities = 2
window = "1h"
hint = "team"
audiences = ["https://gateway.example.org/k8s"]
may_delegate = false

[template.values]
"k8s:ns" = "team-*"
"#;

fn folder(entries: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("trust-domain.toml"), DOCUMENT).unwrap();
    std::fs::create_dir(folder.path().join("entries")).unwrap();
    std::fs::write(folder.path().join("entries/a.toml"), entries).unwrap();
    folder
}

fn load(entries: &str) -> Result<TrustDomainFolder, Vec<String>> {
    let folder = folder(entries);
    let loaded = TrustDomainFolder::load(folder.path());
    loaded.map_err(|all| all.into_iter().map(|one| one.message).collect())
}

fn finding(entries: &str) -> String {
    load(entries).unwrap_err().join("\n")
}

fn template() -> Template {
    load(TEMPLATE).unwrap().templates.remove(0)
}

fn set(texts: &[&str]) -> SelectorSet {
    texts.iter().map(|text| text.parse::<Selector>().unwrap()).collect()
}

fn caller(ns: &str, sa: &str) -> SelectorSet {
    set(&[
        "k8s:container-name:agent",
        &format!("k8s:ns:{ns}"),
        &format!("k8s:sa:{sa}"),
        "unix:uid:1",
    ])
}

fn document() -> Arc<TrustDomainDocument> {
    Arc::new(TrustDomainDocument::parse(Path::new("t"), DOCUMENT).unwrap())
}

fn plain(path: &str) -> Entry {
    let new: NewEntry = serde_json::from_value(serde_json::json!({
        "spiffe_id": format!("spiffe://example.org/{path}"),
        "selectors": ["unix:uid:7"],
        "role": "agent",
        "owner": "tests",
        "expires_at": "2031-01-01T00:00:00Z",
    }))
    .unwrap();
    new.into_entry(path.replace('/', "-").parse().unwrap(), EntrySource::Admin).unwrap()
}

fn derived(caller: &SelectorSet) -> Result<Derived, TemplateRefusal> {
    template().derive(caller)
}

#[test]
fn an_identity_is_made_of_what_was_attested_and_bound_to_it() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let made = template().derive(&caller("team-a", "worker")).unwrap();
    let entry = template().instance(made, now).unwrap();
    assert_eq!(entry.spiffe_id().as_str(), "spiffe://example.org/agent/team-a/worker");
    let bound = set(&["k8s:container-name:agent", "k8s:ns:team-a", "k8s:sa:worker"]);
    assert_eq!(*entry.selectors(), bound);
    assert_eq!(entry.expires_at().unwrap().to_string(), "2026-01-01T01:00:00Z");
    assert_eq!((entry.owner(), entry.hint().unwrap().as_str()), ("group:platform-sre", "team"));
    assert!(!entry.delegation().may_delegate && entry.delegation().may_act_for_others);
    assert!(entry.id().is_of_template(template().id()));
    assert!(!entry.id().is_of_template(&"tea".parse().unwrap()));
    let stored = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<Entry>(&stored).unwrap(), entry);
    assert_eq!(template().remade(&entry), Some(entry));
}

#[test]
fn each_placeholder_has_exactly_one_valid_value_or_nothing_is_made() {
    let code = |caller: &SelectorSet| derived(caller).unwrap_err().code();
    let mut two = caller("team-a", "worker");
    two.insert("k8s:ns:team-b".parse().unwrap());
    assert_eq!(code(&two), "template_selector_ambiguous");
    let none = set(&["k8s:container-name:agent", "k8s:ns:team-a"]);
    assert_eq!(code(&none), "template_selector_missing");
    assert_eq!(code(&caller("other", "worker")), "template_value_not_matched");
    for value in ["..", ".", "a/b", "a%2fb", "a b", "a@b", "ä", "a//b", "a:b"] {
        assert_eq!(code(&caller("team-a", value)), "template_value_invalid", "{value}");
    }
}

#[test]
fn what_was_made_is_not_earned_by_a_caller_with_a_second_value() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let registry =
        Registry::with_templates(document(), Vec::<Entry>::new(), vec![template()]).unwrap();
    let one = caller("team-a", "worker");
    assert!(registry.snapshot().entries_for(&one).is_empty());
    let [given] = registry.snapshot().derive(&one).try_into().unwrap();
    let entry = given.template.instance(given.outcome.unwrap(), now).unwrap();
    registry.put_instance(entry.clone()).unwrap();
    assert_eq!(registry.snapshot().entries_for(&one).len(), 1);
    assert_eq!(registry.snapshot().instances_of(template().id()), 1);
    let mut two = one;
    two.insert("k8s:ns:team-b".parse().unwrap());
    assert!(registry.snapshot().entries_for(&two).is_empty());
    // Renewed in place; removed by nobody.
    registry.put_instance(entry.clone()).unwrap();
    assert_eq!(registry.snapshot().entries().len(), 1);
    assert!(matches!(registry.remove(entry.id()), Err(RegistryError::FromTemplate { .. })));
}

#[test]
fn no_entry_and_no_template_share_a_spiffe_id() {
    let registry =
        Registry::with_templates(document(), Vec::<Entry>::new(), vec![template()]).unwrap();
    let covered = registry.add(plain("agent/team-a/worker")).unwrap_err();
    assert!(matches!(covered, RegistryError::Covered { .. }), "{covered}");
    registry.add(plain("agent/other/worker")).unwrap();
    registry.add(plain("agent/team-a")).unwrap();
    let both =
        Registry::with_templates(document(), vec![plain("agent/team-a/x")], vec![template()]);
    assert!(matches!(both.unwrap_err(), RegistryError::Covered { .. }));
    let twice =
        Registry::with_templates(document(), Vec::<Entry>::new(), vec![template(), template()]);
    assert!(matches!(twice.unwrap_err(), RegistryError::DuplicateId(_)));
}

#[test]
fn a_folder_with_overlaps_or_without_bounds_has_findings() {
    let other = |id: &str, path: &str, more: &str| {
        format!(
            "{TEMPLATE}\n[[template]]\nid = \"{id}\"\nspiffe_id = \"spiffe://example.org/{path}\"\nrole = \"agent\"\n\
             owner = \"x\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:uid:1\"]\nmax_identities = 5\n{more}"
        )
    };
    assert!(load(&other("more", "agent/other/{k8s:sa}", "")).is_ok());
    assert!(load(&other("more", "agent/{unix:user}/x/{k8s:sa}", "")).is_ok());
    let values = "[template.values]\n\"unix:user\" = \"dev-*\"\n";
    assert!(load(&other("more", "agent/{unix:user}/{k8s:sa}", values)).is_ok());
    let overlap = finding(&other("more", "agent/{unix:user}/{k8s:sa}", ""));
    assert!(overlap.contains("overlaps with template `team`"), "{overlap}");
    let overlap = finding(&other("more", "agent/team-x/{k8s:sa}", ""));
    assert!(overlap.contains("overlaps"), "{overlap}");
    assert!(finding(&other("team", "x/{k8s:sa}", "")).contains("exists already"));
    let root = finding(&other("more", "{k8s:ns}/x", ""));
    assert!(root.contains("wildcard at the root"), "{root}");
    let names = finding(&other("more", "x/{k8s:sa}", "dns_names = [\"a.example.org\"]\n"));
    assert!(names.contains("no `dns_names`"), "{names}");
    let foreign = finding(&TEMPLATE.replace("example.org/agent", "other.org/agent"));
    assert!(foreign.contains("is not of trust domain"), "{foreign}");
    let covers = format!(
        "{TEMPLATE}\n[[entry]]\nid = \"one\"\nspiffe_id = \"spiffe://example.org/agent/team-a/b\"\n\
         role = \"agent\"\nowner = \"x\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:uid:1\"]\n"
    );
    assert!(
        finding(&covers).contains("covers `spiffe://example.org/agent/team-a/b` of entry `one`")
    );
    for (from, to, what) in [
        ("max_identities = 2", "", "`max_identities` in [template] is missing"),
        ("max_identities = 2", "max_identities = 0", "is 1 to 1000000"),
        ("max_identities = 2", "max_identities = 1000001", "is 1 to 1000000"),
        ("\"1h\"", "\"9s\"", "`window` in [template] is 10s to 30d"),
        ("\"1h\"", "\"31d\"", "`window` in [template] is 10s to 30d"),
        ("\"k8s:ns\" =", "\"unix:uid\" =", "`unix:uid` in [values] is no placeholder"),
        ("[\"k8s:container-name:agent\"]", "[]", "at least one selector"),
        ("[\"https://gateway.example.org/k8s\"]", "[]", "names no audience"),
        ("\"team-*\"", "\"te am\"", "the pattern of a value"),
    ] {
        let found = finding(&TEMPLATE.replace(from, to));
        assert!(found.contains(what), "{to}: {found}");
    }
}

#[test]
fn the_id_of_a_template_has_whole_placeholders_behind_a_literal_segment() {
    let error = |text: &str| text.parse::<IdTemplate>().unwrap_err();
    assert_eq!(error("spiffe://example.org/{k8s:ns}"), IdTemplateError::WildcardAtRoot);
    assert_eq!(error("spiffe://example.org/marque/{k8s:ns}"), IdTemplateError::Reserved);
    assert_eq!(error("spiffe://example.org/spire/{k8s:ns}"), IdTemplateError::Reserved);
    assert_eq!(error("spiffe://example.org"), IdTemplateError::Nothing);
    assert_eq!(error("spiffe://example.org/a"), IdTemplateError::Nothing);
    assert!(matches!(error("spiffe://{k8s:ns}/a"), IdTemplateError::TrustDomain(_)));
    assert!(matches!(
        error("spiffe://example.org/a/{k8s:ns}/{k8s:ns}"),
        IdTemplateError::Repeated(_)
    ));
    for segment in
        ["x-{k8s:ns}", "{k8s:ns}x", "{k8s:pod-label:a}", "{docker:env}", "{}", "{{k8s:ns}}", "}{"]
    {
        let text = format!("spiffe://example.org/a/{segment}");
        assert!(matches!(error(&text), IdTemplateError::Placeholder { number: 2, .. }), "{text}");
    }
    for segment in ["..", ".", "", "a%41"] {
        let text = format!("spiffe://example.org/a/{segment}/{{k8s:ns}}");
        assert!(matches!(error(&text), IdTemplateError::Segment { number: 2, .. }), "{text}");
    }
    let text = "spiffe://example.org/a/{k8s:ns}/b";
    assert_eq!(text.parse::<IdTemplate>().unwrap().to_string(), text);
}

fn matches(pattern: &str, value: &str) -> bool {
    pattern.parse::<ValuePattern>().unwrap().matches(value)
}

#[test]
fn a_star_is_any_number_of_characters() {
    for (pattern, value) in
        [("*", "x"), ("a*", "a"), ("a*c", "abbc"), ("*b*", "abc"), ("a*b*c", "axbxc"), ("a", "a")]
    {
        assert!(matches(pattern, value), "{pattern} {value}");
    }
    for (pattern, value) in
        [("a", "ab"), ("a*", "ba"), ("ab*b", "ab"), ("a*b*c", "acb"), ("*x", "xy"), ("a*a", "a")]
    {
        assert!(!matches(pattern, value), "{pattern} {value}");
    }
    assert!("*********".parse::<ValuePattern>().is_err());
}

proptest! {
    #[test]
    fn two_patterns_that_match_one_value_meet(
        one in "[ab*]{1,5}", two in "[ab*]{1,5}", value in "[ab]{0,5}",
    ) {
        let (one, two): (ValuePattern, ValuePattern) = (one.parse().unwrap(), two.parse().unwrap());
        if one.matches(&value) && two.matches(&value) {
            prop_assert!(one.meets(&two) && two.meets(&one));
        }
    }

    #[test]
    fn whatever_a_caller_has_nothing_leaves_the_prefix(ns in "\\PC{0,12}", sa in "\\PC{0,12}") {
        let selectors = [
            "k8s:container-name:agent".to_owned(),
            format!("k8s:ns:team-{ns}"),
            format!("k8s:sa:{sa}"),
        ];
        let caller: SelectorSet =
            selectors.iter().filter_map(|text| text.parse::<Selector>().ok()).collect();
        if let Ok(made) = derived(&caller) {
            let id: &SpiffeId = made.spiffe_id();
            prop_assert!(id.as_str().starts_with("spiffe://example.org/agent/team-"));
            prop_assert_eq!(id.segments().count(), 3);
            prop_assert!(template().may_give(id));
            prop_assert_eq!(id.as_str().parse::<SpiffeId>().unwrap(), id.clone());
        }
    }
}
