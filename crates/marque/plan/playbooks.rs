//! What may be asked for: playbooks and exceptions, by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use marque_intent::{Effect, Exception, Playbook, PlaybookStatus, playbook_diff};

use super::{Change, Kind, Standing, State};

/// What becomes of every playbook and exception.
pub(super) fn changes(before: &State<'_>, after: &State<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for was in before.playbooks.iter() {
        match after.playbooks.find(was.id()) {
            Some(is) if is.digest() == was.digest() => {}
            Some(is) => changes.extend(changed(before, after, was, is)),
            None => changes.push(lost(was)),
        }
    }
    let new = after.playbooks.iter().filter(|is| before.playbooks.find(is.id()).is_none());
    changes.extend(new.map(|is| gained(is)));
    changes.extend(exceptions(before, after));
    changes
}

/// Those of a trust domain that comes or goes whole.
pub(super) fn alone(state: &State<'_>, standing: Standing) -> Vec<Change> {
    let told = |playbook: &Arc<Playbook>| match standing {
        Standing::Removed => lost(playbook),
        _ => gained(playbook),
    };
    state.playbooks.iter().map(told).collect()
}

/// A new version, in the words of `marque playbook diff`.
fn changed(before: &State<'_>, after: &State<'_>, was: &Playbook, is: &Playbook) -> Vec<Change> {
    let name = format!("playbooks/{}.toml", is.id());
    let texts = before.files.text(&name).zip(after.files.text(&name));
    let found = texts.map(|(old, new)| playbook_diff(old, new));
    let Some(Ok(found)) = found else {
        let sentence = format!(
            "playbook `{}`: version {} takes the place of version {}",
            is.id(),
            is.version(),
            was.version()
        );
        return vec![change(Effect::Unclear, is, None, sentence)];
    };
    let told = found.into_iter().map(|one| {
        let sentence = format!("playbook `{}`: {}", is.id(), one.sentence);
        change(one.effect, is, Some(one.path), sentence)
    });
    told.collect()
}

fn gained(playbook: &Playbook) -> Change {
    let usable = matches!(playbook.status(), PlaybookStatus::Active | PlaybookStatus::Deprecated);
    let agents: Vec<String> =
        playbook.agents().iter().map(|agent| format!("`{}`", agent.as_str())).collect();
    let scopes: Vec<&str> = playbook.scopes().iter().map(|scope| scope.as_str()).collect();
    let sentence = if usable {
        format!(
            "{} may ask for the new playbook `{}` of `{}`: {} for `{}`",
            agents.join(", "),
            playbook.id(),
            playbook.owner(),
            playbook.title(),
            scopes.join(" ")
        )
    } else {
        format!("playbook `{}` is new, and nobody may ask for it yet", playbook.id())
    };
    let effect = if usable { Effect::Wider } else { Effect::Described };
    change(effect, playbook, None, sentence)
}

fn lost(playbook: &Playbook) -> Change {
    let sentence = format!("playbook `{}` is gone: nobody may ask for it any more", playbook.id());
    change(Effect::Narrower, playbook, None, sentence)
}

fn change(effect: Effect, playbook: &Playbook, path: Option<String>, sentence: String) -> Change {
    let subject = playbook.id().to_string();
    Change { effect, kind: Kind::Playbook, subject, path, sentence }
}

fn exceptions(before: &State<'_>, after: &State<'_>) -> Vec<Change> {
    let by_id = |state: &State<'_>| -> BTreeMap<String, Arc<Exception>> {
        let all = state.playbooks.exceptions();
        all.map(|one| (one.id().to_string(), Arc::clone(one))).collect()
    };
    let (old, mut new) = (by_id(before), by_id(after));
    let mut changes = Vec::new();
    for (id, was) in old {
        match new.remove(&id) {
            Some(is) if is.digest() == was.digest() => {}
            Some(_) => changes.extend(super::others::document(
                (before, after),
                Kind::Exception,
                ("exceptions", &format!("{id}.toml")),
                &super::documents::EXCEPTION,
            )),
            None => {
                let sentence = format!("exception `{id}` is gone: all is asked again");
                changes.push(of_exception(Effect::Narrower, id, sentence));
            }
        }
    }
    for (id, is) in new {
        let sentence = format!(
            "exception `{id}` of `{}` is new: less is asked for playbook `{}` until {}",
            is.owner(),
            is.playbook(),
            is.expires_at()
        );
        changes.push(of_exception(Effect::Wider, id, sentence));
    }
    changes
}

fn of_exception(effect: Effect, subject: String, sentence: String) -> Change {
    Change { effect, kind: Kind::Exception, subject, path: None, sentence }
}
