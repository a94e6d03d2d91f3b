//! `marque kill`: stop issuance and use, at once.

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use marque_exchange::TokenId;
use marque_intent::kill::{KillMode, KillName, KillScope, ToolScope};
use marque_intent::{Digest, IntentId, Label, Reason};
use marque_spiffe::{Clock as _, SpiffeId};

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::table;
use super::text::moment;
use crate::clock::SystemClock;
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::admin::{KillScopeView, KillStateView, NewKillOrder};

/// Stop an agent, a grant, a playbook, a person's agents, a trust domain or everything: issuance and use end at once
///
/// Tokens that are out read as inactive from then on, open Workload API streams end, nothing more is issued, and what
/// descends from something stopped is stopped with it. A kill stands until it ends by itself (--for, --expires) or two
/// people lift it. --mode says how far it goes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque kill agent spiffe://prod.example.org/agent/cert-rotator/a --reason 'runs in circles'
  marque kill playbook ingress-cert-rotation@3 --trust-domain prod.example.org --reason 'wrong scope'
  marque kill tool crm.export --mode drain --for 2h --reason 'incident 7'
  marque kill sponsor alice@example.org --mode stop-issuance --reason 'left the company'
  marque kill all --yes --reason 'incident 7'
  marque kill list")]
pub(super) struct KillArgs {
    #[command(subcommand)]
    command: KillCommand,
    #[command(flatten)]
    how: How,
}

/// What every kill says beside whom it stops.
#[derive(Debug, Args)]
struct How {
    /// Why; operators and the log keep it
    #[arg(long, global = true, default_value = "stopped by an operator")]
    reason: String,
    /// Do it without asking
    #[arg(long, global = true)]
    yes: bool,
    /// How far: stop, stop-issuance, stop-use, drain or stop-and-revoke-upstream
    #[arg(long, global = true, default_value = "stop", value_name = "MODE")]
    mode: KillMode,
    /// When it ends by itself, such as 2026-12-24T18:00:00Z
    #[arg(long, global = true, value_name = "INSTANT")]
    expires: Option<Timestamp>,
    /// For how long it stands, such as 2h
    #[arg(long = "for", global = true, value_name = "DURATION", conflicts_with = "expires")]
    lasts: Option<SignedDuration>,
}

#[derive(Debug, Subcommand)]
enum KillCommand {
    /// Stop one agent
    Agent {
        /// The agent
        #[arg(value_name = "SPIFFE-ID")]
        agent: SpiffeId,
    },
    /// Stop every grant of one playbook, in every version or in one
    Playbook {
        /// The playbook, or one version of it: `<id>@<version>`
        #[arg(value_name = "PLAYBOOK[@VERSION]")]
        playbook: String,
    },
    /// Stop one grant, and all that was asked for under it
    Grant {
        /// The grant's intent
        #[arg(value_name = "INTENT")]
        intent: IntentId,
    },
    /// Stop every grant of a task
    Task {
        /// The label that its agent gave it
        #[arg(value_name = "TASK")]
        task: Label,
    },
    /// Stop every grant of a session
    Session {
        /// The label that its agent gave it
        #[arg(value_name = "SESSION")]
        session: Label,
    },
    /// Stop every agent of a build: of an executable or an image with this digest
    Build {
        /// `sha256:` and 64 hexadecimal digits
        #[arg(value_name = "DIGEST")]
        digest: Digest,
    },
    /// Stop every grant that permits a tool, or any tool of a server
    Tool {
        /// `<server>.<name>`, or `<server>` for all of its tools
        #[arg(value_name = "TOOL")]
        tool: ToolScope,
    },
    /// Stop everything that is done on behalf of a person
    Delegator {
        /// `<issuer>:<subject>`, as the log and tokens name the person
        #[arg(value_name = "PERSON")]
        person: KillName,
    },
    /// Stop every agent that somebody answers for
    Sponsor {
        /// The owner in the agents' entries
        #[arg(value_name = "OWNER")]
        owner: KillName,
    },
    /// Stop every grant of a tenant
    Tenant {
        /// The tenant's label in its playbooks
        #[arg(value_name = "TENANT")]
        tenant: KillName,
    },
    /// Stop one token, and every token that derives from it
    Credential {
        /// Its `jti`
        #[arg(value_name = "TOKEN-ID")]
        token: TokenId,
    },
    /// Stop every token that is bound to a key
    Key {
        /// The key's thumbprint: `cnf.jkt` or `cnf.x5t#S256` of the tokens
        #[arg(value_name = "THUMBPRINT")]
        thumbprint: Label,
    },
    /// Stop one trust domain
    TrustDomain,
    /// Stop everything that the daemon serves, or every trust domain that --trust-domain names
    All,
    /// Show the kills that stand
    List,
}

/// What to stop, and where.
struct Target {
    scope: KillScope,
    places: Vec<TrustDomainEndpoints>,
}

