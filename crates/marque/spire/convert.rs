//! Entry by entry: what it becomes, or why it is left out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use marque_registry::{DelegateRights, EntryId, EntrySource, Lifetime, NewEntry, SpireEntry};
use marque_spiffe::{DnsName, SpiffeId, TrustDomain};

use super::parents::Parents;
use super::selectors::selectors;
use super::{ConvertError, Converted, ConvertedEntry, FromSpire, Note, NoteCode, Wanted};

/// Below it a server keeps itself and its nodes.
const RESERVED: &str = "/spire/";
/// The parent of what names nodes.
const SERVER: &str = "/spire/server";

/// What a SPIRE server's registrations become.
///
/// # Errors
/// When it is not clear which trust domain they are of, or on which side of the firebreak one is that they federate with.
pub fn convert(spire: &FromSpire, wanted: &Wanted) -> Result<Converted, ConvertError> {
    let trust_domain = match &wanted.trust_domain {
        Some(named) => named.clone(),
        None => trust_domain(&spire.entries)?,
    };
    let mut work = Work {
        trust_domain,
        wanted,
        bundles: &spire.bundles,
        parents: Parents::of(&spire.entries),
        federation: BTreeSet::new(),
        unknown_partners: BTreeSet::new(),
        ids: HashSet::new(),
        entries: Vec::new(),
        notes: spire.notes.clone(),
    };
    for entry in &spire.entries {
        work.take(entry);
    }
    if !work.unknown_partners.is_empty() {
        return Err(ConvertError::Partners(work.unknown_partners.into_iter().collect()));
    }
    work.unasked_partners();
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
    parents: Parents<'a>,
    federation: BTreeSet<TrustDomain>,
    /// Those that entries federate with and whose environment nobody said.
    unknown_partners: BTreeSet<TrustDomain>,
    ids: HashSet<String>,
    entries: Vec<ConvertedEntry>,
    notes: Vec<Note>,
}

impl<'a> Work<'a> {
    fn take(&mut self, entry: &'a SpireEntry) {
        match self.of(entry) {
            Ok(converted) => self.entries.extend(converted),
            Err((code, message)) => self.notes.push(Note::left_out(entry, code, message)),
        }
    }

    fn note(&mut self, entry: &SpireEntry, code: NoteCode, message: impl Into<String>) {
        self.notes.push(Note::about(entry, code, message.into()));
    }

    /// What one entry becomes, which is several where each is for nodes of its own; or why nothing.
    fn of(&mut self, entry: &'a SpireEntry) -> Result<Vec<ConvertedEntry>, (NoteCode, String)> {
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
        let server = format!("spiffe://{}{SERVER}", self.trust_domain);
        let bound = self.parents.bound(entry, &server);
        let mut converted = Vec::new();
        for instead in &bound.instead {
            let id = self.id(entry);
            let selectors = content.selectors.iter().chain(instead).cloned().collect();
            let content = NewEntry { selectors, ..content.clone() };
            // What the registry would refuse is refused here, where it can be named.
            let checked = id.parse::<EntryId>().map_err(|error| unusable(&error))?;
            let checked = content.clone().into_entry(checked, EntrySource::Admin);
            checked.map_err(|error| unusable(&error))?;
            let comments = vec![format!("SPIRE entry {}", visible(&entry.id))];
            converted.push(ConvertedEntry { id, entry: content, shared: None, comments });
        }
        self.without_counterpart(entry);
        self.notes.extend(bound.told(entry, &mut converted));
        Ok(converted)
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

    /// Partners that were named and that no entry asks for: one of them may be misspelt.
    fn unasked_partners(&mut self) {
        let crosses = |name: &TrustDomain| {
            let mut boundaries = self.notes.iter().filter(|note| note.code == NoteCode::Boundary);
            boundaries.any(|note| note.lost.iter().any(|lost| lost == name.as_str()))
        };
        let partners = self.wanted.partners.keys();
        let unasked = partners.filter(|name| !self.federation.contains(*name) && !crosses(name));
        let told = unasked.map(|name| {
            let message = format!("no entry federates with `{name}`, which was named as a partner");
            Note::general(NoteCode::Federation, message)
        });
        let told: Vec<Note> = told.collect();
        self.notes.extend(told);
    }

    /// What is not here, of an entry that is.
    fn without_counterpart(&mut self, entry: &SpireEntry) {
        if entry.admin {
            let message = "`admin`: no workload administers an issuer; its people are [[operators]] of trust-domain.toml";
            self.note(entry, NoteCode::Admin, message);
        }
        if entry.jwt_svid_include_jti {
            let message = "`jwt_svid_include_jti`: every JWT-SVID has a `jti` here, and a caller that asks again may get the same one \
                           until half of its life is over";
            self.note(entry, NoteCode::Attribute, message);
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
            let known =
                known.filter(|name| self.bundles.contains_key(name) && *name != self.trust_domain);
            match known.map(|name| (self.wanted.partners.get(&name).copied(), name)) {
                Some((None, other)) => drop(self.unknown_partners.insert(other)),
                Some((Some(environment), other)) if environment == self.wanted.environment => {
                    others.insert(other);
                }
                Some((Some(environment), other)) => {
                    let message = format!(
                        "`federates_with`: `{other}` is {environment}: nothing crosses from one environment to the other"
                    );
                    let note = Note::about(entry, NoteCode::Boundary, message);
                    self.notes.push(Note { lost: vec![other.to_string()], ..note });
                }
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
pub(super) fn visible(text: &str) -> String {
    text.chars().take(256).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
