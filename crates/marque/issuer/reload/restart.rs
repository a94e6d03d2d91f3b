//! What stays as long as the process runs: a folder that wants it otherwise is for the next start.

use std::fmt;
use std::path::Path;

use marque_registry::{Finding, TrustDomainDocument};

/// Something that is taken from the document once.
pub(crate) struct Fixed {
    /// As the document has it.
    name: &'static str,
    /// Where it stands in the document.
    path: &'static str,
    /// How its line begins.
    begins: &'static [&'static str],
    /// Why a running process keeps it.
    why: &'static str,
    differs: fn(&TrustDomainDocument, &TrustDomainDocument) -> bool,
}

const FIXED: [Fixed; 6] = [
    Fixed {
        name: "`name`",
        path: "name",
        begins: &["name"],
        why: "keys, store and sockets are its own",
        differs: |was, is| was.name() != is.name(),
    },
    Fixed {
        name: "`environment`",
        path: "environment",
        begins: &["environment"],
        why: "keys and store are of one environment for good",
        differs: |was, is| was.environment() != is.environment(),
    },
    Fixed {
        name: "`url` in [issuer]",
        path: "issuer.url",
        begins: &["[issuer"],
        why: "it is in every token that was issued, and those who verify tokens know it",
        differs: |was, is| was.hosts().url() != is.hosts().url(),
    },
    Fixed {
        name: "`listen` in [issuer] without a `url`",
        path: "issuer.listen",
        begins: &["[issuer"],
        why: "its port is in the issuer identifier, which every token names",
        differs: |was, is| {
            let port = |document: &TrustDomainDocument| document.hosts().listen().port();
            is.hosts().url().is_none() && was.hosts().url().is_none() && port(was) != port(is)
        },
    },
    Fixed {
        name: "`[keys]`",
        path: "keys",
        begins: &["[keys"],
        why: "the private keys are where it said",
        differs: |was, is| was.keys() != is.keys(),
    },
    Fixed {
        name: "`[upstream]`",
        path: "upstream",
        begins: &["[upstream"],
        why: "whoever signs the certificates of the signing authorities was asked by it",
        differs: |was, is| {
            let of = |document: &TrustDomainDocument| {
                document.upstream().map(|rule| (rule.signer().clone(), rule.pinned_roots().clone()))
            };
            of(was) != of(is)
        },
    },
];

/// What of `now` a running process that began with `before` cannot take; `text` is the document as it is written in `file`.
pub(super) fn needed(
    before: &TrustDomainDocument,
    now: &TrustDomainDocument,
    (file, text): (&Path, &str),
) -> Vec<Finding> {
    let finding = |fixed: &Fixed| {
        let message = format!("{fixed}: restart it, or write it as it was");
        match line_of(text, fixed.begins) {
            Some(line) => Finding::at(file, line, message),
            None => Finding::about(file, message),
        }
    };
    differing(before, now).map(finding).collect()
}

/// What differs of what a running process keeps.
pub(crate) fn differing(
    before: &TrustDomainDocument,
    now: &TrustDomainDocument,
) -> impl Iterator<Item = &'static Fixed> {
    FIXED.iter().filter(|fixed| (fixed.differs)(before, now))
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, why, .. } = self;
        write!(f, "{name} cannot change while the daemon runs ({why})")
    }
}

impl Fixed {
    /// Whether this is what stands at a place of the document.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The first line that begins so; none where all of it was taken out.
fn line_of(text: &str, begins: &[&str]) -> Option<usize> {
    begins.iter().find_map(|begin| {
        let found = text.lines().position(|line| {
            let rest = line.trim_start().strip_prefix(begin);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        found.map(|at| at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../registry/folder/tests/trust-domain.toml");

    fn parsed(text: &str) -> TrustDomainDocument {
        TrustDomainDocument::parse(Path::new("trust-domain.toml"), text).unwrap()
    }

    #[test]
    fn the_line_of_what_changed_is_told() {
        let before = parsed(DOCUMENT);
        let file = Path::new("trust-domain.toml");
        assert_eq!(needed(&before, &before, (file, DOCUMENT)), []);
        let text = format!("{DOCUMENT}\n[keys]\nkind = \"memory\"\n");
        let found = needed(&before, &parsed(&text), (file, &text));
        let [found] = found.as_slice() else { panic!("{found:?}") };
        let line = text.lines().position(|line| line == "[keys]").unwrap() + 1;
        assert_eq!(found.line, Some(line));
        assert!(found.message.contains("`[keys]`") && found.message.contains("restart"));
        // What a running process takes is no finding.
        let text = format!("{DOCUMENT}\n[limits]\nconnections = 7\n");
        assert_eq!(needed(&before, &parsed(&text), (file, &text)), []);
    }

    #[test]
    fn a_line_is_not_taken_for_another_that_begins_alike() {
        let text = "names = 1\n  name = \"a\"\n[limits_of_ours]\n[limits.more]\n";
        assert_eq!(line_of(text, &["name"]), Some(2));
        assert_eq!(line_of(text, &["[limits"]), Some(4));
        assert_eq!(line_of(text, &["[brokers"]), None);
    }
}
