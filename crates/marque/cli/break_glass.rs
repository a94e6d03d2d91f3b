//! `marque break-glass`: every glass that was broken, and what was found afterwards.

use clap::{Args, Subcommand};
use marque_intent::IntentId;

use super::Session;
use super::failure::Failure;
use super::report::{Since, findings};
use crate::reports::Which;

/// List the break-glass grants, and review them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque break-glass list --since 30d
  marque break-glass review int_01abcdefghjkmnpqrstvwxyz01 --finding 'INC-42: needed, one segment, nothing else touched'

Whoever approved it cannot review it. `marque report break-glass --fail` is for a job: exit code 1 when a review is overdue.")]
pub(super) struct BreakGlassArgs {
    #[command(subcommand)]
    command: BreakGlassCommand,
}

#[derive(Debug, Subcommand)]
enum BreakGlassCommand {
    /// Every glass that was broken, by whom, and whether somebody else looked at it since
    List {
        /// How far back to look: a lifetime such as 30d, or an instant
        #[arg(long, value_name = "LIFETIME|INSTANT", default_value = "30d")]
        since: Since,
    },
    /// Say what you found about one that is over
    Review {
        /// The intent
        #[arg(value_name = "INTENT")]
        id: IntentId,
        /// What you found; operators and the log keep it
        #[arg(long)]
        finding: String,
    },
}

impl BreakGlassArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            BreakGlassCommand::List { since } => {
                findings(session, &[Which::BreakGlass], since, false).await
            }
            BreakGlassCommand::Review { id, finding } => {
                let (mut home, _) = session.intent(id.as_str()).await?;
                let reviewed = home.admin.review_break_glass(id.to_string(), finding).await?;
                session.output.show(&home.of(reviewed), |of| {
                    format!("The review of {} is on record.", of.item.id)
                })
            }
        }
    }
}
