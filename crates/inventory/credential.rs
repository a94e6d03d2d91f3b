//! A credential as it stands somewhere: what it is, what it opens, how long it does; never its secret.

use std::path::PathBuf;
use std::sync::OnceLock;

use regex::Regex;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::Fingerprint;

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An access key of AWS.
    AwsAccessKey,
    /// A session of AWS, which ends.
    AwsSession,
    /// A role of AWS that another profile takes.
    AwsRole,
    /// A profile of AWS that gets its credentials elsewhere: single sign-on, a program, a web identity.
    AwsFederated,
    /// The key of a service account of Google Cloud.
    GcpServiceAccountKey,
    /// A person's login to Google Cloud.
    GcpUser,
    /// A configuration of Google Cloud that gets its credentials elsewhere.
    GcpFederated,
    /// A token for a Kubernetes cluster.
    KubernetesToken,
    /// A client key for a Kubernetes cluster.
    KubernetesClientKey,
    /// A password for a Kubernetes cluster.
    KubernetesPassword,
    /// A user of a Kubernetes cluster whose credentials a program or a file gives.
    KubernetesFederated,
    /// A password of `.netrc`.
    NetrcPassword,
    /// A token or password for an npm registry.
    NpmToken,
    /// A token or password for a Python package index.
    PypiToken,
    /// A login to a container registry.
    RegistryLogin,
    /// A container registry whose login a helper program keeps.
    RegistryHelper,
    /// A secret that a CI service stores and a pipeline names.
    CiStoredSecret,
    /// A pipeline that gets its credentials by an identity token.
    CiFederated,
    /// A secret in a file of environment variables, or written out in a pipeline.
    EnvironmentSecret,
}

/// How long a credential opens what it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Until somebody takes it away.
    Static,
    /// It ends by itself.
    ShortLived,
    /// There is no secret here: it is got elsewhere when it is needed.
    Federated,
}

/// A secret between being read and being fingerprinted.
pub struct Secret(SecretString);

/// What a file says, before anybody knows where the file is.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// How the file calls it: a profile, a user, a host, a variable.
    pub name: String,
    /// Whose it is, where the file says so; no secret.
    pub principal: Option<String>,
    /// What it opens: `aws:123456789012`, `kubernetes:https://…`, `host:…`.
    pub reach: String,
    /// How long.
    pub standing: Standing,
    /// Whether it says of itself that it is an administrator's.
    pub privileged: bool,
    /// The secret; absent where the file has none.
    pub secret: Option<Secret>,
}

/// Where a credential stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The file; in JSON as text, whatever bytes it is made of.
    #[serde(serialize_with = "crate::shown::path")]
    pub file: PathBuf,
    /// How the file calls it.
    pub name: String,
    /// Who owns the file.
    pub uid: u32,
    /// Its permissions.
    pub mode: u32,
}

/// A credential that stands somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// Whose it is, where the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// What it opens.
    pub reach: String,
    /// How long.
    pub standing: Standing,
    /// Whether it says of itself that it is an administrator's.
    pub privileged: bool,
    /// Two with the same are the same secret. Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The playbook that permits the same, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// Who answers for it as a documented exception, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
}

impl Kind {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsAccessKey => "aws_access_key",
            Self::AwsSession => "aws_session",
            Self::AwsRole => "aws_role",
            Self::AwsFederated => "aws_federated",
            Self::GcpServiceAccountKey => "gcp_service_account_key",
            Self::GcpUser => "gcp_user",
            Self::GcpFederated => "gcp_federated",
            Self::KubernetesToken => "kubernetes_token",
            Self::KubernetesClientKey => "kubernetes_client_key",
            Self::KubernetesPassword => "kubernetes_password",
            Self::KubernetesFederated => "kubernetes_federated",
            Self::NetrcPassword => "netrc_password",
            Self::NpmToken => "npm_token",
            Self::PypiToken => "pypi_token",
            Self::RegistryLogin => "registry_login",
            Self::RegistryHelper => "registry_helper",
            Self::CiStoredSecret => "ci_stored_secret",
            Self::CiFederated => "ci_federated",
            Self::EnvironmentSecret => "environment_secret",
        }
    }

    /// Whether it opens a cloud or a cluster.
    #[must_use]
    pub const fn is_infrastructure(self) -> bool {
        matches!(
            self,
            Self::AwsAccessKey
                | Self::AwsRole
                | Self::GcpServiceAccountKey
                | Self::GcpUser
                | Self::KubernetesToken
                | Self::KubernetesClientKey
                | Self::KubernetesPassword
        )
    }
}

impl Standing {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::ShortLived => "short_lived",
            Self::Federated => "federated",
        }
    }
}

impl Secret {
    /// A text of a file.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(SecretString::from(text))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether a name is one that administrators' roles, users and contexts have. A name proves nothing: one that sounds harmless
/// may be allowed everything.
#[must_use]
pub fn looks_privileged(name: &str) -> bool {
    static NAMES: OnceLock<Option<Regex>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let words = "admin|admins|administrator|administratoraccess|root|owner|poweruser|poweruseraccess|superuser|\
                     cluster-admin|organizationaccountaccessrole|break-?glass|system:masters|sudo";
        Regex::new(&format!(r"(?i)(^|[^a-z0-9])({words})([^a-z0-9]|$)")).ok()
    });
    names.as_ref().is_some_and(|names| names.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_administrators_are_known_and_others_are_not() {
        for name in [
            "admin",
            "prod-admin",
            "arn:aws:iam::123456789012:role/AdministratorAccess",
            "arn:aws:iam::123456789012:role/OrganizationAccountAccessRole",
            "kubernetes-admin@prod",
            "system:masters",
            "root",
            "break-glass",
        ] {
            assert!(looks_privileged(name), "{name}");
        }
        for name in
            ["administration-portal-reader", "rooted", "deploy", "readonly", "ownership", ""]
        {
            assert!(!looks_privileged(name), "{name}");
        }
    }
}
