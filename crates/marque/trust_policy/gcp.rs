//! Google Cloud: a workload identity provider with its mapping and condition, and who may use a service account.

use marque_spiffe::SpiffeId;
use serde_json::json;

use super::{Believed, TrustPolicy, TrustPolicyError, common_notes, named};

/// Where the workload identity pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gcp {
    /// The number of the project.
    pub project_number: String,
    /// The pool.
    pub pool: String,
    /// The provider in it.
    pub provider: String,
}

impl Gcp {
    /// The provider and the members that it makes.
    ///
    /// # Errors
    /// See [`TrustPolicyError`].
    pub fn policy(&self, believed: &Believed) -> Result<TrustPolicy, TrustPolicyError> {
        let Self { project_number, pool, provider } = self;
        named("--project-number", project_number, 20, "is no project number", |c| {
            c.is_ascii_digit()
        })?;
        let id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        named("--pool", pool, 32, "is no pool of 4 to 32 characters `a-z`, `0-9` and `-`", id)?;
        named(
            "--provider",
            provider,
            32,
            "is no provider of 4 to 32 characters `a-z`, `0-9` and `-`",
            id,
        )?;
        let pool =
            format!("projects/{project_number}/locations/global/workloadIdentityPools/{pool}");
        let issuer = believed.issuer.as_str();
        let (audience, playbook) = (&believed.audience, &believed.playbook);
        let subjects: Vec<_> = believed.subjects.iter().map(|id| quoted(id.as_str())).collect();
        let any_long = believed.subjects.iter().any(|id| id.subject_digest().is_some());
        // The name of a principal is at most 127 bytes; what is longer goes by its digest, and the condition compares the whole.
        let subject = if any_long {
            "has(assertion.sub_sha256) ? assertion.sub_sha256 : assertion.sub"
        } else {
            "assertion.sub"
        };
        let condition = format!(
            "assertion.iss == {} && assertion.aud == {} && assertion.sub in [{}] && assertion.intent.playbook == {} && !has(assertion.act)",
            quoted(issuer),
            quoted(audience),
            subjects.join(", "),
            quoted(playbook.as_str())
        );
        let member = |id: &SpiffeId| {
            let name = id.subject_digest().unwrap_or_else(|| id.as_str().to_owned());
            format!("principal://iam.googleapis.com/{pool}/subject/{name}")
        };
        let members: Vec<_> = believed.subjects.iter().map(member).collect();
        let document = json!({
            "provider": {
                "name": format!("{pool}/providers/{provider}"),
                "oidc": { "issuerUri": issuer, "allowedAudiences": [audience] },
                "attributeMapping": {
                    "google.subject": subject,
                    "attribute.playbook": "assertion.intent.playbook",
                    "attribute.intent": "assertion.intent.id",
                },
                "attributeCondition": condition,
            },
            "binding": { "role": "roles/iam.workloadIdentityUser", "members": members },
        });
        let mut notes = common_notes(believed);
        notes.push(
            "the condition is the provider's: give each playbook a provider in a pool of its own, because the members name the pool and \
             any provider in it would do"
                .to_owned(),
        );
        Ok(TrustPolicy { document, notes })
    }
}

/// A CEL string. No SPIFFE ID, issuer, playbook or checked audience has a character that would end it.
fn quoted(text: &str) -> String {
    format!("'{text}'")
}
