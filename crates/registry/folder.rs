use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use marque_jose::JwkSet;
use marque_spiffe::{Bundle, RevocationList, Selector, SpiffeId, TrustDomain};

use crate::document::TrustDomainDocument;
use crate::entry::{DelegateRights, Entry, EntrySource, NewEntry, SharingReason};
use crate::fields::{Fields, Log, parse};
use crate::finding::{Finding, FindingCode};
use crate::template::{self, Template};

mod trust;

/// Files of a trust domain's folder are read up to this size.
const MAX_FILE: u64 = 1024 * 1024;

/// A trust domain's folder: the document, the entries, the bundles of others and the revocation lists.
///
/// Entries are written in `entries/*.toml`, any number per file:
///
/// ```toml
/// [[entry]]
/// id = "cert-rotator"                  # unique in the trust domain
/// spiffe_id = "spiffe://prod.example.org/agent/cert-rotator"   # unique in the trust domain
/// role = "agent"                       # or "service"
/// owner = "group:platform-sre"         # who answers for it
/// selectors = [                        # all must be true of a process; at least one
///     "unix:user:marque-cert-rotator",
///     "unix:path:/usr/local/bin/cert-rotator",
/// ]
/// expires_at = "2027-03-01T00:00:00Z"  # required, unless [identities] says otherwise
/// hint = "rotator"                     # may be absent, as all below
/// x509_lifetime = "30m"                # at most the trust domain's
/// jwt_lifetime = "2m"                  # at most the trust domain's
/// dns_names = ["rotator.prod.example.org"]
/// federates_with = ["partner.example.org"]   # whose bundles its callers get; in [[federation]]
/// repository = "github.com/example/agents@refs/heads/main"   # where its code was built from
/// audiences = ["https://ingress.prod.example.org"]   # of its JWT-SVIDs, exact; absent: any
/// may_delegate = false                 # whether it may hand on what it was granted; absent: true
/// may_act_for_others = false           # whether it may act for a person or another agent; absent: true
/// shared = true                        # another entry, which says so too, has the same SPIFFE ID; default false
/// reason = "two units of one agent"    # with `shared`, and only with it
/// ```
///
/// `[[template]]` is described at [`Template`].
///
/// The default identity of a process with several is the first: files in the order of their
/// names, entries in the order of their lines.
#[derive(Debug, Clone)]
pub struct TrustDomainFolder {
    /// The folder.
    pub path: PathBuf,
    /// `trust-domain.toml`.
    pub document: TrustDomainDocument,
    /// `entries/*.toml`, in the order of answers.
    pub entries: Vec<Entry>,
    /// `[[template]]` in `entries/*.toml`, as they are written.
    pub templates: Vec<Template>,
    /// The bundles of the trust domains in `[[federation]]` that have a file there, in its order.
    pub federated: Vec<Arc<Bundle>>,
    /// The keys in `[[oidc_issuers]]` and `[[authorization_servers]]` that have a file there, by the issuer's name.
    pub issuer_keys: BTreeMap<String, JwkSet>,
    /// `crls/*.crl` and `crls/*.pem`, in the order of their names.
    pub revocation_lists: Vec<RevocationList>,
}

impl TrustDomainFolder {
    /// Reads a folder. Only `trust-domain.toml`, `entries/*.toml`, the bundles that the document names and `crls/` are
    /// looked at.
    ///
    /// # Errors
    /// Everything that is wrong in any of the files, in the order of files and lines.
    pub fn load(path: &Path) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let document = load_document(path, &mut findings);
        let (entries, templates) = load_entries(path, &mut findings);
        let mut federated = Vec::new();
        let mut issuer_keys = BTreeMap::new();
        if let Some(document) = &document {
            check_together(document, &entries, &mut findings);
            check_templates(document, &entries, &templates, &mut findings);
            federated = trust::bundles(path, document, &mut findings);
            trust::endpoint_authorities(path, document, &mut findings);
            issuer_keys = trust::issuer_keys(path, document, &mut findings);
        }
        let revocation_lists = trust::revocation_lists(&path.join("crls"), &mut findings);
        match document {
            Some(document) if findings.is_empty() => {
                let path = path.to_owned();
                Ok(Self {
                    path,
                    document,
                    entries,
                    templates,
                    federated,
                    issuer_keys,
                    revocation_lists,
                })
            }
            _incomplete => {
                findings.sort();
                findings.dedup();
                Err(findings)
            }
        }
    }
}

