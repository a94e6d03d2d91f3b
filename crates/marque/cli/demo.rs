//! `marque demo`, and the hidden commands that its processes run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::{OutputFormat, Session};

/// Tell the whole story on real processes: identity, intent, approval, exchange, use, denial, kill, log
///
/// Starts two trust domains, agents and a resource server by itself, in a folder that is removed at the end.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque demo
  marque --output json demo      # one object for each step; exit code 0 only if every step did what it should
  marque demo --keep /tmp/story  # keep the state to look at afterwards")]
pub(super) struct DemoArgs {
    /// Keep the state of the story in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The folder with one folder for each trust domain [default: the examples that marque ships]
    #[arg(long, value_name = "DIR")]
    trust_domains: Option<PathBuf>,
}

/// What `marque demo` was told on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoOptions {
    /// Where the story's state is kept; a folder that is removed at the end when `None`.
    pub keep: Option<PathBuf>,
    /// The trust domains to tell it in; the shipped ones when `None`.
    pub trust_domains: Option<PathBuf>,
    /// One line for people or one object for programs, for each step.
    pub output: OutputFormat,
}

impl DemoArgs {
    #[cfg(feature = "demo")]
    pub(super) async fn run(self, session: &mut Session) -> Result<ExitCode, Failure> {
        let Self { keep, trust_domains } = self;
        let options = DemoOptions { keep, trust_domains, output: session.output.format() };
        crate::demo::run(options)
            .await
            .map_err(|error| Failure::because("cannot tell the story", error.as_ref()))
    }

    #[cfg(not(feature = "demo"))]
    pub(super) async fn run(self, _session: &mut Session) -> Result<ExitCode, Failure> {
        Err(Failure::usage("this marque was built without the demo")
            .next("build it with the feature `demo`"))
    }
}

/// An agent of the story
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// The certificate authority of the issuer's TLS, PEM
    #[arg(long, value_name = "FILE")]
    ca_file: PathBuf,
}

#[cfg(feature = "demo")]
impl AgentArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let Self { ca_file } = self;
        crate::demo::agent(ca_file)
            .await
            .map_err(|error| Failure::because("the agent failed", error.as_ref()))
    }
}

/// The resource server of the story
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(super) struct ResourceArgs {
    /// The audience that tokens must name
    #[arg(long)]
    audience: String,
    /// The scope that a call needs
    #[arg(long)]
    scope: String,
    /// The issuer whose tokens are accepted
    #[arg(long)]
    issuer: String,
    /// Where the issuer's keys are
    #[arg(long)]
    jwks_url: String,
    /// The certificate authority of the issuer's TLS, PEM
    #[arg(long, value_name = "FILE")]
    ca_file: PathBuf,
}

#[cfg(feature = "demo")]
impl ResourceArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let Self { audience, scope, issuer, jwks_url, ca_file } = self;
        let options = crate::demo::ResourceOptions { audience, scope, issuer, jwks_url, ca_file };
        crate::demo::resource(options)
            .await
            .map_err(|error| Failure::because("the resource server failed", error.as_ref()))
    }
}
