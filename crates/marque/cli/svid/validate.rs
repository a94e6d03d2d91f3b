//! `marque svid validate`: is this an SVID, and whose?

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use marque_spiffe::{
    Bundle, Clock as _, SpiffeId, TrustDomain, UnverifiedWitSvid, UnverifiedX509Svid,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::{pairs, visible};
use super::super::text::moment_from;
use super::{checked, show};
use crate::clock::SystemClock;

/// The longest file or input that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// Check an SVID: whose it is, and until when; exit code 1 when it is not valid
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque svid validate jwt --audience https://api.example.org @token.txt
  marque svid jwt --audience a --raw | marque svid validate jwt --audience a -
  marque svid validate x509 svid.pem --bundle bundle.pem
  marque svid validate wit @token.txt --bundle bundle.json

A token on the command line is seen by every user of the machine: name a file, or `-` for standard input.")]
pub(super) struct ValidateArgs {
    #[command(subcommand)]
    command: ValidateCommand,
}

#[derive(Debug, Subcommand)]
enum ValidateCommand {
    /// A JWT-SVID, by the Workload API
    Jwt {
        /// The audience that it has to be for
        #[arg(long)]
        audience: String,
        /// The token, @FILE, or - for standard input
        #[arg(value_name = "TOKEN|@FILE|-")]
        svid: String,
    },
    /// An X.509-SVID, by a bundle in a file
    X509 {
        /// The certificate chain in PEM, the leaf first
        #[arg(value_name = "CHAIN")]
        chain: PathBuf,
        /// The trust domain's certificates in PEM, or its SPIFFE bundle document
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// The identity that it has to be of
        #[arg(long, value_name = "SPIFFE-ID")]
        spiffe_id: Option<SpiffeId>,
    },
    /// A WIT-SVID, by a bundle in a file or of the Workload API; that its sender has its key is not checked
    Wit {
        /// The token, @FILE, or - for standard input
        #[arg(value_name = "TOKEN|@FILE|-")]
        svid: String,
        /// The trust domain's key set or SPIFFE bundle document [default: what the Workload API has]
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
    },
}

impl ValidateArgs {
    pub(super) async fn run(
        self,
        session: &mut Session,
        socket: Option<&str>,
    ) -> Result<(), Failure> {
        match self.command {
            ValidateCommand::Jwt { audience, svid } => jwt(session, socket, audience, &svid).await,
            ValidateCommand::X509 { chain, bundle, spiffe_id } => {
                x509(session, &chain, &bundle, spiffe_id.as_ref())
            }
            ValidateCommand::Wit { svid, bundle } => {
                wit(session, socket, &svid, bundle.as_deref()).await
            }
        }
    }
}

async fn jwt(
    session: &mut Session,
    socket: Option<&str>,
    audience: String,
    svid: &str,
) -> Result<(), Failure> {
    let token = token(svid)?;
    let mut client = session.workload(socket).await?;
    let (spiffe_id, claims) = client.validate(audience, token).await?;
    let valid = serde_json::json!({ "valid": true, "spiffe_id": spiffe_id, "claims": claims });
    session.output.show(&valid, |_| format!("Valid: {}\n{:#}", visible(&spiffe_id), claims))
}

/// A valid X.509-SVID.
#[derive(Debug, Serialize)]
struct Valid {
    valid: bool,
    spiffe_id: String,
    not_before: jiff::Timestamp,
    expires_at: jiff::Timestamp,
    thumbprint: String,
}

fn x509(
    session: &mut Session,
    chain: &Path,
    bundle: &Path,
    expected: Option<&SpiffeId>,
) -> Result<(), Failure> {
    let valid = x509_by_files(chain, bundle, expected)?;
    session.output.show(&valid, |valid| {
        let now = SystemClock.now();
        let facts = pairs([
            ("valid from", moment_from(Some(valid.not_before), now)),
            ("expires", moment_from(Some(valid.expires_at), now)),
            ("SHA-256", valid.thumbprint.clone()),
        ]);
        format!("Valid: {}\n{facts}", visible(&valid.spiffe_id))
    })
}

fn x509_by_files(
    chain: &Path,
    bundle: &Path,
    expected: Option<&SpiffeId>,
) -> Result<Valid, Failure> {
    let refused = |error: &dyn std::error::Error| {
        Failure::because(format!("`{}` is no valid X.509-SVID", chain.display()), error)
    };
    let certificates = certificates(chain, &read(chain)?)?;
    let unverified =
        UnverifiedX509Svid::parse_chain(certificates).map_err(|error| refused(&error))?;
    let authorities = authorities(bundle, unverified.id().trust_domain())?;
    let svid =
        unverified.verify(&authorities, SystemClock.now()).map_err(|error| refused(&error))?;
    if let Some(expected) = expected.filter(|expected| *expected != svid.id()) {
        return Err(Failure::failed(format!(
            "it is an X.509-SVID of `{}`, not `{expected}`",
            svid.id()
        )));
    }
    Ok(Valid {
        valid: true,
        spiffe_id: svid.id().to_string(),
        not_before: svid.not_before(),
        expires_at: svid.not_after(),
        thumbprint: hex::encode(svid.thumbprint()),
    })
}

async fn wit(
    session: &mut Session,
    socket: Option<&str>,
    svid: &str,
    bundle: Option<&Path>,
) -> Result<(), Failure> {
    let token = token(svid)?;
    let unverified = UnverifiedWitSvid::parse(&token)
        .map_err(|error| Failure::because("it is no WIT-SVID", &error))?;
    let bundle = match bundle {
        Some(file) => document(file, unverified.trust_domain())?,
        None => {
            let bundles = session.workload(socket).await?.wit_bundles().await?;
            checked::key_set(unverified.trust_domain(), &bundles)?
        }
    };
    let valid = checked::wit_by(unverified, &bundle, &token)?;
    session.output.show(&valid, |valid| {
        let shown = show::render_tokens(std::slice::from_ref(valid));
        format!("Valid, if its sender proves that it has the key:\n{shown}")
    })
}

/// The certificates of a bundle, whichever form the file has.
fn authorities(file: &Path, trust_domain: &TrustDomain) -> Result<Bundle, Failure> {
    let text = read(file)?;
    if text.trim_start().starts_with('{') {
        return document(file, trust_domain);
    }
    checked::authorities(trust_domain, &certificates(file, &text)?)
}

fn document(file: &Path, trust_domain: &TrustDomain) -> Result<Bundle, Failure> {
    let text = read(file)?;
    Bundle::parse(trust_domain.clone(), text.as_bytes()).map_err(|error| {
        Failure::because(format!("`{}` is no SPIFFE bundle document", file.display()), &error)
    })
}

fn certificates(file: &Path, text: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = read.map_err(|error| {
        Failure::because(format!("`{}` is no PEM file", file.display()), &error)
    })?;
    if certificates.is_empty() {
        return Err(Failure::failed(format!("`{}` holds no certificate", file.display())));
    }
    Ok(certificates)
}

fn read(file: &Path) -> Result<String, Failure> {
    let opened = fs::File::open(file);
    opened
        .and_then(text_of)
        .map_err(|error| Failure::because(format!("cannot read `{}`", file.display()), &error))
}

fn token(given: &str) -> Result<String, Failure> {
    let text = match given.strip_prefix('@') {
        Some(file) => read(Path::new(file))?,
        None if given == "-" => text_of(std::io::stdin())
            .map_err(|error| Failure::because("cannot read the standard input", &error))?,
        None => given.to_owned(),
    };
    Ok(text.trim().to_owned())
}

fn text_of(source: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use marque_testkit::ScratchTrustDomain;

    use super::*;
    use crate::pem::pem_certificates;

    fn stage() -> (tempfile::TempDir, ScratchTrustDomain) {
        (
            tempfile::tempdir().unwrap(),
            ScratchTrustDomain::at("test.example.org", SystemClock.now()),
        )
    }

    fn write(folder: &tempfile::TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn a_chain_is_valid_by_the_bundle_of_its_trust_domain_in_either_form() {
        let (folder, scratch) = stage();
        let id = scratch.id("/agent/a");
        let chain = write(&folder, "svid.pem", pem_certificates(&scratch.x509_svid(&id).chain));
        let bundle = scratch.bundle();
        let pem = write(&folder, "bundle.pem", pem_certificates(bundle.x509_authorities()));
        let json = write(&folder, "bundle.json", bundle.to_document().to_string());
        for bundle in [&pem, &json] {
            let valid = x509_by_files(&chain, bundle, Some(&id)).unwrap();
            assert_eq!(valid.spiffe_id, id.as_str());
        }
        let other = scratch.id("/agent/b");
        let failure = x509_by_files(&chain, &pem, Some(&other)).unwrap_err();
        assert!(format!("{failure:?}").contains("not `spiffe://test.example.org/agent/b`"));
    }

    #[test]
    fn a_chain_of_another_authority_is_refused_and_so_is_what_is_no_chain() {
        let (folder, scratch) = stage();
        let (_, stranger) = stage();
        let id = scratch.id("/agent/a");
        let chain = write(&folder, "svid.pem", pem_certificates(&scratch.x509_svid(&id).chain));
        let other = stranger.bundle();
        let bundle = write(&folder, "bundle.pem", pem_certificates(other.x509_authorities()));
        assert!(x509_by_files(&chain, &bundle, None).is_err());
        let empty = write(&folder, "empty.pem", "");
        assert!(x509_by_files(&empty, &bundle, None).is_err());
        assert!(x509_by_files(Path::new("/nonexistent"), &bundle, None).is_err());
    }

    #[test]
    fn a_token_comes_from_the_line_or_from_a_file() {
        let (folder, _) = stage();
        let file = write(&folder, "token", "a.b.c\n");
        assert_eq!(token(&format!("@{}", file.display())).unwrap(), "a.b.c");
        assert_eq!(token("a.b.c").unwrap(), "a.b.c");
        assert!(token("@/nonexistent").is_err());
    }
}