fn load_document(path: &Path, findings: &mut Vec<Finding>) -> Option<TrustDomainDocument> {
    let file = path.join("trust-domain.toml");
    let text = read(&file, findings)?;
    let document = TrustDomainDocument::parse(&file, &text);
    document.map_err(|more| findings.extend(more)).ok()
}

fn load_entries(path: &Path, findings: &mut Vec<Finding>) -> (Vec<Entry>, Vec<Template>) {
    let (mut entries, mut templates) = (Vec::new(), Vec::new());
    for file in files(&path.join("entries"), &["toml"], findings) {
        let Some(text) = read(&file, findings) else { continue };
        let mut log = Log::new(&file, &text);
        if let Some(table) = parse(&mut log) {
            let mut top = Fields::top(&table);
            let tables = top.tables("entry", &mut log).into_iter();
            entries.extend(tables.filter_map(|table| entry(table, &file, &mut log)));
            let tables = top.tables("template", &mut log).into_iter();
            templates.extend(tables.filter_map(|table| template::read(table, &file, &mut log)));
            top.finish(&mut log);
        }
        findings.extend(log.into_findings());
    }
    (entries, templates)
}

/// The files of a folder with one of these endings, by name; a folder that is not there has none.
fn files(folder: &Path, endings: &[&str], findings: &mut Vec<Finding>) -> Vec<PathBuf> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            findings.push(unreadable(folder, &error));
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    for item in listing {
        match item {
            Ok(item) => files.push(item.path()),
            Err(error) => {
                findings.push(unreadable(folder, &error));
            }
        }
    }
    // What begins with a dot is an editor's.
    let hidden = |file: &Path| {
        file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    files.retain(|file| {
        !hidden(file)
            && file.extension().is_some_and(|found| endings.iter().any(|ending| found == *ending))
    });
    files.sort();
    files
}

fn entry(mut table: Fields<'_, '_>, file: &Path, log: &mut Log<'_>) -> Option<Entry> {
    let line = table.line();
    let id = table.text("id", log);
    let spiffe_id = table.text("spiffe_id", log);
    let shared = sharing(&mut table, log);
    let content = content(table, spiffe_id, log);
    let source = EntrySource::File { path: file.to_owned(), line };
    let entry = content?.into_entry(id?, source);
    let entry = entry.map_err(|error| log.coded(error.code(), line, error.to_string())).ok()?;
    Some(match shared {
        Some(reason) => entry.shared_because(reason),
        None => entry,
    })
}

