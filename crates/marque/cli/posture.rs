//! `marque posture`: how alert somebody is about an agent, a playbook or a trust domain.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use marque_intent::{PlaybookId, Posture, PostureScope, PostureSignal};
use marque_spiffe::SpiffeId;
use serde::Serialize;

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::table;
use super::text::moment;

/// Say how alert to be about an agent, a playbook or a trust domain; policies and risk look at it at every use
///
/// The highest posture that holds counts. `elevated` adds to the risk where a playbook weighs it; `high` ends the use of
/// grants that were decided before; at `critical` nothing begins and nothing is used. `normal` takes a signal back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque posture set high --agent spiffe://prod.example.org/agent/cert-rotator/a --reason 'odd calls'
  marque posture set elevated --playbook ingress-cert-rotation --trust-domain prod.example.org --reason 'audit'
  marque posture set critical --trust-domain prod.example.org --reason 'incident 7' --expires 2026-12-24T18:00:00Z
  marque posture set normal --trust-domain prod.example.org --reason 'incident 7 is over'
  marque posture list")]
pub(super) struct PostureArgs {
    #[command(subcommand)]
    command: PostureCommand,
}

#[derive(Debug, Subcommand)]
enum PostureCommand {
    /// Set a signal in the place of the last one about the same
    Set(SetArgs),
    /// Show the signals that were set
    List,
}

#[derive(Debug, Args)]
struct SetArgs {
    /// How alert: normal, elevated, high or critical
    #[arg(value_name = "POSTURE")]
    posture: Posture,
    /// About one agent
    #[arg(long, value_name = "SPIFFE-ID", conflicts_with = "playbook")]
    agent: Option<SpiffeId>,
    /// About one playbook, in every version
    #[arg(long, value_name = "PLAYBOOK")]
    playbook: Option<PlaybookId>,
    /// Why; operators and the log keep it
    #[arg(long)]
    reason: String,
    /// When the signal ends by itself, such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "INSTANT")]
    expires: Option<Timestamp>,
}

/// The signals of one trust domain.
#[derive(Debug, Serialize)]
struct Signals {
    signals: Vec<PostureSignal>,
}

impl PostureArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            PostureCommand::Set(args) => set(session, args).await,
            PostureCommand::List => list(session).await,
        }
    }
}

async fn set(session: &mut Session, args: SetArgs) -> Result<(), Failure> {
    let SetArgs { posture, agent, playbook, reason, expires } = args;
    let (scope, place) = match (agent, playbook) {
        (Some(agent), _) => {
            let place = session.place.of_id(&agent)?;
            (PostureScope::Agent(agent), place)
        }
        (None, Some(playbook)) => (PostureScope::Playbook(playbook), session.place.one()?),
        (None, None) => (PostureScope::TrustDomain, session.place.one()?),
    };
    let mut home = Home::reach(place).await?;
    let signals = home.admin.set_posture(&scope, posture, reason, expires).await?;
    let all = vec![home.of(Signals { signals })];
    session.output.show(&all, |all| render(all))
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let signals = home.admin.postures().await?;
        all.push(home.of(Signals { signals }));
    }
    session.output.show(&all, |all| render(all))
}

fn render(all: &[Of<Signals>]) -> String {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|of| of.item.signals.iter().map(|signal| (&of.trust_domain, signal)))
        .map(|(trust_domain, signal)| {
            [
                trust_domain.clone(),
                signal.scope.to_string(),
                signal.posture.to_string(),
                moment(Some(signal.at)),
                moment(signal.expires_at),
                signal.actor.clone(),
                signal.reason.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "The posture is normal everywhere.".to_owned();
    }
    table(["TRUST DOMAIN", "ABOUT", "POSTURE", "SINCE", "UNTIL", "BY", "REASON"], rows)
}

#[cfg(test)]
mod tests {
    use marque_intent::Reason;

    use super::*;

    #[test]
    fn the_signals_say_about_whom_and_why() {
        let signal = PostureSignal {
            scope: PostureScope::TrustDomain,
            posture: Posture::High,
            reason: Reason::new("incident 7").unwrap(),
            actor: "operator:alice(1000)".to_owned(),
            at: "2026-11-22T03:00:00Z".parse().unwrap(),
            expires_at: None,
        };
        let of =
            |signals| Of { trust_domain: "prod.example.org".to_owned(), item: Signals { signals } };
        let told = render(&[of(vec![signal])]);
        for word in ["trust-domain", "high", "operator:alice(1000)", "incident 7"] {
            assert!(told.contains(word), "{told}");
        }
        let none = render(&[of(Vec::new())]);
        assert_eq!(none, "The posture is normal everywhere.");
    }
}
