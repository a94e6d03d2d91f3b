//! `[playbooks]` and `[[human_roles]]`: what is demanded of every playbook of the trust domain.

use std::collections::BTreeSet;

use crate::fields::{Fields, Log};

/// How many roles of people a trust domain may list.
pub const MAX_HUMAN_ROLES: usize = 64;

/// `[playbooks]`, and the roles of people that no playbook may give an agent. Everything may be absent.
///
/// ```toml
/// [playbooks]
/// overdue = "warn"                     # or "refuse": no grant of a playbook whose review is overdue
///
/// [[human_roles]]                      # what a person may do; a playbook that permits all of it is refused (M 11)
/// name = "platform-admin"
/// scopes = ["secrets.update", "deployments.restart"]   # at least one
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaybookSettings {
    refuses_overdue: bool,
    human_roles: Vec<HumanRole>,
}

/// One of `[[human_roles]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HumanRole {
    name: String,
    scopes: BTreeSet<String>,
    line: usize,
}

impl PlaybookSettings {
    /// Whether a playbook whose review is overdue gives no grants.
    pub const fn refuses_overdue(&self) -> bool {
        self.refuses_overdue
    }

    /// What people may do.
    pub fn human_roles(&self) -> &[HumanRole] {
        &self.human_roles
    }
}

impl HumanRole {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything that it permits.
    pub const fn scopes(&self) -> &BTreeSet<String> {
        &self.scopes
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub const fn line(&self) -> usize {
        self.line
    }
}

pub(super) fn read(top: &mut Fields<'_, '_>, log: &mut Log<'_>) -> PlaybookSettings {
    let mut refuses_overdue = false;
    if let Some(mut table) = top.optional_table("playbooks", log) {
        if let Some(overdue) = table.optional_lined_text::<String>("overdue", log) {
            match overdue.value.as_str() {
                "warn" => {}
                "refuse" => refuses_overdue = true,
                _other => {
                    log.at(overdue.line, "`overdue` in [playbooks] is neither `warn` nor `refuse`")
                }
            }
        }
        table.finish(log);
    }
    let mut human_roles: Vec<HumanRole> = Vec::new();
    for table in top.tables("human_roles", log) {
        let line = table.line();
        let Some(role) = role(table, log) else { continue };
        if human_roles.iter().any(|other| other.name == role.name) {
            log.at(line, format!("role `{}` is listed twice", role.name));
        }
        human_roles.push(role);
    }
    if human_roles.len() > MAX_HUMAN_ROLES {
        log.at(1, format!("there are more than {MAX_HUMAN_ROLES} [[human_roles]]"));
    }
    PlaybookSettings { refuses_overdue, human_roles }
}

fn role(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<HumanRole> {
    let line = table.line();
    let name: Option<String> = table.text("name", log);
    let scopes: BTreeSet<String> = table.required_texts("scopes", log).into_iter().collect();
    table.finish(log);
    Some(HumanRole { name: name?, scopes, line })
}
