//! `marque deny`: a person says no.

use clap::Args;
use marque_intent::IntentId;

use super::Session;
use super::failure::Failure;
use super::person::AsPerson;

/// Deny an intent, for good
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque deny int_01abcdefghjkmnpqrstvwxyz01 --reason 'outside the change window'

An intent that was approved already is ended with `marque intent revoke`.")]
pub(super) struct DenyArgs {
    /// The intent
    #[arg(value_name = "INTENT")]
    id: IntentId,
    /// Why; operators and the log keep it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    person: AsPerson,
}

impl DenyArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { id, reason, person } = self;
        if let Some(person) = person.chosen(session)? {
            let intent = person.intent(id.as_str()).await?;
            let denied = person.deny(id.as_str(), &intent.grant.digest, &reason).await?;
            return session
                .output
                .show(&denied, |intent| format!("The intent is {}.", intent.state));
        }
        let (mut home, _) = session.intent(id.as_str()).await?;
        let denied = home.admin.deny(id.to_string(), reason).await?;
        session.output.show(&home.of(denied), |of| format!("The intent is {}.", of.item.state))
    }
}