impl KillCommand {
    /// Whom the command stops; `None` where it stops nobody.
    fn target(self, session: &Session) -> Result<Option<Target>, Failure> {
        let scope = match self {
            Self::List => return Ok(None),
            Self::Agent { agent } => {
                let places = vec![session.place.of_id(&agent)?];
                return Ok(Some(Target { scope: KillScope::Agent(agent), places }));
            }
            Self::All => {
                let places = session.place.several()?;
                return Ok(Some(Target { scope: KillScope::All, places }));
            }
            Self::Playbook { playbook } if playbook.contains('@') => {
                KillScope::parse("playbook_version", Some(&playbook))
                    .map_err(|error| Failure::because("nothing was stopped", &error))?
            }
            Self::Playbook { playbook } => KillScope::parse("playbook", Some(&playbook))
                .map_err(|error| Failure::because("nothing was stopped", &error))?,
            Self::Grant { intent } => KillScope::Grant(intent),
            Self::Task { task } => KillScope::Task(task),
            Self::Session { session } => KillScope::Session(session),
            Self::Build { digest } => KillScope::Build(digest),
            Self::Tool { tool } => KillScope::Tool(tool),
            Self::Delegator { person } => KillScope::Delegator(person),
            Self::Sponsor { owner } => KillScope::Sponsor(owner),
            Self::Tenant { tenant } => KillScope::Tenant(tenant),
            Self::Credential { token } => KillScope::parse("credential", Some(token.as_str()))
                .map_err(|error| Failure::because("nothing was stopped", &error))?,
            Self::Key { thumbprint } => KillScope::Key(thumbprint),
            Self::TrustDomain => KillScope::TrustDomain,
        };
        Ok(Some(Target { scope, places: vec![session.place.one()?] }))
    }
}

impl KillArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { command, how } = self;
        let Some(Target { scope, places }) = command.target(session)? else {
            return list(session).await;
        };
        let names: Vec<String> = places.iter().map(|at| at.name.to_string()).collect();
        let what = told(&scope);
        let order = how.order(scope)?;
        let until = order.expires_at.map_or_else(
            || "until two people lift it".to_owned(),
            |end| format!("until {}", moment(Some(end))),
        );
        let question = format!("{} {what} in {}, {until}", verb(order.mode), names.join(" and "));
        if !how.yes && !session.output.confirm(&question)? {
            return Err(Failure::failed("nothing was stopped"));
        }
        let mut states = Vec::new();
        let mut failed = None;
        for at in places {
            // One trust domain that cannot be reached does not keep the others running.
            let name = at.name.clone();
            match kill(at, &order).await {
                Ok(state) => states.push(state),
                Err(failure) => failed = Some(failure.within(name.as_str())),
            }
        }
        session.output.show(&states, |states| {
            let line = |of: &Of<KillStateView>| {
                let of_upstream = match order.mode {
                    KillMode::StopAndRevokeUpstream => {
                        "Nothing was obtained upstream, so there was nothing to revoke there.\n"
                    }
                    _ => "",
                };
                format!(
                    "Stopped in {}: {what} ({}); kill epoch {}\n{of_upstream}",
                    of.trust_domain, order.mode, of.item.epoch
                )
            };
            states.iter().map(line).collect()
        })?;
        failed.map_or(Ok(()), Err)
    }
}

impl How {
    fn order(&self, scope: KillScope) -> Result<NewKillOrder, Failure> {
        let Self { reason, yes: _, mode, expires, lasts } = self;
        let reason =
            Reason::new(reason).map_err(|error| Failure::because("nothing was stopped", &error))?;
        let end = |lasts: SignedDuration| SystemClock.now().checked_add(lasts);
        let expires_at = match lasts {
            Some(lasts) => {
                Some(end(*lasts).map_err(|error| Failure::because("nothing was stopped", &error))?)
            }
            None => *expires,
        };
        Ok(NewKillOrder { scope, mode: *mode, reason, expires_at })
    }
}

async fn kill(
    at: TrustDomainEndpoints,
    order: &NewKillOrder,
) -> Result<Of<KillStateView>, Failure> {
    let mut home = Home::reach(at).await?;
    let state = home.admin.kill(order).await?;
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
        KillScope::TrustDomain => "the whole trust domain".to_owned(),
        KillScope::All => "everything".to_owned(),
        scope => format!(
            "the {} {}",
            scope.kind().replace('_', " "),
            scope.selector().unwrap_or_default()
        ),
    }
}

fn verb(mode: KillMode) -> &'static str {
    match mode {
        KillMode::Drain => "Drain",
        KillMode::StopIssuance => "Stop the issuing for",
        KillMode::StopUse => "Stop the use of",
        KillMode::Stop | KillMode::StopAndRevokeUpstream => "Stop",
    }
}

fn render(states: &[Of<KillStateView>]) -> String {
    let rows: Vec<_> = states
        .iter()
        .flat_map(|of| of.item.kills.iter().map(|kill| (&of.trust_domain, kill)))
        .map(|(trust_domain, kill)| {
            let KillScopeView { scope, selector } = &kill.scope;
            let scope = scope.replace('_', " ");
            let stopped = selector.iter().fold(scope, |scope, one| format!("{scope} {one}"));
            [
                trust_domain.clone(),
                stopped,
                kill.mode.clone(),
                moment(kill.at),
                kill.expires_at.map_or_else(|| "lifted".to_owned(), |end| moment(Some(end))),
                kill.actor.clone(),
                kill.reason.clone(),
                kill.id.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "Nothing is killed.".to_owned();
    }
    table(["TRUST DOMAIN", "STOPPED", "MODE", "SINCE", "UNTIL", "BY", "REASON", "ID"], rows)
}

#[cfg(test)]
mod tests {
    use crate::grpc::admin::KillView;

    use super::*;

    #[test]
    fn the_kills_that_stand_say_who_and_why() {
        let kill = KillView {
            scope: KillScopeView {
                scope: "agent".to_owned(),
                selector: Some("spiffe://prod.example.org/agent/a".to_owned()),
            },
            reason: "runs in circles".to_owned(),
            actor: "operator:alice(1000)".to_owned(),
            at: Some("2026-11-22T03:00:00Z".parse().unwrap()),
            epoch: 1,
            id: "kill_000000000000000000000001".to_owned(),
            mode: "stop".to_owned(),
            expires_at: None,
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
