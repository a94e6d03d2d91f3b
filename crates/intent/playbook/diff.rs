//! What changed between two versions of a playbook, in plain sentences: what became wider, what narrower, and what nobody
//! can say without looking.
//!
//! It compares documents field by field, so that a field which is new to the format is told too. Absent: a judgement; a
//! person reads it before the new version is published.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::sections::time::duration;

/// What a change does to who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// More is possible.
    Wider,
    /// It is another thing; whether it is more, a person has to say.
    Unclear,
    /// Less is possible.
    Narrower,
    /// Nothing that is enforced changes.
    Described,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wider => "wider",
            Self::Unclear => "look at",
            Self::Narrower => "narrower",
            Self::Described => "described",
        })
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// What it does.
    pub effect: Effect,
    /// Where in the document.
    pub path: String,
    /// What it is, as a sentence.
    pub sentence: String,
}

/// Compares two documents; what is wider comes first. Neither has to be a sound playbook.
///
/// # Errors
/// One of them is no TOML.
pub fn diff(old: &str, new: &str) -> Result<Vec<Difference>, String> {
    let read = |text: &str| {
        let table: toml::Table =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        serde_json::to_value(table).map_err(|error| error.to_string())
    };
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &read(old)?, &mut before);
    flatten("", &read(new)?, &mut after);
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        match (before.get(path), after.get(path)) {
            (Some(one), Some(other)) if one == other => {}
            (Some(Leaf::Set(one)), Some(Leaf::Set(other))) => sets(path, one, other, &mut found),
            (one, other) => found.push(changed(path, one, other)),
        }
    }
    found.sort();
    Ok(found)
}

/// Whether anything that is enforced differs: then what waits for an approver has to be approved again.
#[must_use]
pub fn changes_what_is_enforced(differences: &[Difference]) -> bool {
    differences.iter().any(|difference| difference.effect != Effect::Described)
}

#[derive(Debug, PartialEq)]
enum Leaf {
    One(Value),
    Set(BTreeSet<String>),
}

fn flatten(path: &str, value: &Value, leaves: &mut BTreeMap<String, Leaf>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&below(name), member, leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&below(&name_of(item, index)), item, leaves);
            }
        }
        Value::Array(items) => {
            leaves.insert(path.to_owned(), Leaf::Set(items.iter().map(plain).collect()));
        }
        other => {
            leaves.insert(path.to_owned(), Leaf::One(other.clone()));
        }
    }
}

