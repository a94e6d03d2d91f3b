//! The tests in the tree: their names, and the text around them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Every source below `crates` and `tests`, and the names of the tests in them.
#[derive(Debug)]
pub(crate) struct Tree {
    sources: Vec<String>,
    names: BTreeSet<String>,
}

impl Tree {
    pub(crate) fn read() -> Self {
        let test =
            Regex::new(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)\(")
                .expect("an expression");
        let sources = sources(&[root().join("crates"), root().join("tests")]);
        // A case of the suite that every storage engine passes.
        let case = Regex::new(r"pub\(crate\) async fn (\w+)\(\s*engine: impl Engine\b")
            .expect("an expression");
        let names = sources
            .iter()
            .flat_map(|source| test.captures_iter(source).chain(case.captures_iter(source)));
        let names = names.map(|found| found.extract::<1>().1[0].to_owned()).collect();
        Self { sources, names }
    }

    /// All tests, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether there is a test of this name; `name#row` is a row of its table as well.
    pub(crate) fn has(&self, test: &str) -> bool {
        match test.split_once('#') {
            None => self.names.contains(test),
            Some((name, row)) => {
                let row = format!("\"{row}\"");
                self.names.contains(name) && self.sources.iter().any(|source| source.contains(&row))
            }
        }
    }
}

/// Where the tree is.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The texts of all sources in these folders and below.
pub(crate) fn sources(folders: &[PathBuf]) -> Vec<String> {
    let mut sources = Vec::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(fs::read_to_string(path).expect("a source"));
            }
        }
    }
    sources
}
