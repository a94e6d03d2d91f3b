//! `marque kill`: stop issuance and use, at once; and let it go on, by two people.

mod lift;
mod show;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use marque_exchange::TokenId;
use marque_intent::kill::{KillMode, KillName, KillScope, ToolScope};
use marque_intent::{Digest, IntentId, Label, Reason};
use marque_spiffe::{Clock as _, SpiffeId};

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::text::moment;
use crate::clock::SystemClock;
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::admin::{KillStateView, NewKillOrder};

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
  marque kill tenant acme --dry-run
  marque kill all --yes --reason 'incident 7'
  marque kill list
  marque kill lift kill_0123456789abcdef01234567 --to drain --reason 'repaired, see CHG-1842'
  marque kill confirm lift_0123456789abcdef01234567
  marque kill drill")]
pub(super) struct KillArgs {
    #[command(subcommand)]
    command: KillCommand,
    #[command(flatten)]
    how: How,
}

/// What the log says where nobody gives a reason: stopping somebody must not wait for one.
const NO_REASON: &str = "stopped by an operator";

/// What every kill says beside whom it stops.
#[derive(Debug, Args)]
struct How {
    /// Why; operators and the log keep it
    #[arg(long, global = true)]
    reason: Option<String>,
    /// Do it without asking
    #[arg(long, global = true)]
    yes: bool,
    /// How far: stop, stop-issuance, stop-use, drain or stop-and-revoke-upstream
    #[arg(long, global = true, default_value = "stop", value_name = "MODE")]
    mode: KillMode,
    /// When it ends by itself, such as 2026-12-24T18:00:00Z
    #[arg(long, global = true, value_name = "INSTANT")]
    expires: Option<Timestamp>,
    /// Only show whom it would hit
    #[arg(long, global = true)]
    dry_run: bool,
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
    /// Show the kills that stand, and which of them somebody wants lifted
    List,
    /// Ask for a kill to be lifted or relaxed; another person has to confirm it
    Lift {
        /// The id of the kill, or its epoch
        #[arg(value_name = "KILL")]
        kill: String,
        /// Only relax it, to a mode that stops less
        #[arg(long, value_name = "MODE")]
        to: Option<KillMode>,
    },
    /// Confirm that another person's wish to lift a kill is done
    Confirm {
        /// The id of the wish: `lift_` and 24 hexadecimal digits
        #[arg(value_name = "LIFT")]
        lift: String,
    },
    /// Measure how fast a kill spreads, with one that hits nobody and ends by itself
    Drill,
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
            Self::List | Self::Lift { .. } | Self::Confirm { .. } | Self::Drill => return Ok(None),
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
        match command {
            KillCommand::List => show::list(session).await,
            KillCommand::Lift { kill, to } => lift::ask(session, kill, to, how.reason).await,
            KillCommand::Confirm { lift } => lift::confirm(session, lift, how.yes).await,
            KillCommand::Drill => show::drill(session).await,
            command => match command.target(session)? {
                Some(target) if how.dry_run => show::impact(session, target, &how).await,
                Some(target) => target.kill(session, &how).await,
                None => Ok(()),
            },
        }
    }
}

impl Target {
    async fn kill(self, session: &mut Session, how: &How) -> Result<(), Failure> {
        let Self { scope, places } = self;
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
        let Self { reason, yes: _, mode, expires, dry_run: _, lasts } = self;
        let reason = reason.as_deref().unwrap_or(NO_REASON);
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
