//! `marque issuer`: the trust domains of one environment, with their node in process.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use marque_spiffe::TrustDomain;
use secrecy::SecretString;

use super::backup::not_started;
use super::failure::Failure;
use super::telemetry::{TelemetryArgs, TelemetryOptions};
use super::{OutputFormat, Session};

/// Serve the trust domains of one environment
///
/// Refuses to start with trust domains of both environments. The node, which attests local processes and serves the
/// Workload API socket, runs in the same process.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque issuer --trust-domain prod.example.org --sealing-key /etc/marque/sealing.key \\
      --tls-cert /etc/marque/tls.pem --tls-key /etc/marque/tls.key
  marque issuer --trust-domain prod.example.org --store @/run/secrets/marque-store …   # PostgreSQL, URL in a file")]
pub(super) struct IssuerArgs {
    /// The folder with one folder for each trust domain
    #[arg(long, value_name = "DIR", default_value = "./trust-domains")]
    trust_domains: PathBuf,
    /// Where state is kept: `sqlite` (in the data directory), a `postgres://` URL, or `@FILE` with such a URL in it
    #[arg(long, value_name = "STORE", default_value = "sqlite")]
    store: StoreOption,
    /// The file with the key that seals private keys: 64 hexadecimal digits, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    sealing_key: PathBuf,
    /// The certificate chain of the HTTPS listener, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the HTTPS listener, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where TLS material is made when --tls-cert is not given; for this machine only
    #[arg(long, value_name = "DIR", default_value = "./certs-dev")]
    certs_dir: PathBuf,
    /// Reload a trust domain when the files of its folder have changed and come to rest, as `marque reload` does
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// What `marque issuer` was told on its command line.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    /// The folder with one folder for each trust domain.
    pub trust_domains: PathBuf,
    /// The only trust domains to serve; all of the folder when empty.
    pub only: Vec<TrustDomain>,
    /// Where state and `endpoints.json` go.
    pub data_dir: PathBuf,
    /// The engine that keeps state.
    pub store: StoreOption,
    /// The file with the key that seals private keys.
    pub sealing_key: PathBuf,
    /// The HTTPS listener's certificate and key.
    pub tls: TlsFiles,
    /// Whether a change of its files reloads a folder.
    pub watch: bool,
    /// What is told to whoever watches over the daemon.
    pub telemetry: TelemetryOptions,
    /// The form of the ready line.
    pub output: OutputFormat,
}

/// Where the HTTPS listener's certificate and key come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFiles {
    /// An operator gives them.
    Given {
        /// The certificate chain, PEM.
        certificate: PathBuf,
        /// The private key, PEM.
        key: PathBuf,
    },
    /// They are made in this folder on the first run.
    Made(PathBuf),
}

/// The engine that keeps state.
#[derive(Clone)]
pub enum StoreOption {
    /// SQLite files in the data directory.
    Sqlite,
    /// PostgreSQL, by URL; the URL may hold a password.
    Postgres(SecretString),
}

/// A store option that does not read.
#[derive(Debug, thiserror::Error)]
pub enum StoreOptionError {
    /// Neither of the known engines. What was given is not repeated: it may hold a password.
    #[error("expected `sqlite`, a `postgres://` URL, or `@FILE` with such a URL")]
    Unknown,
    /// The file that was named cannot be read.
    #[error("cannot read `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
}

impl fmt::Debug for StoreOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "Sqlite",
            Self::Postgres(_) => "Postgres(..)",
        })
    }
}

impl FromStr for StoreOption {
    type Err = StoreOptionError;

    fn from_str(text: &str) -> Result<Self, StoreOptionError> {
        if let Some(path) = text.strip_prefix('@').map(PathBuf::from) {
            let url = fs::read_to_string(&path)
                .map_err(|source| StoreOptionError::File { path, source })?;
            return postgres(url.trim());
        }
        if text == "sqlite" { Ok(Self::Sqlite) } else { postgres(text) }
    }
}

fn postgres(url: &str) -> Result<StoreOption, StoreOptionError> {
    let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
    known.then(|| StoreOption::Postgres(url.into())).ok_or(StoreOptionError::Unknown)
}

impl IssuerArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<ExitCode, Failure> {
        let Self {
            trust_domains,
            store,
            sealing_key,
            tls_cert,
            tls_key,
            certs_dir,
            watch,
            telemetry,
        } = self;
        let tls = match (tls_cert, tls_key) {
            (Some(certificate), Some(key)) => TlsFiles::Given { certificate, key },
            _ => TlsFiles::Made(certs_dir),
        };
        let options = IssuerOptions {
            trust_domains,
            only: session.place.names().to_vec(),
            data_dir: session.place.data_dir(),
            store,
            sealing_key,
            tls,
            watch,
            telemetry: telemetry.options(None),
            output: session.output.format(),
        };
        crate::issuer::run(options).await.map_err(|error| not_started(&error))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_store_is_sqlite_or_a_postgres_url_or_a_file_with_one() {
        assert!(matches!("sqlite".parse(), Ok(StoreOption::Sqlite)));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        fs::write(&file, "postgres://marque:secret@127.0.0.1/marque\n").unwrap();
        let option: StoreOption = format!("@{}", file.display()).parse().unwrap();
        let StoreOption::Postgres(url) = &option else { panic!("{option:?}") };
        assert_eq!(url.expose_secret(), "postgres://marque:secret@127.0.0.1/marque");
        assert!(!format!("{option:?}").contains("secret"));
    }

    #[test]
    fn a_store_that_does_not_read_is_not_repeated() {
        let error = "mysql://root:secret@db".parse::<StoreOption>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!("@/does/not/exist".parse::<StoreOption>().is_err());
    }
}
