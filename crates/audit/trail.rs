//! What the log says about one agent, one grant, one ticket or one token, in its order and with what came of what (M 116).
//!
//! The leaves pass by once, for a token up to three times; what stays in memory are the names that the trail itself has.
//! Deliberately absent: words for people, which the command line finds, and whether the log is sound, which
//! [`crate::verify`] says.

use std::collections::{HashMap, HashSet};

use marque_spiffe::SpiffeId;
use serde_json::Value;

use crate::find::gives;
use crate::{Event, EventKind, Leaf};

/// The member of the detail of a request that names the intent of another agent that it was asked for under.
pub const PARENT_INTENT: &str = "parent_intent";

/// What a trail is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One intent, with those that were asked for under it.
    Grant(String),
    /// One agent: all that it did, asked for, was given or was refused.
    Agent(SpiffeId),
    /// One change ticket: every intent that names it.
    Ticket(String),
    /// One token: what it derives from, what derives from it, and the grant that it is of.
    Token(String),
}

/// The leaves about one subject.
#[derive(Debug)]
pub struct Trail {
    subject: Subject,
    look: Look,
    /// How deep what is of an intent stands, and what is of a token.
    intents: HashMap<String, usize>,
    tokens: HashMap<String, usize>,
    /// What a kill of each scope would have to name to stop any of it, beside intents and tokens.
    names: HashSet<(&'static str, String)>,
    /// The kills that are part of it, by their ids, and by their epochs where a leaf says no id.
    kills: HashSet<String>,
}

/// What has to be known of a token before the trail can be followed from the start.
#[derive(Debug)]
enum Look {
    /// The leaf that gives it.
    ForToken,
    /// The tokens of its intent, to find those that it derives from.
    ForParents {
        intent: String,
        token: String,
        parents: HashMap<String, Option<String>>,
    },
    Done,
}

/// One leaf of a trail.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'a> {
    /// The leaf.
    pub leaf: &'a Leaf,
    /// By how many steps it derives from what the trail begins with.
    pub depth: usize,
}

impl Trail {
    /// A trail that begins with the log's first leaf.
    #[must_use]
    pub fn new(subject: Subject) -> Self {
        let look = if matches!(subject, Subject::Token(_)) { Look::ForToken } else { Look::Done };
        let mut trail = Self {
            subject,
            look,
            intents: HashMap::new(),
            tokens: HashMap::new(),
            names: HashSet::new(),
            kills: HashSet::new(),
        };
        match &trail.subject {
            Subject::Grant(intent) => drop(trail.intents.insert(intent.clone(), 0)),
            Subject::Agent(agent) => {
                trail.names.insert(("agent", agent.to_string()));
            }
            Subject::Ticket(_) | Subject::Token(_) => {}
        }
        trail
    }

    /// Whether the log has to pass by once more for [`Self::look`], before it does for [`Self::follow`].
    #[must_use]
    pub fn has_to_look(&self) -> bool {
        !matches!(self.look, Look::Done)
    }

    /// Takes a leaf of a pass that only looks; whether that was enough of this pass.
    pub fn look(&mut self, leaf: &Leaf) -> bool {
        let Subject::Token(wanted) = &self.subject else { return true };
        let event = leaf.event();
        match &mut self.look {
            Look::Done => true,
            Look::ForToken => {
                let found = gives(leaf, wanted);
                if found {
                    let intent = event.intent.clone().unwrap_or_default();
                    let parents = HashMap::new();
                    self.look = Look::ForParents { intent, token: wanted.clone(), parents };
                }
                found
            }
            Look::ForParents { intent, token, parents } => {
                if event.intent.as_deref() != Some(intent) || !is_birth(event) {
                    return false;
                }
                if let Some(id) = &event.token_id {
                    parents.insert(id.clone(), parent_token(event).map(ToOwned::to_owned));
                }
                let found = event.token_id.as_deref() == Some(token);
                if found {
                    self.look_is_done();
                }
                found
            }
        }
    }

    /// Says that a pass that only looks came to the end of the log without having enough.
    pub fn looked(&mut self) {
        // A token that nothing gives has no trail but the leaves that name it.
        self.look = Look::Done;
    }

