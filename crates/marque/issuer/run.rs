//! `marque issuer`: the trust domains of one environment, with their node in process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, bail};
use marque_exchange::EnvironmentLookup;
use marque_keys::SealingKey;
use marque_spiffe::{Environment, TrustDomain};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::folder::{self, CheckedFolder};
use super::serve::{self, Shared};
use crate::cli::{IssuerOptions, TlsFiles};
use crate::clock::{SystemClock, SystemRandomness};
use crate::endpoints::EndpointsFile;
use crate::process::{Watchers, serve_all};
use crate::telemetry;
use crate::tls::{DevCertificates, server_config};

/// The trust domains of a folder and their environments, as their documents declare them.
#[derive(Debug)]
pub(crate) struct KnownEnvironments(BTreeMap<TrustDomain, Environment>);

impl KnownEnvironments {
    pub(crate) fn of<'a>(folders: impl IntoIterator<Item = &'a CheckedFolder>) -> Self {
        let documents = folders.into_iter().map(|checked| &checked.folder.document);
        Self(documents.map(|document| (document.name().clone(), document.environment())).collect())
    }
}

impl EnvironmentLookup for KnownEnvironments {
    fn environment(&self, trust_domain: &TrustDomain) -> Option<Environment> {
        self.0.get(trust_domain).copied()
    }
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// When the folder has findings or mixes environments, or something cannot be opened, bound or served.
pub async fn run(options: IssuerOptions) -> anyhow::Result<ExitCode> {
    let IssuerOptions {
        trust_domains,
        only,
        data_dir,
        store,
        sealing_key,
        tls,
        watch,
        telemetry,
        output,
    } = options;
    let exporter = telemetry::start(telemetry.collector.as_deref())?;
    let watchers = Watchers::begin(telemetry, exporter).await?;
    let known = load(&trust_domains, &[])?;
    let environments = Arc::new(KnownEnvironments::of(&known));
    let folders = choose(known, &only)?;
    folder::one_environment(&folders)?;
    watchers.expect(&folders);
    let sealing = SealingKey::from_file(&sealing_key).context("read the sealing key")?;
    let (tls, ca_file) = tls_material(&tls)?;
    let shared = Shared {
        endpoints: Arc::new(EndpointsFile::in_folder(&data_dir)),
        stop: CancellationToken::new(),
        trust_domains,
        watch,
        data_dir,
        store,
        tls,
        ca_file,
        environments,
        neighbours: Arc::new(OnceLock::new()),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandomness::default()),
    };
    let mut built = Vec::new();
    for checked in folders {
        built.push(serve::build(checked, None, &sealing, &shared).await?);
    }
    serve_all(built, &shared, watchers, output).await
}

/// Reads every trust domain of a folder that is wanted; all of them if none is named.
pub(crate) fn load(path: &Path, only: &[TrustDomain]) -> anyhow::Result<Vec<CheckedFolder>> {
    let folders = folder::find(path).map_err(anyhow::Error::msg)?;
    let mut checked = Vec::new();
    let mut findings = Vec::new();
    for folder in folders {
        match folder::check(&folder) {
            Ok(folder) => checked.push(folder),
            Err(found) => findings.extend(found),
        }
    }
    findings.extend(folder::across_the_firebreak(&checked));
    if let Some(first) = findings.first() {
        let count = findings.len();
        bail!(
            "the trust domains have findings ({count}): see `marque check`; the first is {first}"
        );
    }
    choose(checked, only)
}

fn choose(
    mut folders: Vec<CheckedFolder>,
    only: &[TrustDomain],
) -> anyhow::Result<Vec<CheckedFolder>> {
    for name in only {
        if !folders.iter().any(|checked| checked.folder.document.name() == name) {
            bail!("there is no trust domain `{name}` in the folder");
        }
    }
    folders.retain(|checked| only.is_empty() || only.contains(checked.folder.document.name()));
    Ok(folders)
}

fn tls_material(files: &TlsFiles) -> anyhow::Result<(Arc<ServerConfig>, PathBuf)> {
    match files {
        TlsFiles::Made(folder) => dev_tls(folder),
        TlsFiles::Given { certificate, key } => {
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect)
                .with_context(|| {
                    format!("read the certificate chain `{}`", certificate.display())
                })?;
            let key = PrivateKeyDer::from_pem_file(key)
                .with_context(|| format!("read the private key `{}`", key.display()))?;
            Ok((server_config(chain, key)?, certificate.clone()))
        }
    }
}

/// The throw-away TLS material of a laptop, made on the first run.
pub(crate) fn dev_tls(folder: &Path) -> anyhow::Result<(Arc<ServerConfig>, PathBuf)> {
    use marque_spiffe::Clock as _;

    let made = DevCertificates::make_or_load(folder, SystemClock.now())
        .context("make the development certificates")?;
    let ca_file = made.ca_path().canonicalize().context("find the certificate authority's file")?;
    Ok((made.server_config(), ca_file))
}
