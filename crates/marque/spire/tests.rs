use std::fs;

use tempfile::TempDir;

use super::*;
use crate::issuer::folder::check;
use marque_registry::{parse_spire_bundles, parse_spire_entries};

const ENTRIES: &str = include_str!("../../registry/spire/tests/entries.json");
const BUNDLES: &str = include_str!("../../registry/spire/tests/bundles.json");

fn wanted() -> Wanted {
    Wanted {
        trust_domain: None,
        environment: Environment::Production,
        tenant: "example".parse().unwrap(),
        owner: "group:platform".parse().unwrap(),
        agents: vec!["spiffe://example.org/agent/*".parse().unwrap()],
        x509_svid: "1h".parse().unwrap(),
        jwt_svid: "5m".parse().unwrap(),
    }
}

fn spire() -> FromSpire {
    let bundles = parse_spire_bundles(BUNDLES.as_bytes()).unwrap();
    let bundles =
        bundles.iter().map(|one| (one.trust_domain.parse().unwrap(), one.to_bundle().unwrap()));
    let entries = parse_spire_entries(ENTRIES.as_bytes()).unwrap();
    FromSpire { entries, bundles: bundles.collect(), notes: Vec::new() }
}

fn notes_of<'a>(converted: &'a Converted, id: &str) -> Vec<(NoteCode, bool)> {
    let of = |note: &&'a Note| note.entry.as_deref().is_some_and(|entry| entry.ends_with(id));
    converted.notes.iter().filter(of).map(|note| (note.code, note.left_out)).collect()
}

#[test]
fn every_entry_is_there_or_said_to_be_left_out_and_why() {
    let spire = spire();
    let converted = convert(&spire, &wanted()).unwrap();
    use NoteCode::{
        Admin, Downstream, Federation, Lifetime, Merged, NodeAlias, Parent, Selector, StoreSvid,
    };
    for (id, notes) in [
        ("f01", vec![(Parent, false)]),
        ("f03", vec![(Parent, false), (Merged, false)]),
        ("f06", vec![(Lifetime, false), (Admin, false), (Parent, false)]),
        ("f07", vec![(Downstream, true)]),
        ("f08", vec![(NodeAlias, true)]),
        ("f09", vec![(StoreSvid, true)]),
        ("f0a", vec![(Selector, true)]),
        ("f0b", vec![(Federation, false), (Parent, false)]),
    ] {
        assert_eq!(notes_of(&converted, id), notes, "{id}: {:#?}", converted.notes);
    }
    let left_out = converted.notes.iter().filter(|note| note.left_out).count();
    let merged = converted.notes.iter().filter(|note| note.code == Merged).count();
    assert_eq!(converted.entries.len() + left_out + merged, spire.entries.len());
    let web: Vec<_> = converted.entries.iter().filter(|one| one.shared.is_some()).collect();
    assert_eq!(web.len(), 2, "two entries of one identity share it");
    let agents = converted.entries.iter().filter(|one| one.entry.role == EntryRole::Agent);
    assert_eq!(agents.count(), 1);
    assert!(converted.federation.keys().map(TrustDomain::as_str).eq(["partner.example.org"]));
}

#[test]
fn what_is_written_is_sound_and_nothing_is_written_over() {
    let (converted, parent) = (convert(&spire(), &wanted()).unwrap(), TempDir::new().unwrap());
    let folder = parent.path().join("example.org");
    write(&converted, &wanted(), &folder, true).unwrap();
    assert!(!folder.exists(), "a dry run writes nothing");
    write(&converted, &wanted(), &folder, false).unwrap();
    let checked = check(&folder).unwrap();
    assert_eq!(checked.folder.document.name().as_str(), "example.org");
    assert_eq!(checked.folder.entries.len(), converted.entries.len());
    assert_eq!(checked.folder.federated.len(), 1);
    let billing =
        checked.folder.entries.iter().find(|one| one.id().as_str().ends_with("f01")).unwrap();
    assert_eq!(billing.x509_lifetime().unwrap().as_secs(), 1800);
    assert_eq!(billing.expires_at().unwrap().to_string(), "2030-01-01T00:00:00Z");
    let text = fs::read_to_string(folder.join("entries/spire-0001.toml")).unwrap();
    assert!(text.contains("# below spiffe://example.org/spire/agent/k8s_psat/prod/node-1 there"));
    let error = write(&converted, &wanted(), &folder, false).unwrap_err();
    assert!(matches!(error, WriteError::Exists(_)), "{error}");
    let left: Vec<_> = fs::read_dir(parent.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside the folder");
}

#[test]
fn entries_of_several_trust_domains_want_one_named() {
    let mut spire = spire();
    spire.entries[1].spiffe_id = "spiffe://other.example.org/a".to_owned();
    assert!(matches!(
        convert(&spire, &wanted()).unwrap_err(),
        ConvertError::SeveralTrustDomains(_, _)
    ));
    let named = Wanted { trust_domain: Some("example.org".parse().unwrap()), ..wanted() };
    let converted = convert(&spire, &named).unwrap();
    assert_eq!(notes_of(&converted, "f02"), [(NoteCode::OtherTrustDomain, true)]);
    assert!(convert(&FromSpire::default(), &wanted()).is_err());
}

#[test]
fn an_id_that_no_entry_can_have_is_made_one_that_is_unique() {
    let mut spire = spire();
    spire.entries.truncate(2);
    spire.entries[0].id = "Billing Agent".to_owned();
    spire.entries[1].id = "billing-agent".to_owned();
    let converted = convert(&spire, &wanted()).unwrap();
    let ids: Vec<&str> = converted.entries.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["billing-agent", "billing-agent-2"]);
}
