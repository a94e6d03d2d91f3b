//! The question as Cedar sees it, built natively: parsing JSON for each decision would take ten times as long.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression};

use super::CedarDecisionPoint;
use super::names::Names;
use crate::decision::{Act, PolicyError, Question};
use crate::facts::{Fact, Somebody, facts};

type Attributes = HashMap<String, RestrictedExpression>;

/// The request and the entities that it speaks of, both checked against the schema.
pub(super) fn build(
    question: &Question<'_>,
    action: &str,
    point: &CedarDecisionPoint,
) -> Result<(Request, Entities), PolicyError> {
    let names = &point.names;
    let builder = Builder { question, names };
    let known = facts(question);
    let mut entities = builder.own()?;
    for (_, fact) in &known {
        match fact {
            Fact::Thing(id) => {
                entities.extend(point.relations.around(id, names).map_err(PolicyError::Request)?)
            }
            Fact::Human(somebody) => entities.push(builder.human(somebody)?),
            _ => {}
        }
    }
    let (principal, resource) = match question.act {
        Act::Request | Act::Use { .. } => (builder.agent(), builder.playbook()),
        Act::Approve { approver, groups, .. } => {
            let groups = groups.iter().map(ToString::to_string);
            let somebody = Somebody::approver(approver, groups);
            entities.push(builder.human(&somebody)?);
            (names.human(&somebody.id), names.grant(question.grant.intent_id.as_str()))
        }
    };
    // One person may be there in two roles; the one with groups is the later.
    let entities: HashMap<EntityUid, Entity> =
        entities.into_iter().map(|entity| (entity.uid(), entity)).collect();
    let entities = Entities::from_entities(entities.into_values(), Some(&point.schema));
    let entities = entities.map_err(failed)?;
    let context = known.into_iter().map(|(name, fact)| (name.to_owned(), builder.value(fact)));
    let context = Context::from_pairs(context).map_err(failed)?;
    let action = names.action(action);
    let request =
        Request::new(principal, action, resource, context, Some(&point.schema)).map_err(failed)?;
    Ok((request, entities))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> PolicyError {
    PolicyError::Request(Box::new(error))
}

struct Builder<'a> {
    question: &'a Question<'a>,
    names: &'a Names,
}

