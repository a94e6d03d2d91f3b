//! Shared identities as operators see them (M 2): what the log recorded, and who holds them now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use marque_audit::find::first_recorded;
use marque_audit::{LogError, LogStore};
use marque_spiffe::SpiffeId;
use marque_workload::HolderFacts;

use super::record::{self, Holder, Record};

/// How many leaves are read from the store at a time.
const PAGE: usize = 1024;

/// One identity that more than one program used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedIdentity {
    pub(crate) spiffe_id: SpiffeId,
    /// Whoever came first first.
    pub(crate) holders: Vec<SharedIdentityHolder>,
    /// How often it was put on record.
    pub(crate) records: u64,
    /// In how many of those the newcomer was refused.
    pub(crate) refusals: u64,
    /// When it was last put on record.
    pub(crate) last_record: Option<Timestamp>,
    /// Whether more than one holds it right now.
    pub(crate) now: bool,
}

/// One of its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedIdentityHolder {
    pub(crate) fingerprint: String,
    pub(crate) uid: Option<u32>,
    pub(crate) pids: Vec<i32>,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    /// Whether it has a stream open right now.
    pub(crate) present: bool,
    /// Whether it was refused, and never had the identity.
    pub(crate) refused: bool,
    /// Those that the document allows in a log.
    pub(crate) selectors: Vec<String>,
}

/// What was recorded since then, with what is held now.
pub(super) async fn of(
    log: &dyn LogStore,
    since: Timestamp,
    held: Vec<(SpiffeId, Vec<HolderFacts>)>,
) -> Result<Vec<SharedIdentity>, LogError> {
    let mut shared = BTreeMap::new();
    let mut next = first_recorded(log, log.size().await?, since).await?;
    loop {
        let page = log.leaves(next, PAGE).await?;
        let Some(last) = page.last() else { break };
        next = last.seq() + 1;
        for record in page.iter().filter_map(|leaf| record::read(leaf.event())) {
            tell(&mut shared, record);
        }
    }
    for (spiffe_id, holders) in held {
        let identity =
            shared.entry(spiffe_id.clone()).or_insert_with(|| SharedIdentity::of(spiffe_id));
        identity.now = true;
        for facts in holders {
            identity.holder(SharedIdentityHolder {
                fingerprint: facts.fingerprint.to_string(),
                uid: facts.uid,
                pids: facts.pids,
                first_seen: facts.first_seen,
                last_seen: facts.last_seen,
                present: facts.present,
                refused: false,
                selectors: Vec::new(),
            });
        }
    }
    let mut shared: Vec<SharedIdentity> = shared.into_values().collect();
    for identity in &mut shared {
        identity.holders.sort_by_key(|holder| holder.first_seen);
    }
    Ok(shared)
}

fn tell(shared: &mut BTreeMap<SpiffeId, SharedIdentity>, record: Record) {
    let Record { spiffe_id, at, refused, earlier, newcomer } = record;
    let identity = shared.entry(spiffe_id.clone()).or_insert_with(|| SharedIdentity::of(spiffe_id));
    identity.records += 1;
    identity.refusals += u64::from(refused);
    identity.last_record = identity.last_record.max(Some(at));
    identity.holder(SharedIdentityHolder::of(earlier, false));
    identity.holder(SharedIdentityHolder::of(newcomer, refused));
}

impl SharedIdentity {
    /// One that nobody was seen to use so far.
    pub(crate) fn of(spiffe_id: SpiffeId) -> Self {
        Self {
            spiffe_id,
            holders: Vec::new(),
            records: 0,
            refusals: 0,
            last_record: None,
            now: false,
        }
    }

    /// Adds what is known of one user to what was known of it.
    fn holder(&mut self, found: SharedIdentityHolder) {
        let known = self.holders.iter_mut().find(|known| known.fingerprint == found.fingerprint);
        let Some(known) = known else { return self.holders.push(found) };
        let new = found.pids.iter().filter(|pid| !known.pids.contains(pid));
        known.pids = known.pids.iter().chain(new).copied().collect();
        known.uid = known.uid.or(found.uid);
        known.first_seen = known.first_seen.min(found.first_seen);
        known.last_seen = known.last_seen.max(found.last_seen);
        known.present |= found.present;
        known.refused &= found.refused;
        if known.selectors.is_empty() {
            known.selectors = found.selectors;
        }
    }
}

impl SharedIdentityHolder {
    fn of(holder: Holder, refused: bool) -> Self {
        let Holder { fingerprint, uid, pids, first_seen, last_seen, selectors } = holder;
        Self { fingerprint, uid, pids, first_seen, last_seen, present: false, refused, selectors }
    }
}
