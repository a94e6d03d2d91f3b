//! Whom the kills of the log stop at each point of it, as far as a leaf says what a kill goes by.

use std::collections::HashMap;

use crate::Event;

/// The kills that stand, and what was lifted by id: a lift may stand before its kill, where a database that had lost both was
/// told of them again.
#[derive(Debug, Default)]
pub(super) struct Kills {
    standing: Vec<Standing>,
    lifted: HashMap<String, Lifted>,
}

#[derive(Debug)]
struct Standing {
    id: Option<String>,
    epoch: Option<u64>,
    scope: Scope,
    /// Whether it stops what is issued: no drain and no kill of use alone does.
    of_issuance: bool,
}

/// What a lift leaves of a kill.
#[derive(Debug, Clone, Copy)]
enum Lifted {
    Ended,
    Relaxed { of_issuance: bool },
}

#[derive(Debug)]
enum Scope {
    Agent(String),
    Playbook(String),
    PlaybookVersion(String),
    Grant(String),
    Credential(String),
    Delegator(String),
    /// By a member of what is told of a token: its name, and the value that is stopped.
    Said(&'static str, String),
    /// By what leaves say since they name it; older ones are of no tenant.
    Tenant(String),
    /// By what no leaf of a token says.
    Unsaid,
    Everybody,
}

impl Kills {
    /// Takes up a kill, `{"scope": …, "selector": …}` in the event's detail. One of a scope that this version does not
    /// know stops everybody: it must not read as if nothing were stopped.
    pub(super) fn record(&mut self, event: &Event) {
        let kill = event.detail.get("kill");
        let member = |name| kill.and_then(|kill| kill.get(name)).and_then(|value| value.as_str());
        let scope = match (member("scope"), member("selector").map(ToOwned::to_owned)) {
            (Some("agent"), Some(agent)) => Scope::Agent(agent),
            (Some("playbook"), Some(playbook)) => Scope::Playbook(playbook),
            (Some("playbook_version"), Some(version)) => Scope::PlaybookVersion(version),
            (Some("grant"), Some(intent)) => Scope::Grant(intent),
            (Some("credential"), Some(token)) => Scope::Credential(token),
            (Some("delegator"), Some(person)) => Scope::Delegator(person),
            (Some("task"), Some(task)) => Scope::Said("task", task),
            (Some("session"), Some(session)) => Scope::Said("session", session),
            (Some("sponsor"), Some(person)) => Scope::Said("sponsor", person),
            (Some("tenant"), Some(tenant)) => Scope::Tenant(tenant),
            (Some("key" | "build" | "tool"), Some(_)) => Scope::Unsaid,
            _ => Scope::Everybody,
        };
        let mut kill = Standing {
            id: text(event, "id").map(ToOwned::to_owned),
            epoch: event.epoch,
            scope,
            of_issuance: stops_issuance(event),
        };
        match kill.id.as_ref().and_then(|id| self.lifted.get(id)) {
            Some(Lifted::Ended) => return,
            Some(Lifted::Relaxed { of_issuance }) => kill.of_issuance = *of_issuance,
            None => {}
        }
        self.standing.push(kill);
    }

    /// Takes up that a kill was lifted or relaxed: by its id, and by its epoch where a leaf says no id.
    pub(super) fn lift(&mut self, event: &Event) {
        let id = text(event, "lifts");
        let epoch = event.detail.get("kill_epoch").and_then(|epoch| epoch.as_u64());
        let is_lifted = |kill: &Standing| match (kill.id.as_deref(), id) {
            (Some(own), Some(id)) => own == id,
            _ => epoch.is_some() && kill.epoch == epoch,
        };
        let lifted = if event.detail.contains_key("mode") {
            let of_issuance = stops_issuance(event);
            for kill in self.standing.iter_mut().filter(|kill| is_lifted(kill)) {
                kill.of_issuance = of_issuance;
            }
            Lifted::Relaxed { of_issuance }
        } else {
            self.standing.retain(|kill| !is_lifted(kill));
            Lifted::Ended
        };
        // What was ended stays so, whatever comes behind it.
        if let Some(id) = id
            && !matches!(self.lifted.get(id), Some(Lifted::Ended))
        {
            self.lifted.insert(id.to_owned(), lifted);
        }
    }

    /// Whether what is issued here is stopped.
    pub(super) fn stop(&self, event: &Event) -> bool {
        let playbook = event.playbook.as_ref();
        let delegator = event.detail.get("delegator").and_then(|person| person.as_str());
        self.standing().any(|scope| match scope {
            Scope::Everybody => true,
            Scope::Agent(agent) => event.agent.as_ref().is_some_and(|own| own.as_str() == agent),
            Scope::Playbook(id) => playbook.is_some_and(|pin| pin.id == *id),
            Scope::PlaybookVersion(version) => {
                playbook.is_some_and(|pin| format!("{}@{}", pin.id, pin.version) == *version)
            }
            Scope::Grant(intent) => event.intent.as_ref() == Some(intent),
            Scope::Delegator(person) => delegator == Some(person.as_str()),
            Scope::Tenant(tenant) => event.tenant.as_ref() == Some(tenant),
            Scope::Said(member, value) => text(event, member) == Some(value.as_str()),
            Scope::Credential(_) | Scope::Unsaid => false,
        })
    }

    /// Whether the holder of a derived token, anybody that it came through, or the token that it derives from is stopped.
    pub(super) fn stop_holder(&self, event: &Event) -> bool {
        let through = event.detail.get("through").and_then(|through| through.as_array());
        let through = through.into_iter().flatten().filter_map(|agent| agent.as_str());
        let parent = event.detail.get("parent").and_then(|parent| parent.as_str());
        let holders: Vec<&str> = event.actor.as_deref().into_iter().chain(through).collect();
        self.standing().any(|scope| match scope {
            Scope::Agent(agent) => holders.contains(&agent.as_str()),
            Scope::Credential(token) => parent == Some(token.as_str()),
            _ => false,
        })
    }

    fn standing(&self) -> impl Iterator<Item = &Scope> {
        self.standing.iter().filter(|kill| kill.of_issuance).map(|kill| &kill.scope)
    }
}

/// By the mode that the leaf says; leaves of before there were modes say none, and stop it.
fn stops_issuance(event: &Event) -> bool {
    !matches!(text(event, "mode"), Some("drain" | "stop_use"))
}

fn text<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.detail.get(name).and_then(|value| value.as_str())
}
