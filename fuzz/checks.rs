//! What must hold for any bytes at all, parser by parser. The fuzz targets feed it bytes that a fuzzer makes up, and
//! `tests/corpora.rs` the corpora that are kept.
//!
//! A check panics when a rule is broken. Refusing bytes is always right; what must not happen is a crash, or that what was
//! accepted reads differently the second time.

#![allow(dead_code, unused_imports, reason = "each fuzz target uses one of the checks")]

#[path = "checks/exchange.rs"]
mod exchange;
#[path = "checks/intent.rs"]
mod intent;
#[path = "checks/spiffe.rs"]
mod spiffe;

use std::str::from_utf8;

use marque_attest::cgroup::{CgroupRoot, Cgroups, ContainerId};
use marque_audit::folder::TilePath;
use marque_audit::{Correlation, CosignerKey, Hash, TlogProof, VerifierKey, witness};
use marque_inventory::{FingerprintKey, Format, MAX_FOUND};
use marque_registry::{
    IdTemplate, MAX_SPIRE_BUNDLES, MAX_SPIRE_ENTRIES, ValuePattern, parse_spire_bundles,
    parse_spire_entries,
};
use marque_spiffe::{Bundle, SpiffeId, TrustDomain};
use marque_ssf::{EventType, MAX_SET_BYTES, Subject, UnverifiedSet};

pub(crate) use self::exchange::*;
pub(crate) use self::intent::*;
pub(crate) use self::spiffe::*;

/// A caller may name a trace and nothing else: the request's own id stays, and what is believed is in the text.
pub(crate) fn traceparent(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let own = Correlation::begin([7; 16]);
    let hinted = own.hinted(Some(text));
    assert_eq!(hinted.request, own.request);
    match hinted.parent {
        Some(parent) => {
            let named = format!("-{}-", hinted.trace);
            assert!(text.contains(&named) && parent.as_bytes() != &[0; 8]);
            assert_eq!(
                own.hinted(Some(&format!("00-{}-0000000000000001-01", hinted.trace))).trace,
                hinted.trace
            );
        }
        None => assert_eq!(hinted, own),
    }
}

/// What SPIRE printed is read within its limits; a bundle that comes of it reads as one, and is of the trust domain that it
/// names.
pub(crate) fn spire(bytes: &[u8]) {
    if let Ok(entries) = parse_spire_entries(bytes) {
        assert!(entries.len() <= MAX_SPIRE_ENTRIES);
        for entry in &entries {
            assert!(entry.selectors.iter().all(|selector| selector.contains(':')));
        }
    }
    let Ok(bundles) = parse_spire_bundles(bytes) else { return };
    assert!(bundles.len() <= MAX_SPIRE_BUNDLES);
    for found in bundles {
        let Ok(bundle) = found.to_bundle() else { continue };
        let name: TrustDomain = found.trust_domain.parse().expect("a bundle has a trust domain");
        let document = bundle.to_document().to_string();
        let again = Bundle::parse(name, document.as_bytes()).expect("what was written is read");
        assert_eq!(again, bundle);
    }
}

/// A SET that is read is within its limits, is about one subject that is written as it was read, and is never an access
/// token (RFC 8417, SSF 1.0 section 4).
pub(crate) fn security_event(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(set) = UnverifiedSet::parse(text) else { return };
    assert!(text.len() <= MAX_SET_BYTES);
    let subject = set.dangerous_unverified_subject();
    assert_eq!(Subject::parse(&subject.to_value()).as_ref(), Ok(subject));
    let event = set.dangerous_unverified_event();
    assert_eq!(EventType::of_uri(&event.kind().uri()), Some(event.kind()));
}

/// A file of credentials, whatever its format, is refused or gives a bounded number of them; what is shown of a secret has a
/// fixed length. The first byte says which format it is read as.
pub(crate) fn inventory_file(bytes: &[u8]) {
    const FORMATS: [Format; 12] = [
        Format::AwsCredentials,
        Format::AwsConfig,
        Format::GoogleCloud,
        Format::Kubeconfig,
        Format::Netrc,
        Format::Npmrc,
        Format::Pypirc,
        Format::DockerConfig,
        Format::GithubWorkflow,
        Format::GitlabCi,
        Format::Environment,
        Format::GitCredentials,
    ];
    let Some((first, text)) = bytes.split_first() else { return };
    let place = usize::from(first.wrapping_sub(b'a'));
    let Some(format) = FORMATS.get(place) else { return };
    let Ok(found) = format.parse(text) else { return };
    assert!(found.len() <= MAX_FOUND);
    let key = FingerprintKey::new(&[7; 16]).expect("a key");
    for one in &found {
        assert!(!one.reach.is_empty());
        let shown = one.secret.as_ref().map(|secret| key.fingerprint(secret).to_string());
        assert!(shown.is_none_or(|shown| shown.len() == 16));
    }
}

