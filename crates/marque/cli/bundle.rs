//! `marque bundle`: what SVIDs are verified by, here and of the trust domains that are federated with.

mod diff;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use marque_jose::sha256;
use marque_spiffe::{Bundle, TrustDomain, read_certificate};
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use self::diff::{Difference, between, render as render_difference};
use super::Session;
use super::daemon::Home;
use super::failure::Failure;
use super::federation::text_of;
use super::output::{OutputFormat, pairs};
use super::text::{length, lines};
use crate::pem::pem_certificates;

/// What SVIDs are verified by: show, set and compare bundles
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque bundle show                                        the own bundle
  marque bundle show --format spiffe > prod.json            for whoever federates with this trust domain
  marque bundle show partner.example.org --format pem
  marque bundle diff partner.example.org                    what its endpoint has, beside what is held
  marque bundle diff partner.example.org --file new.json
  marque bundle set partner.example.org new.json")]
pub(super) struct BundleArgs {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Debug, Subcommand)]
enum BundleCommand {
    /// Show the own bundle, or the one that is held of another trust domain
    Show {
        /// The other trust domain
        #[arg(value_name = "TRUST-DOMAIN")]
        name: Option<TrustDomain>,
        /// The form
        #[arg(long, value_enum, default_value_t)]
        format: BundleFormat,
    },
    /// Set the bundle of a trust domain that is federated with, from a SPIFFE bundle document
    ///
    /// Its sequence must not go back, and it must hold a key. One that is fetched too is replaced by the next fetch.
    Set {
        /// The other trust domain
        #[arg(value_name = "TRUST-DOMAIN")]
        name: TrustDomain,
        /// The document
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Compare what is held of a trust domain with what its endpoint has, or with a file; exit code 1 where they differ
    Diff {
        /// The trust domain; with --file alone, the own one
        #[arg(value_name = "TRUST-DOMAIN", required_unless_present = "file")]
        name: Option<TrustDomain>,
        /// The SPIFFE bundle document to compare with
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// How a bundle is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum BundleFormat {
    /// For people
    #[default]
    Pretty,
    /// The SPIFFE bundle document
    Spiffe,
    /// The keys for JWT-SVIDs alone, as a JWK Set for programs that know nothing of SPIFFE
    Jwks,
    /// The certificates for X.509-SVIDs alone
    Pem,
}

/// A bundle, in JSON.
#[derive(Debug, Serialize)]
struct Shown {
    bundle_of: String,
    sequence: u64,
    refresh_hint_s: u64,
    x509_authorities: Vec<Authority>,
    jwt_authorities: Vec<String>,
    wit_authorities: Vec<String>,
    /// Which of them are an upstream's, and whose: by digest (`sha256:…`) or key id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    upstream: BTreeMap<String, String>,
}

/// A certificate that verifies X.509-SVIDs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Authority {
    sha256: String,
    subject: String,
    not_after: String,
}

impl BundleArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            BundleCommand::Show { name, format } => show(session, name, format).await,
            BundleCommand::Set { name, file } => {
                let document = text_of(&file)?;
                let mut home = session.home().await?;
                let view = home.admin.set_bundle(&name, document).await?;
                let sequence = view.bundle.as_ref().map_or(0, |held| held.sequence);
                session.output.show(&home.of(view), |of| {
                    format!(
                        "{} holds the bundle of {name} with sequence {sequence}",
                        of.trust_domain
                    )
                })
            }
            BundleCommand::Diff { name, file } => diff(session, name, file).await,
        }
    }
}

async fn show(
    session: &mut Session,
    name: Option<TrustDomain>,
    format: BundleFormat,
) -> Result<(), Failure> {
    let mut home = session.home().await?;
    let (bundle, document) = held(&mut home, name.as_ref()).await?;
    let written = match format {
        BundleFormat::Pretty => {
            let upstream = match name {
                None => of_upstream(&mut home).await?,
                Some(_) => BTreeMap::new(),
            };
            let shown = Shown { upstream, ..shown(&bundle) };
            return session.output.show(&home.of(shown), |of| render(&of.item));
        }
        BundleFormat::Spiffe => document,
        BundleFormat::Jwks => bundle.jwt_signature_jwks(),
        BundleFormat::Pem => {
            let pem = pem_certificates(bundle.x509_authorities());
            return match session.output.format() {
                OutputFormat::Text => session.output.remark(&pem),
                OutputFormat::Json => {
                    session.output.show(&serde_json::json!({ "pem": pem }), ToString::to_string)
                }
            };
        }
    };
    // A document is the same in either form of output.
    let pretty = serde_json::to_string_pretty(&written)?;
    session.output.show(&written, |_| pretty)
}

