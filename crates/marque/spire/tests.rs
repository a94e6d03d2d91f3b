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
        partners: [("partner.example.org".parse().unwrap(), Environment::Production)].into(),
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

#[test]
fn no_partner_is_taken_for_one_of_the_own_environment_that_nobody_named_as_one() {
    let unsaid = Wanted { partners: BTreeMap::new(), ..wanted() };
    let error = convert(&spire(), &unsaid).unwrap_err();
    assert_eq!(error, ConvertError::Partners(vec!["partner.example.org".parse().unwrap()]));
    let across = [("partner.example.org".parse().unwrap(), Environment::NonProduction)];
    let unasked = [("nobody.example.org".parse().unwrap(), Environment::Production)];
    let partners = across.into_iter().chain(unasked).collect();
    let converted = convert(&spire(), &Wanted { partners, ..wanted() }).unwrap();
    assert!(converted.federation.is_empty());
    assert!(converted.entries.iter().all(|one| one.entry.federates_with.is_empty()));
    let boundary: Vec<&Note> =
        converted.notes.iter().filter(|note| note.code == NoteCode::Boundary).collect();
    let [boundary] = boundary.as_slice() else { panic!("{boundary:?}") };
    assert_eq!(
        (boundary.left_out, boundary.lost.as_slice()),
        (false, &["partner.example.org".to_owned()][..])
    );
    let general = converted.notes.iter().filter(|note| note.entry.is_none());
    let told: Vec<&str> = general.map(|note| note.message.as_str()).collect();
    assert!(told.iter().any(|told| told.contains("`nobody.example.org`")), "{told:?}");
}

#[test]
fn an_entry_below_an_alias_of_nodes_is_for_the_pods_of_these_and_no_others() {
    let entry = |path: &str, parent: &str, selectors: [(&str, &str); 2]| {
        let selectors: Vec<_> = selectors
            .iter()
            .filter(|(kind, _)| !kind.is_empty())
            .map(|(kind, value)| serde_json::json!({ "type": kind, "value": value }))
            .collect();
        let id = |path| serde_json::json!({ "trust_domain": "example.org", "path": path });
        serde_json::json!({
            "id": path.trim_start_matches('/'), "spiffe_id": id(path), "parent_id": id(parent), "selectors": selectors,
        })
    };
    let alias = |node| {
        let selectors = [("k8s_psat", node), ("k8s_psat", "cluster:prod")];
        entry("/fleet", "/spire/server", selectors)
    };
    let pod = entry("/agent", "/fleet", [("k8s", "ns:agents"), ("", "")]);
    let entries = serde_json::json!({
        "entries": [alias("agent_node_name:n1"), alias("agent_node_name:n2"), pod],
    });
    let entries = parse_spire_entries(entries.to_string().as_bytes()).unwrap();
    let spire = FromSpire { entries, ..FromSpire::default() };
    let converted = convert(&spire, &wanted()).unwrap();
    let selectors: Vec<Vec<String>> = converted
        .entries
        .iter()
        .map(|one| one.entry.selectors.iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(
        selectors,
        [["k8s:node-name:n1", "k8s:ns:agents"], ["k8s:node-name:n2", "k8s:ns:agents"]]
    );
    assert!(converted.entries.iter().all(|one| one.shared.is_some()), "they are one identity");
    let of = |code| converted.notes.iter().find(|note: &&Note| note.code == code).unwrap();
    assert_eq!(of(NoteCode::Flattened).instead, ["k8s:node-name:n1", "k8s:node-name:n2"]);
    assert_eq!(of(NoteCode::Parent).lost, ["k8s_psat:cluster:prod"]);
    let parent = TempDir::new().unwrap();
    write(&converted, &wanted(), &parent.path().join("example.org"), false).unwrap();
}

#[test]
fn a_file_of_entries_is_no_larger_than_a_folder_may_have_however_long_they_are() {
    let mut spire = spire();
    let one = spire.entries.swap_remove(1);
    let many = |count: usize| {
        let entries = (0..count).map(|number| {
            let labels = (0..30).map(|label| format!("docker:label:l{label}:{}", "x".repeat(100)));
            SpireEntry {
                id: format!("e{number}"),
                spiffe_id: format!("spiffe://example.org/service/e{number}"),
                selectors: labels.collect(),
                ..one.clone()
            }
        });
        let spire = FromSpire { entries: entries.collect(), ..FromSpire::default() };
        let (converted, parent) = (convert(&spire, &wanted()).unwrap(), TempDir::new().unwrap());
        let folder = parent.path().join("example.org");
        write(&converted, &wanted(), &folder, false).unwrap();
        assert_eq!(check(&folder).unwrap().folder.entries.len(), count);
        let sizes =
            fs::read_dir(folder.join("entries")).unwrap().map(|file| file.unwrap().metadata());
        sizes.map(|size| size.unwrap().len()).collect::<Vec<_>>()
    };
    let sizes = many(400);
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= 1024 * 1024), "{sizes:?}");
    assert_eq!(many(3).len(), 1);
}
