//! To let somebody go on again: one person asks, another one confirms.

use marque_intent::kill::KillMode;

use super::super::Session;
use super::super::daemon::{Home, Of};
use super::super::failure::Failure;
use super::super::text::moment;
use crate::grpc::admin::{KillStateView, KillView, LiftAskView};

/// Asks.
pub(super) async fn ask(
    session: &mut Session,
    kill: String,
    to: Option<KillMode>,
    reason: Option<String>,
) -> Result<(), Failure> {
    let reason = reason.ok_or_else(|| Failure::usage("to lift a kill needs a --reason"))?;
    let mut home = Home::reach(session.place.one()?).await?;
    let ask = home.admin.ask_lift(kill, to, reason).await?;
    let ask = home.of(ask);
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
pub(super) async fn confirm(session: &mut Session, lift: String, yes: bool) -> Result<(), Failure> {
    let mut home = Home::reach(session.place.one()?).await?;
    let state = home.admin.kill_state().await?;
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
    let state = home.admin.confirm_lift(lift).await?;
    let state = home.of(state);
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
