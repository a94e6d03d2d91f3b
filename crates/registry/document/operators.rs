//! `[[operators]]`: who may use the admin socket beside the daemon's own user.

/// One of `[[operators]]`: a local user who may use the admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRule {
    pub(super) principal: OperatorPrincipal,
    pub(super) groups: Vec<String>,
    pub(super) persons: Vec<String>,
    pub(super) emails: Vec<String>,
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
