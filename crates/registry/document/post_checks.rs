//! `[post_checks]`: how those are asked whom playbooks name to say whether reported work was done.
//!
//! Where each is asked is in its playbook (`on_complete.verify`). Absent: asking.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::federation::Readable;
use super::issuer_keys::duration;
use crate::fields::{Fields, Log};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// `[post_checks]`. Everything may be absent.
///
/// ```toml
/// [post_checks]
/// ca_file = "post-checks/ca.pem"       # for https: PEM, below the folder or absolute
/// timeout = "5s"                       # of one question; may be absent: 5s; at most 10s
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostCheckSettings {
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

impl PostCheckSettings {
    /// The PEM file with the authorities that are believed, where one is asked over TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// How long one question may take.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Reads the table.
pub(super) fn read(top: &mut Fields<'_, '_>, log: &mut Log<'_>) -> PostCheckSettings {
    let mut settings = PostCheckSettings { ca_file: None, timeout: DEFAULT_TIMEOUT };
    let Some(mut table) = top.optional_table("post_checks", log) else { return settings };
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    settings.ca_file = ca_file.map(|Readable(path)| path);
    if let Some(timeout) = duration(&mut table, "timeout", (DEFAULT_TIMEOUT, MAX_TIMEOUT), log) {
        settings.timeout = timeout;
    }
    table.finish(log);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn parsed(section: &str) -> Result<PostCheckSettings, String> {
        TrustDomainDocument::parse(Path::new("t.toml"), &format!("{DOCUMENT}\n{section}"))
            .map(|document| document.post_checks().clone())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn how_post_checks_are_asked_has_bounds() {
        let none = parsed("").unwrap();
        assert_eq!((none.ca_file(), none.timeout()), (None, DEFAULT_TIMEOUT));
        let some = parsed("[post_checks]\nca_file = \"ca.pem\"\ntimeout = \"10s\"").unwrap();
        assert_eq!((some.ca_file(), some.timeout()), (Some(Path::new("ca.pem")), MAX_TIMEOUT));
        for (bad, because) in [
            ("timeout = \"11s\"", "`timeout` in"),
            ("ca_file = \"../ca.pem\"", "`ca_file` in"),
            ("url = \"https://verify.example.org\"", "url"),
        ] {
            let found = parsed(&format!("[post_checks]\n{bad}")).unwrap_err();
            assert!(found.contains(because), "{bad}: {found}");
        }
    }
}