    /// Takes a leaf; the step that it is, if it is one.
    pub fn follow<'a>(&mut self, leaf: &'a Leaf) -> Option<Step<'a>> {
        let event = leaf.event();
        let depth = self.depth(event)?;
        match event.kind {
            EventKind::Kill => self.kills.extend(name_of_kill(event)),
            EventKind::KillLiftAsked | EventKind::KillLifted => {}
            _ => self.names.extend(names(event)),
        }
        Some(Step { leaf, depth })
    }

    /// The tokens that the looked-for one derives from are part of the trail from their first leaf on.
    fn look_is_done(&mut self) {
        let Look::ForParents { intent, token, mut parents } =
            std::mem::replace(&mut self.look, Look::Done)
        else {
            return;
        };
        let mut line = vec![token];
        // Each is taken out when it is found: a ring of them has an end.
        while let Some(parent) = line.last().and_then(|id| parents.remove(id)).flatten() {
            line.push(parent);
        }
        self.intents.insert(intent, 0);
        self.tokens.extend(line.into_iter().rev().zip(1..));
    }

    /// How deep a leaf stands that is part of the trail.
    fn depth(&mut self, event: &Event) -> Option<usize> {
        if event.kind == EventKind::Kill {
            return self.is_hit_by(event).then_some(0);
        }
        if self.is_about_its_kill(event) {
            return Some(0);
        }
        if event.kind == EventKind::IntentRequested {
            self.take_intent(event);
        }
        if is_birth(event) {
            self.take_token(event);
        }
        let own = event.token_id.as_ref();
        if let Some(depth) = own.and_then(|token| self.tokens.get(token)) {
            return Some(*depth);
        }
        match &self.subject {
            // Other tokens of the same grant are another story.
            Subject::Token(token) if own.is_some() => (own == Some(token)).then_some(0),
            Subject::Grant(_) | Subject::Ticket(_) | Subject::Token(_) => self.of_intent(event),
            Subject::Agent(agent) => {
                self.of_intent(event).or_else(|| concerns(event, agent).then_some(0))
            }
        }
    }

    fn of_intent(&self, event: &Event) -> Option<usize> {
        if let Some(intent) = &event.intent {
            return self.intents.get(intent).copied();
        }
        // A refusal of which no intent came names its ticket all the same.
        match &self.subject {
            Subject::Ticket(ticket) => (event.ticket.as_ref() == Some(ticket)).then_some(0),
            Subject::Grant(_) | Subject::Agent(_) | Subject::Token(_) => None,
        }
    }

    /// Takes up an intent that is the subject's, or was asked for under one that is.
    fn take_intent(&mut self, event: &Event) {
        let Some(intent) = &event.intent else { return };
        let parent = event.detail.get(PARENT_INTENT).and_then(Value::as_str);
        let under = parent.and_then(|parent| self.intents.get(parent)).map(|depth| depth + 1);
        let own = match &self.subject {
            Subject::Agent(agent) => event.agent.as_ref() == Some(agent),
            Subject::Ticket(ticket) => event.ticket.as_ref() == Some(ticket),
            Subject::Grant(_) | Subject::Token(_) => false,
        };
        let under = match &self.subject {
            // What was asked for under the grant of one token is not of that token.
            Subject::Token(_) => None,
            Subject::Grant(_) | Subject::Agent(_) | Subject::Ticket(_) => under,
        };
        if let Some(depth) = under.or_else(|| own.then_some(0)) {
            self.intents.entry(intent.clone()).or_insert(depth);
        }
    }

    /// Takes up a token of one of the intents; of one token's trail those that derive from it.
    fn take_token(&mut self, event: &Event) {
        let Some(id) = &event.token_id else { return };
        let under = parent_token(event).and_then(|parent| self.tokens.get(parent));
        let under = match (&self.subject, under) {
            (Subject::Token(wanted), Some(depth)) => {
                let from = self.tokens.get(wanted).copied().unwrap_or_default();
                (*depth >= from).then_some(depth + 1)
            }
            (Subject::Token(_), None) => None,
            (_, Some(depth)) => Some(depth + 1),
            (_, None) => {
                let intent = event.intent.as_ref().and_then(|intent| self.intents.get(intent));
                intent.map(|depth| depth + 1)
            }
        };
        if let Some(depth) = under {
            self.tokens.entry(id.clone()).or_insert(depth);
        }
    }

    /// Whether a kill is of anything of the trail: what it names is part of it, or it names nobody because it means all. One
    /// that goes by what no leaf says of a grant or a token is not known to be.
    fn is_hit_by(&self, event: &Event) -> bool {
        let kill = event.detail.get("kill");
        let member = |name| kill.and_then(|kill| kill.get(name));
        let Some(selector) = member("selector") else { return !self.names.is_empty() };
        match (member("scope").and_then(Value::as_str), selector.as_str()) {
            (Some("grant"), Some(intent)) => self.intents.contains_key(intent),
            (Some("credential"), Some(token)) => self.tokens.contains_key(token),
            (Some(scope), Some(selector)) => {
                self.names.iter().any(|(of, name)| *of == scope && name == selector)
            }
            _ => false,
        }
    }

    /// Whether somebody asked to lift a kill that is part of the trail, or it was lifted.
    fn is_about_its_kill(&self, event: &Event) -> bool {
        if !matches!(event.kind, EventKind::KillLiftAsked | EventKind::KillLifted) {
            return false;
        }
        let id = event.detail.get("lifts").and_then(Value::as_str);
        let epoch = event.detail.get("kill_epoch").and_then(Value::as_u64);
        // A kill that was taken up by its epoch is one whose leaf says no id.
        id.is_some_and(|id| self.kills.contains(id))
            || epoch.is_some_and(|epoch| self.kills.contains(&by_epoch(epoch)))
    }
}

