mod fields;

use self::fields::{BOTH_WAYS, UNORDERED};
use super::*;
use crate::fixtures::PLAYBOOK;

fn told(from: &str, to: &str) -> Vec<(Effect, String)> {
    assert!(PLAYBOOK.contains(from), "{from}");
    let found = diff(PLAYBOOK, &PLAYBOOK.replacen(from, to, 1)).unwrap();
    found.into_iter().map(|one| (one.effect, one.sentence)).collect()
}

#[test]
fn what_became_wider_and_narrower_is_told() {
    use Effect::{Described, Narrower, Unclear, Wider};
    for (from, to, effect, sentence) in [
        (
            "max_duration = \"10m\"",
            "max_duration = \"1h\"",
            Wider,
            "`time.max_duration` was `10m` and is `1h`",
        ),
        (
            "max_duration = \"10m\"",
            "max_duration = \"6m\"",
            Narrower,
            "`time.max_duration` was `10m` and is `6m`",
        ),
        ("uses = 1", "uses = 2", Wider, "`time.uses` was `1` and is `2`"),
        (
            "scopes = [\"secrets.update\"]",
            "scopes = [\"secrets.update\", \"secrets.read\"]",
            Wider,
            "`permits.0.scopes` gains `secrets.read`",
        ),
        (
            "actions = [\"get\", \"patch\"]",
            "actions = [\"get\"]",
            Narrower,
            "`permits.0.authorization_details.k8s_object.actions` loses `patch`",
        ),
        (
            "mode = \"always\"",
            "mode = \"rule\"",
            Wider,
            "`approval.mode` was `always` and is `rule`",
        ),
        (
            "approve = 1,",
            "approve = 2,",
            Narrower,
            "`approval.levels.0.any.0.approve` was `1` and is `2`",
        ),
        (
            "groups = [\"operators\", \"platform-sre\"]",
            "groups = [\"operators\"]",
            Narrower,
            "`approval.levels.0.any.0.groups` loses `platform-sre`",
        ),
        (
            "required = true\npattern",
            "required = false\npattern",
            Wider,
            "`change.ticket.required` was `true` and is `false`",
        ),
        (
            "^CHG-[0-9]{3,8}$",
            "^CHG-[0-9]+$",
            Unclear,
            "`change.ticket.pattern` was `^CHG-[0-9]{3,8}$` and is `^CHG-[0-9]+$`",
        ),
        (
            "enum = [\"eu-west-1\", \"us-east-1\"]",
            "enum = [\"eu-west-1\"]",
            Narrower,
            "`parameters.properties.region.enum` loses `us-east-1`",
        ),
        ("base = 40", "base = 30", Wider, "`risk.base` was `40` and is `30`"),
        (
            "owner = \"group:platform-sre\"",
            "owner = \"group:sre\"",
            Described,
            "`owner` was `group:platform-sre` and is `group:sre`",
        ),
        (
            "delivery = \"token\"",
            "delivery = \"gateway_only\"",
            Narrower,
            "`delivery` was `token` and is `gateway_only`",
        ),
    ] {
        assert_eq!(told(from, to), [(effect, sentence.to_owned())], "{to}");
    }
}

#[test]
fn a_number_is_not_the_text_of_its_digits() {
    let found = told("enum = [\"eu-west-1\", \"us-east-1\"]", "enum = [\"eu-west-1\", \"1\"]");
    assert_eq!(found.len(), 2, "{found:?}");
    let mut found = Vec::new();
    let (number, text) = (serde_json::json!([1]), serde_json::json!(["1"]));
    let both = (Some(&number), Some(&text));
    judge::judge("enum", rules::Rule::Permits, &rules::PLAYBOOK, both, &mut found);
    let told: Vec<_> = found.iter().map(|one| (one.effect, one.sentence.as_str())).collect();
    let (gained, lost) = ("`enum` gains `\"1\"`", "`enum` loses `1`");
    assert_eq!(told, [(Effect::Wider, gained), (Effect::Narrower, lost)]);
}

#[test]
fn a_bound_that_is_new_is_narrower_and_one_that_goes_is_wider() {
    let with = format!("{PLAYBOOK}\n[limits]\nmax_records = 1\n");
    let one = |old: &str, new: &str| diff(old, new).unwrap()[0].effect;
    assert_eq!(one(PLAYBOOK, &with), Effect::Narrower);
    assert_eq!(one(&with, PLAYBOOK), Effect::Wider);
    let tool = format!("{PLAYBOOK}\n[[tools]]\nserver = \"k8s\"\nname = \"secrets.get\"\n");
    assert_eq!(one(PLAYBOOK, &tool), Effect::Wider);
    assert_eq!(one(&tool, PLAYBOOK), Effect::Narrower);
}

