//! `marque approve`: a person says yes to exactly what is shown.

use clap::Args;
use marque_intent::IntentId;
use marque_spiffe::Clock;

use super::Session;
use super::failure::Failure;
use super::output::OutputFormat;
use super::person::{AsPerson, Person};
use super::review;
use crate::clock::SystemClock;

/// Review an intent and approve it
///
/// Shows exactly what would be permitted and asks. The approval is bound to the digest of what was shown: if that changed
/// in between, it is refused. Agents, and whatever they start, are refused too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque intent list --state pending
  marque approve int_01abcdefghjkmnpqrstvwxyz01
  marque approve --yes int_01abcdefghjkmnpqrstvwxyz01    # for scripts: nobody is asked")]
pub(super) struct ApproveArgs {
    /// The intent
    #[arg(value_name = "INTENT")]
    id: IntentId,
    /// Approve without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    person: AsPerson,
}

impl ApproveArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { id, yes, person } = self;
        if let Some(person) = person.chosen(session)? {
            return as_person(session, &person, id.as_str(), yes).await;
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
        }
        if intent.state != "pending" {
            return Err(Failure::failed(format!(
                "the intent is {}: there is nothing to approve",
                intent.state
            )));
        }
        if !yes && !session.output.confirm(&format!("Approve this in {name} ({environment})"))? {
            return Err(Failure::failed("not approved")
                .next(format!("to refuse it for good: marque deny {id}")));
        }
        let approved = home.admin.approve(id.to_string(), intent.grant.digest).await?;
        session.output.show(&home.of(approved), |of| match of.item.approvals_missing {
            0 => format!("Approved: the intent is {}.", of.item.state),
            missing => format!("Your approval counts; the intent needs {missing} more."),
        })
    }
}

/// The same, over HTTPS.
async fn as_person(
    session: &mut Session,
    person: &Person,
    id: &str,
    yes: bool,
) -> Result<(), Failure> {
    let (name, environment) = person.home().await?;
    let intent = person.intent(id).await?;
    if session.output.format() == OutputFormat::Text {
        let review = review::render(&intent, &name, environment, SystemClock.now());
        session.output.remark(&review)?;
    }
    if !yes && !session.output.confirm(&format!("Approve this in {name} ({environment})"))? {
        return Err(Failure::failed("not approved"));
    }
    let approved = person.approve(id, &intent.grant.digest).await?;
    session.output.show(&approved, |intent| format!("The intent is {}.", intent.state))
}