/// What a kill by name would name of what an event says, each with its scope. Tools, builds and keys are in no leaf.
fn names(event: &Event) -> impl Iterator<Item = (&'static str, String)> {
    let playbook = event.playbook.iter().flat_map(|pin| {
        [("playbook", pin.id.clone()), ("playbook_version", format!("{}@{}", pin.id, pin.version))]
    });
    let agent = event.agent.iter().map(|agent| ("agent", agent.to_string()));
    let tenant = event.tenant.iter().map(|tenant| ("tenant", tenant.clone()));
    let said = ["task", "session", "delegator", "sponsor"].into_iter().filter_map(move |scope| {
        Some((scope, event.detail.get(scope).and_then(Value::as_str)?.to_owned()))
    });
    // A token has holders beside the agent of its grant.
    let holder = event.actor.iter().filter(move |_| is_birth(event));
    let holder = holder.map(|actor| ("agent", actor.clone()));
    playbook.chain(agent).chain(tenant).chain(said).chain(holder)
}

/// The id of a kill, otherwise its epoch.
fn name_of_kill(event: &Event) -> Option<String> {
    let id = event.detail.get("id").and_then(Value::as_str).map(ToOwned::to_owned);
    id.or_else(|| event.epoch.map(by_epoch))
}

fn by_epoch(epoch: u64) -> String {
    format!("epoch {epoch}")
}

/// Whether a token comes to be by it.
fn is_birth(event: &Event) -> bool {
    matches!(event.kind, EventKind::TokenIssued | EventKind::TokenDerived)
}

fn parent_token(event: &Event) -> Option<&str> {
    event.detail.get("parent").and_then(Value::as_str)
}

/// Whether the agent did it, or it was done to it or through it.
fn concerns(event: &Event, agent: &SpiffeId) -> bool {
    let agent_text = agent.as_str();
    let through = event.detail.get("through").and_then(Value::as_array);
    let mut through = through.into_iter().flatten().filter_map(Value::as_str);
    event.agent.as_ref() == Some(agent)
        || event.actor.as_deref() == Some(agent_text)
        || event.detail.get("requested_by").and_then(Value::as_str) == Some(agent_text)
        || through.any(|one| one == agent_text)
}

#[cfg(test)]
mod tests;
