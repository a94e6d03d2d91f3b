//! `marque quarantine`: agents that had too many refusals, and letting them ask again.

use clap::{Args, Subcommand};
use marque_spiffe::SpiffeId;

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::table;
use super::text::moment;
use crate::grpc::admin::StandingView;

/// Show the agents that had too many refusals, and let them ask again
///
/// Too many refusals make an agent and its like, the agents whose SPIFFE IDs differ in the last segment alone, wait for a
/// while. After the third time in a day they have their baseline identity and nothing else: they ask for no intent and
/// get no token, until a person releases them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque quarantine list
  marque quarantine release spiffe://prod.example.org/agent/cert-rotator/a --reason 'the loop is fixed'
  marque quarantine release 'spiffe://prod.example.org/agent/cert-rotator/*' --reason 'the loop is fixed'")]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    command: QuarantineCommand,
}

#[derive(Debug, Subcommand)]
enum QuarantineCommand {
    /// List who is in quarantine, cools down, or did in the last day
    List,
    /// Let an agent and its like ask again
    Release {
        /// The agent, or its like with `/*` in place of the last segment
        #[arg(value_name = "SPIFFE-ID")]
        agent: Agents,
        /// Why; operators and the log keep it
        #[arg(long)]
        reason: String,
    },
}

/// An agent or a family.
#[derive(Debug, Clone)]
struct Agents {
    text: String,
    id: SpiffeId,
}

impl std::str::FromStr for Agents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.strip_suffix("/*").unwrap_or(text);
        let id = id.parse().map_err(|error: marque_spiffe::SpiffeIdError| error.to_string())?;
        Ok(Self { text: text.to_owned(), id })
    }
}

impl QuarantineArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            QuarantineCommand::List => {
                let mut all = Vec::new();
                for mut home in session.homes().await? {
                    let found = home.admin.standings().await?;
                    all.extend(found.into_iter().map(|standing| home.of(standing)));
                }
                session.output.show(&all, |all| listed(all))
            }
            QuarantineCommand::Release { agent, reason } => {
                let mut home = Home::reach(session.place.of_id(&agent.id)?).await?;
                let (family, held) = home.admin.release(agent.text, reason).await?;
                if !held {
                    return Err(Failure::failed(format!("`{family}/*` is not held"))
                        .next("see who is with `marque quarantine list`"));
                }
                let released = home.of(Released { family });
                session.output.show(&released, |of| format!("{}/* may ask again.", of.item.family))
            }
        }
    }
}

/// In JSON.
#[derive(Debug, serde::Serialize)]
struct Released {
    family: String,
}

fn listed(all: &[Of<StandingView>]) -> String {
    if all.is_empty() {
        return "Nobody is in quarantine.".to_owned();
    }
    let row = |of: &Of<StandingView>| {
        let one = &of.item;
        let state = match (one.quarantined_at, one.cooling_until) {
            (Some(since), _) => format!("in quarantine since {}", moment(Some(since))),
            (None, Some(until)) => format!("cools down until {}", moment(Some(until))),
            (None, None) => "may ask".to_owned(),
        };
        [
            format!("{}/*", one.family),
            state,
            one.cooldowns.to_string(),
            one.class.clone(),
            one.agent.clone(),
        ]
    };
    table(["AGENTS", "STATE", "COOLDOWNS", "REFUSALS", "BROUGHT ON BY"], all.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_held_is_shown_with_who_brought_it_on() {
        let item = StandingView {
            family: "spiffe://prod.example.org/agent/a".to_owned(),
            quarantined_at: Some("2026-11-22T03:00:00Z".parse().unwrap()),
            agent: "spiffe://prod.example.org/agent/a/one".to_owned(),
            class: "identity".to_owned(),
            cooldowns: 3,
            cooling_until: None,
        };
        let of = Of { trust_domain: "prod.example.org".to_owned(), item };
        insta::assert_snapshot!(listed(&[of]), @r"
        AGENTS                               STATE                                        COOLDOWNS  REFUSALS  BROUGHT ON BY
        spiffe://prod.example.org/agent/a/*  in quarantine since 2026-11-22 03:00:00 UTC  3          identity  spiffe://prod.example.org/agent/a/one
        ");
        assert_eq!(listed(&[]), "Nobody is in quarantine.");
    }

    #[test]
    fn agents_are_named_by_one_of_them_or_together() {
        for good in ["spiffe://prod.example.org/agent/a/one", "spiffe://prod.example.org/agent/a/*"]
        {
            assert_eq!(good.parse::<Agents>().unwrap().text, good);
            good.parse::<marque_intent::pace::Family>().unwrap();
        }
        assert!("agent/a".parse::<Agents>().is_err());
    }
}
