//! `marque approve`: a person says yes to exactly what is shown, or to less.

use std::collections::BTreeSet;

use clap::Args;
use marque_intent::{IntentId, Narrowing, Scope, State, ToolId};
use marque_registry::Lifetime;
use marque_spiffe::Clock;

use super::Session;
use super::failure::Failure;
use super::output::OutputFormat;
use super::person::{AsPerson, Person};
use super::retry::RetryArgs;
use super::{intent, review};
use crate::clock::SystemClock;
use crate::grpc::admin::IntentView;

/// Review an intent and approve it, or less than it
///
/// Shows exactly what would be permitted and asks. The approval is bound to the digest of what was shown: if that changed
/// in between, it is refused. Without an intent it lists those that wait, the riskiest first. What is taken away gives the
/// intent another digest, which its agent sees; whoever approved the wider one is asked again. Agents, and whatever they
/// start, are refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque approve                                         # what waits, the riskiest first
  marque approve int_01abcdefghjkmnpqrstvwxyz01
  marque approve int_01abcdefghjkmnpqrstvwxyz01 --uses 1 --max-duration 5m
  marque approve int_01abcdefghjkmnpqrstvwxyz01 --without-scope orders.write --without-tool shop.refund
  marque approve --yes int_01abcdefghjkmnpqrstvwxyz01    # for scripts: nobody is asked
  marque approve --as-person --idempotency-key 4711 int_01abcdefghjkmnpqrstvwxyz01")]
pub(super) struct ApproveArgs {
    /// The intent; without one, what waits is listed
    #[arg(value_name = "INTENT")]
    id: Option<IntentId>,
    /// Approve without asking
    #[arg(long, requires = "id")]
    yes: bool,
    #[command(flatten)]
    less: LessArgs,
    #[command(flatten)]
    retry: RetryArgs,
    #[command(flatten)]
    person: AsPerson,
}

/// What to take away.
#[derive(Debug, Args)]
struct LessArgs {
    /// Approve only so many uses
    #[arg(long, value_name = "COUNT", requires = "id")]
    uses: Option<u32>,
    /// Approve only so long after the first use, such as 5m
    #[arg(long, value_name = "LENGTH", requires = "id")]
    max_duration: Option<Lifetime>,
    /// Approve only a first use within this time, such as 5m
    #[arg(long, value_name = "LENGTH", requires = "id")]
    start_within: Option<Lifetime>,
    /// Approve without this scope; may be repeated
    #[arg(long, value_name = "SCOPE", requires = "id")]
    without_scope: Vec<Scope>,
    /// Approve without this tool, `server.name`; may be repeated
    #[arg(long, value_name = "TOOL", requires = "id")]
    without_tool: Vec<ToolId>,
}

impl LessArgs {
    fn narrowing(self) -> Option<Narrowing> {
        let Self { uses, max_duration, start_within, without_scope, without_tool } = self;
        let seconds = |length: Lifetime| length.as_duration().as_secs();
        let less = Narrowing {
            uses,
            max_duration_s: max_duration.map(seconds),
            start_within_s: start_within.map(seconds),
            without_scopes: without_scope.into_iter().collect::<BTreeSet<_>>(),
            without_tools: without_tool.into_iter().collect::<BTreeSet<_>>(),
        };
        (less != Narrowing::default()).then_some(less)
    }
}

impl ApproveArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { id, yes, less, retry, person } = self;
        let Some(id) = id else {
            return intent::list(session, Some(State::Pending), None, intent::USUAL_LIMIT).await;
        };
        let less = less.narrowing();
        if let Some(person) = person.chosen(session)? {
            let word = Yes { id: id.as_str(), less, key: retry.key(), asked: !yes };
            return as_person(session, &person, word).await;
        }
        let (mut home, intent) = session.intent(id.as_str()).await?;
        let (name, environment) = (home.at.name.to_string(), home.at.environment);
        if session.output.format() == OutputFormat::Text {
            session.output.remark(&review::render(
                &intent,
                &name,
                environment,
                SystemClock.now(),
            ))?;
            if let Some(less) = &less {
                session.output.remark(&review::less(less))?;
            }
        }
        let key = retry.key();
        if intent.state != "pending" && key.is_none() {
            return Err(Failure::failed(format!(
                "the intent is {}: there is nothing to approve",
                intent.state
            )));
        }
        let what = what(less.as_ref());
        if !yes && !session.output.confirm(&format!("{what} in {name} ({environment})"))? {
            return Err(Failure::failed("not approved")
                .next(format!("to refuse it for good: marque deny {id}")));
        }
        let digest = digest_of(&intent, less.as_ref());
        let approved = home.admin.approve(id.to_string(), digest, less, key).await?;
        session.output.show(&home.of(approved), |of| match of.item.approvals_missing {
            0 => format!("Approved: the intent is {}.", of.item.state),
            missing => format!("Your word counts; the intent needs {missing} more approvals."),
        })
    }
}

/// What the word is about: the digest that is shown, or the one that was there when the same was taken away before.
fn digest_of(intent: &IntentView, less: Option<&Narrowing>) -> String {
    let before = intent.narrowed.last().filter(|_| less.is_some() && intent.state != "pending");
    before.map_or_else(|| intent.grant.digest.clone(), |narrowed| narrowed.from.clone())
}

/// What is approved, and whether somebody is asked first.
struct Yes<'a> {
    id: &'a str,
    less: Option<Narrowing>,
    key: Option<String>,
    asked: bool,
}

/// The same, over HTTPS.
async fn as_person(session: &mut Session, person: &Person, word: Yes<'_>) -> Result<(), Failure> {
    let Yes { id, less, key, asked } = word;
    let (name, environment) = person.home().await?;
    let intent = person.intent(id).await?;
    if session.output.format() == OutputFormat::Text {
        let review = review::render(&intent, &name, environment, SystemClock.now());
        session.output.remark(&review)?;
        if let Some(less) = &less {
            session.output.remark(&review::less(less))?;
        }
    }
    if asked
        && !session.output.confirm(&format!("{} in {name} ({environment})", what(less.as_ref())))?
    {
        return Err(Failure::failed("not approved"));
    }
    let digest = digest_of(&intent, less.as_ref());
    let approved = person.approve(id, &digest, less, key).await?;
    session.output.show(&approved, |intent| format!("The intent is {}.", intent.state))
}

const fn what(less: Option<&Narrowing>) -> &'static str {
    if less.is_some() { "Approve less than this" } else { "Approve this" }
}
