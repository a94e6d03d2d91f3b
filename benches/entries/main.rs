//! What many registration entries cost: reading them from a folder, holding them, finding a caller's, changing one.
//!
//! `cargo bench --bench entries` prints, for 100,000 and 1,000,000 entries, the time to read and check a folder that has them, to read
//! them out of SQLite and to take them up; the memory that each takes; the time to match a caller and what a thousand templates
//! add to that; the time until one more entry is served, until one that changed is where all are given anew, and until one more is
//! durable in SQLite. The floor beside a match is one look-up in a hash map, the floor beside a folder is its text parsed as TOML.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

mod stored;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use marque_registry::{
    Entry, EntrySource, NewEntry, Registry, Template, TrustDomainDocument, TrustDomainFolder,
};
use marque_spiffe::{Selector, SelectorSet};

const SIZES: [usize; 2] = [100_000, 1_000_000];
const IN_EACH_FILE: usize = 2_000;
const TEMPLATES: usize = 1_000;
const MATCHES: usize = 100_000;
const CHANGES: usize = 20;

const DOCUMENT: &str = r#"
name = "prod.example.org"
environment = "production"
tenant = "example"

[lifetimes]
authority = "30d"
x509_svid = "1h"
jwt_svid = "5m"
refresh_hint = "5m"

[issuer]
listen = "127.0.0.1:8443"

[tokens]
max_lifetime = "10m"
"#;

fn main() {
    // `cargo bench -- --list` and the like want no measurement.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        measure();
    }
}

fn measure() {
    println!(
        "\n| entries | taken up s | bytes each | match µs | floor µs | with templates µs | one added ms | one changed ms |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for size in SIZES {
        println!("{}", row(size));
    }
    println!(
        "\n| entries | folder read and checked s | floor s | out of SQLite s | one more, durable ms |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for size in SIZES {
        println!("{}", read_row(size));
    }
}

/// How long it takes to read so many, out of files and out of SQLite.
fn read_row(size: usize) -> String {
    let scratch = tempfile::tempdir().expect("a folder");
    write_folder(scratch.path(), size);
    let started = Instant::now();
    let folder = TrustDomainFolder::load(scratch.path()).expect("a folder without findings");
    let read = started.elapsed().as_secs_f64();
    assert_eq!(folder.entries.len(), size, "not all were read");
    drop(folder);
    let floor = parsed(scratch.path());
    let entries: Vec<Entry> = (0..size).map(entry).collect();
    let (stored, created) = stored::measure(&entries, entry);
    format!("| {size} | {read:.2} | {floor:.2} | {stored:.2} | {created:.2} |")
}

/// The least that a folder costs: every file read, and parsed as TOML.
fn parsed(folder: &Path) -> f64 {
    let files = std::fs::read_dir(folder.join("entries")).expect("a folder");
    let started = Instant::now();
    for file in files {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        black_box(toml::de::DeTable::parse(&text).expect("TOML"));
    }
    started.elapsed().as_secs_f64()
}

fn row(size: usize) -> String {
    let entries: Vec<Entry> = (0..size).map(entry).collect();
    let callers: Vec<SelectorSet> =
        (0..MATCHES).map(|number| caller(number * 7_919 % size)).collect();
    let before = resident();
    // Made anew, so that no text is shared with the list above.
    let own: Vec<Entry> = (0..size).map(entry).collect();
    let started = Instant::now();
    let registry = Registry::new(document(), own).expect("a registry");
    let load = started.elapsed().as_secs_f64();
    let each = resident().saturating_sub(before) / size;
    let found = each_micros(&callers, |caller| registry.snapshot().entries_for(caller).len());
    let floor = floor(size, &callers);
    let templated =
        Registry::with_templates(document(), Vec::<Entry>::new(), templates()).expect("a registry");
    let derived = each_micros(&callers, |caller| templated.snapshot().derive(caller).len());
    let added = added_millis(&registry, size);
    let changed = changed_millis(&registry, entries);
    format!(
        "| {size} | {load:.2} | {each} | {found:.2} | {floor:.3} | {:.2} | {added:.1} | {changed:.1} |",
        found + derived
    )
}

