//! Two JSON Schemas, keyword by keyword: wider is what takes more.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::judge::judge;
use super::rules::{DocumentRules, Rule};
use super::{Difference, Effect, name_below, tell};

/// What a keyword's change means. One that is not known cannot be ordered.
fn rule(keyword: &str) -> Rule {
    match keyword {
        "title" | "description" => Rule::Words,
        "maxLength" | "maximum" | "maxItems" => Rule::AtMost { absent: i128::MAX },
        "minLength" | "minimum" | "minItems" => Rule::AtLeast { absent: i128::MIN },
        "enum" => Rule::PermitsOrAll,
        "required" => Rule::Demands,
        "uniqueItems" => Rule::Switch { strict: true },
        "const" | "pattern" | "type" => Rule::Fixed,
        _ => Rule::Unordered,
    }
}

pub(super) fn compare(
    path: &str,
    before: &Value,
    after: &Value,
    rules: &DocumentRules,
    found: &mut Vec<Difference>,
) {
    let (Some(one), Some(other)) = (before.as_object(), after.as_object()) else {
        return tell(path, Effect::Unclear, Some(before), Some(after), found);
    };
    let keywords: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for keyword in keywords {
        let (before, after) = (one.get(keyword), other.get(keyword));
        if before == after {
            continue;
        }
        let below = name_below(path, keyword);
        match (keyword.as_str(), before, after) {
            ("properties", _, _) => {
                let open = takes_others(one) || takes_others(other);
                properties(&below, (before, after), open, rules, found);
            }
            ("items", Some(before), Some(after)) => compare(&below, before, after, rules, found),
            ("items", None, _) => tell(&below, Effect::Narrower, before, after, found),
            ("items", _, None) => tell(&below, Effect::Wider, before, after, found),
            // Without the keyword, what has no name of its own is taken.
            ("additionalProperties", _, _) => {
                let effect = match (takes_others(one), takes_others(other)) {
                    (false, true) => Effect::Wider,
                    (true, false) => Effect::Narrower,
                    _ => Effect::Unclear,
                };
                tell(&below, effect, before, after, found);
            }
            _ => judge(&below, rule(keyword), rules, (before, after), found),
        }
    }
}

fn takes_others(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") != Some(&Value::Bool(false))
}

/// A property that is new is one more that is taken, where others are not; where they are, it says more about one of them.
fn properties(
    path: &str,
    (before, after): (Option<&Value>, Option<&Value>),
    open: bool,
    rules: &DocumentRules,
    found: &mut Vec<Difference>,
) {
    let empty = Map::new();
    let named =
        |value: Option<&Value>| value.map_or(Some(empty.clone()), |one| one.as_object().cloned());
    let (Some(one), Some(other)) = (named(before), named(after)) else {
        return tell(path, Effect::Unclear, before, after, found);
    };
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for name in names {
        let below = name_below(path, name);
        match (one.get(name), other.get(name)) {
            (Some(before), Some(after)) if before == after => {}
            (Some(before), Some(after)) => compare(&below, before, after, rules, found),
            (before, after) if open => tell(&below, Effect::Unclear, before, after, found),
            (before @ None, after) => tell(&below, Effect::Wider, before, after, found),
            (before, after) => tell(&below, Effect::Narrower, before, after, found),
        }
    }
}
