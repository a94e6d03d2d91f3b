//! `marque dev`: every role in one process, for a laptop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use marque_spiffe::{SpiffeId, TrustDomain};

use super::backup::not_started;
use super::failure::Failure;
use super::telemetry::{TelemetryArgs, TelemetryOptions};
use super::{OutputFormat, Session};

/// Run every role in this process: two trust domains, no set-up
///
/// Serves each trust domain of the folder with its own keys, store, sockets and listener, and writes endpoints.json
/// into the data directory once everything listens. Ends cleanly on SIGTERM and on Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque dev
  marque dev --watch                                # a changed folder is in force a moment later
  marque dev --agent /agent/report-writer/mine=/usr/bin/python3
  marque dev --telemetry-listen 127.0.0.1:9464      # health and metrics for a browser or Prometheus
  marque dev --port-base 0 --data-dir /tmp/marque   # ports of the system's choice, see endpoints.json")]
pub(super) struct DevArgs {
    /// The folder with one folder for each trust domain
    #[arg(long, value_name = "DIR", default_value = "./trust-domains")]
    trust_domains: PathBuf,
    /// Where TLS certificates for this machine are kept, and made on the first run
    #[arg(long, value_name = "DIR", default_value = "./certs-dev")]
    certs_dir: PathBuf,
    /// Register an agent: processes of the current user that run PROGRAM get the identity; a bare path is registered
    /// in every trust domain, a SPIFFE ID in its own
    #[arg(long = "agent", value_name = "PATH|SPIFFE-ID=PROGRAM")]
    agents: Vec<AgentBinding>,
    /// The first port on 127.0.0.1; trust domains take one each, in the order of their names; 0 leaves the choice to
    /// the system [default: what each trust-domain.toml says]
    #[arg(long, value_name = "PORT")]
    port_base: Option<u16>,
    /// The listen address of one trust domain's issuer, instead of what its trust-domain.toml says
    #[arg(long, value_name = "NAME=ADDRESS", conflicts_with = "port_base")]
    listen: Vec<ListenOverride>,
    /// Reload a trust domain when the files of its folder have changed and come to rest, as `marque reload` does
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// What `marque dev` was told on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevOptions {
    /// The folder with one folder for each trust domain.
    pub trust_domains: PathBuf,
    /// The only trust domains to serve; all of the folder when empty.
    pub only: Vec<TrustDomain>,
    /// Where state and `endpoints.json` go.
    pub data_dir: PathBuf,
    /// Where TLS material for this machine is.
    pub certs_dir: PathBuf,
    /// Agents to register at start.
    pub agents: Vec<AgentBinding>,
    /// The first port on 127.0.0.1; 0 leaves every port to the system.
    pub port_base: Option<u16>,
    /// Listen addresses that stand in for those of the documents.
    pub listen: Vec<ListenOverride>,
    /// Whether a change of its files reloads a folder.
    pub watch: bool,
    /// What is told to whoever watches over the daemon.
    pub telemetry: TelemetryOptions,
    /// The form of the ready line.
    pub output: OutputFormat,
}

/// A program that is to get an agent's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBinding {
    /// The identity.
    pub name: AgentName,
    /// The program, as an absolute path.
    pub program: PathBuf,
}

/// How an agent was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentName {
    /// In one trust domain.
    Id(SpiffeId),
    /// By the path alone (`/agent/x`), in every trust domain.
    Path(String),
}

/// One trust domain's listen address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOverride {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Where its issuer listens.
    pub address: SocketAddr,
}

/// An option of the form `NAME=VALUE` that does not read.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// There is no `=`.
    #[error("expected `{0}`")]
    Form(&'static str),
    /// The SPIFFE ID or path is malformed.
    #[error("`{name}` is neither a SPIFFE ID nor a path of one")]
    Name {
        /// What was given.
        name: String,
        /// The rule that it breaks.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program is not an absolute path.
    #[error("`{}` is not an absolute path", .0.display())]
    Program(PathBuf),
    /// The listen address is malformed.
    #[error("`{0}` is not an address with a port")]
    Address(String),
}

impl FromStr for AgentBinding {
    type Err = BindingError;

    fn from_str(text: &str) -> Result<Self, BindingError> {
        let (name, program) =
            text.split_once('=').ok_or(BindingError::Form("<spiffe-path>=<program>"))?;
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| BindingError::Name {
            name: name.to_owned(),
            source,
        };
        let name = if name.starts_with('/') {
            // The rules for a path are those of an id with that path.
            let id: SpiffeId = format!("spiffe://example.org{name}")
                .parse()
                .map_err(|error| refused(Box::new(error)))?;
            AgentName::Path(id.path().to_owned())
        } else {
            AgentName::Id(name.parse().map_err(|error| refused(Box::new(error)))?)
        };
        let program = PathBuf::from(program);
        if !program.is_absolute() {
            return Err(BindingError::Program(program));
        }
        Ok(Self { name, program })
    }
}

impl FromStr for ListenOverride {
    type Err = BindingError;

    fn from_str(text: &str) -> Result<Self, BindingError> {
        let (name, address) =
            text.split_once('=').ok_or(BindingError::Form("<trust domain>=<address>:<port>"))?;
        let trust_domain = name.parse().map_err(|error| BindingError::Name {
            name: name.to_owned(),
            source: Box::new(error),
        })?;
        let address =
            address.parse().map_err(|_malformed| BindingError::Address(address.to_owned()))?;
        Ok(Self { trust_domain, address })
    }
}

impl DevArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<ExitCode, Failure> {
        let Self { trust_domains, certs_dir, agents, port_base, listen, watch, telemetry } = self;
        let data_dir = session.place.data_dir();
        let options = DevOptions {
            trust_domains,
            only: session.place.names().to_vec(),
            telemetry: telemetry.options(Some(&data_dir)),
            data_dir,
            certs_dir,
            agents,
            port_base,
            listen,
            watch,
            output: session.output.format(),
        };
        crate::dev::run(options).await.map_err(|error| not_started(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_named_by_path_or_by_id() {
        let by_path: AgentBinding = "/agent/x=/bin/a=b".parse().unwrap();
        assert_eq!(by_path.name, AgentName::Path("/agent/x".to_owned()));
        assert_eq!(by_path.program, PathBuf::from("/bin/a=b"));
        let by_id: AgentBinding = "spiffe://dev.example.org/agent/x=/bin/a".parse().unwrap();
        assert_eq!(by_id.name, AgentName::Id("spiffe://dev.example.org/agent/x".parse().unwrap()));
    }

    #[test]
    fn an_agent_binding_that_says_too_little_is_refused() {
        for text in [
            "/agent/x",
            "/=/bin/a",
            "/agent//x=/bin/a",
            "agent=/bin/a",
            "/agent/x=bin/a",
            "/agent/x=",
        ] {
            assert!(text.parse::<AgentBinding>().is_err(), "{text}");
        }
        assert!("prod.example.org=localhost".parse::<ListenOverride>().is_err());
        assert!("prod.example.org=127.0.0.1:8443".parse::<ListenOverride>().is_ok());
    }
}