/// The median time until one more entry is served.
fn added_millis(registry: &Registry, size: usize) -> f64 {
    let mut taken: Vec<f64> = (0..CHANGES)
        .map(|number| {
            let one = entry(size + number);
            let started = Instant::now();
            registry.add(one).expect("one more");
            started.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken.get(CHANGES / 2).copied().unwrap_or_default()
}

/// The median time of a reload that differs in one entry, as a reconciler does it.
fn changed_millis(registry: &Registry, mut entries: Vec<Entry>) -> f64 {
    let mut taken: Vec<f64> = (0..CHANGES)
        .map(|number| {
            let at = number * 31;
            let mut content = entries.get(at).expect("an entry").content().clone();
            content.owner = format!("group:owner-{number}").parse().expect("an owner");
            let changed = content.into_entry(id(at), EntrySource::Admin).expect("an entry");
            *entries.get_mut(at).expect("an entry") = changed;
            let next = entries.clone();
            let started = Instant::now();
            registry.replace_all(next).expect("entries");
            started.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken.get(CHANGES / 2).copied().unwrap_or_default()
}

/// As much work as there has to be: one look-up by the one selector that tells the caller apart.
fn floor(size: usize, callers: &[SelectorSet]) -> f64 {
    let map: HashMap<Selector, usize> =
        (0..size).map(|number| (selector(&format!("k8s:sa:agent-{number}")), number)).collect();
    each_micros(callers, |caller| caller.iter().filter(|one| map.contains_key(*one)).count())
}

fn each_micros(callers: &[SelectorSet], mut work: impl FnMut(&SelectorSet) -> usize) -> f64 {
    let started = Instant::now();
    let found: usize = callers.iter().map(|caller| black_box(work(caller))).sum();
    let taken = started.elapsed().as_secs_f64() * 1e6;
    assert!(found >= callers.len(), "some caller earned nothing");
    taken / f64::from(u32::try_from(callers.len()).expect("few"))
}

fn selector(text: &str) -> Selector {
    text.parse().expect("a selector")
}

fn id(number: usize) -> marque_registry::EntryId {
    format!("entry-{number}").parse().expect("an id")
}

/// What a pod attests as.
fn caller(number: usize) -> SelectorSet {
    [
        format!("k8s:ns:team-{}", number % 500),
        format!("k8s:sa:agent-{number}"),
        "k8s:container-name:agent".to_owned(),
        format!("k8s:pod-uid:{number:032x}"),
        "unix:uid:1000".to_owned(),
        "unix:gid:1000".to_owned(),
    ]
    .iter()
    .map(|text| selector(text))
    .collect()
}

fn entry(number: usize) -> Entry {
    let new = NewEntry {
        spiffe_id: format!("spiffe://prod.example.org/agent/team-{}/agent-{number}", number % 500)
            .parse()
            .expect("a SPIFFE ID"),
        selectors: [
            format!("k8s:ns:team-{}", number % 500),
            format!("k8s:sa:agent-{number}"),
            "k8s:container-name:agent".to_owned(),
        ]
        .iter()
        .map(|text| selector(text))
        .collect(),
        role: marque_registry::EntryRole::Agent,
        owner: format!("group:team-{}", number % 500).parse().expect("an owner"),
        hint: None,
        x509_lifetime: None,
        jwt_lifetime: None,
        dns_names: Vec::new(),
        federates_with: Default::default(),
        repository: None,
        audiences: Default::default(),
        delegation: Default::default(),
        expires_at: Some(jiff::Timestamp::MAX),
    };
    new.into_entry(id(number), EntrySource::Admin).expect("an entry")
}

fn document() -> Arc<TrustDomainDocument> {
    let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), DOCUMENT);
    Arc::new(document.expect("a document"))
}

/// A thousand templates, each with a namespace of its own, of which a caller fits one or none.
fn templates() -> Vec<Template> {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    for number in 0..TEMPLATES {
        write!(
            text,
            "[[template]]\nid = \"t{number}\"\nspiffe_id = \"spiffe://prod.example.org/t{number}/{{k8s:sa}}\"\n\
             role = \"agent\"\nowner = \"group:team\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"k8s:ns:team-{number}\"]\nmax_identities = 1000000\n"
        )
        .expect("text");
    }
    write(scratch.path(), &[("templates.toml".to_owned(), text)]);
    TrustDomainFolder::load(scratch.path()).expect("templates").templates
}

fn write_folder(folder: &Path, entries: usize) {
    let mut files = Vec::new();
    for first in (0..entries).step_by(IN_EACH_FILE) {
        let mut text = String::new();
        for number in first..(first + IN_EACH_FILE).min(entries) {
            let team = number % 500;
            write!(
                text,
                "[[entry]]\nid = \"entry-{number}\"\nspiffe_id = \"spiffe://prod.example.org/agent/team-{team}/agent-{number}\"\n\
                 role = \"agent\"\nowner = \"group:team-{team}\"\n\
                 expires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"k8s:ns:team-{team}\", \"k8s:sa:agent-{number}\", \"k8s:container-name:agent\"]\n"
            )
            .expect("text");
        }
        files.push((format!("{first:08}.toml"), text));
    }
    write(folder, &files);
}

fn write(folder: &Path, files: &[(String, String)]) {
    std::fs::write(folder.join("trust-domain.toml"), DOCUMENT).expect("a document");
    let entries = folder.join("entries");
    std::fs::create_dir(&entries).expect("a folder");
    for (name, text) in files {
        std::fs::write(entries.join(name), text).expect("a file");
    }
}

/// How much memory the process has, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("pages") * 4096
}
