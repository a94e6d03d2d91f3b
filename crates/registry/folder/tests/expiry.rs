//! `without_expiry` in `[identities]`: whether anything is registered for ever (M 25).

use super::{DOCUMENT, ENTRY, TrustDomainFolder, folder};
use crate::{EntrySource, FindingCode, NewEntry, Registry, RegistryError};

const ENDS: &str = "expires_at = \"2031-01-01T00:00:00Z\"\n";
const TEMPLATE: &str = "[[template]]\nid = \"team\"\nspiffe_id = \"spiffe://example.org/team/{unix:user}\"\nrole = \"agent\"\n\
                        owner = \"group:a\"\nselectors = [\"unix:path:/bin/a\"]\nmax_identities = 5\n";

/// The codes of what is found with `without_expiry` set to this, or absent, and their lines.
fn found(rule: &str, entries: &str) -> Vec<(FindingCode, Option<usize>)> {
    let rule = match rule {
        "" => String::new(),
        rule => format!("[identities]\nwithout_expiry = \"{rule}\"\n"),
    };
    let document = format!("{DOCUMENT}\n{rule}");
    let folder = folder(&document, &[("a.toml", entries)]);
    let found = TrustDomainFolder::load(folder.path()).err().unwrap_or_default();
    found.into_iter().map(|finding| (finding.code, finding.line)).collect()
}

#[test]
fn m_25_an_entry_and_a_template_without_an_end_are_findings_unless_the_document_says_otherwise() {
    let entry = ENTRY.replace(ENDS, "");
    assert_ne!(entry, ENTRY);
    for rule in ["", "refuse"] {
        assert_eq!(found(rule, &entry), [(FindingCode::EntryNoExpiry, Some(2))]);
        assert_eq!(found(rule, TEMPLATE), [(FindingCode::EntryNoExpiry, Some(1))]);
    }
    for (rule, entries) in [
        ("warn", entry),
        ("warn", TEMPLATE.to_owned()),
        ("", ENTRY.to_owned()),
        ("refuse", ENTRY.to_owned()),
        ("refuse", format!("{TEMPLATE}{ENDS}")),
    ] {
        assert_eq!(found(rule, &entries), [], "{rule} {entries}");
    }
}

#[test]
fn m_25_nor_is_an_entry_taken_by_command_that_never_ends() {
    let folder = folder(DOCUMENT, &[("a.toml", ENTRY)]);
    let folder = TrustDomainFolder::load(folder.path()).unwrap();
    let mut content: NewEntry = folder.entries[0].content().clone();
    let registry = Registry::new(folder.document.into(), Vec::new()).unwrap();
    let entry =
        |content: NewEntry| content.into_entry("b".parse().unwrap(), EntrySource::Admin).unwrap();
    registry.check(&entry(content.clone())).unwrap();
    content.expires_at = None;
    assert_eq!(registry.check(&entry(content.clone())), Err(RegistryError::NoExpiry));
    assert_eq!(registry.add(entry(content)).unwrap_err(), RegistryError::NoExpiry);
}
