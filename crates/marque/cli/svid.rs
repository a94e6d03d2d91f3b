//! `marque svid`: the Workload API as any workload could use it, for looking at it by hand.

mod files;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use futures::StreamExt;
use jiff::Timestamp;
use marque_spiffe::{Bundle, Clock, SpiffeId, UnverifiedX509Svid};
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::{pairs, visible};
use super::text::{moment_from, or_dash};
use crate::clock::SystemClock;
use crate::grpc::workload::{FetchedX509, FetchedX509Svid};

/// Fetch, watch and validate SVIDs over the Workload API, as this process
///
/// The socket is the one in --socket, else that of the trust domain which is named, else the one in
/// SPIFFE_ENDPOINT_SOCKET, else that of the only trust domain.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque svid fetch x509
  marque svid fetch x509 --write ./svids
  marque svid fetch jwt --audience https://api.example.org
  marque svid watch --socket unix:/run/marque/workload.sock
  marque svid validate --audience https://api.example.org --svid @token.txt

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
    /// Fetch once
    Fetch {
        #[command(subcommand)]
        what: FetchCommand,
    },
    /// Print every change of this process's X.509-SVIDs until the stream ends
    Watch,
    /// Have a JWT-SVID checked
    Validate {
        /// The audience that it has to be for
        #[arg(long)]
        audience: String,
        /// The token, or @FILE
        #[arg(long, value_name = "TOKEN|@FILE")]
        svid: String,
    },
}

#[derive(Debug, Subcommand)]
enum FetchCommand {
    /// X.509-SVIDs, checked against their bundle
    X509 {
        /// Write svid.N.pem, svid.N.key (mode 0600) and bundle.N.pem into this folder
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// JWT-SVIDs
    Jwt {
        /// Who will verify the token
        #[arg(long, required = true)]
        audience: Vec<String>,
        /// The identity wanted [default: all of this process's]
        #[arg(long, value_name = "SPIFFE-ID")]
        spiffe_id: Option<SpiffeId>,
    },
    /// The keys that verify SVIDs
    Bundles,
}

/// An X.509-SVID that was checked.
#[derive(Debug, Serialize)]
struct Shown {
    spiffe_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
    expires_at: Timestamp,
    /// SHA-256 of the leaf certificate.
    thumbprint: String,
    chain_pem: String,
    bundle_pem: String,
}

impl SvidArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let socket = self.socket.as_deref();
        match self.command {
            SvidCommand::Fetch { what: FetchCommand::X509 { write } } => {
                x509(session, socket, write.as_deref()).await
            }
            SvidCommand::Fetch { what: FetchCommand::Jwt { audience, spiffe_id } } => {
                jwt(session, socket, audience, spiffe_id).await
            }
            SvidCommand::Fetch { what: FetchCommand::Bundles } => bundles(session, socket).await,
            SvidCommand::Watch => watch(session, socket).await,
            SvidCommand::Validate { audience, svid } => {
                validate(session, socket, audience, svid).await
            }
        }
    }
}

async fn x509(
    session: &mut Session,
    socket: Option<&str>,
    write: Option<&Path>,
) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let first = client.watch_x509().await?.next().await;
    let fetched = first.ok_or_else(|| Failure::failed("the stream ended without a message"))??;
    let shown = check(&fetched)?;
    if let Some(folder) = write {
        files::write(folder, &fetched.svids).map_err(|error| {
            Failure::because(format!("cannot write into `{}`", folder.display()), &error)
        })?;
    }
    session.output.show(&shown, |shown| render(shown))?;
    match write {
        Some(folder) => session.output.remark(&format!("Written to {}", folder.display())),
        None => Ok(()),
    }
}

async fn watch(session: &mut Session, socket: Option<&str>) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let mut stream = client.watch_x509().await?;
    while let Some(message) = stream.next().await {
        let shown = check(&message?)?;
        session.output.show_next(&shown, |shown| render(shown))?;
    }
    Ok(())
}

