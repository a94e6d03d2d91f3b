//! `[[operators]]`: who may use the admin socket beside the daemon's own user.

use std::str::FromStr;

use crate::fields::{Fields, Log};

/// One of `[[operators]]`: a local user who may use the admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRule {
    principal: OperatorPrincipal,
    groups: Vec<String>,
    persons: Vec<String>,
    emails: Vec<String>,
}

/// How an operator is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OperatorPrincipal {
    /// By numeric user id.
    Uid(u32),
    /// By user name.
    User(String),
}

impl OperatorRule {
    /// Who it is.
    pub fn principal(&self) -> &OperatorPrincipal {
        &self.principal
    }

    /// The approver groups of this operator.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Who the same human being is at identity providers: `<name of the issuer>:<sub>`, so that nobody counts twice.
    pub fn persons(&self) -> &[String] {
        &self.persons
    }

    /// The addresses of the same human being, as owners and authors are written after `email:`.
    pub fn emails(&self) -> &[String] {
        &self.emails
    }

    /// Whether the rule is about the user with this id and, where it is known, this name.
    pub fn matches(&self, uid: u32, user: Option<&str>) -> bool {
        match &self.principal {
            OperatorPrincipal::Uid(own) => *own == uid,
            OperatorPrincipal::User(own) => Some(own.as_str()) == user,
        }
    }
}

pub(super) fn read(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<OperatorRule> {
    let user: Option<Name> = table.optional_text("user", log);
    let uid = table.optional_number("uid", log);
    let groups: Vec<Name> = table.texts("groups", log);
    let persons: Vec<Name> = table.texts("persons", log);
    let emails: Vec<Address> = table.texts("emails", log);
    let line = table.line();
    table.finish(log);
    let principal = match (user, uid) {
        (Some(Name(user)), None) => OperatorPrincipal::User(user),
        (None, Some(uid)) => OperatorPrincipal::Uid(uid),
        _both_or_none => {
            log.at(line, "[operators] needs exactly one of `user` and `uid`");
            return None;
        }
    };
    let groups = groups.into_iter().map(|Name(group)| group).collect();
    let persons = persons.into_iter().map(|Name(person)| person).collect();
    let emails = emails.into_iter().map(|Address(email)| email).collect();
    Some(OperatorRule { principal, groups, persons, emails })
}

/// A mailbox: a name with one `@` in it.
struct Address(String);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Name(address) = text.parse()?;
        let parts = address.split_once('@');
        if !parts
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
        {
            return Err("is not an address such as `alice@example.org`");
        }
        Ok(Self(address))
    }
}

/// A user or group name.
struct Name(String);

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |c: char| c.is_control() || c.is_whitespace();
        if text.is_empty() || text.len() > 256 || text.contains(refused) {
            return Err("is not a name of 1 to 256 bytes without blanks");
        }
        Ok(Self(text.to_owned()))
    }
}