/// A container that a cgroup file names stands in the file, whole.
pub(crate) fn cgroup(bytes: &[u8]) {
    let Ok(cgroups) = Cgroups::parse(bytes) else { return };
    for root in ["/", "/user.slice/user-1000.slice/user@1000.service"] {
        let Ok(Some(container)) = cgroups.container(&CgroupRoot::new(root)) else { continue };
        let id = container.id().as_str();
        assert!(ContainerId::new(id).is_some());
        assert!(bytes.windows(id.len()).any(|window| window == id.as_bytes()));
    }
}

/// The files below `/proc/PID` that pins and attestors read: what parses says what the bytes say.
pub(crate) fn proc_file(bytes: &[u8]) {
    use marque_attest::proc;
    // The name in the file may be anything, so whatever stands before the last `)` changes nothing.
    let stat = proc::parse_stat(bytes);
    let named = [b"1 ) S 2 ".as_slice(), bytes].concat();
    assert!(stat.is_none() || proc::parse_stat(&named) == stat);
    if let Some(status) = proc::parse_status(bytes) {
        let more = [bytes, b"\nUid:\t0\t0\t0\t0\n".as_slice()].concat();
        assert_eq!(proc::parse_status(&more), Some(status), "the first line counts");
    }
    if let Some(arguments) = proc::parse_cmdline(bytes) {
        let again: Vec<u8> = arguments.iter().flat_map(|arg| [*arg, b"\0"].concat()).collect();
        assert_eq!(again, bytes);
    }
    if let Some(variables) = proc::parse_environ(bytes) {
        let again = variables.iter().flat_map(|one| [one.name, b"=", one.value, b"\0"].concat());
        assert_eq!(again.collect::<Vec<u8>>(), bytes);
    }
    if let Some(auxv) = proc::parse_auxv(bytes) {
        assert!(auxv.page_size.is_power_of_two());
        assert_eq!(
            proc::parse_auxv(&[bytes, &[0xff; 16]].concat()),
            Some(auxv),
            "it ends where it ends"
        );
    }
}

/// A proof that is read is written as it was read, and nothing of it is proven by a key that signed nothing.
pub(crate) fn tlog_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(proof) = TlogProof::parse(text) else { return };
    assert_eq!(TlogProof::parse(&proof.to_text()).expect("what we write we read"), proof);
    let key = VerifierKey::new("example.org/marque/audit", [7; 32]).expect("a key");
    assert!(proof.verify(&key).is_err());
}

/// What a witness answers is a size in its one spelling, or lines of which none is a cosignature of a key that never signed.
pub(crate) fn witness_answer(bytes: &[u8]) {
    if let Some(size) = witness::size(bytes) {
        assert_eq!(format!("{size}\n").as_bytes(), bytes);
    }
    let key = CosignerKey::new("witness.example.org/w1", [7; 32]).expect("a key");
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(read) = text.parse::<CosignerKey>() {
        assert_eq!(read.to_string(), text);
    }
    let note = format!("example.org/marque/audit\n7\n{}\n\n{text}", Hash::of_empty_tree());
    assert!(!matches!(key.find(&note), Ok(Some(_))));
}

/// The name of a tile has one spelling.
pub(crate) fn tile_path(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(tile) = text.parse::<TilePath>() else { return };
    assert_eq!(tile.to_path().to_str(), Some(format!("tile/{text}").as_str()));
    assert!((1..=256).contains(&tile.width()));
}

/// A template of SPIFFE IDs reads back as it was written, and whatever stands for a selector's value gives one ID of the
/// template's form or none.
pub(crate) fn entry_template(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let (id, value) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(template) = id.parse::<IdTemplate>() else { return };
    assert_eq!(template.to_string(), id);
    let filled = template
        .placeholders()
        .fold(id.to_owned(), |id, place| id.replace(&format!("{{{place}}}"), value));
    if let Ok(spiffe_id) = filled.parse::<SpiffeId>() {
        assert_eq!(spiffe_id.trust_domain(), template.trust_domain());
        // A value with a slash in it would make more segments than the template has.
        if !value.contains('/') {
            assert_eq!(spiffe_id.segments().count(), id.split('/').count() - 3);
        }
    }
    if let Ok(pattern) = value.parse::<ValuePattern>() {
        assert_eq!(pattern.to_string(), value);
        assert!(value.contains('*') || pattern.matches(value));
    }
}

/// A backup is refused, or its manifest names nothing outside of a backup.
pub(crate) fn backup(bytes: &[u8]) {
    let Ok(manifest) = marque::backup::inspect(bytes) else { return };
    for file in &manifest.files {
        assert!(!file.path.contains("..") && !file.path.starts_with('/'));
        assert!(file.bytes <= bytes.len() as u64);
    }
}
