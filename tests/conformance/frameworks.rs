//! `docs/frameworks.md`: the table that events are tagged by, as people read it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use marque_audit::format::frameworks::{ALL, Control, controls};
use marque_audit::{Event, EventKind};
use marque_intent::{DenialClass, DenialCode};

use super::page;

const HEAD: &str = "\
# Frameworks

Which events and refusals of Marque are evidence about which control, risk, layer or tenet of published frameworks, and what
the product does about it. Records carry the same as tags in every form: `metadata.labels` and `unmapped.frameworks` of OCSF, the
attribute `frameworks` of CloudEvents, `tags` of CADF, the column `frameworks` of CSV, `marque.frameworks` of OpenTelemetry logs
([audit.md](audit.md)).

A tag says that an event bears on a control, not that the control is fulfilled: that is for whoever assesses an organisation. Rows
without events say what the product leaves to others. Of NIST's AI RMF and CSF, only what it bears on is listed. OWASP's GenAI
Security Project publishes the first of these lists.

<!-- Everything below is written by a test from the table of tags. -->
";

/// The page.
fn page() -> String {
    let mut page = HEAD.to_owned();
    for framework in ALL {
        let columns = "| tag | its title | what Marque does | events | refusals of class |\n|---|---|---|---|---|";
        put(&mut page, format_args!("\n## {}\n\n{columns}\n", framework.name));
        for Control { tag, title, how, kinds, classes } in framework.controls {
            let kinds = list(kinds.iter().map(|kind| short(*kind)));
            let classes = list(classes.iter().copied());
            put(&mut page, format_args!("| `{tag}` | {title} | {how} | {kinds} | {classes} |\n"));
        }
    }
    put(&mut page, format_args!("\n## By event\n\n| event | tags |\n|---|---|\n"));
    for kind in EventKind::ALL {
        let tags = list(controls().filter(|one| one.kinds.contains(&kind)).map(|one| one.tag));
        put(&mut page, format_args!("| `{}` | {tags} |\n", short(kind)));
    }
    let head = "\n## By refusal\n\nAn event with a code of the class has these beside its own.\n\n| class | codes | tags |\n|---|---|---|\n";
    put(&mut page, format_args!("{head}"));
    for class in DenialClass::ALL {
        let name = class.as_str();
        let codes = DenialCode::ALL.iter().copied().filter(|code| code.class() == class);
        let codes = list(codes.map(DenialCode::as_str));
        let tags = list(controls().filter(|one| one.classes.contains(&name)).map(|one| one.tag));
        put(&mut page, format_args!("| `{name}` | {codes} | {tags} |\n"));
    }
    page
}

fn put(page: &mut String, what: std::fmt::Arguments<'_>) {
    page.write_fmt(what).expect("text takes text");
}

fn short(kind: EventKind) -> &'static str {
    kind.as_str().strip_prefix("org.marque.").expect("a kind of ours")
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "–".to_owned() } else { names.join(" ") }
}

#[test]
fn the_page_of_frameworks_is_what_events_are_tagged_by() {
    page::check("docs/frameworks.md", &page()).unwrap();
}

#[test]
fn every_tag_is_of_the_page_and_every_tag_of_the_page_is_in_the_table() {
    let page = page();
    let known: BTreeSet<&str> = controls().map(|control| control.tag).collect();
    let shown: BTreeSet<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| ALL.iter().any(|one| text.starts_with(&format!("{}:", one.prefix))))
        .collect();
    assert_eq!(known, shown);
    for kind in EventKind::ALL {
        let event = Event::new(kind, jiff::Timestamp::UNIX_EPOCH);
        for tag in marque_audit::format::frameworks::tags(&event) {
            assert!(known.contains(tag), "{tag}");
        }
    }
}

#[test]
fn every_class_of_a_control_is_one_of_refusals() {
    let classes: BTreeSet<&str> = DenialClass::ALL.into_iter().map(DenialClass::as_str).collect();
    for control in controls() {
        for class in control.classes {
            assert!(classes.contains(class), "{}: {class}", control.tag);
        }
    }
}
