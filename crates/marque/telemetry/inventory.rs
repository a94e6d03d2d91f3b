//! How many agent workflows still work with stored secrets: a number that the daemon cannot know, from a file that an
//! inventory writes, in the Prometheus text format.
//!
//! ```text
//! marque_inventory_stored_secret_workflows{trust_domain="prod.example.org"} 3
//! ```
//!
//! Without the file, or without a line for a trust domain, nothing is said of it: no number is better than a wrong one.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::samples;

/// The one metric that is read.
const METRIC: &str = "marque_inventory_stored_secret_workflows";
/// How large the file may be.
const MAX_BYTES: u64 = 64 * 1024;

/// The file, read anew each time.
#[derive(Debug, Clone)]
pub(crate) struct Textfile(PathBuf);

/// Workflows on stored secrets, by trust domain.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Inventory(BTreeMap<String, f64>);

impl Textfile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What it says now; nothing, with a word in the log, where it cannot be read.
    pub(crate) fn read(&self) -> Inventory {
        match text(&self.0) {
            Ok(text) => Inventory::of(&text),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, path = %self.0.display(), "the numbers of the inventory cannot be read");
                Inventory::default()
            }
        }
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        Ok(text)
    } else {
        Err(std::io::Error::other(format!("it has more than {MAX_BYTES} bytes")))
    }
}

impl Inventory {
    /// What a text says. Less than none, a fraction, and what is no number are left out.
    pub(crate) fn of(text: &str) -> Self {
        let whole = |value: f64| value.is_finite() && value >= 0.0 && value.fract() == 0.0;
        let told = samples::read(text).into_iter();
        let told = told.filter(|sample| sample.name == METRIC && whole(sample.value));
        Self(told.map(|sample| (sample.label("trust_domain").to_owned(), sample.value)).collect())
    }

    /// How many there are in a trust domain, if that is known.
    pub(crate) fn stored_secrets(&self, trust_domain: &str) -> Option<f64> {
        self.0.get(trust_domain).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_or_it_is_not() {
        let text = "# HELP x y\n\
            marque_inventory_stored_secret_workflows{trust_domain=\"prod.example.org\"} 3\n\
            marque_inventory_stored_secret_workflows{trust_domain=\"a.example.org\"} -1\n\
            marque_inventory_stored_secret_workflows{trust_domain=\"b.example.org\"} 1.5\n\
            marque_inventory_stored_secret_workflows{trust_domain=\"c.example.org\"} NaN\n\
            other{trust_domain=\"d.example.org\"} 1\n";
        let known = Inventory::of(text);
        assert_eq!(known.stored_secrets("prod.example.org"), Some(3.0));
        for name in ["a", "b", "c", "d"] {
            assert_eq!(known.stored_secrets(&format!("{name}.example.org")), None);
        }
    }

    #[test]
    fn a_file_that_is_too_large_or_not_there_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.prom");
        assert_eq!(Textfile::new(path.clone()).read(), Inventory::default());
        let line = format!("{METRIC}{{trust_domain=\"prod.example.org\"}} 3\n");
        std::fs::write(&path, &line).unwrap();
        assert_eq!(Textfile::new(path.clone()).read(), Inventory::of(&line));
        let length = usize::try_from(MAX_BYTES).unwrap();
        std::fs::write(&path, format!("{line}{}", " ".repeat(length))).unwrap();
        assert_eq!(Textfile::new(path).read(), Inventory::default());
    }
}
