//! `[[audit.witnesses]]`: others who see the checkpoints of the log and cosign those that are consistent with all that they
//! saw before (C2SP tlog-witness). Whoever wants so many cosignatures is shown one history, whoever owns this host.
//!
//! All witnesses are shown the same checkpoint at a time, so that cosignatures come together ([`rounds`]). One replica at a time
//! asks a witness, over failures and restarts. Recording never waits for any.

mod ask;
mod rounds;
mod serve;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use marque_audit::{CosignerKey, LogTree, SignedCheckpoint, TreeError, VerifierKey, WitnessPolicy};
use marque_registry::{
    Finding, TrustDomainDocument, TrustDomainFolder, Witness as WitnessSettings,
};
use marque_spiffe::{Clock, Random, TrustDomain};
use marque_store::Store;

use self::ask::Door;
use crate::federation::{web, web_authorities};

pub(crate) use self::rounds::witnessed;

/// What was submitted to witnesses, by witness and by what came of it.
pub(crate) const SUBMISSIONS: &str = "marque_audit_witness_submissions_total";
/// How many leaves of what the witnesses are shown one has not cosigned.
pub(crate) const LAG: &str = "marque_audit_witness_lag_records";

/// The witnesses of one trust domain.
#[derive(Debug)]
pub(crate) struct Witnesses {
    witnesses: Vec<Arc<Witness>>,
    /// What a checkpoint has to have been cosigned by; `None` without witnesses.
    policy: Option<WitnessPolicy>,
    quorum: usize,
    every: Duration,
    trust_domain: TrustDomain,
    key: VerifierKey,
    tree: Arc<LogTree>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// One witness, ready to be asked.
#[derive(Debug)]
struct Witness {
    name: String,
    /// How it is shown.
    to: String,
    key: CosignerKey,
    door: Door,
}

/// What witnesses are opened with.
pub(crate) struct WitnessesParts {
    pub(crate) key: VerifierKey,
    pub(crate) tree: Arc<LogTree>,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Witnesses {
    /// Reads keys and certificates; nobody is asked yet.
    pub(crate) fn open(
        document: &TrustDomainDocument,
        folder: &Path,
        parts: WitnessesParts,
    ) -> anyhow::Result<Self> {
        let WitnessesParts { key, tree, store, clock, random } = parts;
        let settings = document.audit().witnesses();
        let open = |one: &WitnessSettings| {
            let witness = witness(one, folder, &clock);
            witness.map(Arc::new).with_context(|| format!("prepare the witness `{}`", one.name()))
        };
        let witnesses: Vec<_> =
            settings.witnesses().iter().map(open).collect::<anyhow::Result<_>>()?;
        let (quorum, every) = (settings.quorum(), settings.every());
        let keys: Vec<_> =
            witnesses.iter().map(|witness: &Arc<Witness>| witness.key.clone()).collect();
        let policy = match keys.is_empty() {
            true => None,
            false => Some(WitnessPolicy::new(keys, quorum)?),
        };
        let trust_domain = document.name().clone();
        Ok(Self { witnesses, policy, quorum, every, trust_domain, key, tree, store, clock, random })
    }

    /// The newest checkpoint that enough witnesses have cosigned, with their cosignatures; `None` while there is none.
    ///
    /// # Errors
    /// What is kept cannot be read, or is not the log's own.
    pub(crate) async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, TreeError> {
        let Some(policy) = &self.policy else { return Ok(None) };
        let now = self.clock.now();
        let Some((_, note)) = rounds::witnessed(&self.store, now).await? else { return Ok(None) };
        // Since it was kept the document may have come to name others, or more of them.
        if policy.check(&note, now).is_err() {
            return Ok(None);
        }
        SignedCheckpoint::verify(&note, &self.key).map(Some).map_err(TreeError::Kept)
    }
}

fn witness(
    settings: &WitnessSettings,
    folder: &Path,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Witness> {
    let tls = match settings.ca_file() {
        Some(file) => Some(web(web_authorities(&folder.join(file))?, Arc::clone(clock))?),
        None => None,
    };
    let key: CosignerKey = settings.key().parse()?;
    let url = settings.url().as_str();
    let door = Door::new(url, tls)?;
    let to = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Ok(Witness { name: settings.name().to_owned(), to, key, door })
}

/// Keys of witnesses that are none, or are one key twice.
pub(crate) fn unusable_keys(folder: &TrustDomainFolder) -> Vec<Finding> {
    let file = folder.path.join("trust-domain.toml");
    let witnesses = folder.document.audit().witnesses();
    let mut keys = Vec::new();
    let mut findings = Vec::new();
    for one in witnesses.witnesses() {
        match one.key().parse::<CosignerKey>() {
            Ok(key) => keys.push(key),
            Err(error) => {
                let message = format!("`key` of the witness `{}`: {error}", one.name());
                findings.push(Finding::at(&file, one.line(), message));
            }
        }
    }
    let line = witnesses.witnesses().first().map(WitnessSettings::line);
    if let (Some(line), true) = (line, findings.is_empty())
        && let Err(error) = WitnessPolicy::new(keys, witnesses.quorum())
    {
        findings.push(Finding::at(&file, line, format!("[audit.witnesses]: {error}")));
    }
    findings
}
