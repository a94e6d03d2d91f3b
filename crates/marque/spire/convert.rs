//! Entry by entry: what it becomes, or why it is left out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use marque_registry::{DelegateRights, EntryId, EntrySource, Lifetime, NewEntry, SpireEntry};
use marque_spiffe::{DnsName, Selector, SelectorSet, SpiffeId, TrustDomain};

use super::{ConvertError, Converted, ConvertedEntry, FromSpire, Note, NoteCode, Wanted};

/// What the attestors of both find, under the same name and with the same meaning.
const SELECTORS: &[(&str, &[&str])] = &[
    (
        "unix",
        &[
            "uid",
            "user",
            "gid",
            "group",
            "supplementary_gid",
            "supplementary_group",
            "path",
            "sha256",
        ],
    ),
    ("docker", &["label", "env", "image_id", "image_config_digest"]),
    (
        "k8s",
        &[
            "ns",
            "sa",
            "container-name",
            "container-image",
            "node-name",
            "pod-label",
            "pod-owner",
            "pod-owner-uid",
            "pod-uid",
            "pod-name",
            "pod-image",
            "pod-image-count",
            "pod-init-image",
            "pod-init-image-count",
        ],
    ),
    ("systemd", &["id", "fragment_path"]),
];
/// Below it a server keeps itself and its nodes.
const RESERVED: &str = "/spire/";
/// The parent of what names nodes.
const SERVER: &str = "/spire/server";

/// What a SPIRE server's registrations become.
///
/// # Errors
/// When it is not clear which trust domain they are of.
pub fn convert(spire: &FromSpire, wanted: &Wanted) -> Result<Converted, ConvertError> {
    let trust_domain = match &wanted.trust_domain {
        Some(named) => named.clone(),
        None => trust_domain(&spire.entries)?,
    };
    let mut work = Work {
        trust_domain,
        wanted,
        bundles: &spire.bundles,
        federation: BTreeSet::new(),
        ids: HashSet::new(),
        entries: Vec::new(),
        notes: spire.notes.clone(),
    };
    for entry in &spire.entries {
        work.take(entry);
    }
    work.merge();
    work.share();
    if spire.bundles.contains_key(&work.trust_domain) {
        let message = "the bundle of the own trust domain is of SPIRE's authorities: Marque makes its own, so give workloads both \
                       bundles while they move";
        work.notes.push(Note::general(NoteCode::OwnBundle, message.to_owned()));
    }
    let bundles = spire.bundles.iter().filter(|(name, _)| work.federation.contains(*name));
    let federation = bundles.map(|(name, bundle)| (name.clone(), bundle.clone())).collect();
    let Work { trust_domain, entries, notes, .. } = work;
    Ok(Converted { trust_domain, entries, federation, notes })
}

/// The one trust domain of the entries that read.
fn trust_domain(entries: &[SpireEntry]) -> Result<TrustDomain, ConvertError> {
    let mut ids = entries.iter().filter_map(|entry| entry.spiffe_id.parse::<SpiffeId>().ok());
    let first = ids.next().ok_or(ConvertError::NoTrustDomain)?;
    match ids.find(|id| id.trust_domain() != first.trust_domain()) {
        None => Ok(first.trust_domain().clone()),
        Some(other) => Err(ConvertError::SeveralTrustDomains(
            first.trust_domain().to_string(),
            other.trust_domain().to_string(),
        )),
    }
}

struct Work<'a> {
    trust_domain: TrustDomain,
    wanted: &'a Wanted,
    bundles: &'a BTreeMap<TrustDomain, marque_spiffe::Bundle>,
    federation: BTreeSet<TrustDomain>,
    ids: HashSet<String>,
    entries: Vec<ConvertedEntry>,
    notes: Vec<Note>,
}

