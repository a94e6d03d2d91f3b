//! `[[chat_integrations]]` and `[[chat_identities]]`: programs that pass on what people decide elsewhere, and who their
//! users are here.
//!
//! A user of an integration is nobody until a file says who it is. Absent: signatures, and whether somebody may decide.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::federation::Readable;
use super::issuer_keys::Name;
use super::oidc_issuers::Text;
use super::webhooks::Webhook;
use crate::fields::{Fields, Log};

/// How many integrations a trust domain may have.
pub const MAX_CHAT_INTEGRATIONS: usize = 16;
/// How many of their users may be linked.
pub const MAX_CHAT_IDENTITIES: usize = 1024;

/// One of `[[chat_integrations]]`.
///
/// ```toml
/// [[chat_integrations]]
/// name = "ops-chat"                      # [a-z0-9-]{1,32}, unique: the last part of its URL
/// secret_file = "/run/secrets/ops-chat"  # `whsec_` and Base64; of this integration and this trust domain alone
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatIntegration {
    name: String,
    secret_file: PathBuf,
    line: usize,
}

/// One of `[[chat_identities]]`.
///
/// ```toml
/// [[chat_identities]]
/// integration = "ops-chat"
/// user = "U024BE7LH"                     # as the integration calls them; unique within it
/// subject = "248289761001"               # the person, as `[approver_login]` calls them; or `operator`
/// groups = ["sre-leads"]                 # the approver groups of the person; an operator has those of [[operators]]
/// # operator = "alice"                   # a user name of [[operators]]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatIdentity {
    integration: String,
    user: String,
    who: ChatPerson,
    line: usize,
}

/// Who a user of an integration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatPerson {
    /// Somebody whom the approvers' provider knows.
    Person {
        /// By its `sub`.
        subject: String,
        /// Their approver groups. Text here; whoever approves checks its form.
        groups: BTreeSet<String>,
    },
    /// A local operator, by user name.
    Operator(String),
}