#[test]
fn what_only_describes_is_no_change_of_what_is_enforced() {
    let described = PLAYBOOK
        .replace("review_by = \"2027-03-01\"", "review_by = \"2028-03-01\"")
        .replace("version = 1", "version = 2");
    let found = diff(PLAYBOOK, &described).unwrap();
    assert_eq!(found.len(), 2);
    assert!(!changes_what_is_enforced(&found));
    assert!(changes_what_is_enforced(
        &diff(PLAYBOOK, &PLAYBOOK.replace("uses = 1", "uses = 2")).unwrap()
    ));
    assert_eq!(diff(PLAYBOOK, PLAYBOOK).unwrap(), []);
    assert!(diff(PLAYBOOK, "= nothing").is_err());
}

#[test]
fn every_field_is_told_both_ways() {
    let effects = |old: &str, new: &str| -> Vec<Effect> {
        diff(old, new).unwrap().iter().map(|one| one.effect).collect()
    };
    for (path, wide, narrow) in BOTH_WAYS {
        // A list may lose several things at once, and a table brings its own name along.
        let (gained, lost) = (effects(narrow, wide), effects(wide, narrow));
        assert_eq!(gained.first(), Some(&Effect::Wider), "{path}: {narrow} -> {wide}");
        assert!(!lost.is_empty(), "{path}: {wide} -> {narrow}");
        let ordered = |one: &Effect| matches!(one, Effect::Narrower | Effect::Described);
        assert!(lost.iter().all(ordered), "{path}: {wide} -> {narrow}: {lost:?}");
        assert!(lost.contains(&Effect::Narrower), "{path}: {wide} -> {narrow}");
    }
    for (path, one, other) in UNORDERED {
        for found in [effects(one, other), effects(other, one)] {
            assert_eq!(found.first(), Some(&Effect::Unclear), "{path}: {one} and {other}");
        }
    }
    let words = ["version", "title", "owner", "review_by"];
    for path in words {
        let found = effects(&format!("{path} = 'a'"), &format!("{path} = 'b'"));
        assert_eq!(found, [Effect::Described], "{path}");
    }
    // The names of entries are how they are told apart, and the last of them is in the test below.
    let named = [
        "who.delegators.persons.*.issuer",
        "permits.*.authorization_details.*",
        "permits.*.authorization_details.*.type",
        "tools.*.server",
        "tools.*.name",
        "staged.*",
        "staged.*.name",
        "emergency",
    ];
    for field in rules::fields() {
        let told = BOTH_WAYS.iter().chain(UNORDERED).any(|(path, _, _)| *path == field);
        assert!(told || words.contains(&field) || named.contains(&field), "{field} has no case");
    }
}

#[test]
fn an_entry_that_comes_or_goes_is_told_as_one() {
    use Effect::{Described, Unclear, Wider};
    let first = |old: &str, new: &str| diff(old, new).unwrap()[0].effect;
    let details = "permits = [{ authorization_details = [{ type = 't', actions = ['a'] }] }]";
    let none = "permits = [{ audience = 'a', authorization_details = [] }]";
    assert_eq!((first(none, details), first(details, none)), (Wider, Unclear));
    // Two of one type are two.
    let two = "permits = [{ authorization_details = [{ type = 't', actions = ['a'] }, { type = 't', actions = ['b'] }] }]";
    assert_eq!(first(details, two), Wider);
    let staged = "staged = [{ name = 'a' }]";
    assert_eq!((first("", staged), first(staged, "")), (Wider, Unclear));
    let emergency = "emergency = { alert = 'log' }";
    assert_eq!((first("", emergency), first(emergency, "")), (Wider, Unclear));
    assert_eq!(diff("", "emergency = false").unwrap(), []);
    // A new name of who answers for it is a new name of whom it shuts out.
    let owned = |owner: &str| format!("owner = '{owner}'\napproval.exclude = ['playbook_author']");
    assert_eq!(first(&owned("group:a"), &owned("group:b")), Unclear);
    let written = |owner: &str| format!("{}\nauthor = 'group:c'", owned(owner));
    assert_eq!(
        diff(&owned("group:a"), &written("group:a")).unwrap()[0].effect,
        Unclear,
        "an author that is new"
    );
    assert_eq!(first("time.uses = 60", "time.uses = '60s'"), Described);
}

#[test]
fn every_field_of_the_playbooks_that_are_there_has_a_rule() {
    fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
        match (rules::PLAYBOOK.rule(path), value) {
            (rules::Rule::Table | rules::Rule::Entry { .. }, Value::Object(members)) => {
                for (name, member) in members {
                    leaves(&name_below(path, name), member, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }
    let emergency = include_str!("../../testdata/emergency-network-remediation.toml");
    for text in [PLAYBOOK, crate::fixtures::REVIEW, emergency] {
        let table: toml::Table = toml::from_str(text).unwrap();
        let mut found = Vec::new();
        leaves("", &rules::PLAYBOOK.keyed("", serde_json::to_value(table).unwrap()), &mut found);
        for path in found {
            assert!(rules::PLAYBOOK.has(&path), "{path} has no rule");
        }
    }
}
