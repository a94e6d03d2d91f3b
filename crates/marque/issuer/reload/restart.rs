//! What stays as long as the process runs: a folder that wants it otherwise is for the next start.

use std::path::Path;

use marque_registry::{Finding, TrustDomainDocument};

/// Something that is taken from the document once.
struct Fixed {
    /// As the document has it.
    name: &'static str,
    /// How its line begins.
    begins: &'static [&'static str],
    /// Why a running process keeps it.
    why: &'static str,
    differs: fn(&TrustDomainDocument, &TrustDomainDocument) -> bool,
}

const FIXED: [Fixed; 15] = [
    Fixed {
        name: "name",
        begins: &["name"],
        why: "keys, store and sockets are its own",
        differs: |was, is| was.name() != is.name(),
    },
    Fixed {
        name: "environment",
        begins: &["environment"],
        why: "keys and store are of one environment for good",
        differs: |was, is| was.environment() != is.environment(),
    },
    Fixed {
        name: "[issuer]",
        begins: &["[issuer", "listen", "url"],
        why: "the listener is bound and its address is in tokens",
        differs: |was, is| was.hosts() != is.hosts(),
    },
    Fixed {
        name: "[lifetimes]",
        begins: &["[lifetimes"],
        why: "the signing authorities were made for them",
        differs: |was, is| {
            let of = |document: &TrustDomainDocument| {
                (
                    document.ca_lifetime(),
                    document.x509_svid_lifetime(),
                    document.jwt_svid_lifetime(),
                    document.wit_svid_lifetime(),
                    document.refresh_hint(),
                )
            };
            of(was) != of(is)
        },
    },
    Fixed {
        name: "[keys]",
        begins: &["[keys"],
        why: "the private keys are where it said",
        differs: |was, is| was.keys() != is.keys(),
    },
    Fixed {
        name: "[authorities]",
        begins: &["[authorities"],
        why: "the signing authorities go by it",
        differs: |was, is| was.authorities() != is.authorities(),
    },
    Fixed {
        name: "[tokens] max_lifetime",
        begins: &["[tokens"],
        why: "keys are published for as long as tokens last, which may become less but not more",
        differs: |was, is| was.max_access_token_lifetime() < is.max_access_token_lifetime(),
    },
    Fixed {
        name: "[bundle_endpoint]",
        begins: &["[bundle_endpoint"],
        why: "the listener is bound",
        differs: |was, is| was.bundle_endpoint() != is.bundle_endpoint(),
    },
    Fixed {
        name: "[downstream]",
        begins: &["[downstream"],
        why: "the listener is bound, and the keys sign for those that it lists",
        differs: |was, is| was.downstream() != is.downstream(),
    },
    Fixed {
        name: "[upstream]",
        begins: &["[upstream"],
        why: "the signing authorities were opened with it",
        differs: |was, is| {
            let of = |document: &TrustDomainDocument| {
                document.upstream().map(|rule| (rule.signer().clone(), rule.pinned_roots().clone()))
            };
            of(was) != of(is)
        },
    },
    Fixed {
        name: "[oidc_discovery]",
        begins: &["[oidc_discovery"],
        why: "JWT-SVIDs name the issuer that it says",
        differs: |was, is| was.oidc_discovery() != is.oidc_discovery(),
    },
    Fixed {
        name: "[workload_api]",
        begins: &["[workload_api"],
        why: "its socket is served so",
        differs: |was, is| was.workload_api() != is.workload_api(),
    },
    Fixed {
        name: "[limits]",
        begins: &["[limits"],
        why: "open connections are counted by them",
        differs: |was, is| was.limits() != is.limits(),
    },
    Fixed {
        name: "[attestation]",
        begins: &["[attestation"],
        why: "the attestors are set up",
        differs: |was, is| was.attestation() != is.attestation(),
    },
    Fixed {
        name: "[[brokers]]",
        begins: &["[[brokers"],
        why: "their socket is served so",
        differs: |was, is| was.brokers() != is.brokers(),
    },
];

/// What of `now` a running process that began with `before` cannot take; `text` is the document as it is written in `file`.
pub(super) fn needed(
    before: &TrustDomainDocument,
    now: &TrustDomainDocument,
    (file, text): (&Path, &str),
) -> Vec<Finding> {
    let differing = FIXED.iter().filter(|fixed| (fixed.differs)(before, now));
    let finding = |fixed: &Fixed| {
        let Fixed { name, begins, why, differs: _ } = fixed;
        let message = format!(
            "`{name}` cannot change while the daemon runs ({why}): restart it, or write it as it was"
        );
        match line_of(text, begins) {
            Some(line) => Finding::at(file, line, message),
            None => Finding::about(file, message),
        }
    };
    differing.map(finding).collect()
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
        let text = format!("{DOCUMENT}\n[limits]\nconnections = 7\n");
        let found = needed(&before, &parsed(&text), (file, &text));
        let [found] = found.as_slice() else { panic!("{found:?}") };
        let line = text.lines().position(|line| line == "[limits]").unwrap() + 1;
        assert_eq!(found.line, Some(line));
        assert!(found.message.contains("`[limits]`") && found.message.contains("restart"));
    }

    #[test]
    fn a_line_is_not_taken_for_another_that_begins_alike() {
        let text = "names = 1\n  name = \"a\"\n[limits_of_ours]\n[limits.more]\n";
        assert_eq!(line_of(text, &["name"]), Some(2));
        assert_eq!(line_of(text, &["[limits"]), Some(4));
        assert_eq!(line_of(text, &["[brokers"]), None);
    }
}
