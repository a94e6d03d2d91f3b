//! `marque deny`: a person says no, and why.

use clap::{Args, ValueEnum};
use marque_intent::{DenyReason, IntentId, UnknownDenyReason};

use super::Session;
use super::failure::Failure;
use super::person::AsPerson;
use super::retry::RetryArgs;

/// Deny an intent
///
/// It ends once as many approvers have refused as its playbook says, which is one unless it says otherwise. Why is one of a
/// few reasons, so that refusals can be counted; words of your own are a remark beside it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque deny int_01abcdefghjkmnpqrstvwxyz01 --because wrong-time
  marque deny int_01abcdefghjkmnpqrstvwxyz01 --because too-broad --remark 'one service is enough'

An intent that was approved already is ended with `marque intent revoke`.")]
pub(super) struct DenyArgs {
    /// The intent
    #[arg(value_name = "INTENT")]
    id: IntentId,
    /// Why: one of these; operators and the log keep it
    #[arg(long, value_enum)]
    because: Option<Because>,
    /// What else you say about it; operators and the log keep it
    #[arg(long, value_name = "TEXT", alias = "reason")]
    remark: Option<String>,
    #[command(flatten)]
    retry: RetryArgs,
    #[command(flatten)]
    person: AsPerson,
}

/// Why somebody refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Because {
    /// Nobody needs this
    NotNeeded,
    /// It asks for more than the work needs
    #[value(alias = "too-wide")]
    TooBroad,
    /// The parameters are not what they should be
    #[value(alias = "wrong-parameters")]
    WrongTarget,
    /// Not now
    WrongTime,
    /// The ticket does not say this, or is not approved
    #[value(alias = "wrong-ticket")]
    TicketMismatch,
    /// It looks like an attack or a mistake of the agent
    Suspicious,
    /// Something else, which the remark says
    Other,
}

impl From<Because> for DenyReason {
    fn from(because: Because) -> Self {
        match because {
            Because::NotNeeded => Self::NotNeeded,
            Because::TooBroad => Self::TooBroad,
            Because::WrongTarget => Self::WrongTarget,
            Because::WrongTime => Self::WrongTime,
            Because::TicketMismatch => Self::TicketMismatch,
            Because::Suspicious => Self::Suspicious,
            Because::Other => Self::Other,
        }
    }
}

impl DenyArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { id, because, remark, retry, person } = self;
        let Some(because) = because else { return Err(without_a_reason()) };
        let reason = DenyReason::from(because);
        let remark = remark.unwrap_or_default();
        if let Some(person) = person.chosen(session)? {
            let intent = person.intent(id.as_str()).await?;
            let digest = &intent.grant.digest;
            let denied = person.deny(id.as_str(), digest, (reason, &remark), retry.key()).await?;
            return session
                .output
                .show(&denied, |intent| format!("The intent is {}.", intent.state));
        }
        let (mut home, _) = session.intent(id.as_str()).await?;
        let reason = reason.to_string();
        let denied = home.admin.deny(id.to_string(), reason, remark, retry.key()).await?;
        session.output.show(&home.of(denied), |of| match of.item.state.as_str() {
            "pending" => "Your refusal counts; others have to refuse as well.".to_owned(),
            state => format!("The intent is {state}."),
        })
    }
}

/// Says which reasons there are, as they are written here.
fn without_a_reason() -> Failure {
    let names = Because::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
    Failure::usage(UnknownDenyReason.to_string())
        .next(format!("say why: --because {}", names.join("|")))
}
