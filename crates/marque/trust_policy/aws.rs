//! AWS: the trust policy of an IAM role (`sts:AssumeRoleWithWebIdentity`).
//!
//! STS compares `aud` and `sub`, and of other claims session tags alone; tokens for an audience with `session_tags = "aws"` carry the
//! playbook as one.

use serde_json::json;

use super::{Believed, TrustPolicy, TrustPolicyError, common_notes, named};

/// The session tag that names the playbook.
pub const TAG_PLAYBOOK: &str = "marque-playbook";
/// How long a subject may be (`SubjectFromWebIdentityToken`).
const MAX_SUBJECT: usize = 255;

/// Where the role is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// The account, 12 digits.
    pub account: String,
    /// The partition: `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
}

impl Aws {
    /// The trust policy of a role.
    ///
    /// # Errors
    /// See [`TrustPolicyError`].
    pub fn policy(
        &self,
        believed: &Believed,
        tagged: bool,
    ) -> Result<TrustPolicy, TrustPolicyError> {
        let Self { account, partition } = self;
        named("--account", account, 12, "is no account of 12 digits", |c| c.is_ascii_digit())?;
        if account.len() != 12 {
            let (option, value) = ("--account", account.clone());
            return Err(TrustPolicyError::Place {
                option,
                value,
                rule: "is no account of 12 digits",
            });
        }
        named("--partition", partition, 16, "is no partition", |c| {
            c.is_ascii_lowercase() || c == '-'
        })?;
        let provider = believed.issuer.as_str().trim_start_matches("https://");
        let subjects = believed.within(MAX_SUBJECT)?;
        let document = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Federated": format!("arn:{partition}:iam::{account}:oidc-provider/{provider}") },
                "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
                "Condition": {
                    "StringEquals": {
                        format!("{provider}:aud"): believed.audience,
                        format!("{provider}:sub"): subjects,
                        format!("aws:RequestTag/{TAG_PLAYBOOK}"): believed.playbook.as_str(),
                    },
                },
            }],
        });
        let mut notes = common_notes(believed);
        notes.push(format!(
            "the grant is checked by the session tag `{TAG_PLAYBOOK}`, which the token carries; STS compares no other claim of it"
        ));
        if !tagged {
            notes.push(format!(
                "tokens for `{}` carry no session tags yet, so that this policy refuses them: say `session_tags = \"aws\"` in its \
                 [[resource_servers]]",
                believed.audience
            ));
        }
        Ok(TrustPolicy { document, notes })
    }
}
