//! `marque kill`: stop issuance and use, at once.

use clap::{Args, Subcommand};
use marque_intent::PlaybookId;
use marque_intent::kill::KillScope;
use marque_spiffe::SpiffeId;

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::table;
use super::text::moment;
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::admin::{KillScopeView, KillStateView};

/// Stop an agent, a playbook, a trust domain or everything: issuance and use end at once
///
/// Tokens that are out read as inactive from then on, open Workload API streams end, nothing more is issued. A kill
/// stands: taking one back is not possible yet.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque kill agent spiffe://prod.example.org/agent/cert-rotator/a --reason 'runs in circles'
  marque kill playbook ingress-cert-rotation --trust-domain prod.example.org --reason 'wrong scope'
  marque kill trust-domain --trust-domain prod.example.org --reason 'incident 7'
  marque kill all --yes --reason 'incident 7'
  marque kill list")]
pub(super) struct KillArgs {
    #[command(subcommand)]
    command: KillCommand,
    /// Why; operators and the log keep it
    #[arg(long, global = true, default_value = "stopped by an operator")]
    reason: String,
    /// Do it without asking
    #[arg(long, global = true)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum KillCommand {
    /// Stop one agent
    Agent {
        /// The agent
        #[arg(value_name = "SPIFFE-ID")]
        agent: SpiffeId,
    },
    /// Stop every grant of one playbook, in every version
    Playbook {
        /// The playbook
        #[arg(value_name = "PLAYBOOK")]
        playbook: PlaybookId,
    },
    /// Stop one trust domain
    TrustDomain,
    /// Stop everything that the daemon serves, or every trust domain that --trust-domain names
    All,
    /// Show the kills that stand
    List,
}

impl KillArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { command, reason, yes } = self;
        let (scope, places) = match command {
            KillCommand::List => return list(session).await,
            KillCommand::Agent { agent } => {
                let place = session.place.of_id(&agent)?;
                (KillScope::Agent(agent), vec![place])
            }
            KillCommand::Playbook { playbook } => {
                (KillScope::Playbook(playbook), vec![session.place.one()?])
            }
            KillCommand::TrustDomain => (KillScope::TrustDomain, vec![session.place.one()?]),
            KillCommand::All => (KillScope::All, session.place.several()?),
        };
        let names: Vec<String> = places.iter().map(|at| at.name.to_string()).collect();
        let what = told(&scope);
        if !yes
            && !session
                .output
                .confirm(&format!("Stop {what} in {}, for good", names.join(" and ")))?
        {
            return Err(Failure::failed("nothing was stopped"));
        }
        let mut states = Vec::new();
        let mut failed = None;
        for at in places {
            // One trust domain that cannot be reached does not keep the others running.
            let name = at.name.clone();
            match kill(at, &scope, &reason).await {
                Ok(state) => states.push(state),
                Err(failure) => failed = Some(failure.within(name.as_str())),
            }
        }
        session.output.show(&states, |states| {
            let line = |of: &Of<KillStateView>| {
                format!("Stopped in {}: {what}; kill epoch {}\n", of.trust_domain, of.item.epoch)
            };
            states.iter().map(line).collect()
        })?;
        failed.map_or(Ok(()), Err)
    }
}

async fn kill(
    at: TrustDomainEndpoints,
    scope: &KillScope,
    reason: &str,
) -> Result<Of<KillStateView>, Failure> {
    let mut home = Home::reach(at).await?;
    let state = home.admin.kill(scope, reason.to_owned()).await?;
    Ok(home.of(state))
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut states = Vec::new();
    for mut home in session.homes().await? {
        let state = home.admin.kill_state().await?;
        states.push(home.of(state));
    }
    session.output.show(&states, |states| render(states))
}

fn told(scope: &KillScope) -> String {
    match scope {
        KillScope::Agent(agent) => format!("the agent {agent}"),
        KillScope::Playbook(playbook) => format!("the playbook {playbook}"),
        KillScope::TrustDomain => "the whole trust domain".to_owned(),
        KillScope::All => "everything".to_owned(),
    }
}

fn render(states: &[Of<KillStateView>]) -> String {
    let rows: Vec<_> = states
        .iter()
        .flat_map(|of| of.item.kills.iter().map(|kill| (&of.trust_domain, kill)))
        .map(|(trust_domain, kill)| {
            let scope = match &kill.scope {
                KillScopeView::Agent(agent) => format!("agent {agent}"),
                KillScopeView::Playbook(playbook) => format!("playbook {playbook}"),
                KillScopeView::TrustDomain => "trust domain".to_owned(),
                KillScopeView::All => "all".to_owned(),
            };
            [
                trust_domain.clone(),
                scope,
                moment(kill.at),
                kill.actor.clone(),
                kill.reason.clone(),
                kill.epoch.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "Nothing is killed.".to_owned();
    }
    table(["TRUST DOMAIN", "STOPPED", "SINCE", "BY", "REASON", "EPOCH"], rows)
}

#[cfg(test)]
mod tests {
    use crate::grpc::admin::KillView;

    use super::*;

    #[test]
    fn the_kills_that_stand_say_who_and_why() {
        let kill = KillView {
            scope: KillScopeView::Agent("spiffe://prod.example.org/agent/a".to_owned()),
            reason: "runs in circles".to_owned(),
            actor: "operator:alice(1000)".to_owned(),
            at: Some("2026-11-22T03:00:00Z".parse().unwrap()),
            epoch: 1,
        };
        let state = KillStateView { epoch: 1, kills: vec![kill] };
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: state };
        insta::assert_snapshot!(render(&[of]), @r"
        TRUST DOMAIN      STOPPED                                  SINCE                    BY                    REASON           EPOCH
        prod.example.org  agent spiffe://prod.example.org/agent/a  2026-11-22 03:00:00 UTC  operator:alice(1000)  runs in circles  1
        ");
        let none = KillStateView { epoch: 0, kills: Vec::new() };
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: none };
        assert_eq!(render(&[of]), "Nothing is killed.");
    }
}
