//! `marque deny`: a person says no, and why.

use clap::{Args, ValueEnum};
use marque_intent::IntentId;

use super::Session;
use super::failure::Failure;
use super::person::AsPerson;

/// Deny an intent
///
/// It ends once as many approvers have refused as its playbook says, which is one unless it says otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque deny int_01abcdefghjkmnpqrstvwxyz01 --because wrong-time
  marque deny int_01abcdefghjkmnpqrstvwxyz01 --because too-wide --reason 'one service is enough'

An intent that was approved already is ended with `marque intent revoke`.")]
#[command(group = clap::ArgGroup::new("why").required(true).multiple(true).args(["because", "reason"]))]
pub(super) struct DenyArgs {
    /// The intent
    #[arg(value_name = "INTENT")]
    id: IntentId,
    /// Why, in a word; operators and the log keep it
    #[arg(long, value_enum)]
    because: Option<Because>,
    /// Why, in your words; operators and the log keep it
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    person: AsPerson,
}

/// Why somebody refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Because {
    /// Nobody needs this
    NotNeeded,
    /// It asks for more than the work needs
    TooWide,
    /// Not now
    WrongTime,
    /// The ticket does not say this, or is not approved
    WrongTicket,
    /// The parameters are not what they should be
    WrongParameters,
    /// It looks like an attack or a mistake of the agent
    Suspicious,
}

impl DenyArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { id, because, reason, person } = self;
        let preset = because.and_then(|why| Some(why.to_possible_value()?.get_name().to_owned()));
        let told: Vec<String> = [preset, reason].into_iter().flatten().collect();
        if let Some(person) = person.chosen(session)? {
            let intent = person.intent(id.as_str()).await?;
            let denied = person.deny(id.as_str(), &intent.grant.digest, &told.join(": ")).await?;
            return session
                .output
                .show(&denied, |intent| format!("The intent is {}.", intent.state));
        }
        let (mut home, _) = session.intent(id.as_str()).await?;
        let denied = home.admin.deny(id.to_string(), told.join(": ")).await?;
        session.output.show(&home.of(denied), |of| match of.item.state.as_str() {
            "pending" => "Your refusal counts; others have to refuse as well.".to_owned(),
            state => format!("The intent is {state}."),
        })
    }
}
