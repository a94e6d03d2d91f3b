//! Whom the kills of the log stop at each point of it, as far as a leaf says what a kill goes by.

use crate::Event;

/// The kills that stand.
#[derive(Debug, Default)]
pub(super) struct Kills(Vec<Standing>);

#[derive(Debug)]
struct Standing {
    epoch: Option<u64>,
    scope: Scope,
    /// Whether it stops what is issued: no drain and no kill of use alone does.
    of_issuance: bool,
}

#[derive(Debug)]
enum Scope {
    Agent(String),
    Playbook(String),
    PlaybookVersion(String),
    Grant(String),
    Credential(String),
    Delegator(String),
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
            (
                Some("key" | "task" | "session" | "build" | "tool" | "sponsor" | "tenant"),
                Some(_),
            ) => Scope::Unsaid,
            _ => Scope::Everybody,
        };
        let of_issuance = stops_issuance(event);
        self.0.push(Standing { epoch: event.epoch, scope, of_issuance });
    }

    /// Takes up that a kill was lifted or relaxed.
    pub(super) fn lift(&mut self, event: &Event) {
        let lifted = event.detail.get("kill_epoch").and_then(|epoch| epoch.as_u64());
        let Some(lifted) = lifted else { return };
        if event.detail.contains_key("mode") {
            let of_issuance = stops_issuance(event);
            for kill in self.0.iter_mut().filter(|kill| kill.epoch == Some(lifted)) {
                kill.of_issuance = of_issuance;
            }
        } else {
            self.0.retain(|kill| kill.epoch != Some(lifted));
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
        self.0.iter().filter(|kill| kill.of_issuance).map(|kill| &kill.scope)
    }
}

/// By the mode that the leaf says; leaves of before there were modes say none, and stop it.
fn stops_issuance(event: &Event) -> bool {
    let mode = event.detail.get("mode").and_then(|mode| mode.as_str());
    !matches!(mode, Some("drain" | "stop_use"))
}
