//! `marque trust-policy`: what clouds have to be told.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use marque_intent::PlaybookId;
use marque_registry::EntryRole;
use serde_json::json;

use super::Session;
use super::failure::Failure;
use super::output::{OutputFormat, visible};
use crate::issuer::folder::{self, CheckedFolder};
use crate::trust_policy::{Aws, Azure, Believed, Gcp, TrustPolicy, TrustPolicyError};

/// What a cloud has to be told to believe exactly one agent under exactly one playbook
///
/// Made from the trust domain's folder; nothing is sent. The documents accept the issuer's access tokens for these subjects and
/// this playbook, and no JWT-SVID: a workload without an approved intent gets no role. What a cloud cannot check is told on
/// standard error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque trust-policy aws --playbook bucket-sync --account 123456789012 > role-trust.json
  marque trust-policy gcp --playbook bucket-sync --project-number 123456 --pool agents --provider bucket-sync
  marque trust-policy azure --playbook bucket-sync --agent spiffe://prod.example.org/agent/bucket-sync
  marque --output json trust-policy aws --playbook bucket-sync --account 123456789012 | jq -r '.notes[]'")]
pub(super) struct TrustPolicyArgs {
    #[command(subcommand)]
    cloud: Cloud,
}

#[derive(Debug, Subcommand)]
enum Cloud {
    /// The trust policy of an IAM role
    Aws {
        #[command(flatten)]
        whom: Whom,
        /// The account with the IAM OIDC provider
        #[arg(long, value_name = "DIGITS")]
        account: String,
        /// The partition
        #[arg(long, default_value = "aws")]
        partition: String,
    },
    /// A workload identity provider and the members of a binding
    Gcp {
        #[command(flatten)]
        whom: Whom,
        /// The number of the project
        #[arg(long, value_name = "NUMBER")]
        project_number: String,
        /// The workload identity pool
        #[arg(long)]
        pool: String,
        /// The provider in it
        #[arg(long)]
        provider: String,
    },
    /// Federated identity credentials of an application
    Azure {
        #[command(flatten)]
        whom: Whom,
        /// The beginning of their names [default: the playbook]
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Whom {
    /// The playbook that tokens are issued under
    #[arg(long)]
    playbook: PlaybookId,
    /// An agent, by its whole SPIFFE ID; when absent, every agent of the folder's entries that may ask for the playbook
    #[arg(long = "agent", value_name = "SPIFFE-ID")]
    agents: Vec<String>,
    /// A trust domain's folder, or a folder of such folders
    #[arg(long, value_name = "DIR", default_value = "./trust-domains")]
    folder: PathBuf,
}

impl TrustPolicyArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (whom, cloud) = match &self.cloud {
            Cloud::Aws { whom, .. } => (whom, "aws"),
            Cloud::Gcp { whom, .. } => (whom, "gcp"),
            Cloud::Azure { whom, .. } => (whom, "azure"),
        };
        let checked = chosen(session, whom)?;
        let believed = believed(&checked, whom)?;
        let policy = match self.cloud {
            Cloud::Aws { whom: _, account, partition } => {
                let servers = checked.folder.document.resource_servers().iter();
                let mut servers = servers.filter(|one| one.audience() == believed.audience);
                let tagged = servers.any(|one| one.has_aws_session_tags());
                Aws { account, partition }.policy(&believed, tagged)
            }
            Cloud::Gcp { whom: _, project_number, pool, provider } => {
                Gcp { project_number, pool, provider }.policy(&believed)
            }
            Cloud::Azure { whom: _, name } => Azure { name }.policy(&believed, &checked.playbooks),
        };
        let TrustPolicy { document, notes } = policy.map_err(|error| failure(&error))?;
        if session.output.format() == OutputFormat::Json {
            let subjects = &believed.subjects;
            let told = json!({ "cloud": cloud, "subjects": subjects, "document": document, "notes": notes });
            return session.output.show(&told, |_| String::new());
        }
        for note in notes {
            session.output.ask(&format!("note: {}\n", visible(&note)))?;
        }
        let text = serde_json::to_string_pretty(&document)?;
        session.output.show(&document, |_| text)
    }
}

fn believed(checked: &CheckedFolder, whom: &Whom) -> Result<Believed, Failure> {
    let entries = checked.folder.entries.iter().filter(|entry| entry.role() == EntryRole::Agent);
    let ids = entries.map(|entry| entry.spiffe_id());
    Believed::of(&checked.folder.document, &checked.playbooks, &whom.playbook, &whom.agents, ids)
        .map_err(|error| failure(&error))
}

/// The trust domain that was named, or the only one that has the playbook.
fn chosen(session: &Session, whom: &Whom) -> Result<CheckedFolder, Failure> {
    let found = folder::find(&whom.folder).map_err(|finding| {
        Failure::failed(finding.to_string()).next("name a folder with --folder")
    })?;
    let names = session.place.names();
    let mut fitting = Vec::new();
    for path in found {
        let checked = folder::check(&path).map_err(|findings| {
            let first = findings.first().map(ToString::to_string).unwrap_or_default();
            Failure::failed(format!("the folder has findings: {first}"))
                .next("repair what `marque check` finds")
        })?;
        let named = names.is_empty() || names.contains(checked.folder.document.name());
        if named && checked.playbooks.find(&whom.playbook).is_some() {
            fitting.push(checked);
        }
    }
    match (fitting.pop(), fitting.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(Failure::usage("several trust domains have the playbook")
            .next("name one with --trust-domain")),
        (None, _) => Err(failure(&TrustPolicyError::NoPlaybook(whom.playbook.clone()))),
    }
}

fn failure(error: &TrustPolicyError) -> Failure {
    let next = match error {
        TrustPolicyError::NoPlaybook(_) => {
            "check the name, --folder, and --trust-domain if it was given"
        }
        TrustPolicyError::NoIssuer | TrustPolicyError::Issuer(_) | TrustPolicyError::Port(_) => {
            "clouds fetch the keys: give the issuer a name of the web, such as `url = \"https://issuer.example.org\"`"
        }
        TrustPolicyError::NoSubject(_)
        | TrustPolicyError::NotForAgent { .. }
        | TrustPolicyError::Wildcard(_) => {
            "name whole SPIFFE IDs that the playbook's `agents` admit"
        }
        TrustPolicyError::AudienceVaries { .. }
        | TrustPolicyError::Audience(_)
        | TrustPolicyError::AudienceShared { .. } => {
            "give the playbook an audience of its own, and list it in [[resource_servers]]"
        }
        TrustPolicyError::SubjectTooLong { .. } => "give the agent a shorter SPIFFE ID",
        TrustPolicyError::Place { .. } => "see --help",
    };
    let code = error.code().to_owned();
    Failure::because("there is no policy", error).code(Some(code)).next(next)
}
