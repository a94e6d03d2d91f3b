//! `marque kill`: stop issuance and use, at once; and let it go on, by two people.

mod lift;
mod show;
#[cfg(test)]
mod tests;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use marque_exchange::TokenId;
use marque_intent::kill::{KillMode, KillName, KillScope, ToolScope};
use marque_intent::{Digest, IntentId, Label, Reason};
use marque_spiffe::{Clock as _, SpiffeId};

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::person::AsPerson;
use super::text::moment;
use crate::clock::SystemClock;
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::admin::{KilledView, NewKillOrder};

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
  marque kill confirm --as-person --issuer https://issuer.example.org lift_0123456789abcdef01234567
  marque kill drill")]
pub(super) struct KillArgs {
    #[command(subcommand)]
    command: KillCommand,
}

/// What the log says where nobody gives a reason: stopping somebody must not wait for one.
const NO_REASON: &str = "stopped by an operator";

/// What is said where the database has not taken a kill that other replicas share it for.
const HERE_ONLY: &str = ": the database takes nothing, so that this is kept at this replica only; order it at every other \
     replica as well\n";

// What every kill says beside whom it stops. Only commands that stop somebody take it: the others refuse it.
#[derive(Debug, Args)]
struct How {
    /// Why; operators and the log keep it
    #[arg(long)]
    reason: Option<String>,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// How far: stop, stop-issuance, stop-use, drain or stop-and-revoke-upstream
    #[arg(long, default_value = "stop", value_name = "MODE")]
    mode: KillMode,
    /// When it ends by itself, such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "INSTANT")]
    expires: Option<Timestamp>,
    /// Only show whom it would hit
    #[arg(long)]
    dry_run: bool,
    /// For how long it stands, such as 2h
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "expires")]
    lasts: Option<SignedDuration>,
}

#[derive(Debug, Subcommand)]
enum KillCommand {
    #[command(flatten)]
    Stop(StopCommand),
    /// Show the kills that stand, and which of them somebody wants lifted
    List {
        #[command(flatten)]
        as_person: AsPerson,
    },
    /// Ask for a kill to be lifted or relaxed; another person has to confirm it
    Lift {
        /// The id of the kill, or its epoch
        #[arg(value_name = "KILL")]
        kill: String,
        /// Only relax it, to a mode that stops less
        #[arg(long, value_name = "MODE")]
        to: Option<KillMode>,
        /// Why; who confirms it and the log read it
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        as_person: AsPerson,
    },
    /// Confirm that another person's wish to lift a kill is done
    Confirm {
        /// The id of the wish: `lift_` and 24 hexadecimal digits
        #[arg(value_name = "LIFT")]
        lift: String,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        as_person: AsPerson,
    },
    /// Measure how fast a kill spreads, with one that hits nobody and ends by itself
    Drill,
}

#[derive(Debug, Subcommand)]
enum StopCommand {
    /// Stop one agent
    Agent {
        /// The agent
        #[arg(value_name = "SPIFFE-ID")]
        agent: SpiffeId,
        #[command(flatten)]
        how: How,
    },
    /// Stop every grant of one playbook, in every version or in one
    Playbook {
        /// The playbook, or one version of it: `<id>@<version>`
        #[arg(value_name = "PLAYBOOK[@VERSION]")]
        playbook: String,
        #[command(flatten)]
        how: How,
    },
    /// Stop one grant, and all that was asked for under it
    Grant {
        /// The grant's intent
        #[arg(value_name = "INTENT")]
        intent: IntentId,
        #[command(flatten)]
        how: How,
    },
    /// Stop every grant of a task
    Task {
        /// The label that its agent gave it
        #[arg(value_name = "TASK")]
        task: Label,
        #[command(flatten)]
        how: How,
    },
    /// Stop every grant of a session
    Session {
        /// The label that its agent gave it
        #[arg(value_name = "SESSION")]
        session: Label,
        #[command(flatten)]
        how: How,
    },
    /// Stop every agent of a build: of an executable or an image with this digest
    Build {
        /// `sha256:` and 64 hexadecimal digits
        #[arg(value_name = "DIGEST")]
        digest: Digest,
        #[command(flatten)]
        how: How,
    },
    /// Stop every grant that permits a tool, or any tool of a server
    Tool {
        /// `<server>.<name>`, or `<server>` for all of its tools
        #[arg(value_name = "TOOL")]
        tool: ToolScope,
        #[command(flatten)]
        how: How,
    },
    /// Stop everything that is done on behalf of a person
    Delegator {
        /// `<issuer>:<subject>`, as the log and tokens name the person
        #[arg(value_name = "PERSON")]
        person: KillName,
        #[command(flatten)]
        how: How,
    },
    /// Stop every agent that somebody answers for
    Sponsor {
        /// The owner in the agents' entries
        #[arg(value_name = "OWNER")]
        owner: KillName,
        #[command(flatten)]
        how: How,
    },
    /// Stop every grant of a tenant
    Tenant {
        /// The tenant's label in its playbooks
        #[arg(value_name = "TENANT")]
        tenant: KillName,
        #[command(flatten)]
        how: How,
    },
    /// Stop one token, and every token that derives from it
    Credential {
        /// Its `jti`
        #[arg(value_name = "TOKEN-ID")]
        token: TokenId,
        #[command(flatten)]
        how: How,
    },
    /// Stop every token that is bound to a key
    Key {
        /// The key's thumbprint: `cnf.jkt` or `cnf.x5t#S256` of the tokens
        #[arg(value_name = "THUMBPRINT")]
        thumbprint: Label,
        #[command(flatten)]
        how: How,
    },
    /// Stop one trust domain
    TrustDomain {
        #[command(flatten)]
        how: How,
    },
    /// Stop everything that the daemon serves, or every trust domain that --trust-domain names
    All {
        #[command(flatten)]
        how: How,
    },
}