/// `shared` and `reason`: neither says anything without the other.
fn sharing(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<SharingReason> {
    let line = table.line();
    let shared = table.optional_switch("shared", log).is_some_and(|field| field.value);
    let says_why = table.has("reason");
    let reason: Option<SharingReason> = table.optional_text("reason", log);
    match (shared, says_why) {
        (true, false) => {
            let message = "`reason` in [entry] is missing: an identity is shared for one, and somebody reviews it";
            log.coded(FindingCode::FieldMissing, line, message);
            None
        }
        (false, true) => {
            log.at(line, "`reason` in [entry] is why an identity is shared, and this one is not");
            None
        }
        (true, true) | (false, false) => reason,
    }
}

/// Everything that an entry says beside what it is called and whose it is.
pub(crate) fn content(
    mut table: Fields<'_, '_>,
    spiffe_id: Option<SpiffeId>,
    log: &mut Log<'_>,
) -> Option<NewEntry> {
    let role = table.text("role", log);
    let owner = table.text("owner", log);
    let selectors: Vec<Selector> = table.required_texts("selectors", log);
    let hint = table.optional_text("hint", log);
    let x509_lifetime = table.optional_text("x509_lifetime", log);
    let jwt_lifetime = table.optional_text("jwt_lifetime", log);
    let dns_names = table.texts("dns_names", log);
    let federates_with: Vec<TrustDomain> = table.texts("federates_with", log);
    let repository = table.optional_text("repository", log);
    let audiences = table.texts("audiences", log);
    if table.has("audiences") && audiences.is_empty() {
        // Nobody who writes an empty list means "any", and that is what no list says.
        log.at(table.line(), "`audiences` names no audience: leave it out for any, or name some");
    }
    let full = DelegateRights::default();
    let delegation = DelegateRights {
        may_delegate: switch(&mut table, "may_delegate", full.may_delegate, log),
        may_act_for_others: switch(&mut table, "may_act_for_others", full.may_act_for_others, log),
    };
    let says_end = table.has("expires_at");
    let expires_at: Option<Timestamp> = table.optional_text("expires_at", log);
    table.finish(log);
    if says_end && expires_at.is_none() {
        // It was found already; that it never ends would be said of it too.
        return None;
    }
    Some(NewEntry {
        spiffe_id: spiffe_id?,
        selectors: selectors.into_iter().collect(),
        role: role?,
        owner: owner?,
        hint,
        x509_lifetime,
        jwt_lifetime,
        dns_names,
        federates_with: federates_with.into_iter().collect(),
        repository,
        audiences: audiences.into_iter().collect(),
        delegation,
        expires_at,
    })
}

fn switch(table: &mut Fields<'_, '_>, key: &'static str, absent: bool, log: &mut Log<'_>) -> bool {
    table.optional_switch(key, log).map_or(absent, |found| found.value)
}

/// The rules that need the document or the other entries.
fn check_together(document: &TrustDomainDocument, entries: &[Entry], findings: &mut Vec<Finding>) {
    let mut ids: HashMap<_, String> = HashMap::new();
    let mut spiffe_ids: HashMap<_, (&Entry, String)> = HashMap::new();
    for entry in entries {
        let EntrySource::File { path, line } = entry.source() else { continue };
        let mut report = |code: FindingCode, message: String| {
            findings.push(Finding::at(path, *line, message).coded(code));
        };
        if let Err(error) = document.check(entry) {
            report(error.code(), error.to_string());
        }
        let here = format!("{}:{line}", path.display());
        if let Some(first) = ids.insert(entry.id(), here.clone()) {
            let message = format!("entry `{}` exists already at {first}", entry.id());
            report(FindingCode::EntryDuplicateId, message);
        }
        let Some((holder, first)) = spiffe_ids.insert(entry.spiffe_id(), (entry, here)) else {
            continue;
        };
        if !entry.may_share_with(holder) {
            let unlike = entry.sharing().is_some() && holder.sharing().is_some();
            let why = if unlike { ", with another role" } else { "" };
            let message =
                format!("SPIFFE ID `{}` exists already at {first}{why}", entry.spiffe_id());
            report(FindingCode::EntryDuplicateSpiffeId, message);
        }
    }
}

fn unreadable(file: &Path, error: &dyn std::fmt::Display) -> Finding {
    Finding::about(file, format!("cannot be read: {error}")).coded(FindingCode::FileUnreadable)
}

/// The rules of templates that need the document, the entries or the other templates.
fn check_templates(
    document: &TrustDomainDocument,
    entries: &[Entry],
    templates: &[Template],
    findings: &mut Vec<Finding>,
) {
    for (at, template) in templates.iter().enumerate() {
        let EntrySource::File { path, line } = template.source() else { continue };
        let mut report = |code: FindingCode, message: String| {
            findings.push(Finding::at(path, *line, message).coded(code));
        };
        if let Err(error) = document.check(template.shape()) {
            report(error.code(), error.to_string());
        }
        let id = template.id();
        let others = templates.iter().take(at);
        if entries.iter().map(Entry::id).chain(others.clone().map(Template::id)).any(|o| o == id) {
            let message = format!("an entry or a template `{id}` exists already");
            report(FindingCode::EntryDuplicateId, message);
        }
        for other in others.filter(|other| other.overlaps(template)) {
            let what = "both may give the same SPIFFE ID; tell them apart by a literal segment or by [template.values]";
            let message =
                format!("template `{id}` overlaps with template `{}`: {what}", other.id());
            report(FindingCode::EntryDuplicateSpiffeId, message);
        }
        for entry in entries.iter().filter(|entry| template.may_give(entry.spiffe_id())) {
            let what = "give the entry another path, or narrow the template by [template.values]";
            let message = format!(
                "template `{id}` covers `{}` of entry `{}`: {what}",
                entry.spiffe_id(),
                entry.id()
            );
            report(FindingCode::EntryDuplicateSpiffeId, message);
        }
    }
}

fn read(file: &Path, findings: &mut Vec<Finding>) -> Option<String> {
    let bytes = read_bytes(file, findings)?;
    let text = String::from_utf8(bytes);
    text.map_err(|error| findings.push(unreadable(file, &error))).ok()
}

fn read_bytes(file: &Path, findings: &mut Vec<Finding>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let result = std::fs::File::open(file)
        .and_then(|source| source.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match result {
        Ok(_) if bytes.len() as u64 > MAX_FILE => {
            let finding = Finding::about(file, format!("is larger than {MAX_FILE} bytes"));
            findings.push(finding.coded(FindingCode::FileUnreadable));
            None
        }
        Ok(_) => Some(bytes),
        Err(error) => {
            findings.push(unreadable(file, &error));
            None
        }
    }
}

#[cfg(test)]
mod tests;