impl Work<'_> {
    fn take(&mut self, entry: &SpireEntry) {
        match self.one(entry) {
            Ok(converted) => self.entries.push(converted),
            Err((code, message)) => self.notes.push(Note::left_out(entry, code, message)),
        }
    }

    fn note(&mut self, entry: &SpireEntry, code: NoteCode, message: impl Into<String>) {
        self.notes.push(Note::about(entry, code, message.into()));
    }

    /// What one entry becomes, or why nothing.
    fn one(&mut self, entry: &SpireEntry) -> Result<ConvertedEntry, (NoteCode, String)> {
        let unusable = |error: &dyn std::fmt::Display| (NoteCode::Unusable, error.to_string());
        let spiffe_id: SpiffeId = entry.spiffe_id.parse().map_err(|error| unusable(&error))?;
        self.has_counterpart(entry, &spiffe_id)?;
        let selectors = selectors(entry)?;
        let x509_lifetime =
            self.lifetime(entry, "x509_svid_ttl", entry.x509_svid_ttl, self.wanted.x509_svid);
        let jwt_lifetime =
            self.lifetime(entry, "jwt_svid_ttl", entry.jwt_svid_ttl, self.wanted.jwt_svid);
        let content = NewEntry {
            role: self.wanted.role(&spiffe_id),
            spiffe_id,
            selectors,
            owner: self.wanted.owner.clone(),
            hint: self.hint(entry),
            x509_lifetime,
            jwt_lifetime,
            dns_names: self.dns_names(entry),
            federates_with: self.federates_with(entry),
            repository: None,
            audiences: BTreeSet::new(),
            delegation: DelegateRights::default(),
            expires_at: end(entry)?,
        };
        let id = self.id(entry);
        // What the registry would refuse is refused here, where it can be named.
        let checked = id.parse::<EntryId>().map_err(|error| unusable(&error))?;
        let checked = content.clone().into_entry(checked, EntrySource::Admin);
        checked.map_err(|error| unusable(&error))?;
        let mut comments = vec![format!("SPIRE entry {}", visible(&entry.id))];
        self.without_counterpart(entry, &mut comments);
        Ok(ConvertedEntry { id, entry: content, shared: None, comments })
    }

    /// Entries that are no workload's.
    fn has_counterpart(
        &self,
        entry: &SpireEntry,
        spiffe_id: &SpiffeId,
    ) -> Result<(), (NoteCode, String)> {
        let parent: Option<SpiffeId> = entry.parent_id.parse().ok();
        let of_server = parent.as_ref().is_some_and(|parent| path(parent) == SERVER);
        let (code, message) = if spiffe_id.trust_domain() != &self.trust_domain {
            let message =
                format!("its identity is of another trust domain than `{}`", self.trust_domain);
            (NoteCode::OtherTrustDomain, message)
        } else if entry.downstream {
            let message = "`downstream`: it lets a nested server sign; where that goes on, register it and list it in \
                           [downstream], or move its entries here";
            (NoteCode::Downstream, message.to_owned())
        } else if entry.store_svid {
            let message = "`store_svid`: its SVIDs are put into a store, and Marque gives them to attested processes alone";
            (NoteCode::StoreSvid, message.to_owned())
        } else if of_server || format!("{}/", path(spiffe_id)).starts_with(RESERVED) {
            let message = "it names nodes, by what attests them; there are no groups of nodes here";
            (NoteCode::NodeAlias, message.to_owned())
        } else {
            return Ok(());
        };
        Err((code, message))
    }

    /// What is not here, of an entry that is.
    fn without_counterpart(&mut self, entry: &SpireEntry, comments: &mut Vec<String>) {
        if entry.admin {
            let message = "`admin`: no workload administers an issuer; its people are [[operators]] of trust-domain.toml";
            self.note(entry, NoteCode::Admin, message);
        }
        if !entry.parent_id.is_empty() {
            let parent = visible(&entry.parent_id);
            comments.push(format!("below {parent} there: here every host of the trust domain"));
            let message = format!(
                "`parent_id`: it was below `{parent}` and is not bound to a node here; add a selector that only its hosts have"
            );
            self.note(entry, NoteCode::Parent, message);
        }
        for member in &entry.unknown {
            let message = format!("`{}`: this version does not know it", visible(member));
            self.note(entry, NoteCode::UnknownMember, message);
        }
    }

    fn lifetime(
        &mut self,
        entry: &SpireEntry,
        member: &str,
        seconds: u64,
        ceiling: Lifetime,
    ) -> Option<Lifetime> {
        if seconds == 0 {
            return None;
        }
        let asked = std::time::Duration::from_secs(seconds);
        if asked > ceiling.as_duration() {
            let message = format!(
                "`{member}`: {seconds} s is over the ceiling of {ceiling}, which it has now"
            );
            self.note(entry, NoteCode::Lifetime, message);
            return Some(ceiling);
        }
        Lifetime::try_from(asked).ok()
    }

    fn hint(&mut self, entry: &SpireEntry) -> Option<marque_spiffe::Hint> {
        if entry.hint.is_empty() {
            return None;
        }
        let hint = entry.hint.parse();
        if let Err(error) = &hint {
            self.note(entry, NoteCode::Unusable, format!("`hint`: {error}"));
        }
        hint.ok()
    }

    fn dns_names(&mut self, entry: &SpireEntry) -> Vec<DnsName> {
        let mut names = Vec::new();
        for name in &entry.dns_names {
            match name.parse() {
                Ok(name) => names.push(name),
                Err(error) => {
                    let message = format!("`dns_names`: `{}`: {error}", visible(name));
                    self.note(entry, NoteCode::Unusable, message);
                }
            }
        }
        names
    }

    fn federates_with(&mut self, entry: &SpireEntry) -> BTreeSet<TrustDomain> {
        let mut others = BTreeSet::new();
        for name in &entry.federates_with {
            let known = name.parse::<TrustDomain>().ok();
            match known.filter(|name| self.bundles.contains_key(name) && *name != self.trust_domain)
            {
                Some(other) => drop(others.insert(other)),
                None => {
                    let message = format!(
                        "`federates_with`: no bundle of `{}` was given; add a [[federation]] and name it again",
                        visible(name)
                    );
                    self.note(entry, NoteCode::Federation, message);
                }
            }
        }
        self.federation.extend(others.iter().cloned());
        others
    }

    /// Its own id, where it can have it; else one made from that.
    fn id(&mut self, entry: &SpireEntry) -> String {
        let lower = entry.id.to_ascii_lowercase();
        let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
        let mut id: String =
            lower.chars().map(|c| if fits(c) { c } else { '-' }).take(100).collect();
        if id.is_empty() {
            id = "spire".to_owned();
        }
        let base = id.clone();
        let mut next = 2;
        while !self.ids.insert(id.clone()) {
            id = format!("{base}-{next}");
            next += 1;
        }
        if id != entry.id {
            let message = format!("`id`: it is `{id}` here");
            self.note(entry, NoteCode::Id, message);
        }
        id
    }

    /// Entries that say the same, as they do for each of several parents, are one.
    fn merge(&mut self) {
        let mut kept: Vec<ConvertedEntry> = Vec::new();
        let mut places: HashMap<SpiffeId, Vec<usize>> = HashMap::new();
        for one in std::mem::take(&mut self.entries) {
            let places = places.entry(one.entry.spiffe_id.clone()).or_default();
            let same = places
                .iter()
                .copied()
                .find(|place| kept.get(*place).is_some_and(|other| other.entry == one.entry));
            match same.and_then(|place| kept.get_mut(place)) {
                Some(first) => {
                    let message =
                        format!("entries `{}` and `{}` say the same and are one", first.id, one.id);
                    self.notes.push(Note {
                        entry: Some(one.id),
                        spiffe_id: Some(one.entry.spiffe_id.to_string()),
                        ..Note::general(NoteCode::Merged, message)
                    });
                    first.comments.extend(one.comments);
                }
                None => {
                    places.push(kept.len());
                    kept.push(one);
                }
            }
        }
        self.entries = kept;
    }

    /// Entries with one identity and other conditions share it, and say so.
    fn share(&mut self) {
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in &self.entries {
            ids.entry(one.entry.spiffe_id.to_string()).or_default().push(one.id.clone());
        }
        ids.retain(|_, ids| ids.len() > 1);
        for one in &mut self.entries {
            let Some(sharing) = ids.get(one.entry.spiffe_id.as_str()) else { continue };
            let reason = format!("imported from SPIRE, where {} entries are of it", sharing.len());
            one.shared = reason.parse().ok();
        }
        for (spiffe_id, ids) in ids {
            let message = format!(
                "entries {} are of one identity and share it; give each workload an identity of its own",
                ids.join(", ")
            );
            let note = Note::general(NoteCode::Shared, message);
            self.notes.push(Note { spiffe_id: Some(spiffe_id), ..note });
        }
    }
}

