//! `marque authority csr` and `import`: the certificates that an offline root signs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use marque_authority::{AuthorityError, OrderedBy, SignedAuthority};
use marque_spiffe::Clock as _;
use serde::Serialize;

use super::super::backup::explained;
use super::super::failure::Failure;
use super::super::{Session, StoreOption};
use super::{Changed, told};
use crate::clock::SystemClock;
use crate::grpc::admin::{AuthorityWish, CertificateRequestView};
use crate::issuer::ceremony::{self, CeremonyOptions, Opened};

/// The longest file of certificates that is read, in bytes, and one more.
const MAX_READ: u64 = 256 * 1024 + 1;

#[derive(Debug, Args)]
pub(super) struct CsrArgs {
    /// The file to write, which must not exist [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    offline: OfflineArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// PEM: the certificate, then those above it up to the root, which is last; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Why; the log keeps it
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    offline: OfflineArgs,
}

#[derive(Debug, Args)]
struct OfflineArgs {
    /// Without the daemon, on its keys and store: before its first start, or when its authority has ended
    #[arg(long)]
    offline: bool,
    /// With --offline: the folder with one folder for each trust domain
    #[arg(long, value_name = "DIR", default_value = "./trust-domains", requires = "offline")]
    trust_domains: PathBuf,
    /// With --offline: where state is kept, as the daemon is told
    #[arg(long, value_name = "STORE", default_value = "sqlite", requires = "offline")]
    store: StoreOption,
    /// With --offline: the file with the key that seals private keys [default: that of `marque dev` in the data directory]
    #[arg(long, value_name = "FILE", requires = "offline")]
    sealing_key: Option<PathBuf>,
}

/// In JSON.
#[derive(Debug, Serialize)]
struct Asked {
    trust_domain: String,
    #[serde(flatten)]
    request: CertificateRequestView,
    /// The file that it was written to.
    file: Option<PathBuf>,
}

/// In JSON, for an import without the daemon.
#[derive(Debug, Serialize)]
struct Imported {
    trust_domain: String,
    key: String,
    done: &'static str,
}

impl CsrArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { out, offline } = self;
        let (trust_domain, request) = match offline.options(session) {
            Some(options) => {
                let opened = opened(options).await?;
                let request = opened.ceremony.request(SystemClock.now()).await;
                (opened.trust_domain.to_string(), request.map_err(|error| refused(&error))?.into())
            }
            None => {
                let mut home = session.home().await?;
                let request = home.admin.request_certificate().await?;
                (home.at.name.to_string(), request)
            }
        };
        if let Some(file) = &out {
            write_new(file, &request.csr_pem)?;
        }
        let asked = Asked { trust_domain, request, file: out };
        session.output.show(&asked, told_request)?;
        session.output.remark(&next_step(&asked.request))
    }
}

impl ImportArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { file, reason, offline } = self;
        let signed = SignedAuthority::from_pem(&read(&file)?).map_err(|refused| {
            Failure::because(format!("`{}` is refused", file.display()), &refused)
                .code(Some(refused.code().to_owned()))
                .next("put the signed certificate first, then each one that signed the one before it, and the root last")
        })?;
        let done = "imported";
        let Some(options) = offline.options(session) else {
            let mut home = session.home().await?;
            let wish = AuthorityWish::Import(signed);
            let (key, keys) = home.admin.change_authority(wish, reason).await?;
            let changed = home.of(Changed { key, done, keys });
            return session.output.show(&changed, |of| told(of, SystemClock.now()));
        };
        let opened = opened(options).await?;
        let by = format!("uid:{} (offline)", nix::unistd::Uid::effective());
        let ordered =
            OrderedBy { by: Some(by), reason: Some(reason).filter(|text| !text.is_empty()) };
        let imported = opened.ceremony.import(&signed, ordered, SystemClock.now()).await;
        let key = imported.map_err(|error| refused(&error))?.to_string();
        let trust_domain = opened.trust_domain.to_string();
        let imported = Imported { trust_domain, key, done };
        session.output.show(&imported, |Imported { trust_domain, key, .. }| {
            format!("{key} of {trust_domain} is imported. Start the daemon.\n")
        })
    }
}

impl OfflineArgs {
    fn options(self, session: &Session) -> Option<CeremonyOptions> {
        let Self { offline, trust_domains, store, sealing_key } = self;
        offline.then(|| CeremonyOptions {
            trust_domains,
            only: session.place.names().to_vec(),
            data_dir: session.place.data_dir(),
            store,
            sealing_key,
        })
    }
}

async fn opened(options: CeremonyOptions) -> Result<Opened, Failure> {
    ceremony::open(options).await.map_err(|error| {
        let failure = Failure::because("cannot open the keys and the store", error.as_ref())
            .next("pass the --trust-domains, --data-dir, --store and --sealing-key of the daemon");
        explained(failure, &error)
    })
}

fn refused(error: &AuthorityError) -> Failure {
    let code = match error {
        AuthorityError::Refused(refusal) => Some(refusal.code()),
        AuthorityError::SignedAuthority { source, .. } => Some(source.code()),
        _ => None,
    };
    Failure::because("refused", error).code(code.map(str::to_owned))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let mut pem = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(MAX_READ).read_to_end(&mut pem)
    } else {
        fs::File::open(file).and_then(|open| open.take(MAX_READ).read_to_end(&mut pem))
    };
    read.map_err(|error| Failure::because(format!("cannot read `{}`", file.display()), &error))?;
    Ok(pem)
}

fn write_new(file: &Path, text: &str) -> Result<(), Failure> {
    let written = fs::File::create_new(file).and_then(|mut new| {
        new.write_all(text.as_bytes())?;
        new.sync_all()
    });
    written.map_err(|error| {
        Failure::because(format!("cannot write `{}`", file.display()), &error)
            .next("choose a file that is not there yet")
    })
}

fn told_request(asked: &Asked) -> String {
    match &asked.file {
        None => asked.request.csr_pem.clone(),
        Some(file) => format!(
            "The request for {} of {} is in {}.\n",
            asked.request.key,
            asked.trust_domain,
            file.display()
        ),
    }
}

/// What to do with the request, beside the request itself.
fn next_step(request: &CertificateRequestView) -> String {
    let days = request.lifetime_seconds.div_ceil(24 * 3600);
    format!(
        "Sign it as a CA with path length {} and its own subject and URI name (openssl x509 -req -copy_extensions copy, {days} days), \
         append the root, and bring it back with `marque authority import`; docs/upstream.md shows each step.",
        request.path_length,
    )
}
