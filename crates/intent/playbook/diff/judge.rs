//! One field by its rule.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::{DocumentRules, Rule};
use super::{Difference, Effect, plain, tell};

pub(super) fn judge(
    path: &str,
    rule: Rule,
    rules: &DocumentRules,
    (before, after): (Option<&Value>, Option<&Value>),
    found: &mut Vec<Difference>,
) {
    let amount = |value: &Value| amount(value, rules.seconds);
    let effect = match rule {
        Rule::Words => Effect::Described,
        Rule::AtMost { absent } => ordered(amount, absent, before, after),
        Rule::AtLeast { absent } => ordered(amount, absent, before, after).turned(),
        Rule::Order { ranks, absent } => {
            let rank = |value: &Value| {
                let word = value.as_str()?;
                ranks.iter().find(|(name, _)| *name == word).map(|(_, rank)| *rank)
            };
            ordered(rank, absent, before, after).turned()
        }
        Rule::Switch { strict } => {
            let is_strict = |value: &Value| Some(i128::from(value.as_bool()? == strict));
            ordered(is_strict, i128::from(!strict), before, after).turned()
        }
        Rule::Toggle { wide, absent } => {
            let is_wide = |value: &Value| Some(i128::from(value.as_bool()? == wide));
            let absent = absent.map_or(Rule::UNKNOWN, |absent| i128::from(absent == wide));
            ordered(is_wide, absent, before, after)
        }
        Rule::Fixed => match (before, after) {
            (None, Some(_)) => Effect::Narrower,
            (Some(_), None) => Effect::Wider,
            _ => Effect::Unclear,
        },
        Rule::Tree => tree(before, after),
        Rule::Ceiling if before.is_none() => Effect::Narrower,
        Rule::Ceiling if after.is_none() => Effect::Wider,
        Rule::Permits | Rule::PermitsOrAll | Rule::PermitsSome | Rule::Demands | Rule::Ceiling => {
            return members(path, rule, before, after, found);
        }
        // A table or a schema that is not there on both sides.
        Rule::Schema => match (before, after) {
            (None, _) => Effect::Narrower,
            (_, None) => Effect::Wider,
            _ => Effect::Unclear,
        },
        Rule::Table | Rule::Entry { .. } | Rule::Unordered => Effect::Unclear,
    };
    tell(path, effect, before, after, found);
}

impl Effect {
    const fn turned(self) -> Self {
        match self {
            Self::Wider => Self::Narrower,
            Self::Narrower => Self::Wider,
            Self::Unclear | Self::Described => self,
        }
    }
}

/// Wider where there is more of it.
fn ordered(
    read: impl Fn(&Value) -> Option<i128>,
    absent: i128,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Effect {
    let known = Some(absent).filter(|absent| *absent != Rule::UNKNOWN);
    let number = |value: Option<&Value>| value.map_or(known, &read);
    match (number(before), number(after)) {
        (Some(one), Some(other)) if other > one => Effect::Wider,
        (Some(one), Some(other)) if other < one => Effect::Narrower,
        (Some(_), Some(_)) => Effect::Described,
        _ => Effect::Unclear,
    }
}

/// A whole number, or a duration in seconds.
fn amount(value: &Value, seconds: fn(&str) -> Option<u64>) -> Option<i128> {
    let number = value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from));
    number.or_else(|| Some(i128::from(seconds(value.as_str()?)?)))
}

fn tree(before: Option<&Value>, after: Option<&Value>) -> Effect {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let below =
        |one: &str, other: &str| other.strip_prefix(one).is_some_and(|rest| rest.starts_with('.'));
    match (text(before), text(after)) {
        (Some(one), Some(other)) if below(&one, &other) => Effect::Narrower,
        (Some(one), Some(other)) if below(&other, &one) => Effect::Wider,
        _ => Effect::Unclear,
    }
}

/// A set, member by member; but what becomes of all of them is one change where none means something else than less.
fn members(
    path: &str,
    rule: Rule,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    let (Some(one), Some(other)) = (set(before), set(after)) else {
        return tell(path, Effect::Unclear, before, after, found);
    };
    // A single value in place of a list is another kind of rule.
    let listed = |value: Option<&Value>| value.is_none_or(Value::is_array);
    let (appears, vanishes, gained) = match rule {
        Rule::Demands => (Effect::Narrower, Effect::Wider, Effect::Narrower),
        Rule::PermitsOrAll => (Effect::Narrower, Effect::Wider, Effect::Wider),
        Rule::PermitsSome => (Effect::Unclear, Effect::Unclear, Effect::Wider),
        _ => (Effect::Wider, Effect::Narrower, Effect::Wider),
    };
    if one.is_empty() != other.is_empty() {
        let effect = if one.is_empty() { appears } else { vanishes };
        return tell(path, effect, before, after, found);
    }
    if !listed(before) || !listed(after) {
        return tell(path, Effect::Unclear, before, after, found);
    }
    let mut say = |effect, verb: &str, item: &Member, others: &BTreeSet<Member>| {
        // Quotes are left out where nothing else is written like it.
        let alike = others.iter().any(|other| other.plain == item.plain);
        let told = if alike { &item.json } else { &item.plain };
        let sentence = format!("`{path}` {verb} `{told}`");
        found.push(Difference { effect, path: path.to_owned(), sentence });
    };
    other.difference(&one).for_each(|item| say(gained, "gains", item, &one));
    one.difference(&other).for_each(|item| say(gained.turned(), "loses", item, &other));
}

/// One member of a set: as people read it, and as JSON, by which `1` is not `"1"`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    plain: String,
    json: String,
}

impl Member {
    fn of(value: &Value) -> Self {
        Self { plain: plain(value), json: value.to_string() }
    }
}

/// The members; those of a single value are itself. `None` for a table, which is no set.
fn set(value: Option<&Value>) -> Option<BTreeSet<Member>> {
    match value {
        None => Some(BTreeSet::new()),
        Some(Value::Array(items)) => Some(items.iter().map(Member::of).collect()),
        Some(Value::Object(_)) => None,
        Some(one) => Some(BTreeSet::from([Member::of(one)])),
    }
}