impl Builder<'_> {
    fn agent(&self) -> EntityUid {
        self.names.agent(self.question.grant.agent.as_str())
    }

    fn playbook(&self) -> EntityUid {
        self.names.playbook(self.question.playbook.id().as_str())
    }

    fn tenant(&self) -> EntityUid {
        self.names.tenant(&self.question.grant.tenant)
    }

    /// The agent, who answers for it, the playbook, and the grant where a person decides on one.
    fn own(&self) -> Result<Vec<Entity>, PolicyError> {
        let (agent, grant) = (&self.question.grant.agent, self.question.grant);
        let standing = &self.question.evidence.standing;
        let sponsor = self.names.human(&standing.owner);
        let attributes = [
            ("trust_domain", text(agent.trust_domain().as_str())),
            ("path", text(agent.path())),
            ("tenant", text(&grant.tenant)),
            ("owner", text(&standing.owner)),
            ("sponsor", RestrictedExpression::new_entity_uid(sponsor)),
            ("selectors", set(standing.selectors.iter().map(|selector| text(selector.as_str())))),
        ];
        let parents = families(agent.as_str()).map(|family| self.names.family(family));
        let parents = parents.chain([self.tenant()]).collect();
        let agent = entity(self.agent(), attributes, parents)?;
        let sponsor = self.human(&Somebody { id: standing.owner.clone(), groups: Vec::new() })?;
        let mut entities = vec![agent, sponsor, self.playbook_entity()?];
        if matches!(self.question.act, Act::Approve { .. }) {
            entities.push(self.grant_entity()?);
        }
        Ok(entities)
    }

    fn playbook_entity(&self) -> Result<Entity, PolicyError> {
        let playbook = self.question.playbook;
        let mut attributes = vec![
            ("trust_domain", text(playbook.trust_domain().as_str())),
            ("tenant", text(playbook.tenant())),
            ("version", number(playbook.version())),
            ("owner", text(playbook.owner())),
            ("approval_mode", text(playbook.approval_mode().as_str())),
            ("data_classes", set(playbook.data_classes().iter().map(|class| text(class)))),
        ];
        attributes.extend(playbook.purpose().map(|purpose| ("purpose", text(purpose))));
        entity(self.playbook(), attributes, [self.names.tenant(playbook.tenant())].into())
    }

    fn grant_entity(&self) -> Result<Entity, PolicyError> {
        let grant = self.question.grant;
        let pinned = &grant.playbook;
        let mut attributes = vec![
            ("trust_domain", text(grant.trust_domain.as_str())),
            ("tenant", text(&grant.tenant)),
            ("owner", text(&pinned.owner)),
            ("data_classes", set(pinned.data_classes.iter().map(|class| text(class)))),
            ("agent", RestrictedExpression::new_entity_uid(self.agent())),
            ("playbook", RestrictedExpression::new_entity_uid(self.playbook())),
        ];
        attributes.extend(pinned.purpose.as_ref().map(|purpose| ("purpose", text(purpose))));
        let uid = self.names.grant(grant.intent_id.as_str());
        entity(uid, attributes, [self.tenant()].into())
    }

    /// A person; here they act in the grant's trust domain and tenant.
    fn human(&self, Somebody { id, groups }: &Somebody) -> Result<Entity, PolicyError> {
        let grant = self.question.grant;
        let attributes =
            [("trust_domain", text(grant.trust_domain.as_str())), ("tenant", text(&grant.tenant))];
        let groups = groups.iter().map(|group| self.names.group(group));
        entity(self.names.human(id), attributes, groups.chain([self.tenant()]).collect())
    }

    fn value(&self, fact: Fact) -> RestrictedExpression {
        let entity = RestrictedExpression::new_entity_uid;
        match fact {
            Fact::Text(text) => RestrictedExpression::new_string(text),
            Fact::Number(value) => number(value),
            Fact::Bool(value) => RestrictedExpression::new_bool(value),
            Fact::Set(texts) => set(texts.into_iter().map(RestrictedExpression::new_string)),
            Fact::Tools(tools) => set(tools.iter().map(|tool| entity(self.names.tool(tool)))),
            Fact::Instant(instant) => RestrictedExpression::new_datetime(
                instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ),
            Fact::Thing(id) => entity(self.names.thing(&id)),
            Fact::Human(somebody) => entity(self.names.human(&somebody.id)),
        }
    }
}

/// The SPIFFE ID up to each of its segments, itself too.
fn families(id: &str) -> impl Iterator<Item = &str> {
    let path = id.find("://").map_or(0, |at| at + 3);
    let ends = id.match_indices('/').map(|(at, _)| at).filter(move |at| *at > path);
    ends.chain([id.len()]).filter_map(|end| id.get(..end)).skip(1)
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
    parents: HashSet<EntityUid>,
) -> Result<Entity, PolicyError> {
    let attributes: Attributes =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Entity::new(uid, attributes, parents).map_err(failed)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

/// Cedar's integers are signed; a number beyond them counts as the greatest, which no ceiling admits.
fn number(value: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}

fn set(values: impl IntoIterator<Item = RestrictedExpression>) -> RestrictedExpression {
    RestrictedExpression::new_set(values)
}

#[cfg(test)]
mod tests {
    use super::families;

    #[test]
    fn an_agent_is_in_the_family_of_each_segment() {
        let found: Vec<&str> = families("spiffe://prod.example.org/agent/rotator/one").collect();
        assert_eq!(
            found,
            [
                "spiffe://prod.example.org/agent",
                "spiffe://prod.example.org/agent/rotator",
                "spiffe://prod.example.org/agent/rotator/one",
            ]
        );
        assert_eq!(families("spiffe://prod.example.org").count(), 0);
    }
}
