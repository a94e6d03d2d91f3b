//! `marque intent`: what agents asked for, and asking as an agent does.

pub(super) mod ask;
mod behalf;

use clap::{Args, Subcommand};
use marque_intent::{IntentId, OpenBy, Outcome, PlaybookId, State};
use marque_spiffe::{Clock, SpiffeId};
use serde::Serialize;

use self::ask::{Ask, AskedArgs, SocketArgs};
use self::behalf::BehalfArgs;
use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::output::table;
use super::person::{AsPerson, Person};
use super::retry::RetryArgs;
use super::review;
use super::text::moment_from;
use crate::clock::SystemClock;
use crate::grpc::admin::IntentView;

/// What agents asked for, and asking as an agent does
///
/// list, show and revoke are an operator's. request, complete, heartbeat and cancel are an agent's: they fetch a JWT-SVID for this
/// very process from the Workload API and go to the issuer over HTTPS.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque intent list --state pending
  marque intent show int_01abcdefghjkmnpqrstvwxyz01
  marque intent request ingress-cert-rotation --param region=eu-west-1 --param service=shop --ticket CHG-1842
  marque intent request contract-excerpt --param contract_id=contract_7781 \
      --for-agent spiffe://prod.example.org/agent/clause-classification --parent int_01abcdefghjkmnpqrstvwxyz01 \
      --narrow 'scopes:=[\"contracts.read\"]' --narrow uses:=1
  marque intent complete int_01abcdefghjkmnpqrstvwxyz01 --outcome success
  marque intent list --by agent
  marque intent revoke --agent spiffe://prod.example.org/agent/cert-rotator/one --reason 'it misbehaves'
  marque intent revoke int_01abcdefghjkmnpqrstvwxyz01 --reason 'ticket was closed'")]
pub(super) struct IntentArgs {
    #[command(subcommand)]
    command: IntentCommand,
}