/// Its selectors, all of which have to be known: without one it would be for more processes.
fn selectors(entry: &SpireEntry) -> Result<SelectorSet, (NoteCode, String)> {
    let mut selectors = Vec::new();
    for text in &entry.selectors {
        let selector: Selector = text.parse().map_err(|error: marque_spiffe::SelectorError| {
            (NoteCode::Selector, format!("selector `{}`: {error}", visible(text)))
        })?;
        let what = selector.value().split(':').next().unwrap_or_default();
        let known =
            SELECTORS.iter().any(|(kind, known)| *kind == selector.kind() && known.contains(&what));
        if !known {
            let message = format!(
                "selector `{}`: nothing here finds it, and without it the entry would be for more processes",
                visible(text)
            );
            return Err((NoteCode::Selector, message));
        }
        selectors.push(selector);
    }
    Ok(selectors.into_iter().collect())
}

fn end(entry: &SpireEntry) -> Result<Option<Timestamp>, (NoteCode, String)> {
    if entry.expires_at == 0 {
        return Ok(None);
    }
    let seconds = i64::try_from(entry.expires_at).ok();
    let end = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let message = || format!("`expires_at`: {} is no instant", entry.expires_at);
    end.map(Some).ok_or_else(|| (NoteCode::Unusable, message()))
}

fn path(id: &SpiffeId) -> String {
    id.segments().map(|segment| format!("/{segment}")).collect()
}

/// At most 256 characters of a text that somebody else wrote, on one line.
fn visible(text: &str) -> String {
    text.chars().take(256).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
