//! The formats of a trust domain's folder as JSON Schema (draft 2020-12), for editors and for whoever generates files.
//!
//! The readers are the rule: a schema says what can be said of one document alone, and tests hold both together, key by key.

/// One kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Its name, as `marque schema` has it.
    pub name: &'static str,
    /// Which files of a folder are of it, as a glob.
    pub files: &'static str,
    /// The JSON Schema.
    pub text: &'static str,
}

macro_rules! schemas {
    ($($name:literal $files:literal)*) => {
        /// Every kind of document.
        pub const SCHEMAS: &[Schema] = &[$(Schema {
            name: $name,
            files: $files,
            text: include_str!(concat!("../../../schemas/", $name, ".schema.json")),
        }),*];
    };
}

schemas! {
    "trust-domain" "trust-domain.toml"
    "entries" "entries/*.toml"
    "playbook" "playbooks/*.toml"
    "playbook-tests" "playbooks/tests/*.toml"
    "exception" "exceptions/*.toml"
    "calendar" "calendars/*.toml"
    "roster" "rosters/*.toml"
    "role" "roles/*.toml"
    "policy-tests" "policy/tests/*.toml"
    "relations" "policy/relations/*.toml"
}

impl Schema {
    /// The kind of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SCHEMAS.iter().find(|schema| schema.name == name)
    }
}

#[cfg(test)]
mod tests;
