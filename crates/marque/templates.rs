//! The playbooks that come with the program: the eight of M 41 and 42, and the least that there is (M 60). Each is a
//! playbook of a production trust domain as it stands; `marque playbook new` writes it for another.

/// One template.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// Its name, which is the id of its playbook.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        &[$(Template { name: $name, text: include_str!(concat!("templates/", $name, ".toml")) }),+]
    };
}

/// All of them.
pub const ALL: &[Template] = templates![
    "certificate-rotation",
    "minimal",
    "network-rule-update",
    "policy-drift-remediation",
    "queue-replay",
    "restart-failed-deployment",
    "reviewed-infrastructure-change",
    "secret-rollover-validation",
    "stale-instance-cleanup",
];

/// What is a trust domain's own in a template.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// The id of the playbook.
    pub id: &'a str,
    /// The trust domain.
    pub trust_domain: &'a str,
    /// The tenant.
    pub tenant: &'a str,
    /// Who answers for it.
    pub owner: &'a str,
    /// The day on which its review is due.
    pub review_by: &'a str,
}

impl Template {
    /// The template of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|template| template.name == name)
    }

    /// The text with what is a trust domain's own put in.
    #[must_use]
    pub fn fill(&self, own: &Own<'_>) -> String {
        let mut text = String::new();
        for line in self.text.lines() {
            let set = |name: &str, value: &str| format!("{name} = \"{value}\"");
            let line = match line.split(" = ").next() {
                Some("id") => set("id", own.id),
                Some("owner") => set("owner", own.owner),
                Some("tenant") => set("tenant", own.tenant),
                Some("review_by") => set("review_by", own.review_by),
                _ => line
                    .replace("prod.example.org", own.trust_domain)
                    .replace(&format!("{}.toml", self.name), &format!("{}.toml", own.id)),
            };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}