#[derive(Debug, Subcommand)]
enum IntentCommand {
    /// List intents, newest first; those that wait for an approver, the riskiest first
    List {
        /// Only those in this state: pending, approved, active, consumed, denied, cancelled, expired, completed,
        /// closed_unreported or revoked
        #[arg(long)]
        state: Option<State>,
        /// Only those of this agent
        #[arg(long, value_name = "SPIFFE-ID")]
        agent: Option<SpiffeId>,
        /// At most so many of each trust domain
        #[arg(long, default_value_t = USUAL_LIMIT)]
        limit: u32,
        /// Count the open grants instead: by agent, delegator or target
        #[arg(long, value_name = "WHAT", conflicts_with_all = ["state", "agent", "limit"])]
        by: Option<OpenBy>,
        #[command(flatten)]
        person: AsPerson,
    },
    /// Show one intent, as an approver sees it
    Show {
        /// The intent
        #[arg(value_name = "INTENT")]
        id: IntentId,
    },
    /// End an intent and its tokens, or every open one of an agent, on behalf of a person, or for a resource
    Revoke {
        #[command(flatten)]
        which: RevokedArgs,
        /// Why; operators and the log keep it
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        retry: RetryArgs,
    },
    /// Ask for an intent, as the agent that this process is
    Request(Box<RequestArgs>),
    /// Report how it went, as the agent that this process is
    Complete {
        /// The intent
        #[arg(value_name = "INTENT")]
        id: IntentId,
        /// How it went: success, failure, partial or unknown
        #[arg(long, value_parser = outcome)]
        outcome: Outcome,
        /// What to say about it; operators and the log keep it, and nothing decides by it
        #[arg(long)]
        report: Option<String>,
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Say that the work goes on, as the agent that this process is: puts off the end of a grant that falls idle
    Heartbeat {
        /// The intent
        #[arg(value_name = "INTENT")]
        id: IntentId,
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Withdraw an intent before its first use, as the agent that this process is
    Cancel {
        /// The intent
        #[arg(value_name = "INTENT")]
        id: IntentId,
        #[command(flatten)]
        socket: SocketArgs,
    },
}

/// Exactly one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RevokedArgs {
    /// The intent
    #[arg(value_name = "INTENT")]
    id: Option<IntentId>,
    /// Every open intent of this agent
    #[arg(long, value_name = "SPIFFE-ID")]
    agent: Option<SpiffeId>,
    /// Every open intent that was used on behalf of this person, as `marque intent list --by delegator` names them
    #[arg(long, value_name = "PERSON")]
    delegator: Option<String>,
    /// Every open intent that touches this resource
    #[arg(long, value_name = "RESOURCE")]
    target: Option<String>,
}

impl RevokedArgs {
    /// What the intents count against; none for one that is named itself.
    fn held(&self) -> Option<(OpenBy, String)> {
        let Self { id: _, agent, delegator, target } = self;
        let agent = agent.as_ref().map(|agent| (OpenBy::Agent, agent.to_string()));
        let delegator = delegator.clone().map(|person| (OpenBy::Delegator, person));
        agent.or(delegator).or_else(|| target.clone().map(|target| (OpenBy::Target, target)))
    }
}

#[derive(Debug, Args)]
struct RequestArgs {
    /// The playbook
    #[arg(value_name = "PLAYBOOK")]
    playbook: PlaybookId,
    #[command(flatten)]
    asked: AskedArgs,
    #[command(flatten)]
    behalf: BehalfArgs,
    #[command(flatten)]
    socket: SocketArgs,
}

impl IntentArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            IntentCommand::List { by: Some(by), .. } => count(session, by).await,
            IntentCommand::List { state, agent, limit, by: None, person } => {
                match person.chosen(session)? {
                    Some(person) => waiting(session, &person).await,
                    None => list(session, state, agent, limit).await,
                }
            }
            IntentCommand::Show { id } => show(session, &id).await,
            IntentCommand::Revoke { which, reason, retry } => match (which.held(), which.id) {
                (Some(_), _) if retry.key().is_some() => {
                    Err(Failure::usage("an idempotency key is for one intent that is named"))
                }
                (Some((by, name)), _) => revoke_held(session, by, name, reason).await,
                (None, Some(id)) => revoke(session, &id, reason, retry.key()).await,
                (None, None) => Err(Failure::failed("name what to revoke")),
            },
            IntentCommand::Request(args) => request(session, *args).await,
            IntentCommand::Complete { id, outcome, report, socket } => {
                let mut body = serde_json::json!({ "outcome": outcome });
                if let (Some(report), Some(members)) = (report, body.as_object_mut()) {
                    members.insert("report".to_owned(), report.into());
                }
                change(session, &socket, &format!("/{id}/complete"), body).await
            }
            IntentCommand::Heartbeat { id, socket } => {
                change(session, &socket, &format!("/{id}/heartbeat"), serde_json::json!({})).await
            }
            IntentCommand::Cancel { id, socket } => {
                change(session, &socket, &format!("/{id}/cancel"), serde_json::json!({})).await
            }
        }
    }
}

/// How many of each trust domain are listed unless somebody says so.
pub(super) const USUAL_LIMIT: u32 = 50;

pub(super) async fn list(
    session: &mut Session,
    state: Option<State>,
    agent: Option<SpiffeId>,
    limit: u32,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let agent = agent.as_ref().map(ToString::to_string);
        let intents = home.admin.intents(state, agent, Some(limit)).await?;
        all.extend(intents.into_iter().map(|intent| home.of(intent)));
    }
    if state == Some(State::Pending) {
        // What waits is a queue: the riskiest first, and of two the one whose time runs out sooner.
        all.sort_by_key(|of| (std::cmp::Reverse(of.item.grant.risk), of.item.expires_at));
    }
    session.output.show(&all, |all| render_list(all, SystemClock.now()))
}

/// What waits for the person who is logged in.
async fn waiting(session: &mut Session, person: &Person) -> Result<(), Failure> {
    let (trust_domain, _) = person.home().await?;
    let of = |item| Of { trust_domain: trust_domain.clone(), item };
    let all: Vec<_> = person.waiting().await?.into_iter().map(of).collect();
    session.output.show(&all, |all| render_list(all, SystemClock.now()))
}

