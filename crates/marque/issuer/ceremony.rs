//! The keys and records of a trust domain without its daemon, for the certificates that an offline root signs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use marque_authority::Ceremony;
use marque_keys::SealingKey;
use marque_registry::KeySettings;
use marque_spiffe::{Clock, TrustDomain};

use super::lasting::authority_config;
use super::sockets::make_folder;
use super::{run, signing_guard};
use crate::backup::{self, Held, HighWater};
use crate::cli::StoreOption;
use crate::clock::{SystemClock, SystemRandomness};
use crate::{discovery, upstream};

/// Where a daemon keeps what it signs with, as its command line says.
#[derive(Debug)]
pub(crate) struct CeremonyOptions {
    /// The folder with one folder for each trust domain.
    pub(crate) trust_domains: PathBuf,
    /// Which one; may be absent where there is one alone.
    pub(crate) only: Vec<TrustDomain>,
    /// The data directory.
    pub(crate) data_dir: PathBuf,
    /// The engine that keeps state.
    pub(crate) store: StoreOption,
    /// The file with the key that seals private keys; that of `marque dev` in the data directory when it is absent.
    pub(crate) sealing_key: Option<PathBuf>,
}

/// The keys and records of one trust domain; no daemon begins to serve it meanwhile, and no restore replaces them.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Whose they are.
    pub(crate) trust_domain: TrustDomain,
    /// What is done with them.
    pub(crate) ceremony: Ceremony,
    _held: Held,
}

/// Opens the keys and records of one trust domain. Nothing is changed yet.
///
/// # Errors
/// Findings in the folder, several trust domains, a daemon that serves it, keys that are nowhere but in memory, a store that is
/// older than what was signed from it, and whatever cannot be opened.
pub(crate) async fn open(options: CeremonyOptions) -> anyhow::Result<Opened> {
    let CeremonyOptions { trust_domains, only, data_dir, store, sealing_key } = options;
    let mut folders = run::load(&trust_domains, &only)?;
    let (Some(checked), true) = (folders.pop(), folders.is_empty()) else {
        bail!("a certificate is for one trust domain: pass --trust-domain with its name");
    };
    let document = &checked.folder.document;
    let name = document.name().clone();
    ensure!(
        *document.keys() != KeySettings::Memory,
        "the keys of `{name}` are in memory alone and end with this command; choose another `manager` in [keys]"
    );
    let folder = data_dir.join(name.as_str());
    let socket = folder.join("admin.sock");
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        bail!("the daemon serves `{name}`: run the command without --offline");
    }
    let private = folder.join("private");
    make_folder(&folder, 0o755)?;
    let held = backup::hold_alone(&folder)?;
    backup::tidy_up(&private, &SystemClock)?;
    make_folder(&private, 0o700)?;
    let sealing_key = sealing_key.unwrap_or_else(|| folder.join("sealing.key"));
    let sealing = SealingKey::from_file(&sealing_key).context("read the sealing key")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keys = super::key_store::open(document, &private, &sealing)?;
    let store = super::store::open(&store, &private, &name, Arc::clone(&clock)).await;
    let store = Arc::new(store.with_context(|| format!("open the store of `{name}`"))?);
    store.know_tenant(document.tenant().as_str());
    HighWater::open(&private, &name, &store).await?;
    let issuer = super::serve::issuer_url(document, document.hosts().listen())?;
    let svids = discovery::svid_issuer(document, &issuer)?;
    let names = signing_guard::Names { issuer: &issuer, svids: svids.as_ref() };
    let guard = signing_guard::guard(document, names, Arc::clone(&store) as _, &clock);
    let upstream = upstream::open(document, &checked.folder.path, &clock)?;
    let config = authority_config(document, upstream, guard);
    let random = Arc::new(SystemRandomness::default());
    let ceremony = Ceremony { config, keys, store: store as _, random };
    Ok(Opened { trust_domain: name, ceremony, _held: held })
}
