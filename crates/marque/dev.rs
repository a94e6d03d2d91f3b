//! `marque dev`: every role in one process, for a laptop.
//!
//! The trust domains of each environment are served by issuers of their own, each with its own keys, store, sockets and
//! listener; all that they share is the process. Registrations from `--agent` live as long as it does.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use marque_keys::SealingKey;
use marque_registry::{DelegateRights, EntryRole, NewEntry};
use marque_spiffe::{Clock as _, Selector, SpiffeId, TrustDomain};
use nix::unistd::Uid;
use tokio_util::sync::CancellationToken;

use crate::cli::{AgentBinding, AgentName, DevOptions, StoreOption};
use crate::clock::{SystemClock, SystemRandomness};
use crate::endpoints::EndpointsFile;
use crate::issuer::run::{KnownEnvironments, dev_tls, load};
use crate::issuer::serve::{self, Built, Shared};
use crate::process::{Watchers, serve_all};
use crate::{config, telemetry};

/// Who is accountable for an agent that was named on the command line, and who put it there.
const OWNER: &str = "marque dev --agent";

/// How long an agent of `--agent` is registered, unless the process ends before: nothing is registered for ever (M 25).
const AGENT_LASTS: Duration = Duration::from_hours(30 * 24);

/// Serves until the process is asked to stop.
///
/// # Errors
/// When the folder has findings, or something cannot be opened, bound or served.
pub async fn run(options: DevOptions) -> anyhow::Result<ExitCode> {
    let DevOptions {
        trust_domains,
        only,
        data_dir,
        certs_dir,
        agents,
        port_base,
        listen,
        watch,
        telemetry,
        output,
    } = options;
    let exporter = telemetry::start(telemetry.collector.as_deref())?;
    let folders = load(&trust_domains, &only)?;
    for chosen in &listen {
        if !folders.iter().any(|checked| checked.folder.document.name() == &chosen.trust_domain) {
            bail!("--listen names `{}`, which is not served", chosen.trust_domain);
        }
    }
    let (tls, ca_file) = dev_tls(&certs_dir)?;
    std::fs::create_dir_all(&data_dir)
        .with_context(|| format!("create `{}`", data_dir.display()))?;
    let data_dir =
        data_dir.canonicalize().with_context(|| format!("find `{}`", data_dir.display()))?;
    let watchers = Watchers::begin(telemetry, exporter).await?;
    watchers.expect(&folders);
    let shared = Shared {
        endpoints: Arc::new(EndpointsFile::in_folder(&data_dir)),
        stop: CancellationToken::new(),
        trust_domains,
        watch,
        data_dir,
        store: StoreOption::Sqlite,
        tls,
        ca_file,
        environments: Arc::new(KnownEnvironments::of(&folders)),
        neighbours: Arc::new(OnceLock::new()),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandomness::default()),
    };
    let mut built = Vec::new();
    for (index, checked) in folders.into_iter().enumerate() {
        let name = checked.folder.document.name().clone();
        let chosen =
            listen.iter().find(|chosen| chosen.trust_domain == name).map(|chosen| chosen.address);
        let address = match (chosen, port_base) {
            (Some(address), _) => Some(address),
            (None, Some(base)) => Some(port(base, index)?),
            (None, None) => None,
        };
        let sealing = sealing_key(&shared.data_dir, &name)?;
        built.push(serve::build(checked, address, &sealing, &shared).await?);
    }
    for binding in &agents {
        register(&built, binding).await?;
    }
    serve_all(built, &shared, watchers, output).await
}

/// The sealing key: from the environment if it names one, else from a file that is made on the first run.
fn sealing_key(data_dir: &Path, trust_domain: &TrustDomain) -> anyhow::Result<SealingKey> {
    if let Some(named) = config::dev_sealing_key() {
        return SealingKey::from_hex(&named)
            .with_context(|| format!("read ${}", config::SEALING_KEY_VARIABLE));
    }
    let folder = data_dir.join(trust_domain.as_str());
    std::fs::create_dir_all(&folder).with_context(|| format!("create `{}`", folder.display()))?;
    let file = folder.join("sealing.key");
    if file.exists() {
        return SealingKey::from_file(&file).context("read the sealing key");
    }
    SealingKey::create_file(&file).context("make a sealing key")
}

fn port(base: u16, index: usize) -> anyhow::Result<SocketAddr> {
    let offset =
        if base == 0 { 0 } else { u16::try_from(index).context("too many trust domains")? };
    let port = base.checked_add(offset).with_context(|| format!("no port {index} above {base}"))?;
    Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

/// Registers an agent where its name says: in its own trust domain, or by path alone in every one.
async fn register(built: &[Built], binding: &AgentBinding) -> anyhow::Result<()> {
    let program = binding
        .program
        .canonicalize()
        .with_context(|| format!("find the agent's program `{}`", binding.program.display()))?;
    let mut registered = false;
    for one in built {
        let trust_domain = one.served.lasting().trust_domain();
        let spiffe_id: SpiffeId = match &binding.name {
            AgentName::Id(id) if id.trust_domain() == trust_domain => id.clone(),
            AgentName::Id(_) => continue,
            AgentName::Path(path) => format!("spiffe://{trust_domain}{path}").parse()?,
        };
        let selectors =
            [format!("unix:uid:{}", Uid::effective()), format!("unix:path:{}", program.display())];
        let entry = NewEntry {
            spiffe_id,
            selectors: selectors
                .iter()
                .map(|text| text.parse::<Selector>())
                .collect::<Result<_, _>>()?,
            role: EntryRole::Agent,
            owner: OWNER.parse()?,
            hint: None,
            x509_lifetime: None,
            jwt_lifetime: None,
            dns_names: Vec::new(),
            federates_with: BTreeSet::new(),
            repository: None,
            audiences: BTreeSet::new(),
            delegation: DelegateRights::default(),
            expires_at: Some(SystemClock.now() + AGENT_LASTS),
        };
        let created = one.served.lasting().registrar().create_for_this_run(entry, OWNER).await;
        created.with_context(|| format!("register the agent `{}`", program.display()))?;
        registered = true;
    }
    if !registered {
        bail!("--agent names `{:?}`, which is of no trust domain that is served", binding.name);
    }
    Ok(())
}
