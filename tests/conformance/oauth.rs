//! The rules of the token service (`oauth.toml`), and the tests that show them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use regex::Regex;
use serde::Deserialize;

use super::page::{cell, row};
use super::tree::{Tree, root};

/// The negative list: its tests are named after cases, not after numbers.
const NEGATIVE: u32 = 21;

const HEAD: &str = "\
# OAuth conformance: each rule of the token service, and what shows it

Made from the names of the tests and from `tests/conformance/oauth.toml` by `MARQUE_WRITE_DOCS=1 cargo test --test
conformance`, and checked by the same test. A test named `oauth_7_3_…` shows rule OA-7.3, one named `oauth_7_…` its section,
`oauth_21_<case>…` a case of the negative list, `cve_…`, `ghsa_…` and `keycloak_…` a lesson; `test#row` is a row of that
test's table. The rules are in our own words. What is not met says why.
";

/// The data file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    drafts: Vec<Draft>,
    sections: Vec<Section>,
    lessons: Vec<Lesson>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: String,
    about: String,
    pinned_in: String,
    switch: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    number: u32,
    title: String,
    source: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    demands: String,
    case: Option<String>,
    #[serde(default)]
    tests: Vec<String>,
    not_met: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lesson {
    id: String,
    #[serde(default)]
    also: Vec<String>,
    demands: String,
    #[serde(default)]
    tests: Vec<String>,
}

impl Rules {
    pub(crate) fn read() -> Self {
        let file = root().join("tests/conformance/oauth.toml");
        toml::from_str(&fs::read_to_string(file).expect("the rules")).expect("well-formed rules")
    }

    /// Everything that is wrong, in sentences.
    pub(crate) fn findings(&self, tree: &Tree) -> Vec<String> {
        let mut findings = Vec::new();
        let mut seen = BTreeSet::new();
        for (id, shown, not_met) in self.entries(tree) {
            if !seen.insert(id.clone()) {
                findings.push(format!("{id} is there twice"));
            }
            match (shown.is_empty(), not_met) {
                (true, false) => findings.push(format!("{id} has neither a test nor a reason")),
                (false, true) => findings.push(format!("{id} has tests and is not met")),
                (true, true) | (false, false) => {}
            }
        }
        findings.extend(self.misplaced());
        findings.extend(
            self.listed()
                .filter(|test| !tree.has(test))
                .map(|test| format!("`{test}` is listed and is no test")),
        );
        findings.extend(
            tree.names()
                .filter(|name| self.is_unknown(name))
                .map(|name| format!("`{name}` is named after a rule that does not exist")),
        );
        findings
    }

    /// What is wrong with the table of drafts.
    pub(crate) fn drafts(&self, sources: &[String]) -> Vec<String> {
        let mut findings = Vec::new();
        for draft in &self.drafts {
            let module = fs::read_to_string(root().join(&draft.pinned_in)).unwrap_or_default();
            if !module.contains(&draft.name) {
                findings.push(format!("{} is not pinned in `{}`", draft.name, draft.pinned_in));
            }
        }
        let pinned = Regex::new(r"\bdraft-[a-z0-9-]+-\d\d\b").expect("an expression");
        let known: BTreeSet<&str> = self.drafts.iter().map(|draft| draft.name.as_str()).collect();
        let found: BTreeSet<&str> = sources
            .iter()
            .flat_map(|source| pinned.find_iter(source))
            .map(|found| found.as_str())
            .collect();
        findings.extend(found.difference(&known).map(|name| format!("{name} is in no table")));
        findings
    }

    pub(crate) fn page(&self, tree: &Tree) -> String {
        let mut page = HEAD.to_owned();
        page.push_str(
            "\n## Drafts\n\n| draft | what of it | pinned in | switch |\n|---|---|---|---|\n",
        );
        for Draft { name, about, pinned_in, switch } in &self.drafts {
            writeln!(page, "| {name} | {about} | `{pinned_in}` | {switch} |").expect("text");
        }
        for section in &self.sections {
            let Section { number, title, source, rules } = section;
            let also = section.also(tree);
            write!(page, "\n## {number}. {title}\n\n{source}.\n\n| rule | demands | shown by |\n|---|---|---|\n")
                .expect("text");
            for rule in rules {
                let shown = match &rule.not_met {
                    Some(reason) => format!("not met: {reason}"),
                    None => cell(rule.shown(*number, tree)),
                };
                page.push_str(&row(&rule.id, &rule.demands, &shown));
            }
            if !also.is_empty() {
                write!(page, "\nAlso: {}\n", cell(also)).expect("text");
            }
        }
        page.push_str("\n## Lessons from published vulnerabilities\n\n| lesson | demands | shown by |\n|---|---|---|\n");
        for lesson in &self.lessons {
            let id = std::iter::once(&lesson.id).chain(&lesson.also).cloned().collect::<Vec<_>>();
            page.push_str(&row(&id.join(", "), &lesson.demands, &cell(lesson.shown(tree))));
        }
        page
    }

