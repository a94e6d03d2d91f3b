//! What changed between two versions of a playbook, in plain sentences: what became wider, what narrower, and what nobody
//! can say without looking.
//!
//! It compares documents field by field: what each means is in `rules`, and a field that has no rule there cannot be
//! ordered. Absent: a judgement; a person reads it before the new version is published.

mod judge;
mod rules;
mod schema;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::judge::judge;
use self::rules::PLAYBOOK;
pub use self::rules::{DocumentRules, Rule};

/// What a change does to who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    let (before, after) = (without_false(read(old)?), without_false(read(new)?));
    let mut found = PLAYBOOK.diff(before.clone(), after.clone());
    author(&before, &after, &mut found);
    found.sort();
    Ok(found)
}

/// `emergency = false` says what is so without it.
fn without_false(mut document: Value) -> Value {
    if let Some(members) = document.as_object_mut()
        && members.get("emergency") == Some(&Value::Bool(false))
    {
        members.remove("emergency");
    }
    document
}

impl DocumentRules {
    /// Compares two documents; what is wider comes first.
    #[must_use]
    pub fn diff(&self, before: Value, after: Value) -> Vec<Difference> {
        let mut found = Vec::new();
        let (before, after) = (self.keyed("", before), self.keyed("", after));
        self.compare("", Some(&before), Some(&after), &mut found);
        for difference in &mut found {
            difference.path = shown(&difference.path);
            difference.sentence = shown(&difference.sentence);
        }
        found.sort();
        found
    }
}

/// Whether anything that is enforced differs: then what waits for an approver has to be approved again.
#[must_use]
pub fn changes_what_is_enforced(differences: &[Difference]) -> bool {
    differences.iter().any(|difference| difference.effect != Effect::Described)
}

/// A dot within a name, which would make two steps of a path.
const DOT: char = '\u{1f}';

fn shown(path: &str) -> String {
    path.replace(DOT, ".")
}

impl DocumentRules {
    /// The document with each list of tables as a table by name, so that a new one in front is not a change of all.
    fn keyed(&self, path: &str, value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, member)| {
                    let name = name.replace('.', DOT.encode_utf8(&mut [0; 4]));
                    let member = self.keyed(&name_below(path, &name), member);
                    (name, member)
                });
                Value::Object(members.collect())
            }
            Value::Array(items) if self.is_list_of_tables(path) => {
                let mut named = Map::new();
                for (index, item) in items.into_iter().enumerate() {
                    let name = self.name_of(&item, index);
                    let name =
                        if named.contains_key(&name) { format!("{name}#{index}") } else { name };
                    named.insert(name.clone(), self.keyed(&name_below(path, &name), item));
                }
                Value::Object(named)
            }
            other => other,
        }
    }

    /// What tells an entry of a list from the others.
    fn name_of(&self, item: &Value, index: usize) -> String {
        let text = |name: &&str| match item.get(*name)? {
            Value::String(text) => Some(text.replace('.', DOT.encode_utf8(&mut [0; 4]))),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let named = |names: &&[&str]| names.iter().map(text).collect::<Option<Vec<String>>>();
        let parts = self.names.iter().find_map(named);
        parts.map_or_else(|| index.to_string(), |parts| parts.join("/"))
    }

    fn compare(
        &self,
        path: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        found: &mut Vec<Difference>,
    ) {
        if before == after {
            return;
        }
        match (self.rule(path), before, after) {
            (Rule::Schema, Some(before), Some(after)) => {
                schema::compare(path, before, after, self, found);
            }
            (Rule::Entry { added, .. }, None, Some(_)) => tell(path, added, before, after, found),
            (Rule::Entry { removed, .. }, Some(_), None) => {
                tell(path, removed, before, after, found);
            }
            (Rule::Table | Rule::Entry { .. }, _, _) => self.tables(path, before, after, found),
            (rule, _, _) => judge(path, rule, self, (before, after), found),
        }
    }

    /// Two tables, member by member. One that is not there has none.
    fn tables(
        &self,
        path: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        found: &mut Vec<Difference>,
    ) {
        let is_table = |value: Option<&Value>| value.is_none_or(Value::is_object);
        if !is_table(before) || !is_table(after) {
            return tell(path, Effect::Unclear, before, after, found);
        }
        let members = [before, after].into_iter().flatten().filter_map(Value::as_object);
        let names: BTreeSet<&String> = members.flat_map(Map::keys).collect();
        for name in names {
            let of = |table: Option<&Value>| table.and_then(|table| table.get(name)).cloned();
            let (before, after) = (of(before), of(after));
            self.compare(&name_below(path, name), before.as_ref(), after.as_ref(), found);
        }
    }
}

fn name_below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Who is shut out as the playbook's author, where it names none, is who answers for it.
fn author(before: &Value, after: &Value, found: &mut [Difference]) {
    let named = [before, after].iter().any(|one| one.get("author").is_some());
    let shut_out = [before, after].iter().any(|one| {
        let exclude = one.pointer("/approval/exclude").and_then(Value::as_array);
        exclude.is_some_and(|names| names.iter().any(|name| name == "playbook_author"))
    });
    if named || !shut_out {
        return;
    }
    for difference in found.iter_mut().filter(|one| one.path == "owner") {
        difference.effect = Effect::Unclear;
    }
}

fn tell(
    path: &str,
    effect: Effect,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    let sentence = match (before, after) {
        (Some(one), Some(other)) => {
            format!("`{path}` was `{}` and is `{}`", words(one), words(other))
        }
        (None, Some(other)) => format!("`{path}` is new: `{}`", words(other)),
        (Some(one), None) => format!("`{path}` is gone: it was `{}`", words(one)),
        (None, None) => return,
    };
    found.push(Difference { effect, path: path.to_owned(), sentence });
}

fn words(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => plain(other),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
