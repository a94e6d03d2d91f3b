//! What things are related to whom: `relations/*.toml`, for policies that go by relationships.
//!
//! ```toml
//! [[thing]]
//! id = "account:cust_example_1042"       # `kind:name`, as the `object` of a playbook gives it
//! in = ["portfolio:emea"]                # things that it is part of; may be absent
//! [thing.relations]                      # relation = persons, by the names that the log gives them
//! account_owner = ["workforce:alice"]
//! ```
//!
//! Read at start, checked, and resident: a decision takes the thing that it is about and what that is part of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression, Schema};
use serde::Deserialize;

use super::load::{RELATIONS, name_of, read, toml_files};
use super::names::Names;
use crate::finding::PolicyFinding;

/// The most things of one folder.
const MAX_THINGS: usize = 100_000;
const MAX_NAME: usize = 512;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    thing: Vec<Thing>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    id: String,
    #[serde(default, rename = "in")]
    within: Vec<String>,
    #[serde(default)]
    relations: BTreeMap<String, Vec<String>>,
}

/// Every thing, ready for decisions.
#[derive(Debug, Default)]
pub(super) struct Relations {
    things: HashMap<String, (Entity, Vec<String>)>,
}

impl Relations {
    /// The entity of a thing and of everything that it is part of. One that nothing is known of has no relation.
    pub(super) fn around(
        &self,
        id: &str,
        names: &Names,
    ) -> Result<Vec<Entity>, Box<dyn std::error::Error + Send + Sync>> {
        let mut found = Vec::new();
        let (mut known, mut next) = (HashSet::from([id]), vec![id]);
        while let Some(id) = next.pop() {
            match self.things.get(id) {
                Some((entity, within)) => {
                    found.push(entity.clone());
                    next.extend(
                        within.iter().map(String::as_str).filter(|parent| known.insert(parent)),
                    );
                }
                None => found.push(entity(id, &[], &BTreeMap::new(), names)?),
            }
        }
        Ok(found)
    }
}

pub(super) fn load(
    dir: &Path,
    names: &Names,
    schema: &Schema,
    findings: &mut Vec<PolicyFinding>,
) -> (Relations, Vec<(String, String)>) {
    let dir = dir.join(RELATIONS);
    let mut relations = Relations::default();
    let mut texts = Vec::new();
    let mut places: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in toml_files(&dir, findings) {
        let text = match read(&file) {
            Ok(text) => text,
            Err(finding) => {
                findings.push(finding);
                continue;
            }
        };
        match toml::from_str::<File>(&text) {
            Ok(document) => {
                for thing in document.thing {
                    if let Some(other) = places.insert(thing.id.clone(), file.clone()) {
                        let message = format!("`{}` is in {} too", thing.id, other.display());
                        findings.push(PolicyFinding::new(&file, None, message));
                    }
                    match checked(&thing, names) {
                        Ok(entity) => {
                            relations.things.insert(thing.id, (entity, thing.within));
                        }
                        Err(why) => findings.push(PolicyFinding::new(&file, None, why)),
                    }
                }
            }
            Err(error) => {
                let line = error.span().map(|span| {
                    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
                });
                findings.push(PolicyFinding::new(&file, line, error.message()));
            }
        }
        texts.push((format!("{RELATIONS}/{}", name_of(&file)), text));
    }
    if relations.things.len() > MAX_THINGS {
        let message = format!("there are more than {MAX_THINGS} things");
        findings.push(PolicyFinding::new(&dir, None, message));
    }
    // Cedar finds the circles.
    let all = relations.things.values().map(|(entity, _)| entity.clone());
    if let Err(error) = Entities::from_entities(all, Some(schema)) {
        findings.push(PolicyFinding::new(&dir, None, super::load::one_line(&error)));
    }
    (relations, texts)
}

fn checked(thing: &Thing, names: &Names) -> Result<Entity, String> {
    let Thing { id, within, relations } = thing;
    for name in [id].into_iter().chain(within) {
        let fits =
            name.split_once(':').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
        if !fits || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(format!("`{}` is not written `kind:name`", name.escape_debug()));
        }
    }
    for (relation, persons) in relations {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if relation.is_empty() || !relation.bytes().all(fits) {
            return Err(format!(
                "`{}` is no relation: use `a-z`, `0-9` and `_`",
                relation.escape_debug()
            ));
        }
        let unique: BTreeSet<&String> = persons.iter().collect();
        if persons.is_empty() || unique.len() != persons.len() {
            return Err(format!("`{id}`: `{relation}` names somebody, and nobody twice"));
        }
    }
    entity(id, within, relations, names).map_err(|error| error.to_string())
}

fn entity(
    id: &str,
    within: &[String],
    relations: &BTreeMap<String, Vec<String>>,
    names: &Names,
) -> Result<Entity, Box<dyn std::error::Error + Send + Sync>> {
    let kind = id.split_once(':').map_or("", |(kind, _)| kind);
    let kind = RestrictedExpression::new_string(kind.to_owned());
    let parents: HashSet<EntityUid> = within.iter().map(|parent| names.thing(parent)).collect();
    let tags = relations.iter().map(|(relation, persons)| {
        let persons =
            persons.iter().map(|person| RestrictedExpression::new_entity_uid(names.human(person)));
        (relation.clone(), RestrictedExpression::new_set(persons))
    });
    let attributes = [("kind".to_owned(), kind)];
    Ok(Entity::new_with_tags(names.thing(id), attributes, parents, tags)?)
}
