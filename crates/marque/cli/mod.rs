//! The command line.
//!
//! One file for each command; this one holds the list of them. Parsing ends here: a command gets types. Absent on
//! purpose: rules. A command asks a daemon (or, for `check` and `audit verify --log`, the domain crates) and shows the
//! answer.

mod approve;
mod audit;
mod authority;
mod backup;
mod break_glass;
mod bundle;
mod check;
mod daemon;
mod demo;
mod denials;
mod deny;
mod dev;
mod entry;
mod explain;
mod failure;
mod federation;
mod import;
mod intent;
mod inventory;
mod issuer;
mod kill;
mod login;
mod metrics;
mod oidc;
mod output;
mod person;
mod place;
mod plan;
mod playbook;
mod policy;
mod posture;
mod quarantine;
mod reload;
mod report;
mod retry;
mod review;
mod schema;
mod ssf;
mod status;
mod svid;
mod telemetry;
mod text;
mod token;
mod top;
mod trust_policy;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::Failure;
use self::output::Output;
use self::place::Place;

pub use demo::DemoOptions;
pub use dev::{AgentBinding, AgentName, BindingError, DevOptions, ListenOverride};
pub use issuer::{IssuerOptions, StoreOption, StoreOptionError, TlsFiles};
pub use output::OutputFormat;
pub use telemetry::TelemetryOptions;

/// Short-lived identity and just-in-time privilege for AI agents.
///
/// A running process is attested and gets its own SPIFFE identity. With it the process asks for one reviewed playbook,
/// the intent; once that is approved, identity and intent together are exchanged for one narrow, short-lived token.
/// Everything that happened is in a log that anyone can verify.
#[derive(Debug, Parser)]
#[command(name = "marque", version, max_term_width = 100, after_long_help = AFTER_HELP)]
struct Cli {
    /// The form of what is written
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    output: OutputFormat,
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  marque demo                                   see the whole story, on real processes
  marque dev                                    run two trust domains on this machine
  marque intent list --state pending            see what waits for a person
  marque approve int_01…                        review one intent and approve it
  marque kill agent spiffe://prod.example.org/agent/cert-rotator/a
  marque explain pid 4711                       say why a process gets an identity, or none
  marque top                                    watch the daemon
  marque audit verify                           prove the log of a running daemon
  marque plan trust-domains                     see what a folder would change before it is served

Exit codes:
  0  done
  1  refused, or it failed
  2  the command line cannot be carried out as it stands
  3  a person has to decide first (`token request`)";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoAgent(demo::AgentArgs),
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoResource(demo::ResourceArgs),
    Dev(dev::DevArgs),
    Issuer(issuer::IssuerArgs),
    Reload(reload::ReloadArgs),
    Status(status::StatusArgs),
    Metrics(metrics::MetricsArgs),
    Top(top::TopArgs),
    Svid(svid::SvidArgs),
    Entry(entry::EntryArgs),
    Federation(federation::FederationArgs),
    Bundle(bundle::BundleArgs),
    Oidc(oidc::OidcArgs),
    TrustPolicy(trust_policy::TrustPolicyArgs),
    Explain(explain::ExplainArgs),
    Report(report::ReportArgs),
    Playbook(playbook::PlaybookArgs),
    Intent(intent::IntentArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Approve(approve::ApproveArgs),
    Deny(deny::DenyArgs),
    BreakGlass(break_glass::BreakGlassArgs),
    Token(token::TokenArgs),
    Denials(denials::DenialsArgs),
    Quarantine(quarantine::QuarantineArgs),
    Webhook(webhook::WebhookArgs),
    Ssf(ssf::SsfArgs),
    Kill(kill::KillArgs),
    Posture(posture::PostureArgs),
    Audit(audit::AuditArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Authority(authority::AuthorityArgs),
    Policy(policy::PolicyArgs),
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Schema(schema::SchemaArgs),
    Import(import::ImportArgs),
    Inventory(inventory::InventoryArgs),
}

/// What every command is given beside its own arguments.
struct Session {
    output: Output,
    place: Place,
}

/// Reads the command line, carries it out, and gives the exit code: 0 done, 1 refused or failed, 2 usage, 3 a person has
/// to decide first.
pub fn main() -> ExitCode {
    let Cli { output, place, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, on standard output and with exit code 0.
            let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
            return if error.print().is_ok() { code } else { ExitCode::FAILURE };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::because("cannot start the runtime", &error).report(output),
    };
    let session = Session { output: Output::stdout(output), place };
    match runtime.block_on(command.run(session)) {
        Ok(code) => code,
        Err(failure) => failure.report(output),
    }
}

impl Command {
    async fn run(self, mut session: Session) -> Result<ExitCode, Failure> {
        let session = &mut session;
        match self {
            Self::Demo(args) => return args.run(session).await,
            #[cfg(feature = "demo")]
            Self::DemoAgent(args) => return args.run().await,
            #[cfg(feature = "demo")]
            Self::DemoResource(args) => return args.run().await,
            Self::Dev(args) => return args.run(session).await,
            Self::Issuer(args) => return args.run(session).await,
            Self::Reload(args) => args.run(session).await,
            Self::Status(args) => args.run(session).await,
            Self::Metrics(args) => args.run(session).await,
            Self::Top(args) => args.run(session).await,
            Self::Svid(args) => args.run(session).await,
            Self::Entry(args) => args.run(session).await,
            Self::Federation(args) => args.run(session).await,
            Self::Bundle(args) => args.run(session).await,
            Self::Oidc(args) => args.run(session).await,
            Self::TrustPolicy(args) => args.run(session),
            Self::Explain(args) => args.run(session).await,
            Self::Report(args) => args.run(session).await,
            Self::Playbook(args) => args.run(session).await,
            Self::Intent(args) => args.run(session).await,
            Self::Login(args) => args.run(session).await,
            Self::Logout(args) => args.run(session).await,
            Self::Approve(args) => args.run(session).await,
            Self::Deny(args) => args.run(session).await,
            Self::BreakGlass(args) => args.run(session).await,
            Self::Token(args) => args.run(session).await,
            Self::Denials(args) => args.run(session).await,
            Self::Quarantine(args) => args.run(session).await,
            Self::Webhook(args) => args.run(session).await,
            Self::Ssf(args) => args.run(session).await,
            Self::Kill(args) => args.run(session).await,
            Self::Posture(args) => args.run(session).await,
            Self::Audit(args) => args.run(session).await,
            Self::Backup(args) => args.run(session).await,
            Self::Restore(args) => args.run(session).await,
            Self::Authority(args) => args.run(session).await,
            Self::Policy(args) => args.run(session),
            Self::Check(args) => args.run(session),
            Self::Plan(args) => return args.run(session).await,
            Self::Schema(args) => args.run(session),
            Self::Import(args) => args.run(session),
            Self::Inventory(args) => args.run(session),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_says_what_it_is_for() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            for argument in command.get_arguments() {
                let told = argument.get_help().is_some() || argument.is_hide_set();
                assert!(told, "{path} says nothing about {}", argument.get_id());
            }
            command.get_subcommands().for_each(|command| check(command, &path));
        }
        check(&Cli::command(), "");
    }
}