/// What to stop, and where.
struct Target {
    scope: KillScope,
    places: Vec<TrustDomainEndpoints>,
}

impl StopCommand {
    /// Whom the command stops, and how.
    fn target(self, session: &Session) -> Result<(Target, How), Failure> {
        let read = |kind: &str, selector: &str| {
            KillScope::parse(kind, Some(selector))
                .map_err(|error| Failure::because("nothing was stopped", &error))
        };
        let (scope, how) = match self {
            Self::Agent { agent, how } => {
                let places = vec![session.place.of_id(&agent)?];
                return Ok((Target { scope: KillScope::Agent(agent), places }, how));
            }
            Self::All { how } => {
                let places = session.place.several()?;
                return Ok((Target { scope: KillScope::All, places }, how));
            }
            Self::Playbook { playbook, how } => {
                let kind = if playbook.contains('@') { "playbook_version" } else { "playbook" };
                (read(kind, &playbook)?, how)
            }
            Self::Grant { intent, how } => (KillScope::Grant(intent), how),
            Self::Task { task, how } => (KillScope::Task(task), how),
            Self::Session { session, how } => (KillScope::Session(session), how),
            Self::Build { digest, how } => (KillScope::Build(digest), how),
            Self::Tool { tool, how } => (KillScope::Tool(tool), how),
            Self::Delegator { person, how } => (KillScope::Delegator(person), how),
            Self::Sponsor { owner, how } => (KillScope::Sponsor(owner), how),
            Self::Tenant { tenant, how } => (KillScope::Tenant(tenant), how),
            Self::Credential { token, how } => (read("credential", token.as_str())?, how),
            Self::Key { thumbprint, how } => (KillScope::Key(thumbprint), how),
            Self::TrustDomain { how } => (KillScope::TrustDomain, how),
        };
        Ok((Target { scope, places: vec![session.place.one()?] }, how))
    }
}

impl KillArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            KillCommand::List { as_person } => show::list(session, &as_person).await,
            KillCommand::Lift { kill, to, reason, as_person } => {
                lift::ask(session, (kill, to), reason, &as_person).await
            }
            KillCommand::Confirm { lift, yes, as_person } => {
                lift::confirm(session, lift, yes, &as_person).await
            }
            KillCommand::Drill => show::drill(session).await,
            KillCommand::Stop(command) => match command.target(session)? {
                (target, how) if how.dry_run => show::impact(session, target, &how).await,
                (target, how) => target.kill(session, &how).await,
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
            let line = |of: &Of<KilledView>| {
                let state = &of.item.state;
                let of_upstream = match order.mode {
                    KillMode::StopAndRevokeUpstream => {
                        "Nothing was obtained upstream, so there was nothing to revoke there.\n"
                    }
                    _ => "",
                };
                let here = match state.kept_here_only {
                    true => format!("{}{HERE_ONLY}", of.trust_domain),
                    false => String::new(),
                };
                format!(
                    "Stopped in {}: {what} ({}); kill epoch {}\n{of_upstream}{here}{}",
                    of.trust_domain,
                    order.mode,
                    state.epoch,
                    show::out_of_reach(of.item.irrevocable.as_ref())
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

async fn kill(at: TrustDomainEndpoints, order: &NewKillOrder) -> Result<Of<KilledView>, Failure> {
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