    /// Each rule and lesson with its tests, and whether it is not met.
    fn entries<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = (String, Vec<&'a str>, bool)> {
        let rules = self.sections.iter().flat_map(move |section| {
            section.rules.iter().map(move |rule| {
                (rule.id.clone(), rule.shown(section.number, tree), rule.not_met.is_some())
            })
        });
        let lessons = self.lessons.iter();
        rules.chain(lessons.map(|lesson| (lesson.id.clone(), lesson.shown(tree), false)))
    }

    /// Rules whose id does not tell where they stand.
    fn misplaced(&self) -> impl Iterator<Item = String> {
        self.sections.iter().flat_map(|section| {
            let rules = section.rules.iter().zip(1..);
            rules.filter_map(|(rule, number): (_, u32)| {
                let id = format!("OA-{}.{number}", section.number);
                let fits = rule.id == id && rule.case.is_some() == (section.number == NEGATIVE);
                (!fits).then(|| format!("{} is not where {id} belongs", rule.id))
            })
        })
    }

    fn listed(&self) -> impl Iterator<Item = &str> {
        let rules = self.sections.iter().flat_map(|section| &section.rules);
        let rules = rules.flat_map(|rule| &rule.tests);
        rules.chain(self.lessons.iter().flat_map(|lesson| &lesson.tests)).map(String::as_str)
    }

    /// Whether a test's name cites a rule or a lesson, and there is none.
    fn is_unknown(&self, name: &str) -> bool {
        let rules: BTreeMap<u32, usize> =
            self.sections.iter().map(|section| (section.number, section.rules.len())).collect();
        if let Some(rest) = name.strip_prefix("oauth_") {
            let mut parts = rest.split('_').map(|part| part.parse::<u32>().ok());
            return match (parts.next().flatten(), parts.next().flatten()) {
                (None, _) => false,
                (Some(section), None) => !rules.contains_key(&section),
                (Some(NEGATIVE), Some(_)) => false,
                (Some(section), Some(rule)) => {
                    rules.get(&section).is_none_or(|last| !(1..=*last).contains(&(rule as usize)))
                }
            };
        }
        let cites = ["cve_", "ghsa_", "keycloak_"].iter().any(|prefix| name.starts_with(prefix));
        let known = |lesson: &Lesson| lesson.prefixes().any(|prefix| name.starts_with(&prefix));
        cites && !self.lessons.iter().any(known)
    }
}

impl Section {
    /// The tests of the section that show none of its rules by themselves.
    fn also<'a>(&self, tree: &'a Tree) -> Vec<&'a str> {
        let shown: BTreeSet<&str> =
            self.rules.iter().flat_map(|rule| rule.shown(self.number, tree)).collect();
        let listed: BTreeSet<&str> =
            shown.iter().filter_map(|test| test.split_once('#')).map(|(name, _)| name).collect();
        let prefix = format!("oauth_{}_", self.number);
        let tests = tree.names().filter(|name| name.starts_with(&prefix));
        tests.filter(|name| !shown.contains(name) && !listed.contains(name)).collect()
    }
}

impl Rule {
    /// The tests that are named after it, and those that are listed.
    fn shown<'a>(&'a self, section: u32, tree: &'a Tree) -> Vec<&'a str> {
        let number = self.id.rsplit('.').next().unwrap_or_default();
        let name = self.case.as_deref().unwrap_or(number);
        shown(
            tree,
            [format!("oauth_{section}_{name}_"), format!("oauth_{section}_{name}$")],
            &self.tests,
        )
    }
}

impl Lesson {
    fn shown<'a>(&'a self, tree: &'a Tree) -> Vec<&'a str> {
        shown(tree, self.prefixes(), &self.tests)
    }

    /// How the names of its tests begin.
    fn prefixes(&self) -> impl Iterator<Item = String> {
        std::iter::once(&self.id).chain(&self.also).map(|id| {
            let plain =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
            format!("{}_", id.chars().map(plain).collect::<String>())
        })
    }
}

/// The tests that begin with one of the prefixes, or are named by one that ends with `$`, and those that are listed.
fn shown<'a>(
    tree: &'a Tree,
    prefixes: impl IntoIterator<Item = String>,
    listed: &'a [String],
) -> Vec<&'a str> {
    let prefixes: Vec<String> = prefixes.into_iter().collect();
    let named = tree.names().filter(|name| {
        prefixes.iter().any(|prefix| match prefix.strip_suffix('$') {
            Some(whole) => *name == whole,
            None => name.starts_with(prefix),
        })
    });
    let tests: BTreeSet<&str> = named.chain(listed.iter().map(String::as_str)).collect();
    tests.into_iter().collect()
}
