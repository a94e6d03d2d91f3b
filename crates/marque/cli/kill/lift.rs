//! To let somebody go on again: one person asks, another one confirms, as a local operator or as somebody who logged in.

use marque_intent::kill::KillMode;

use super::super::Session;
use super::super::daemon::{Home, Of};
use super::super::failure::Failure;
use super::super::person::{AsPerson, Person};
use super::super::text::moment;
use crate::grpc::admin::{KillStateView, KillView, LiftAskView};

/// Which way there is to the kill switch of one trust domain.
enum Door {
    Socket(Box<Home>),
    Https { person: Person, trust_domain: String },
}

impl Door {
    async fn open(session: &Session, as_person: &AsPerson) -> Result<Self, Failure> {
        Ok(match as_person.chosen(session)? {
            Some(person) => {
                let (trust_domain, _) = person.home().await?;
                Self::Https { person, trust_domain }
            }
            None => Self::Socket(Box::new(Home::reach(session.place.one()?).await?)),
        })
    }

    fn of<T>(&self, item: T) -> Of<T> {
        match self {
            Self::Socket(home) => home.of(item),
            Self::Https { trust_domain, .. } => Of { trust_domain: trust_domain.clone(), item },
        }
    }

    async fn kill_state(&mut self) -> Result<KillStateView, Failure> {
        match self {
            Self::Socket(home) => Ok(home.admin.kill_state().await?),
            Self::Https { person, .. } => person.kill_state().await,
        }
    }

    async fn ask_lift(
        &mut self,
        kill: String,
        to: Option<KillMode>,
        reason: String,
    ) -> Result<LiftAskView, Failure> {
        match self {
            Self::Socket(home) => Ok(home.admin.ask_lift(kill, to, reason).await?),
            Self::Https { person, .. } => person.ask_lift(&kill, to, &reason).await,
        }
    }

    async fn confirm_lift(&mut self, lift: String) -> Result<KillStateView, Failure> {
        match self {
            Self::Socket(home) => Ok(home.admin.confirm_lift(lift).await?),
            Self::Https { person, .. } => person.confirm_lift(&lift).await,
        }
    }
}

/// What stands, as somebody who logged in is told.
pub(super) async fn standing(
    session: &Session,
    as_person: &AsPerson,
) -> Result<Of<KillStateView>, Failure> {
    let mut door = Door::open(session, as_person).await?;
    let state = door.kill_state().await?;
    Ok(door.of(state))
}

/// Asks.
pub(super) async fn ask(
    session: &mut Session,
    (kill, to): (String, Option<KillMode>),
    reason: Option<String>,
    as_person: &AsPerson,
) -> Result<(), Failure> {
    let reason = reason.ok_or_else(|| Failure::usage("to lift a kill needs a --reason"))?;
    let mut door = Door::open(session, as_person).await?;
    let ask = door.ask_lift(kill, to, reason).await?;
    let ask = door.of(ask);
    session.output.show(&ask, |of| {
        format!(
            "Asked in {}: {} until {}\nAnother person confirms it: marque kill confirm {}\n",
            of.trust_domain,
            wish(&of.item, None),
            moment(of.item.until),
            of.item.id
        )
    })
}

/// Confirms what somebody else asked for, having shown it.
pub(super) async fn confirm(
    session: &mut Session,
    lift: String,
    yes: bool,
    as_person: &AsPerson,
) -> Result<(), Failure> {
    let mut door = Door::open(session, as_person).await?;
    let state = door.kill_state().await?;
    let Some(ask) = state.asks.iter().find(|ask| ask.id == lift) else {
        let why = match state.asks_unknown.as_str() {
            "" => format!("nobody asked for the lift `{lift}`, or it has ended"),
            unknown => format!("what was asked for is not known: {unknown}"),
        };
        return Err(Failure::failed(why).next("marque kill list"));
    };
    let kill = state.kills.iter().find(|kill| kill.id == ask.kill);
    let question = format!("{} as {} asked: {}", wish(ask, kill), ask.actor, ask.reason);
    if !yes && !session.output.confirm(&question)? {
        return Err(Failure::failed("nothing was lifted"));
    }
    let state = door.confirm_lift(lift).await?;
    let state = door.of(state);
    session.output.show(&state, |of: &Of<KillStateView>| {
        format!("Done in {}; kill epoch {}\n", of.trust_domain, of.item.epoch)
    })
}

/// What is wished for, in words.
fn wish(ask: &LiftAskView, kill: Option<&KillView>) -> String {
    let of = kill.map(|kill| format!(" ({})", super::show::stopped(&kill.scope)));
    let of = of.unwrap_or_default();
    match ask.mode.as_str() {
        "" => format!("lift {}{of}", ask.kill),
        mode => format!("relax {}{of} to {mode}", ask.kill),
    }
}