impl ChatIntegration {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file with the secret that it signs with.
    pub fn secret_file(&self) -> &Path {
        &self.secret_file
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl ChatIdentity {
    /// Whose user it is.
    pub fn integration(&self) -> &str {
        &self.integration
    }

    /// The user, as the integration calls them.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Who that is.
    pub fn who(&self) -> &ChatPerson {
        &self.who
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Reads `[[chat_integrations]]` and `[[chat_identities]]`; `has_login` is whether there is an `[approver_login]`.
pub(super) fn read(
    integrations: Vec<Fields<'_, '_>>,
    identities: Vec<Fields<'_, '_>>,
    has_login: bool,
    log: &mut Log<'_>,
) -> (Vec<ChatIntegration>, Vec<ChatIdentity>) {
    for (name, tables, most) in [
        ("chat_integrations", &integrations, MAX_CHAT_INTEGRATIONS),
        ("chat_identities", &identities, MAX_CHAT_IDENTITIES),
    ] {
        if let Some(table) = tables.get(most) {
            log.at(table.line(), format!("more than {most} tables [{name}]"));
        }
    }
    let mut names = BTreeSet::new();
    let integrations: Vec<ChatIntegration> =
        integrations.into_iter().filter_map(|table| integration(table, &mut names, log)).collect();
    let mut users = BTreeSet::new();
    let identities = identities.into_iter().filter_map(|table| {
        let found = identity(table, log)?;
        if !names.contains(&found.integration) {
            log.at(found.line, format!("there is no [chat_integrations] `{}`", found.integration));
        }
        if !users.insert((found.integration.clone(), found.user.clone())) {
            log.at(found.line, "`user` in [chat_identities] is linked twice");
        }
        if matches!(found.who, ChatPerson::Person { .. }) && !has_login {
            log.at(found.line, "`subject` in [chat_identities] needs an [approver_login]");
        }
        Some(found)
    });
    let identities = identities.collect();
    (integrations, identities)
}

/// A secret says which integration speaks, so that it is of one alone: what one has signed would be another's word, too.
pub(super) fn own_secrets(
    integrations: &[ChatIntegration],
    webhooks: &[Webhook],
    log: &mut Log<'_>,
) {
    let mut files: BTreeSet<&Path> = webhooks.iter().map(Webhook::secret_file).collect();
    for integration in integrations {
        if !files.insert(integration.secret_file()) {
            let message = "`secret_file` in [chat_integrations] is of one integration alone, and of no webhook";
            log.at(integration.line, message);
        }
    }
}

fn integration(
    mut table: Fields<'_, '_>,
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<ChatIntegration> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let secret_file: Option<Readable> = table.text("secret_file", log);
    table.finish(log);
    let Name(name) = name?;
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [chat_integrations] is used twice");
    }
    Some(ChatIntegration { name, secret_file: secret_file?.0, line })
}

fn identity(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<ChatIdentity> {
    let line = table.line();
    let integration: Option<Name> = table.text("integration", log);
    let user: Option<Text> = table.text("user", log);
    let subject: Option<Text> = table.optional_text("subject", log);
    let operator: Option<Text> = table.optional_text("operator", log);
    let groups: Vec<Text> = table.texts("groups", log);
    table.finish(log);
    let groups: BTreeSet<String> = groups.into_iter().map(|Text(group)| group).collect();
    let who = match (subject, operator) {
        (Some(Text(subject)), None) => ChatPerson::Person { subject, groups },
        (None, Some(Text(operator))) if groups.is_empty() => ChatPerson::Operator(operator),
        (None, Some(_)) => {
            log.at(
                line,
                "`groups` in [chat_identities] is for a `subject`; [[operators]] has an operator's",
            );
            return None;
        }
        (Some(_), Some(_)) | (None, None) => {
            log.at(line, "[chat_identities] needs exactly one of `subject` and `operator`");
            return None;
        }
    };
    Some(ChatIdentity { integration: integration?.0, user: user?.0, who, line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");
    const CHAT: &str = r#"
[[chat_integrations]]
name = "ops-chat"
secret_file = "chat/secret"

[[chat_identities]]
integration = "ops-chat"
user = "U1"
operator = "alice"
"#;

    fn parse(lines: &str) -> Result<TrustDomainDocument, Vec<Finding>> {
        let document = format!("{DOCUMENT}\n{lines}\n");
        TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)
    }

    #[test]
    fn a_user_is_linked_to_somebody() {
        let document = parse(CHAT).unwrap();
        assert_eq!(document.chat_integrations()[0].name(), "ops-chat");
        let identity = &document.chat_identities()[0];
        assert_eq!((identity.integration(), identity.user()), ("ops-chat", "U1"));
        assert_eq!(identity.who(), &ChatPerson::Operator("alice".to_owned()));
    }

    #[test]
    fn what_links_nobody_is_refused() {
        for (from, to, because) in [
            ("integration = \"ops-chat\"", "integration = \"other\"", "there is no"),
            ("operator = \"alice\"", "", "exactly one"),
            ("operator = \"alice\"", "operator = \"alice\"\nsubject = \"1\"", "exactly one"),
            ("operator = \"alice\"", "subject = \"1\"", "[approver_login]"),
            ("operator = \"alice\"", "operator = \"alice\"\ngroups = [\"a\"]", "for a `subject`"),
            ("secret_file = \"chat/secret\"", "", "`secret_file`"),
            ("secret_file = \"chat/secret\"", "secret_file = \"../secret\"", "folder"),
            ("user = \"U1\"", "user = \"\"", "1 to 256"),
            ("user", "email = \"a\"\nuser", "unknown field"),
        ] {
            assert!(CHAT.contains(from), "{from}");
            let findings = parse(&CHAT.replacen(from, to, 1)).unwrap_err();
            let said = findings.iter().any(|finding| finding.to_string().contains(because));
            assert!(said, "{to}: {findings:?}");
        }
        let twice = format!(
            "{CHAT}\n[[chat_identities]]\nintegration = \"ops-chat\"\nuser = \"U1\"\noperator = \"bob\""
        );
        assert!(parse(&twice).unwrap_err()[0].to_string().contains("linked twice"));
        let shared = format!(
            "{CHAT}\n[[chat_integrations]]\nname = \"other\"\nsecret_file = \"chat/secret\"\n"
        );
        assert!(parse(&shared).unwrap_err()[0].to_string().contains("one integration alone"));
        let out = format!(
            "{CHAT}\n[[webhooks]]\nname = \"bus\"\nurl = \"http://127.0.0.1:1/\"\nsecret_file = \"chat/secret\"\n"
        );
        assert!(parse(&out).unwrap_err()[0].to_string().contains("of no webhook"));
        let most = |count: usize| -> String {
            (0..count)
                .map(|at| {
                    format!("[[chat_integrations]]\nname = \"c{at}\"\nsecret_file = \"s{at}\"\n")
                })
                .collect()
        };
        parse(&most(MAX_CHAT_INTEGRATIONS)).unwrap();
        let findings = parse(&most(MAX_CHAT_INTEGRATIONS + 1)).unwrap_err();
        assert!(findings[0].to_string().contains("more than 16"));
    }
}
