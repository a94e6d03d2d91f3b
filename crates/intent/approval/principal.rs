//! The names of people and groups, as owners and exclusions are written: `kind:name`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Approver, MAX_NAME_LEN};

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// `group:sre`: everybody who is in the approver group of that name.
    Group,
    /// `user:alice`: the local user of that name.
    User,
    /// `uid:1000`: the local user with that number.
    Uid,
    /// `person:corp:248289`: whom the `[[oidc_issuers]]` of that name calls so.
    Person,
    /// `email:alice@example.org`: who logged in with that verified address.
    Email,
}

/// The name of a person or a group: `group:`, `user:`, `uid:`, `person:` or `email:` and 1 to 256 printable characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Principal {
    kind: PrincipalKind,
    text: String,
}

/// The text names neither a person nor a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a person or group is written `group:`, `user:`, `uid:`, `person:` or `email:` and a name")]
pub struct PrincipalError;

impl PrincipalKind {
    const ALL: [Self; 5] = [Self::Group, Self::User, Self::Uid, Self::Person, Self::Email];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::User => "user",
            Self::Uid => "uid",
            Self::Person => "person",
            Self::Email => "email",
        }
    }
}

impl Principal {
    /// The name that somebody has at the identity provider that the trust domain's document calls `issuer`: the form of
    /// delegators in tokens, after `person:`.
    ///
    /// # Errors
    /// One of the two is empty, too long or not printable.
    pub fn person(issuer: &str, subject: &str) -> Result<Self, PrincipalError> {
        format!("person:{issuer}:{subject}").parse()
    }

    /// What it is a name of.
    #[must_use]
    pub const fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The name after the kind.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, name)| name)
    }

    /// Whether both are the same name. Nobody has two mailboxes that differ in capitals alone.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let mail = self.kind == PrincipalKind::Email && other.kind == PrincipalKind::Email;
        self == other || (mail && self.text.eq_ignore_ascii_case(&other.text))
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        let (kind, name) = text.split_once(':').ok_or(PrincipalError)?;
        let kind = PrincipalKind::ALL
            .into_iter()
            .find(|one| one.as_str() == kind)
            .ok_or(PrincipalError)?;
        let printable = !name.chars().any(|one| one.is_control() || one.is_whitespace());
        if name.is_empty() || name.len() > MAX_NAME_LEN || !printable {
            return Err(PrincipalError);
        }
        Ok(Self { kind, text: text.to_owned() })
    }
}

impl TryFrom<String> for Principal {
    type Error = PrincipalError;

    fn try_from(text: String) -> Result<Self, PrincipalError> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.text
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Approver {
    /// The names that the approver has whatever the edge knows: a local user's name and number.
    #[must_use]
    pub fn names(&self) -> BTreeSet<Principal> {
        let texts = match self {
            Self::Operator { uid, user } => vec![format!("uid:{uid}"), format!("user:{user}")],
            Self::Person(_) => Vec::new(),
        };
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is_of() {
        for good in ["group:sre", "user:alice", "uid:0", "person:corp:a|b", "email:a@example.org"] {
            let parsed: Principal = good.parse().unwrap();
            assert_eq!(parsed.as_str(), good);
            assert_eq!(format!("{}:{}", parsed.kind().as_str(), parsed.name()), good);
        }
        let of = |text: &str| text.parse::<Principal>().unwrap();
        assert!(of("email:Alice@example.org").is(&of("email:alice@Example.org")));
        assert!(
            !of("user:Alice").is(&of("user:alice")) && !of("email:a@b.c").is(&of("user:a@b.c"))
        );
        let long = format!("user:{}", "a".repeat(MAX_NAME_LEN + 1));
        for bad in ["alice", "team:sre", "user:", ":alice", "user:a b", "user:a\u{7}", &long] {
            assert!(bad.parse::<Principal>().is_err(), "{bad}");
        }
    }
}
