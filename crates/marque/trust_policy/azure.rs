//! Microsoft Entra: a federated identity credential of an application or a managed identity.
//!
//! Entra compares issuer, subject and audience, each as a whole, and nothing else. The grant is checked all the same where the
//! audience is of one playbook alone: nothing else issues tokens for it.

use marque_intent::PlaybookSet;
use serde_json::{Value, json};

use super::{Believed, TrustPolicy, TrustPolicyError, audience_of, common_notes, named};

/// How long a subject may be.
const MAX_SUBJECT: usize = 600;
/// How many credentials an application may have.
const MAX_CREDENTIALS: usize = 20;

/// How the credentials are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azure {
    /// The beginning of their names; the playbook when absent.
    pub name: Option<String>,
}

impl Azure {
    /// A credential for each subject.
    ///
    /// # Errors
    /// See [`TrustPolicyError`].
    pub fn policy(
        &self,
        believed: &Believed,
        playbooks: &PlaybookSet,
    ) -> Result<TrustPolicy, TrustPolicyError> {
        let same = |other: &str| other == believed.audience || other.contains("{{");
        let other = playbooks
            .iter()
            .find(|other| *other.id() != believed.playbook && same(&audience_of(other)));
        if let Some(other) = other {
            let (other, audience) = (other.id().clone(), believed.audience.clone());
            return Err(TrustPolicyError::AudienceShared { other, audience });
        }
        let name = self.name.as_deref().unwrap_or(believed.playbook.as_str());
        named("--name", name, 100, "is no name of up to 100 letters, digits, `-` and `_`", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
        })?;
        let subjects = believed.within(MAX_SUBJECT)?;
        let credential = |(number, subject): (usize, &&str)| {
            json!({
                "name": format!("{name}-{}", number + 1),
                "issuer": believed.issuer.as_str(),
                "subject": subject,
                "audiences": [believed.audience],
                "description": format!("Marque playbook {}", believed.playbook),
            })
        };
        let document: Vec<Value> = subjects.iter().enumerate().map(credential).collect();
        let mut notes = common_notes(believed);
        notes.push(format!(
            "Entra compares no claim but these: that a token is of `{}` follows from its audience, which no other playbook of the \
             folder permits; keep it so",
            believed.playbook
        ));
        notes.push(
            "Entra documents RS256 alone: tokens of an issuer that signs with ES256 may be refused"
                .to_owned(),
        );
        if document.len() > MAX_CREDENTIALS {
            notes.push(format!(
                "an application takes {MAX_CREDENTIALS} credentials: spread these over several"
            ));
        }
        Ok(TrustPolicy { document: Value::Array(document), notes })
    }
}
