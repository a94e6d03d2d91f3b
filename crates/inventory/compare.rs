//! What is known of credentials: which playbook permits the same, and which of them somebody answers for.
//!
//! ```toml
//! [[replaced_by]]                        # what a playbook permits, in the words of the report
//! reach = "aws:123456789012"
//! playbook = "queue-replay"
//!
//! [[exceptions]]                         # what stays for now
//! file = "/home/deploy/.aws/credentials"
//! name = "legacy"                        # may be absent: all of the file
//! owner = "group:platform"
//! reason = "the vendor's tool takes nothing else"
//! until = "2027-01-31"                   # from that day on it is an exception no more
//! ```
//!
//! Deliberately absent: whether a playbook permits all that a credential opens. Nobody can tell that from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::Date;
use serde::Deserialize;

use crate::Credential;

/// What is known of credentials.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    #[serde(default)]
    replaced_by: Vec<ReplacedBy>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplacedBy {
    reach: String,
    playbook: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    file: PathBuf,
    name: Option<String>,
    owner: String,
    reason: String,
    until: Date,
}

/// Why a file says nothing that is known.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// It is not TOML, or has other fields.
    #[error("the file of what is known does not read")]
    Syntax(#[source] toml::de::Error),
    /// An exception without an owner or a reason is none.
    #[error("the exception of `{0}` has no owner or no reason")]
    Unowned(PathBuf),
    /// It names a playbook that there is not.
    #[error("there is no playbook `{0}`")]
    Playbook(String),
}

/// What playbooks permit, by their ids.
#[derive(Debug, Clone, Default)]
pub struct Permitted(BTreeMap<String, Vec<String>>);

impl Permitted {
    /// Adds a playbook with the texts that say what it permits: audiences and resources.
    pub fn add(&mut self, playbook: &str, permits: impl IntoIterator<Item = String>) {
        self.0.entry(playbook.to_owned()).or_default().extend(permits);
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first playbook that names what a credential opens: an account, a project, a host.
    fn for_reach(&self, reach: &str) -> Option<&str> {
        let (_, what) = reach.split_once(':')?;
        let what = what.split_once("://").map_or(what, |(_, rest)| rest);
        let what = what.split('/').next().filter(|what| what.len() >= 4 && *what != "unknown")?;
        let named = |permits: &&Vec<String>| permits.iter().any(|text| has_word(text, what));
        self.0.iter().find(|(_, permits)| named(permits)).map(|(playbook, _)| playbook.as_str())
    }
}

impl Known {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`KnownError`].
    pub fn parse(text: &str, permitted: &Permitted) -> Result<Self, KnownError> {
        let known: Self = toml::from_str(text).map_err(KnownError::Syntax)?;
        let unowned =
            |one: &&Exception| one.owner.trim().is_empty() || one.reason.trim().is_empty();
        if let Some(unowned) = known.exceptions.iter().find(unowned) {
            return Err(KnownError::Unowned(unowned.file.clone()));
        }
        let unknown = |one: &&ReplacedBy| !permitted.0.contains_key(&one.playbook);
        if let Some(unknown) = known.replaced_by.iter().find(unknown) {
            return Err(KnownError::Playbook(unknown.playbook.clone()));
        }
        Ok(known)
    }

    /// Says of each credential which playbook permits the same, and who answers for it.
    pub fn apply(&self, credentials: &mut [Credential], permitted: &Permitted, today: Date) {
        for credential in credentials {
            let mut told = self.replaced_by.iter();
            let told = told.find(|one| one.reach == credential.reach);
            let told = told.map(|one| one.playbook.as_str());
            let playbook = told.or_else(|| permitted.for_reach(&credential.reach));
            credential.playbook = playbook.map(ToOwned::to_owned);
            let mut exceptions = self.exceptions.iter();
            let exception = exceptions.find(|one| {
                one.file == credential.place.file
                    && one.name.as_ref().is_none_or(|name| *name == credential.place.name)
                    && today < one.until
            });
            credential.exception = exception.map(|one| one.owner.clone());
        }
    }
}

/// Whether a text has another between characters that no name of an account or host has.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playbook_permits_what_it_names_whole() {
        let mut permitted = Permitted::default();
        permitted.add("replay", ["audience https://sqs.example.org/queue".to_owned()]);
        permitted.add("rotate", ["resource arn:aws:iam::123456789012:role/x".to_owned()]);
        for (reach, playbook) in [
            ("host:sqs.example.org", Some("replay")),
            ("kubernetes:https://sqs.example.org", Some("replay")),
            ("aws:123456789012", Some("rotate")),
            ("aws:12345678901", None),
            ("host:example.org", None),
            ("host:qs.example.org", None),
            ("gcp:unknown", None),
            ("env:iam", None),
        ] {
            assert_eq!(permitted.for_reach(reach), playbook, "{reach}");
        }
    }

    #[test]
    fn an_exception_has_an_owner_a_reason_and_an_end_and_a_playbook_is_one() {
        let mut permitted = Permitted::default();
        permitted.add("replay", []);
        let good = "[[replaced_by]]\nreach = \"aws:1\"\nplaybook = \"replay\"\n[[exceptions]]\nfile = \"/a\"\nowner = \"group:x\"\n\
                    reason = \"y\"\nuntil = \"2027-01-31\"\n";
        assert!(Known::parse(good, &permitted).is_ok());
        for (from, to) in [
            ("\"replay\"", "\"other\""),
            ("\"group:x\"", "\" \""),
            ("reason = \"y\"\n", ""),
            ("until = \"2027-01-31\"\n", ""),
            ("2027-01-31", "soon"),
            ("reach", "reaches"),
        ] {
            assert!(Known::parse(&good.replace(from, to), &permitted).is_err(), "{to}");
        }
    }
}