async fn jwt(
    session: &mut Session,
    socket: Option<&str>,
    audience: Vec<String>,
    spiffe_id: Option<SpiffeId>,
) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let svids = client.jwt_svids(audience, spiffe_id.map(|id| id.to_string())).await?;
    session.output.show(&svids, |svids| {
        let page = |svid: &crate::grpc::workload::FetchedJwtSvid| {
            format!("{}\n{}\n", visible(&svid.spiffe_id), visible(&svid.svid))
        };
        svids.iter().map(page).collect::<Vec<_>>().join("\n")
    })
}

#[derive(Debug, Serialize)]
struct Bundles {
    x509: std::collections::BTreeMap<String, String>,
    jwt: std::collections::BTreeMap<String, serde_json::Value>,
}

async fn bundles(session: &mut Session, socket: Option<&str>) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let x509 = client.x509_bundles().await?;
    let jwt = client.jwt_bundles().await?;
    let x509 =
        x509.into_iter().map(|(name, chain)| (name, files::pem_certificates(&chain))).collect();
    session.output.show(&Bundles { x509, jwt }, |bundles| {
        let x509 = bundles.x509.iter().map(|(name, pem)| format!("{} X.509\n{pem}", visible(name)));
        let jwt = bundles
            .jwt
            .iter()
            .map(|(name, keys)| format!("{} JWT\n{}\n", visible(name), visible(&keys.to_string())));
        x509.chain(jwt).collect::<Vec<_>>().join("\n")
    })
}

async fn validate(
    session: &mut Session,
    socket: Option<&str>,
    audience: String,
    svid: String,
) -> Result<(), Failure> {
    let svid = match svid.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::because(format!("cannot read `{file}`"), &error))?
            .trim()
            .to_owned(),
        None => svid,
    };
    let mut client = session.workload(socket).await?;
    let (spiffe_id, claims) = client.validate(audience, svid).await?;
    let valid = serde_json::json!({ "valid": true, "spiffe_id": spiffe_id, "claims": claims });
    session.output.show(&valid, |_| format!("Valid: {}\n{:#}", visible(&spiffe_id), claims))
}

/// Checks every SVID against the bundle that came with it: a client that shows unchecked ones would hide a fault.
fn check(fetched: &FetchedX509) -> Result<Vec<Shown>, Failure> {
    fetched.svids.iter().map(check_one).collect()
}

fn check_one(svid: &FetchedX509Svid) -> Result<Shown, Failure> {
    let FetchedX509Svid { spiffe_id, hint, chain, key_der: _, bundle } = svid;
    let refused = |error: &dyn std::error::Error| {
        Failure::because(format!("the SVID of `{spiffe_id}` is not valid"), error)
    };
    let unverified =
        UnverifiedX509Svid::parse_chain(chain.clone()).map_err(|error| refused(&error))?;
    let mut authorities = Bundle::builder(unverified.id().trust_domain().clone());
    for certificate in bundle {
        authorities =
            authorities.x509_authority(certificate.clone()).map_err(|error| refused(&error))?;
    }
    let verified = unverified
        .verify(&authorities.build(), SystemClock.now())
        .map_err(|error| refused(&error))?;
    if verified.id().as_str() != spiffe_id {
        return Err(Failure::failed(format!(
            "the SVID of `{spiffe_id}` is that of `{}`",
            verified.id()
        )));
    }
    Ok(Shown {
        spiffe_id: spiffe_id.clone(),
        hint: hint.clone(),
        expires_at: verified.not_after(),
        thumbprint: hex::encode(verified.thumbprint()),
        chain_pem: files::pem_certificates(chain),
        bundle_pem: files::pem_certificates(bundle),
    })
}

fn render(shown: &[Shown]) -> String {
    let page = |one: &Shown| {
        pairs([
            ("SPIFFE ID", one.spiffe_id.clone()),
            ("hint", or_dash(&one.hint)),
            ("expires", moment_from(Some(one.expires_at), SystemClock.now())),
            ("SHA-256", one.thumbprint.clone()),
        ])
    };
    shown.iter().map(page).collect::<Vec<_>>().join("\n")
}
