//! `marque svid`: the Workload API as any workload could use it, for looking at it by hand and for programs that want
//! files.
//!
//! What comes is checked before it is shown or written: a client that showed unchecked SVIDs would hide a fault.
//! Deliberately absent: merging the bundles of several trust domains into one file (TB-7).

mod checked;
mod folder;
mod follow;
mod reload;
mod show;
mod validate;
mod watch;
mod write;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use marque_spiffe::SpiffeId;

use self::validate::ValidateArgs;
use self::write::WriteArgs;
use super::Session;
use super::failure::Failure;

/// Fetch, watch, write and validate SVIDs over the Workload API, as this process
///
/// The socket is the one in --socket, else that of the trust domain which is named, else the one in
/// SPIFFE_ENDPOINT_SOCKET, else that of the only trust domain.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque svid x509                                              identity, validity, chain
  marque svid jwt --audience https://api.example.org
  marque svid jwt --audience https://api.example.org --raw      the token alone, for a script
  marque svid wit
  marque svid watch --socket unix:/run/marque/workload.sock
  marque svid write --dir /run/agent/svid --reload-command systemctl reload agent
  marque svid validate jwt --audience https://api.example.org @token.txt
  marque svid validate x509 svid.pem --bundle bundle.pem

What comes is for this very process: the program `marque` itself has to be registered.")]
pub(super) struct SvidArgs {
    /// The Workload API socket, as unix:/path
    #[arg(long, global = true, value_name = "SOCKET")]
    socket: Option<String>,
    #[command(subcommand)]
    command: SvidCommand,
}

#[derive(Debug, Subcommand)]
enum SvidCommand {
    /// Fetch X.509-SVIDs, checked against their bundle
    X509 {
        /// Write svid.pem, svid_key.pem and bundle.pem of the default identity into this folder, once
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// Fetch JWT-SVIDs, checked against the key set of their trust domain
    Jwt {
        /// Who will verify the token
        #[arg(long, required = true)]
        audience: Vec<String>,
        /// The identity wanted [default: all of this process's]
        #[arg(long, value_name = "SPIFFE-ID")]
        spiffe_id: Option<SpiffeId>,
        /// Print the tokens and nothing else, one a line
        #[arg(long)]
        raw: bool,
    },
    /// Fetch WIT-SVIDs, checked against the key set of their trust domain
    Wit {
        /// The identity wanted [default: all of this process's]
        #[arg(long, value_name = "SPIFFE-ID")]
        spiffe_id: Option<SpiffeId>,
    },
    /// Fetch the keys that verify SVIDs
    Bundles,
    /// Print this process's X.509-SVIDs, and every change of them, until interrupted
    Watch,
    Write(Box<WriteArgs>),
    Validate(ValidateArgs),
}

impl SvidArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let socket = self.socket.as_deref();
        match self.command {
            SvidCommand::X509 { write } => show::x509(session, socket, write.as_deref()).await,
            SvidCommand::Jwt { audience, spiffe_id, raw } => {
                show::jwt(session, socket, audience, spiffe_id, raw).await
            }
            SvidCommand::Wit { spiffe_id } => show::wit(session, socket, spiffe_id).await,
            SvidCommand::Bundles => show::bundles(session, socket).await,
            SvidCommand::Watch => watch::watch(session, socket).await,
            SvidCommand::Write(args) => args.run(session, socket).await,
            SvidCommand::Validate(args) => args.run(session, socket).await,
        }
    }
}