async fn show(session: &mut Session, id: &IntentId) -> Result<(), Failure> {
    let (home, intent) = session.intent(id.as_str()).await?;
    session.output.show(&home.of(intent), |of| {
        review::render(&of.item, &of.trust_domain, home.at.environment, SystemClock.now())
    })
}

async fn revoke(
    session: &mut Session,
    id: &IntentId,
    reason: String,
    key: Option<String>,
) -> Result<(), Failure> {
    let (mut home, _) = session.intent(id.as_str()).await?;
    let revoked = home.admin.revoke(id.to_string(), reason, key).await?;
    session.output.show(&home.of(revoked), |of| format!("The intent is {}.", of.item.state))
}

/// How many grants of one trust domain are open against one thing.
#[derive(Debug, Serialize)]
struct Counted {
    name: String,
    grants: u64,
}

async fn count(session: &mut Session, by: OpenBy) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let counts = home.admin.open_counts(by.as_str().to_owned()).await?;
        all.extend(counts.into_iter().map(|(name, grants)| home.of(Counted { name, grants })));
    }
    session.output.show(&all, |all| {
        if all.is_empty() {
            return "No open grants.".to_owned();
        }
        let rows = all.iter().map(|Of { trust_domain, item }| {
            [trust_domain.clone(), item.name.clone(), item.grants.to_string()]
        });
        table(["TRUST DOMAIN", &by.as_str().to_uppercase(), "OPEN"], rows)
    })
}

/// Those that one revocation ended.
#[derive(Debug, Serialize)]
struct Ended {
    intents: Vec<String>,
}

async fn revoke_held(
    session: &mut Session,
    by: OpenBy,
    name: String,
    reason: String,
) -> Result<(), Failure> {
    let mut ended = Ended { intents: Vec::new() };
    for mut home in session.homes().await? {
        let by = by.as_str().to_owned();
        ended.intents.extend(home.admin.revoke_held(by, name.clone(), reason.clone()).await?);
    }
    session.output.show(&ended, |ended| match ended.intents.as_slice() {
        [] => "No open intents.".to_owned(),
        intents => format!("Ended {}: {}", intents.len(), intents.join(", ")),
    })
}

async fn request(session: &mut Session, args: RequestArgs) -> Result<(), Failure> {
    let RequestArgs { playbook, asked, behalf, socket } = args;
    let mut members = asked.members(&playbook)?;
    members.extend(behalf.members()?);
    change(session, &socket, "", members.into()).await
}

/// Sends one request of the agent's and shows the intent after it.
async fn change(
    session: &mut Session,
    socket: &SocketArgs,
    path: &str,
    body: serde_json::Value,
) -> Result<(), Failure> {
    let intent = Ask::new(session, socket.named()).await?.post(path, body).await?;
    session.output.show(&intent, |intent| ask::render(intent, SystemClock.now()))
}

fn render_list(all: &[Of<IntentView>], now: jiff::Timestamp) -> String {
    if all.is_empty() {
        return "No intents.".to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain: _, item }| {
        [
            item.id.clone(),
            item.state.clone(),
            item.agent.clone(),
            review::statement(&item.grant),
            item.grant.ticket.clone(),
            moment_from(item.created_at, now),
        ]
    });
    table(["INTENT", "STATE", "AGENT", "WHAT", "TICKET", "ASKED"], rows)
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let known = [Outcome::Success, Outcome::Failure, Outcome::Partial, Outcome::Unknown];
    known
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| "expected success, failure, partial or unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_each_intent_would_do() {
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: review::tests::pending() };
        let listed = render_list(&[of], "2026-11-22T03:00:00Z".parse().unwrap());
        insta::assert_snapshot!(listed, @r#"
        INTENT                          STATE    AGENT                                             WHAT                                                                                    TICKET    ASKED
        int_01abcdefghjkmnpqrstvwxyz01  pending  spiffe://prod.example.org/agent/cert-rotator/one  Rotate the TLS certificate of one ingress, with region = "eu-west-1", service = "shop"  CHG-1842  2026-11-22 02:58:00 UTC (2m ago)
        "#);
    }

    #[test]
    fn an_outcome_is_one_of_four_words() {
        assert_eq!(outcome("partial"), Ok(Outcome::Partial));
        assert!(outcome("done").is_err());
    }
}