/// The bundle that is held, and the document as it came.
async fn held(
    home: &mut Home,
    name: Option<&TrustDomain>,
) -> Result<(Bundle, serde_json::Value), Failure> {
    let document = home.admin.bundle(name).await?;
    let whose = name.unwrap_or(&home.at.name).clone();
    let bundle = parsed(&whose, &document)?;
    Ok((bundle, serde_json::from_str(&document)?))
}

fn parsed(name: &TrustDomain, document: &str) -> Result<Bundle, Failure> {
    Bundle::parse(name.clone(), document.as_bytes()).map_err(|error| {
        Failure::because("the document is no SPIFFE bundle", &error)
            .code(Some("bundle_invalid".to_owned()))
    })
}

async fn diff(
    session: &mut Session,
    name: Option<TrustDomain>,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    let mut home = session.home().await?;
    let whose = name.clone().unwrap_or_else(|| home.at.name.clone());
    let offered = match (&file, &name) {
        (Some(file), _) => text_of(file)?,
        (None, Some(name)) if *name == home.at.name => {
            return Err(Failure::usage("the own bundle is fetched from nowhere")
                .next("compare it with a file: --file"));
        }
        (None, _) => home.admin.look_at_bundle(&whose).await?,
    };
    let (before, _document) = held(&mut home, name.as_ref()).await?;
    let difference = between(&before, &parsed(&whose, &offered)?);
    let differs = difference != Difference::default();
    session.output.show(&home.of(difference), |of| render_difference(&of.item))?;
    if differs { Err(Failure::failed("the bundles differ")) } else { Ok(()) }
}

fn shown(bundle: &Bundle) -> Shown {
    Shown {
        bundle_of: bundle.trust_domain().to_string(),
        sequence: bundle.sequence(),
        refresh_hint_s: bundle.refresh_hint().as_secs(),
        x509_authorities: bundle.x509_authorities().iter().map(authority).collect(),
        jwt_authorities: bundle.jwt_authorities().keys().map(ToString::to_string).collect(),
        wit_authorities: bundle.wit_authorities().keys().map(ToString::to_string).collect(),
        upstream: BTreeMap::new(),
    }
}

/// What of the own bundle follows an upstream's, and whose.
async fn of_upstream(home: &mut Home) -> Result<BTreeMap<String, String>, Failure> {
    let keys = home.admin.authorities().await?.into_iter();
    let keys = keys.filter(|key| !key.upstream.is_empty());
    Ok(keys.map(|key| (key.key_id, key.upstream)).collect())
}

fn authority(certificate: &CertificateDer<'static>) -> Authority {
    let sha256 = hex::encode(sha256(certificate));
    // Each certificate was read when it came into the bundle.
    match read_certificate(certificate) {
        Some(read) => {
            let ends = read.validity().not_after.timestamp();
            let ends = jiff::Timestamp::from_second(ends).map(|at| at.to_string());
            Authority {
                sha256,
                subject: read.subject().to_string(),
                not_after: ends.unwrap_or_default(),
            }
        }
        None => Authority { sha256, subject: String::new(), not_after: String::new() },
    }
}

impl std::fmt::Display for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} until {} (sha256 {})", self.subject, self.not_after, self.sha256)
    }
}

fn render(shown: &Shown) -> String {
    let whose = |shown_as: String, id: &str| match shown.upstream.get(id) {
        Some(upstream) => format!("{shown_as}, of {upstream}"),
        None => shown_as,
    };
    let x509 = shown.x509_authorities.iter();
    let x509 = x509.map(|one| whose(one.to_string(), &format!("sha256:{}", one.sha256)));
    let x509: Vec<_> = x509.collect();
    let tokens = |keys: &[String]| {
        let keys = keys.iter().map(|key_id| whose(key_id.clone(), key_id));
        lines(&keys.collect::<Vec<_>>())
    };
    pairs([
        ("bundle of", shown.bundle_of.clone()),
        ("sequence", shown.sequence.to_string()),
        ("refresh hint", length(shown.refresh_hint_s)),
        ("X.509 authorities", lines(&x509)),
        ("JWT authorities", tokens(&shown.jwt_authorities)),
        ("WIT authorities", tokens(&shown.wit_authorities)),
    ])
}