/// What tells an entry of a list from the others, so that a new one in front is not a change of all.
fn name_of(item: &Value, index: usize) -> String {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    match (text("server"), text("name"), text("type")) {
        (Some(server), Some(name), _) => format!("{server}/{name}"),
        (None, Some(name), _) => name.to_owned(),
        (_, None, Some(kind)) => kind.to_owned(),
        _ => index.to_string(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn sets(
    path: &str,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
    found: &mut Vec<Difference>,
) {
    let (gained, lost) = match direction(path) {
        Direction::More => (Effect::Wider, Effect::Narrower),
        Direction::Less => (Effect::Narrower, Effect::Wider),
        Direction::Words => (Effect::Described, Effect::Described),
        Direction::Unknown | Direction::Switch { .. } => (Effect::Unclear, Effect::Unclear),
    };
    let mut tell = |effect, verb: &str, items: Vec<&String>| {
        for item in items {
            let sentence = format!("`{path}` {verb} `{item}`");
            found.push(Difference { effect, path: path.to_owned(), sentence });
        }
    };
    tell(gained, "gains", after.difference(before).collect());
    tell(lost, "loses", before.difference(after).collect());
}

fn changed(path: &str, before: Option<&Leaf>, after: Option<&Leaf>) -> Difference {
    let words = |leaf: &Leaf| match leaf {
        Leaf::One(value) => plain(value),
        Leaf::Set(items) => items.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    let sentence = match (before, after) {
        (Some(one), Some(other)) => {
            format!("`{path}` was `{}` and is `{}`", words(one), words(other))
        }
        (None, Some(other)) => format!("`{path}` is new: `{}`", words(other)),
        (Some(one), None) => format!("`{path}` is gone: it was `{}`", words(one)),
        (None, None) => format!("`{path}` did not change"),
    };
    let effect = match (direction(path), before, after) {
        (Direction::Words, _, _) => Effect::Described,
        (Direction::Unknown, _, _) => Effect::Unclear,
        // A bound that is new bounds, one that is gone does not; what is permitted is the other way round.
        (Direction::More, None, Some(_)) if is_bound(path) => Effect::Narrower,
        (Direction::More, Some(_), None) if is_bound(path) => Effect::Wider,
        (Direction::More, None, _) | (Direction::Less, _, None) => Effect::Wider,
        (Direction::Less, None, _) | (Direction::More, _, None) => Effect::Narrower,
        (Direction::Switch { strict }, before, after) => {
            let is_strict = |leaf: Option<&Leaf>| {
                leaf.is_some_and(|leaf| *leaf == Leaf::One(Value::Bool(strict)))
                    || (leaf.is_none() && !strict)
            };
            match (is_strict(before), is_strict(after)) {
                (true, false) => Effect::Wider,
                (false, true) => Effect::Narrower,
                (true, true) | (false, false) => Effect::Unclear,
            }
        }
        (direction, Some(one), Some(other)) => match (amount(path, one), amount(path, other)) {
            (Some(one), Some(other)) if (other > one) == (direction == Direction::More) => {
                Effect::Wider
            }
            (Some(_), Some(_)) => Effect::Narrower,
            _ => Effect::Unclear,
        },
    };
    Difference { effect, path: path.to_owned(), sentence }
}

/// A number, a duration, or how strict a mode is.
fn amount(path: &str, leaf: &Leaf) -> Option<u64> {
    let Leaf::One(value) = leaf else { return None };
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let text = value.as_str()?;
    match (path.rsplit('.').next(), text) {
        (Some("mode" | "approval"), "auto") => Some(0),
        (Some("mode" | "approval"), "rule") => Some(1),
        (Some("mode" | "approval"), "always") => Some(2),
        (Some("delivery"), "gateway_only") => Some(0),
        (Some("delivery"), "token") => Some(1),
        _ => duration(text).ok().map(|length| length.as_secs()),
    }
}

/// What more of a field means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// More of it is wider.
    More,
    /// More of it is narrower.
    Less,
    /// One of its values is the strict one.
    Switch { strict: bool },
    /// It only describes.
    Words,
    /// Nobody can say.
    Unknown,
}

fn is_bound(path: &str) -> bool {
    path.contains("limits.") || path.ends_with("max_calls")
}

fn direction(path: &str) -> Direction {
    let last = path.rsplit('.').next().unwrap_or(path);
    match (path.split('.').next().unwrap_or(path), last) {
        (
            _,
            "title" | "description" | "owner" | "review_by" | "version" | "apiVersion" | "kind",
        ) => Direction::Words,
        ("time", "windows" | "rrule" | "tz" | "duration") => Direction::Unknown,
        ("time", "blackout") | (_, "min_interval" | "exclude" | "require" | "needs") => {
            Direction::Less
        }
        ("time", "single_use_tokens") | (_, "sensitive" | "destructive" | "required")
            if path != "parameters.required" =>
        {
            Direction::Switch { strict: true }
        }
        ("time" | "limits", _) => Direction::More,
        ("approval", "mode" | "approve" | "min") | ("staged", "approval") => Direction::Less,
        ("risk", "base") => Direction::Less,
        (
            "approval" | "who" | "on_behalf",
            "groups" | "agents" | "subjects" | "max_depth" | "equal",
        ) => Direction::More,
        (
            _,
            "scopes" | "actions" | "resources" | "locations" | "datatypes" | "privileges" | "enum"
            | "states" | "max_calls" | "maximum" | "maxLength" | "maxItems" | "delivery" | "within",
        ) => Direction::More,
        ("tools", "name" | "server") => Direction::More,
        ("tools" | "staged", _) if last.starts_with("max_") => Direction::More,
        _ => Direction::Unknown,
    }
}

#[cfg(test)]
mod tests {
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
}
